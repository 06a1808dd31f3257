"""What each kernel has: a row for every field of kernel/features.pxd.

A row is data: the value that the field has in the first release the twin knows, then the values it
took later, each with the commit and release that changed it.

    Feature("pcp_max_order", "highest order on per-CPU lists", 0,
            Change("5.14", 3, "44042b449872"))

`config="CONFIG_A CONFIG_B"` and `arch="x86_64"` say where the row holds (elsewhere 0, or the
value of `without=`). A value may be a function of the Facts where it depends on a number of the
configuration.
"""

from collections.abc import Iterator, Mapping

from mmtwin.versions.facts import Change, Facts, Feature
from mmtwin.versions.features_slub import SLUB

# The sections of features.pxd, in its order.
PAGE_ALLOC = (
    Feature("pcp_max_order", "highest order on per-CPU lists (PAGE_ALLOC_COSTLY_ORDER)", 0,
            Change("5.14", 3, "44042b449872")),
    Feature("pcp_thp_lists", "per-CPU lists of huge blocks: by migratetype, one, movable or not", 0,
            Change("5.14", 3, "44042b449872"),
            Change("6.10", 1, "5d0a661d808f", ("6.1.95", "6.6.35")),
            Change("6.11", 2, "bf14ed81f571", ("6.1.96", "6.6.36")),
            config="CONFIG_TRANSPARENT_HUGEPAGE"),
    Feature("pcp_high_from_watermark", "pcp->high is a CPU's share of the low watermark", 0,
            Change("5.14", 1, "b92ca18e8ca5")),
    Feature("pcp_batch_scale", "how often batches may double", 15,
            Change("6.7", lambda facts: facts.number("CONFIG_PCP_BATCH_SCALE_MAX", 5),
                   "52166607ecc9", ("6.1.60",))),
    Feature("pcp_drains_whole_lists", "a drain empties list after list, the freed page's first", 0,
            Change("5.18", 1, "fd56eef258a1")),
    Feature("pcp_free_factor", "drains double while a CPU only frees", 0,
            Change("5.14", 1, "3b12e7e97938"), Change("6.7", 0, "6ccdcb6d3a74")),
    Feature("pcp_free_high", "frees of orders 1 to 3 alone drain all of a CPU's pages", 0,
            Change("5.18", 1, "f26b3fa04611"), Change("6.7", 0, "ca71fe1ad922")),
    Feature("pcp_auto_tune", "pcp->high is tuned between high_min and high_max", 0,
            Change("6.7", 1, "51a755c56dc0")),
    Feature("pcp_free_high_late", "draining high orders also waits for high_min / 2 frees", 0,
            Change("6.16", 1, "c544a952ba61")),
    Feature("pcp_frees_in_batches", "a long drain on free goes in steps of a batch", 0,
            Change("6.19", 1, "0acc67c4030c")),
    Feature("pcp_drain_in_batches", "drain_pages_zone() goes in steps", 0,
            Change("6.10", 1, "55f77df7d715", ("6.1.95", "6.6.35"))),
    Feature("pcp_no_highatomic_refill", "empty lists are not filled for ALLOC_HIGHATOMIC", 0,
            Change("7.1", 1, "")),
    Feature("buddy_after_pcp", "the free lists are tried when a per-CPU list stays empty", 0,
            Change("6.0", 1, "01b44456a7aa")),
    Feature("freelist_hygiene", "free blocks lie on the list of their pageblock's type", 0,
            Change("6.10", 1, "e0932b6c1f94")),
    Feature("merge_checks_mergeable", "pageblocks that cannot be fallbacks do not merge", 0,
            Change("5.18", 1, "1dd214b8f21c")),
    Feature("zone_locked_by_smallest", "mm_page_alloc_zone_locked comes from __rmqueue_smallest()", 0,
            Change("5.19", 1, "10e0f7530205")),
    Feature("fallback_claims", "fallbacks claim a pageblock or steal one block", 0,
            Change("6.15", 1, "c2f6ea38fc1b", ("6.12.30",))),
    Feature("nofragment_low_orders", "ALLOC_NOFRAGMENT is for orders below a pageblock's", 0,
            Change("5.18", 1, "bb0e28eb5bc2")),
    Feature("non_block_reserves", "requests that cannot wait may use the reserves", 0,
            Change("6.3", 1, "1ebbb21811b7", ("6.1.115",))),
    Feature("highatomic_last_resort", "order-0 requests may use high-atomic blocks at last", 0,
            Change("6.13", 1, "281dd25c1a01", ("6.1.115", "6.6.59", "6.11.6", "6.12.1"))),
    Feature("highatomic_one_percent", "no high-atomic reserve where 1% is no pageblock", 0,
            Change("6.7", 1, "9cd20f3fa045")),
    Feature("highatomic_first", "the fast path uses the high-atomic reserve", 0,
            Change("7.3", 1, "")),
    Feature("watermark_free_highatomic", "only free high-atomic pages are out of reach", 0,
            Change("6.13", 1, "c928807f6f6b", ("6.12.2",))),
    Feature("watermark_min_reserve", "ALLOC_MIN_RESERVE ignores boosts", 0,
            Change("6.3", 1, "2973d8229b78")),
    Feature("movable_not_lowmem", "ZONE_MOVABLE has no part in min_free_kbytes", 0,
            Change("6.6", 1, "")),
    Feature("node_load_adds", "build_zonelists() counts a node's load up", 0,
            Change("5.18", 1, "54d032ced983")),
    Feature("exact_to_tail", "alloc_pages_exact() frees its rest to the free lists' tails", 0,
            Change("5.19", 1, "df48a5f7a3bb")),
    Feature("vmalloc_bulk", "vmalloc takes pages in bulk, without events", 0,
            Change("5.14", 1, "5c1f4e690eec"), Change("7.0", 0, "a06157804399")),
    Feature("vfree_contig", "vfree frees runs of pages as blocks", 0,
            Change("7.2", 1, "")),
    Feature("numa", "several nodes are possible", 1, config="CONFIG_NUMA"),
    Feature("zone_dma", "there is a ZONE_DMA", 1, config="CONFIG_ZONE_DMA"),
    Feature("zone_dma32", "there is a ZONE_DMA32", 1, config="CONFIG_ZONE_DMA32"),
    Feature("shuffle", "page_alloc.shuffle=1", 0),
)

SECTIONS = (PAGE_ALLOC, SLUB)


def all_features() -> Iterator[Feature]:
    """Every row."""
    for section in SECTIONS:
        yield from section


def features_of(
    version: str, arch: str, page_size: int, config: Mapping[str, str]
) -> dict[str, int]:
    """The value of every field of `features_t` for one kernel.

    `version`: `"6.1"` or a full release; `arch`: `"x86_64"` or `"arm64"`; `page_size` in bytes;
    `config`: `{"CONFIG_NUMA": "y", ...}`. Raises ValueError if the version is no release.
    """
    facts = Facts(version, arch, page_size, config)
    return {feature.name: feature.value(facts) for feature in all_features()}
