"""Page tables and faults: the memory section of kernel/features.pxd. The form of a row:
versions/features.py.
"""

from mmtwin.versions.facts import Change, Facts, Feature
from mmtwin.versions.features_slub import on_arm64


def thp_enabled(facts: Facts) -> int:
    """CONFIG_TRANSPARENT_HUGEPAGE_ALWAYS, _MADVISE or _NEVER."""
    if facts.on("CONFIG_TRANSPARENT_HUGEPAGE_ALWAYS"):
        return 2
    return 1 if facts.on("CONFIG_TRANSPARENT_HUGEPAGE_MADVISE") else 0


MEMORY = (
    Feature("pte_soft_dirty", "entries have a soft-dirty bit", 1,
            config="CONFIG_MEM_SOFT_DIRTY", arch="x86_64"),
    Feature("pgtable_table_pxn", "entries that lead to tables of users say PXN", 0,
            Change("5.13", 1, "87143f404f33"), arch="arm64"),
    Feature("old_prefaulted_pte", "pages mapped around a fault are not young", 0,
            Change("5.12", 1, "46bdb4277f98"), config="CONFIG_ARM64_HW_AFDBM", arch="arm64"),
    Feature("rss_split", "tasks count faults of their own before the mm does", 1,
            Change("6.2", 0, "f1a7941243c1")),
    Feature("shared_fault_retry", "a write fault that dirties a shared page is taken twice", 1,
            Change("6.0", 0, "d92725256b4f")),
    Feature("rss_sum_shown", "/proc sums what CPUs hold of rss_stat", 0,
            Change("6.16", 1, "82241a83cd15", ("6.12.107",))),
    Feature("rss_batched_map", "a fault-around counts its pages at once", 0,
            Change("6.10", 1, "1f2d8b44871b")),
    Feature("user_gfp_comp", "user pages are folios: __GFP_COMP", 0,
            Change("5.18", 1, "f584b68005ac")),
    Feature("wp_reuse", "0: one reference; 1: once batches are drained; 2: AnonExclusive; "
            "3: large folios whose references are all of one mm", 0,
            Change("5.18", 1, "53a05ad9f21d"), Change("5.19", 2, "6c287605fd56"),
            Change("6.15", 3, "1da190f4d0a6")),
    Feature("thp_enabled", "transparent_hugepage/enabled at boot: 1 madvise, 2 always",
            thp_enabled, config="CONFIG_TRANSPARENT_HUGEPAGE"),
    Feature("lru_batch", "pages of a pagevec or folio batch", 15,
            Change("6.10", 31, "9cecde80aae0")),
    Feature("frees_in_order", "freed pages go in order of their batch, not backwards", 0,
            Change("6.9", 1, "99fbb6bfc16f")),
    Feature("gather_pairs", "mmu_gather keeps a place for the number of pages", 0,
            Change("6.9", 1, "d7f861b9c43a")),
    Feature("table_free_rcu", "page tables are freed by RCU", on_arm64(1, 0),
            Change("6.15", 1, "4e1ad22c73dd")),
    # 7.1.5 does not have it, 7.3 does
    Feature("lru_fault_referenced", "pages that a fault brings are referenced (MGLRU)", 0,
            Change("7.3", 1, ""), config="CONFIG_LRU_GEN_ENABLED"),
    Feature("reclaim_pt", "MADV_DONTNEED frees page tables that it emptied", 0,
            Change("6.14", 1, "6375e95f381e"), config="CONFIG_PT_RECLAIM", arch="x86_64"),
)
