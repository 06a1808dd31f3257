"""Zone types and migratetypes by configuration, in the order in which a kernel numbers them."""

from collections.abc import Mapping

# enum zone_type: (name in /proc, the twin's ZONE_* number, the switch it needs).
ZONE_TYPES = (
    ("DMA", 0, "CONFIG_ZONE_DMA"),
    ("DMA32", 1, "CONFIG_ZONE_DMA32"),
    ("Normal", 2, ""),
    ("HighMem", 3, "CONFIG_HIGHMEM"),
    ("Movable", 4, ""),
    ("Device", 5, "CONFIG_ZONE_DEVICE"),
)
# enum migratetype: name in /proc/pagetypeinfo and the switch it needs.
MIGRATE_TYPES = (
    ("Unmovable", ""),
    ("Movable", ""),
    ("Reclaimable", ""),
    ("HighAtomic", ""),
    ("CMA", "CONFIG_CMA"),
    ("Isolate", "CONFIG_MEMORY_ISOLATION"),
)


def zones_of(config: Mapping[str, str]) -> list[tuple[str, int]]:
    """(name, the twin's number) of each zone type that a kernel has, in the kernel's order."""
    return [(name, number) for name, number, symbol in ZONE_TYPES
            if not symbol or config.get(symbol) == "y"]


def migratetypes_of(config: Mapping[str, str]) -> list[str]:
    """The names of a kernel's migratetypes by number."""
    return [name for name, symbol in MIGRATE_TYPES if not symbol or config.get(symbol) == "y"]
