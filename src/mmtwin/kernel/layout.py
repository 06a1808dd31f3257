"""What a machine is before anything runs on it: the sizes that the twin's arrays are made from."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """The fixed shape of one machine. Made by machine/ from a profile or a recording.

    Pages are `1 << page_shift` bytes; pfns run from `min_pfn` to `max_pfn - 1`, holes included.
    `page_offset` is the kernel virtual address of pfn 0 (unsigned 64 bit, may wrap around where
    RAM starts above 0). `features` gives every field of `features.pxd` by name.
    """

    min_pfn: int
    max_pfn: int
    page_shift: int
    page_offset: int
    pageblock_order: int
    nr_orders: int
    nr_migratetypes: int
    migrate_isolate: int
    migrate_cma: int = -1
    nr_nodes: int = 1
    nr_zone_types: int = 5
    nr_cpus: int = 1
    max_caches: int = 1024
    max_sheaves: int = 65536
    ring_size: int = 4096
    seed: int = 1
    contents: bool = True
    # VMALLOC_START and its like, bits that page tables translate; 0 where there is no such space
    vmalloc_start: int = 0
    vmalloc_end: int = 0
    modules_start: int = 0
    modules_end: int = 0
    va_bits: int = 48
    features: dict[str, int] = field(default_factory=dict)
