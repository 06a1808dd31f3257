"""What SLUB and kmalloc of each kernel have: the slub section of kernel/features.pxd, row by row.

The form of a row: versions/features.py. What a command line may override (slub_debug=,
slab_nomerge, slub_max_order=, init_on_alloc= ...) has a row too, whose value machine/ replaces.
"""

from collections.abc import Callable

from mmtwin.versions.facts import Change, Facts, Feature


def when(*symbols: str, value: int = 1) -> Callable[[Facts], int]:
    """A value that holds where any of the switches is on."""

    def value_of(facts: Facts) -> int:
        return value if any(facts.on(symbol) for symbol in symbols) else 0

    return value_of


def on_arm64(value: int, otherwise: int) -> Callable[[Facts], int]:
    """A value of arm64, and that of the others."""
    return lambda facts: value if facts.arch == "arm64" else otherwise


def tid_step(facts: Facts) -> int:
    """TID_STEP: CONFIG_NR_CPUS rounded up to a power of two if the kernel preempts, else 1."""
    if not facts.on("CONFIG_PREEMPTION"):
        return 1
    return 1 << (facts.number("CONFIG_NR_CPUS", 1) - 1).bit_length()


MEMCG_KMEM = when("CONFIG_MEMCG_KMEM", "CONFIG_MEMCG")
ACCOUNTED = when("CONFIG_MEMCG_KMEM", "CONFIG_MEMCG", value=2)
RANDOM = ("CONFIG_RANDOM_KMALLOC_CACHES", "CONFIG_KMALLOC_PARTITION_RANDOM")
RANDOM_CACHES = when(*RANDOM, value=15)
# need_kmalloc_no_objext(): elsewhere those caches are the normal ones.
NO_OBJEXT_CACHES = when("CONFIG_MEM_ALLOC_PROFILING", *RANDOM)

SLUB = (
    Feature("cpu_partial_counts_slabs", "a CPU partial list is bounded by slabs, not objects", 0,
            Change("5.16", 1, "b47291ef02b0"), config="CONFIG_SLUB_CPU_PARTIAL"),
    Feature("slub_cpu_slabs", "CPUs own slabs", 1,
            Change("7.0", 0, "32c894c7274b")),
    Feature("slub_cpu_partial", "CPUs keep partial slabs", 1,
            Change("7.0", 0, "e323b52cf00f"), config="CONFIG_SLUB_CPU_PARTIAL"),
    Feature("slub_splices_freelist", "deactivate_slab() keeps the order of the CPU's objects", 0,
            Change("5.12", 1, "d930ff03c4d1")),
    Feature("slub_delayed_freezing", "slabs on CPU partial lists are not frozen", 0,
            Change("6.8", 1, "8cd3fa428b56")),
    Feature("slub_tries_node_first", "a preferred node is tried alone before any other", 0,
            Change("6.10", 1, "9198ffbd2b49")),
    Feature("slub_bulk_swaps", "a bulk free swaps the freed objects out of its array", 0,
            Change("6.0", 1, "b77d5b1b83e3")),
    Feature("maple_bulk", "requests for maple nodes are for the worst case, in bulk", 0,
            Change("6.1", 1, "54a611b60590"), Change("6.6", 0, "17983dc61783")),
    Feature("debug_alloc_single", "debug caches: one object at a time, under the node's lock", 0,
            Change("6.1", 1, "c7323a5ad078")),
    Feature("sheaves", "per-CPU sheaves: 1 for caches that ask for them, 2 for all", 0,
            Change("6.18", 1, "2d517aa09bbc"), Change("7.0", 2, "913ffd3a1bf5")),
    Feature("slub_present_cpus", "calculate_order() counts present CPUs, if more than one", 0,
            Change("5.11", 1, "3286222fc609")),
    Feature("slub_order_by_waste", "calculate_order() accepts more waste, not fewer objects", 0,
            Change("6.7", 1, "5886fc82b6e3")),
    Feature("slab_always_compound", "order-0 slabs are asked for with __GFP_COMP too", 0,
            Change("6.10", 1, "5b15f3fb89fc")),
    Feature("track_bytes", "sizeof(struct track): stack traces moved to the stack depot", 152,
            Change("5.19", 32, "5cf909c553e9")),
    Feature("orig_size_bytes", "SLAB_STORE_USER keeps the size asked of kmalloc", 0,
            Change("6.1", 4, "6edf2576a6cc"), Change("7.0", 8, "b85f369b81ae", ("6.12.107",))),
    Feature("orig_size_moves_freeptr", "... and red zones then push the free pointer out", 0,
            Change("6.2", 1, "946fa0dbf2d8")),
    Feature("freeptr_with_ctor", "a cache with a constructor may place its free pointer", 0,
            Change("7.0", 1, "a13b68d79d5c")),
    Feature("freelist_hardened", "free pointers are encoded", 1,
            config="CONFIG_SLAB_FREELIST_HARDENED"),
    Feature("freelist_random", "new slabs are shuffled", 1, config="CONFIG_SLAB_FREELIST_RANDOM"),
    Feature("init_on_alloc", "objects are zeroed when allocated (init_on_alloc=)", 1,
            config="CONFIG_INIT_ON_ALLOC_DEFAULT_ON"),
    Feature("init_on_free", "objects are zeroed when freed (init_on_free=)", 1,
            config="CONFIG_INIT_ON_FREE_DEFAULT_ON"),
    Feature("slab_merge", "caches are merged (slab_nomerge)", 1,
            config="CONFIG_SLAB_MERGE_DEFAULT"),
    Feature("slub_debug_flags", "SLAB_* that slub_debug= sets on every cache", 0),
    Feature("slub_info_prefix", "lines of a debug cache's report begin with INFO:", 1,
            Change("5.13", 0, "96b94abc12e6")),
    Feature("slub_fix_names", "FIX lines name what they restore", 0,
            Change("5.14", 1, "1a88ef87f861")),
    Feature("slub_taints_late",
            "the kernel is tainted when a report is printed, not at its head", 0,
            Change("5.14", 1, "65ebdeef103f")),
    Feature("slub_shows_pointers", "slub_debug= prints pointers as they are, not hashed", 0,
            Change("5.14", 1, "792702911f58")),
    Feature("slub_checks_all", "an object's check goes on after the first error", 0,
            Change("6.15", 1, "ed5ec2e95259", ("6.12.46",))),
    Feature("slub_warns", "a report ends in a WARN", 0,
            Change("6.15", 1, "3f6f32b14ab3", ("6.12.46",))),
    Feature("slub_counts_remaining",
            "KUnit counts each object that remains in a destroyed cache", 0,
            Change("6.15", 1, "4b183dd9359d", ("6.12.46",))),
    Feature("slub_finds_cycles", "a free list that leads back into itself is found", 0,
            Change("6.15", 1, "747e2cf137f4")),
    Feature("slub_disables_slabs", "a slab that failed a check is not used again", 0,
            Change("6.13", 1, "dbc16915279a", ("6.6.64", "6.12.4"))),
    Feature("slub_frees_single",
            "a single free does not clear the free pointer before the checks", 0,
            Change("6.8", 1, "284f17ac13fe")),
    Feature("slub_traces_debugfs",
            "alloc_traces, free_traces of debugfs, not alloc_calls of sysfs", 0,
            Change("5.14", 1, "64dd68497be7")),
    Feature("slub_krealloc_redzone",
            "krealloc() keeps the size asked for, and red zones behind it", 0,
            Change("6.13", 1, "5474d33ca48e")),
    Feature("kfree_pages",
            "pages of no slab that kfree() frees: 0 compound ones, 1 any, 2 those marked as large "
            "kmallocs, 3 if the address lies in their first page", 0,
            Change("5.14", 1, "f227f0faf63b"), Change("6.15", 2, "a6687c8ff613"),
            Change("6.19", 3, "")),
    Feature("slub_min_order", "slub_min_order=", 0),
    Feature("slub_max_order", "slub_max_order=, PAGE_ALLOC_COSTLY_ORDER", 3),
    Feature("slub_min_objects", "slub_min_objects=, 0: by the number of CPUs", 0),
    Feature("usercopy_unmergeable", "caches with a usercopy region are not merged", 1,
            Change("6.2", when("CONFIG_HARDENED_USERCOPY"), "346907ceb9d1")),
    Feature("tid_step", "what an operation adds to kmem_cache_cpu.tid", tid_step),
    Feature("cache_line", "cache_line_size() in bytes", 64),
    Feature("slab_minalign", "ARCH_SLAB_MINALIGN in bytes", 8),
    Feature("kmalloc_minalign", "ARCH_KMALLOC_MINALIGN in bytes, the smallest kmalloc cache",
            on_arm64(128, 8), Change("6.5", 8, "9382bc44b5f5")),
    Feature("kmalloc_dma_align", "what kmalloc aligns to at run time, if more (bytes)", 8),
    Feature("kmalloc_cgroup", "there are kmalloc caches for accounted objects", 0,
            Change("5.14", MEMCG_KMEM, "494c1dfe855e")),
    Feature("kmalloc_cgroup_last", "... which are created after those for DMA", 0,
            Change("6.6", 1, "3c6152940584")),
    Feature("memcg_kmem", "... of their own; 0: the normal ones (cgroup.memory=nokmem)", 1),
    # 7.2 asks for CONFIG_MEMCG, 7.3 mem_cgroup_kmem_disabled()
    Feature("kmalloc_unmergeable",
            "kmalloc-* merge with no other; 1: unless without memcg_kmem", 0,
            Change("5.14", ACCOUNTED, "494c1dfe855e"), Change("7.3", MEMCG_KMEM, "")),
    Feature("kmalloc_dma_last", "those for DMA are created at the end, by index", 1,
            Change("5.19", 0, "33647783deb6")),
    Feature("kmalloc_random", "more sets of kmalloc caches, chosen by call site", 0,
            Change("6.6", RANDOM_CACHES, "3c6152940584")),
    Feature("kmalloc_buckets", "sets of kmalloc caches of their own (kmem_buckets_create())", 0,
            Change("6.11", 1, "b32801d1255b"), config="CONFIG_SLAB_BUCKETS"),
    Feature("kmalloc_no_objext", "a set of kmalloc caches without object extensions", 0,
            Change("7.2", NO_OBJEXT_CACHES, "d9e6a7623938", ("6.12.103", "6.18.44", "7.1.8"))),
    Feature("kmalloc_divisor_align", "kmalloc aligns to the largest power of two in the size", 0,
            Change("6.11", 1, "ad59baa31695")),
    Feature("kmalloc_odd_first", "kmalloc-96, -192 are created before the powers of two", 0,
            Change("6.10", 1, "306c4ac9896b")),
    Feature("kmalloc_large_told_twice", "__kmalloc() of whole pages is traced twice", 0,
            Change("6.11", 1, "a0a44d9175b3")),
)
