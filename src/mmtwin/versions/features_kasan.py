"""What KASAN of each kernel does: the kasan section of kernel/features.pxd, row by row.

The form of a row: versions/features.py. Sources: mm/kasan/generic.c, common.c, quarantine.c,
report.c, report_generic.c; mm/slab_common.c for ksize() and krealloc(). An empty commit: the
release is known, the commit's number in the mainline is not confirmed. That of 6.17 is probably
"kasan: skip quarantine if object is still accessible under RCU", of 6.11 "lib/dump_stack: report
process UID in dump_stack_print_info()".
"""

from mmtwin.versions.facts import Change, Facts, Feature


def generic_kasan(facts: Facts) -> int:
    """Generic KASAN, unless one of the tag-based modes was chosen."""
    tags = ("CONFIG_KASAN_SW_TAGS", "CONFIG_KASAN_HW_TAGS")
    return int(facts.on("CONFIG_KASAN") and not any(facts.on(name) for name in tags))


def kasan_stack(facts: Facts) -> int:
    """CONFIG_KASAN_STACK: a number in 5.10, on with KASAN where nothing turns it off."""
    return int(generic_kasan(facts) and facts.config.get("CONFIG_KASAN_STACK") not in ("n", "0"))


def track_bytes(facts: Facts) -> int:
    """CONFIG_KASAN_EXTRA_INFO adds CPU and time."""
    return 16 if facts.on("CONFIG_KASAN_EXTRA_INFO") else 8


def quarantine_batches(facts: Facts) -> int:
    """QUARANTINE_BATCHES: 1024, or four for each possible CPU."""
    return max(1024, 4 * facts.number("CONFIG_NR_CPUS", 1))


KASAN = (
    Feature("kasan", "generic KASAN checks every access", generic_kasan),
    Feature("kasan_stack", "red zones around automatic variables", kasan_stack),
    Feature("kasan_vmalloc", "the vmalloc area has shadow pages of its own", generic_kasan,
            config="CONFIG_KASAN_VMALLOC"),
    Feature("kasan_populates_in_bulk",
            "shadow pages of the vmalloc area are taken by the hundreds", 0,
            Change("6.16", 1, "b6ea95a34cbd")),
    Feature("kasan_track_bytes", "sizeof(struct kasan_track)", 8,
            Change("6.8", track_bytes, "5d4c6ac94694")),
    Feature("kasan_meta_or_nothing", "a cache whose metadata does not fit is not checked at all",
            1, Change("5.12", 0, "97593cad003c")),
    Feature("kasan_splits_free_meta",
            "a small object holds the start of its struct kasan_free_meta", 0,
            Change("6.8", 1, "4398718dd905")),
    Feature("kasan_keeps_free_track",
            "who freed an object is known after it left the quarantine too", 0,
            Change("6.8", 1, "711d349174fd")),
    Feature("kasan_checks_byte", "krealloc() fails on a freed object; large ones freed twice", 0,
            Change("5.12", 1, "26a5ca7a73be")),
    Feature("kasan_ksize_unpoisons", "ksize() makes the whole object accessible", 1,
            Change("6.2", 0, "38931d8989b5")),
    Feature("kasan_quarantines_rcu", "SLAB_TYPESAFE_BY_RCU objects wait in the quarantine", 0,
            Change("6.12", 1, "b8c8ba73c68b"), Change("6.17", 0, "56bdf83de7f1")),
    Feature("kasan_quarantine_batches", "QUARANTINE_BATCHES", quarantine_batches),
    Feature("kasan_quarantine_exact",
            "objects of a removed cache no longer count as quarantined", 0,
            Change("7.3", 1, "")),
    Feature("kasan_names_double_free", '"double-free" and "invalid-free" are two kinds of report',
            0, Change("6.0", 1, "3de0de758029")),
    Feature("kasan_prints_free_addr", "... which name the address", 0,
            Change("6.1", 1, "dcc579663f60")),
    Feature("kasan_report_blocks", "parts of a report are set apart by empty lines", 0,
            Change("5.18", 1, "038fd2b4cb42")),
    Feature("kasan_infers_size", "the size asked for is read from the shadow", 0,
            Change("6.3", 1, "8f17febb34ce")),
    Feature("dump_page_snapshot", "dump_page() names no addresses, and all counts of a folio", 0,
            Change("6.9", 1, "fae7d834c43c")),
    Feature("dump_stack_uid", '"CPU: 0 UID: 0 PID: 1", taints on their own line', 0,
            Change("6.11", 1, "d2917ff19962")),
)
