"""The switches that Debian builds its kernels with, as far as they matter to memory management.

Read from the config files of 5.10.0-32, 6.1.0-50, 6.12.107, 6.18.15 and 7.3.4. Debian shipped no
5.13 to stable and no arm64 kernel with 64 KiB pages: those take the configuration of the nearest
release, and of the 4 KiB (16 KiB from 6.12 on) kernel with what the page size changes.
"""

# In all of them.
COMMON = {
    f"CONFIG_{name}": "y"
    for name in (
        "SMP", "MMU", "SLUB", "SLUB_DEBUG", "SLAB_MERGE_DEFAULT", "SLAB_FREELIST_RANDOM",
        "SLAB_FREELIST_HARDENED", "SLUB_CPU_PARTIAL", "SHUFFLE_PAGE_ALLOCATOR", "ZONE_DMA",
        "ZONE_DMA32", "NUMA", "NUMA_BALANCING", "MEMCG", "MEMORY_ISOLATION", "MEMORY_HOTPLUG",
        "DEFERRED_STRUCT_PAGE_INIT", "INIT_ON_ALLOC_DEFAULT_ON", "HARDENED_USERCOPY",
        "COMPACTION", "TRANSPARENT_HUGEPAGE", "HUGETLB_PAGE", "PAGE_POISONING", "VMAP_STACK",
        "SPARSEMEM_VMEMMAP", "PAGE_EXTENSION", "SWAP", "MEMORY_FAILURE", "KSM",
        "ZSMALLOC", "ZSWAP", "IOMMU_SUPPORT", "MIGRATION", "MEMORY_BALLOON", "BALLOON",
        "SCHED_STACK_END_CHECK", "TASK_DELAY_ACCT",
    )
} | {"CONFIG_HZ": "250"}

# By architecture.
BY_ARCH = {
    "x86_64": {"CONFIG_ZONE_DEVICE": "y", "CONFIG_NODES_SHIFT": "10", "CONFIG_NR_CPUS": "8192",
               "CONFIG_PAGE_TABLE_ISOLATION": "y", "CONFIG_MEM_SOFT_DIRTY": "y",
               "CONFIG_DEFAULT_MMAP_MIN_ADDR": "65536"},
    "arm64": {"CONFIG_CMA": "y", "CONFIG_CMA_SIZE_MBYTES": "64", "CONFIG_NODES_SHIFT": "4",
              "CONFIG_DEFAULT_MMAP_MIN_ADDR": "4096", "CONFIG_LSM_MMAP_MIN_ADDR": "32768",
              "CONFIG_ARM64_HW_AFDBM": "y"},
}

# Changes by release, in order: (release, architecture or "" for both, switches; None unsets).
CHANGES: tuple[tuple[str, str, dict[str, str | None]], ...] = (
    ("5.10", "", {"CONFIG_MEMCG_KMEM": "y"}),
    ("5.10", "arm64", {"CONFIG_NR_CPUS": "256", "CONFIG_FORCE_MAX_ZONEORDER": "11"}),
    ("6.1", "x86_64", {"CONFIG_PREEMPTION": "y", "CONFIG_PREEMPT_COUNT": "y"}),
    ("6.1", "arm64", {"CONFIG_FORCE_MAX_ZONEORDER": None, "CONFIG_ARCH_FORCE_MAX_ORDER": "11"}),
    ("6.12", "", {"CONFIG_MEMCG_KMEM": None, "CONFIG_SLAB_OBJ_EXT": "y",
                  "CONFIG_SLAB_BUCKETS": "y", "CONFIG_KFENCE": "y", "CONFIG_PAGE_IDLE_FLAG": "y"}),
    ("6.12", "x86_64", {"CONFIG_UNACCEPTED_MEMORY": "y", "CONFIG_PAGE_TABLE_ISOLATION": None,
                        "CONFIG_MITIGATION_PAGE_TABLE_ISOLATION": "y"}),
    ("6.12", "arm64", {"CONFIG_ZONE_DEVICE": "y", "CONFIG_NR_CPUS": "512",
                       "CONFIG_ARCH_FORCE_MAX_ORDER": "10",
                       "CONFIG_DMA_BOUNCE_UNALIGNED_KMALLOC": "y"}),
    ("6.18", "", {"CONFIG_PAGE_BLOCK_MAX_ORDER": "10"}),
    ("7.3", "", {"CONFIG_SLUB_CPU_PARTIAL": None}),
    ("7.3", "x86_64", {"CONFIG_CMA": "y", "CONFIG_CMA_SIZE_MBYTES": "0"}),
    ("7.3", "arm64", {"CONFIG_PREEMPTION": "y", "CONFIG_PREEMPT_COUNT": "y"}),
)

# What the page size changes on arm64: the largest order of the buddy allocator (arch/arm64/Kconfig
# ARCH_FORCE_MAX_ORDER, as a number of orders) and, with 16 KiB, the address bits (52 since 6.12).
ARM64_ORDERS = {4096: 11, 16384: 12, 65536: 14}
ARM64_VA_BITS = {4096: 48, 16384: 48, 65536: 48}
VA_52_SINCE = "6.12"
INCLUSIVE_MAX_ORDER_SINCE = "6.4"
