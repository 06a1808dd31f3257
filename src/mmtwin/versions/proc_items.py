"""The counters that /proc/vmstat, zoneinfo and meminfo print, by release and configuration.

A line is `name [FIRST] [..LAST] [CONFIG] [@arch]`: printed from release FIRST on and no longer
from LAST on, if the kernel is built with the switch and for the architecture. Kernel:
`vmstat_text` and `zoneinfo_show_print` of mm/vmstat.c, `meminfo_proc_show` of fs/proc/meminfo.c.
Where a commit stands beside it, the release is the one it came with; else it is the first or last
of releases.RELEASES for which it holds.
"""

from dataclasses import dataclass

from mmtwin.versions.profiles import Profile
from mmtwin.versions.releases import has_since


@dataclass(frozen=True)
class Item:
    """A name, and which kernels print it: see the module's text."""

    name: str
    first: str = ""
    last: str = ""
    config: str = ""
    arch: str = ""

    def there(self, profile: Profile) -> bool:
        """Whether a kernel prints it."""
        if self.first and not has_since(profile.version, self.first):
            return False
        if self.last and has_since(profile.version, self.last):
            return False
        if self.config and not profile.on(self.config):
            return False
        return not self.arch or profile.arch == self.arch


def items(text: str) -> tuple[Item, ...]:
    """The items of a table."""
    found = []
    for line in text.split("\n"):
        words = line.split("#")[0].split()
        if not words:
            continue
        keys = {"name": words[0]}
        for word in words[1:]:
            if word.startswith(".."):
                keys["last"] = word[2:]
            elif word.startswith("@"):
                keys["arch"] = word[1:]
            else:
                keys["first" if word[0].isdigit() else "config"] = word
        found.append(Item(**keys))
    return tuple(found)


# enum zone_stat_item
ZONE = items("""
    nr_free_pages
    nr_free_pages_blocks 6.15
    nr_zone_inactive_anon
    nr_zone_active_anon
    nr_zone_inactive_file
    nr_zone_active_file
    nr_zone_unevictable
    nr_zone_write_pending
    nr_mlock
    nr_page_table_pages ..5.11         # f0c0c115fb81: of the node from then on
    nr_bounce ..6.18
    nr_zspages ZSMALLOC
    nr_free_cma
    nr_unaccepted 6.5 UNACCEPTED_MEMORY  # dcdfdd40fa82
""")
# enum numa_stat_item, numa_event_item
NUMA = items("""
    numa_hit NUMA
    numa_miss NUMA
    numa_foreign NUMA
    numa_interleave NUMA
    numa_local NUMA
    numa_other NUMA
""")
# enum node_stat_item
NODE = items("""
    nr_inactive_anon
    nr_active_anon
    nr_inactive_file
    nr_active_file
    nr_unevictable
    nr_slab_reclaimable
    nr_slab_unreclaimable
    nr_isolated_anon
    nr_isolated_file
    workingset_nodes
    workingset_refault_anon
    workingset_refault_file
    workingset_activate_anon
    workingset_activate_file
    workingset_restore_anon
    workingset_restore_file
    workingset_nodereclaim
    nr_anon_pages
    nr_mapped
    nr_file_pages
    nr_dirty
    nr_writeback
    nr_writeback_temp ..6.18
    nr_shmem
    nr_shmem_hugepages
    nr_shmem_pmdmapped
    nr_file_hugepages
    nr_file_pmdmapped
    nr_anon_transparent_hugepages
    nr_vmscan_write
    nr_vmscan_immediate_reclaim
    nr_dirtied
    nr_written
    nr_throttled_written 5.16          # 8cd7c588decf
    nr_kernel_misc_reclaimable
    nr_foll_pin_acquired
    nr_foll_pin_released
    nr_vmalloc 7.3
    nr_kernel_stack
    nr_shadow_call_stack SHADOW_CALL_STACK
    nr_page_table_pages 5.11           # f0c0c115fb81
    nr_sec_page_table_pages 6.1        # ebc97a52b5d6
    nr_iommu_pages 6.11 IOMMU_SUPPORT  # bd3520a93a84
    nr_swapcached 5.12 SWAP            # b6038942480e
    pgpromote_success 5.18 NUMA_BALANCING  # e39bb6be9f2b
    pgpromote_candidate 6.1 NUMA_BALANCING  # c6833e10008f
    pgpromote_candidate_nrl 6.18 NUMA_BALANCING
    pgdemote_kswapd 6.12
    pgdemote_direct 6.12
    pgdemote_khugepaged 6.12
    pgdemote_proactive 6.18
    pgsteal_kswapd 7.3
    pgsteal_direct 7.3
    pgsteal_khugepaged 7.3
    pgsteal_proactive 7.3
    pgsteal_anon 7.3
    pgsteal_file 7.3
    pgscan_kswapd 7.3
    pgscan_direct 7.3
    pgscan_khugepaged 7.3
    pgscan_proactive 7.3
    pgscan_anon 7.3
    pgscan_file 7.3
    pgrotate_anon 7.3
    pgrotate_file 7.3
    pgrefill 7.3
    nr_hugetlb 6.18 HUGETLB_PAGE
    nr_balloon_pages 6.18
    nr_kernel_file_pages 6.18
    nr_gpu_active 7.3
    nr_gpu_reclaim 7.3
""")
# enum writeback_stat_item, vm_stat_item
SYSTEM = items("""
    nr_dirty_threshold
    nr_dirty_background_threshold
    nr_memmap_pages 6.12
    nr_memmap_boot_pages 6.12
""")
# Events that are counted for each zone type: `pgalloc_dma`. Not for Device zones at first.
ZONE_EVENTS = ("pgalloc", "allocstall", "pgskip")
DEVICE_EVENTS = Item("device", "6.1")
# enum vm_event_item; ZONE_EVENTS stands for those of each zone type.
EVENTS = items("""
    pgpgin
    pgpgout
    pswpin
    pswpout
    ZONE_EVENTS
    pgfree
    pgactivate
    pgdeactivate
    pglazyfree
    pgfault
    pgmajfault
    pglazyfreed
    pgrefill ..7.3
    pgreuse
    pgsteal_kswapd ..7.3
    pgsteal_direct ..7.3
    pgdemote_kswapd 5.15 ..6.12        # 668e4147d885
    pgdemote_direct 5.15 ..6.12
    pgsteal_khugepaged 6.12 ..7.3
    pgsteal_proactive 6.18 ..7.3
    pgscan_kswapd ..7.3
    pgscan_direct ..7.3
    pgscan_khugepaged 6.12 ..7.3
    pgscan_proactive 6.18 ..7.3
    pgscan_direct_throttle
    pgscan_anon ..7.3
    pgscan_file ..7.3
    pgsteal_anon ..7.3
    pgsteal_file ..7.3
    zone_reclaim_success 6.12 NUMA
    zone_reclaim_failed NUMA
    pginodesteal
    slabs_scanned
    kswapd_inodesteal
    kswapd_low_wmark_hit_quickly
    kswapd_high_wmark_hit_quickly
    pageoutrun
    pgrotated
    drop_pagecache
    drop_slab
    oom_kill
    numa_pte_updates NUMA_BALANCING
    numa_huge_pte_updates NUMA_BALANCING
    numa_hint_faults NUMA_BALANCING
    numa_hint_faults_local NUMA_BALANCING
    numa_pages_migrated NUMA_BALANCING
    pgmigrate_success MIGRATION
    pgmigrate_fail MIGRATION
    thp_migration_success MIGRATION
    thp_migration_fail MIGRATION
    thp_migration_split MIGRATION
    compact_migrate_scanned COMPACTION
    compact_free_scanned COMPACTION
    compact_isolated COMPACTION
    compact_stall COMPACTION
    compact_fail COMPACTION
    compact_success COMPACTION
    compact_daemon_wake COMPACTION
    compact_daemon_migrate_scanned COMPACTION
    compact_daemon_free_scanned COMPACTION
    htlb_buddy_alloc_success HUGETLB_PAGE
    htlb_buddy_alloc_fail HUGETLB_PAGE
    cma_alloc_success 5.13 CMA         # bbb269206f3c
    cma_alloc_fail 5.13 CMA
    unevictable_pgs_culled
    unevictable_pgs_scanned
    unevictable_pgs_rescued
    unevictable_pgs_mlocked
    unevictable_pgs_munlocked
    unevictable_pgs_cleared
    unevictable_pgs_stranded
    thp_fault_alloc TRANSPARENT_HUGEPAGE
    thp_fault_fallback TRANSPARENT_HUGEPAGE
    thp_fault_fallback_charge TRANSPARENT_HUGEPAGE
    thp_collapse_alloc TRANSPARENT_HUGEPAGE
    thp_collapse_alloc_failed TRANSPARENT_HUGEPAGE
    thp_file_alloc TRANSPARENT_HUGEPAGE
    thp_file_fallback TRANSPARENT_HUGEPAGE
    thp_file_fallback_charge TRANSPARENT_HUGEPAGE
    thp_file_mapped TRANSPARENT_HUGEPAGE
    thp_split_page TRANSPARENT_HUGEPAGE
    thp_split_page_failed TRANSPARENT_HUGEPAGE
    thp_deferred_split_page TRANSPARENT_HUGEPAGE
    thp_underused_split_page 6.12 TRANSPARENT_HUGEPAGE  # dafff3f4c850
    thp_split_pmd TRANSPARENT_HUGEPAGE
    thp_split_pud ..5.16 TRANSPARENT_HUGEPAGE @x86_64
    thp_scan_exceed_none_pte 5.16 TRANSPARENT_HUGEPAGE  # e9ea874a8ffb
    thp_scan_exceed_swap_pte 5.16 TRANSPARENT_HUGEPAGE
    thp_scan_exceed_share_pte 5.16 TRANSPARENT_HUGEPAGE
    thp_split_pud 5.16 TRANSPARENT_HUGEPAGE @x86_64
    thp_zero_page_alloc TRANSPARENT_HUGEPAGE
    thp_zero_page_alloc_failed TRANSPARENT_HUGEPAGE
    thp_swpout TRANSPARENT_HUGEPAGE
    thp_swpout_fallback TRANSPARENT_HUGEPAGE
    balloon_inflate ..7.3 MEMORY_BALLOON
    balloon_deflate ..7.3 MEMORY_BALLOON
    balloon_migrate ..7.3 MEMORY_BALLOON
    balloon_inflate 7.3 BALLOON
    balloon_deflate 7.3 BALLOON
    balloon_migrate 7.3 BALLOON
    swap_ra SWAP
    swap_ra_hit SWAP
    swpin_zero 6.12 SWAP               # e7ac4daeed91
    swpout_zero 6.12 SWAP
    ksm_swpin_copy 6.1 KSM
    cow_ksm 6.1 KSM
    zswpin 5.19 ZSWAP                  # f6498b776d28
    zswpout 5.19 ZSWAP
    zswpwb 6.8 ZSWAP                   # 7108cc3f765c
    direct_map_level2_splits 5.13 @x86_64  # 575299ea18a8
    direct_map_level3_splits 5.13 @x86_64
    direct_map_level2_collapses 6.18 @x86_64
    direct_map_level3_collapses 6.18 @x86_64
    nrswpin 7.3 SWAP
    nrswpout 7.3 SWAP
""")
# The sizes of a zone in zoneinfo, below `pages free`.
ZONE_PAGES = items("""
    free
    boost 6.1
    min
    low
    high
    promo 6.7
    spanned
    present
    managed
    cma 5.12                           # 3c381db1fac8
""")
# Of a CPU's pageset in zoneinfo.
PAGESET = items("""
    count
    high
    batch
    high_min 6.18
    high_max 6.18
""")
# The last lines of a zone in zoneinfo.
ZONE_TAIL = items("""
    node_unreclaimable
    start_pfn
    reserved_highatomic 7.3
    free_highatomic 7.3
""")
MEMINFO = items("""
    MemTotal
    MemFree
    MemAvailable
    Buffers
    Cached
    SwapCached
    Active
    Inactive
    Active(anon)
    Inactive(anon)
    Active(file)
    Inactive(file)
    Unevictable
    Mlocked
    SwapTotal
    SwapFree
    Zswap 5.19 ZSWAP                   # f6498b776d28
    Zswapped 5.19 ZSWAP
    Dirty
    Writeback
    AnonPages
    Mapped
    Shmem
    KReclaimable
    Slab
    SReclaimable
    SUnreclaim
    KernelStack
    ShadowCallStack SHADOW_CALL_STACK
    PageTables
    SecPageTables 6.1                  # ebc97a52b5d6
    NFS_Unstable
    Bounce
    WritebackTmp
    CommitLimit
    Committed_AS
    VmallocTotal
    VmallocUsed
    VmallocChunk
    Percpu
    HardwareCorrupted MEMORY_FAILURE
    AnonHugePages TRANSPARENT_HUGEPAGE
    ShmemHugePages TRANSPARENT_HUGEPAGE
    ShmemPmdMapped TRANSPARENT_HUGEPAGE
    FileHugePages TRANSPARENT_HUGEPAGE
    FilePmdMapped TRANSPARENT_HUGEPAGE
    CmaTotal CMA
    CmaFree CMA
    Unaccepted 6.5 UNACCEPTED_MEMORY   # dcdfdd40fa82
    Balloon 6.18
    GPUActive 7.3
    GPUReclaim 7.3
    HugePages_Total HUGETLB_PAGE
    HugePages_Free HUGETLB_PAGE
    HugePages_Rsvd HUGETLB_PAGE
    HugePages_Surp HUGETLB_PAGE
    Hugepagesize HUGETLB_PAGE
    Hugetlb HUGETLB_PAGE
    DirectMap4k @x86_64
    DirectMap2M @x86_64
""")
# /sys/kernel/slab/CACHE: slab_attrs of mm/slub.c, as far as they can be read without side effects.
SLAB_ATTRIBUTES = items("""
    object_size
    slab_size
    align
    order
    objs_per_slab
    cpu_partial
    min_partial
    objects
    objects_partial
    total_objects
    slabs
    partial
    cpu_slabs
    slabs_cpu_partial
    aliases
    ctor
    red_zone
    poison
    store_user
    sanity_checks
    trace
    reclaim_account
    hwcache_align
    cache_dma ZONE_DMA
    destroy_by_rcu
    usersize HARDENED_USERCOPY
    failslab FAILSLAB
    remote_node_defrag_ratio NUMA
    skip_kfence 6.1 KFENCE
    sheaf_capacity 6.18
""")


def names(table: tuple[Item, ...], profile: Profile) -> list[str]:
    """The names of a table that a kernel prints, in its order."""
    return [item.name for item in table if item.there(profile)]


def vmstat_names(profile: Profile) -> list[str]:
    """The lines of /proc/vmstat that a kernel prints, in its order."""
    found = []
    for table in (ZONE, NUMA, NODE, SYSTEM, EVENTS):
        for name in names(table, profile):
            if name != "ZONE_EVENTS":
                found.append(name)
                continue
            device = DEVICE_EVENTS.there(profile)
            zones = [zone.lower() for zone, _ in profile.zones if device or zone != "Device"]
            found += [f"{event}_{zone}" for event in ZONE_EVENTS for zone in zones]
    return [*found, "nr_unstable"]


def most_partial_scanned(profile: Profile) -> int:
    """How many slabs of a partial list slabinfo looks at, half from each end; 0: at all.

    MAX_PARTIAL_TO_SCAN of mm/slub.c, since 6.10 (count_partial_free_approx).
    """
    return 10_000 if has_since(profile.version, "6.10") else 0


def shows_nopage(profile: Profile) -> bool:
    """Whether kpageflags says KPF_NOPAGE of a pfn without a struct page; later 0 stands there.

    stable_page_flags is called for such a pfn up to 6.12; kpage_read of 7.3 does not.
    """
    return not has_since(profile.version, "6.18")
