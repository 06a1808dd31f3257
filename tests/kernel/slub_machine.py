"""A small machine with SLUB on it, for the tests of SLUB and kmalloc."""

import hashlib

from page_machine import fill, machine

from mmtwin.kernel.mm import MM
from mmtwin.kernel.slab_kmalloc import kmem_cache_init

VERSIONS = ("5.10", "5.13", "6.1", "6.12", "6.18", "7.3")
GFP_KERNEL = 0xCC0
DEBIAN = {
    "slub_cpu_partial": 1,
    "cpu_partial_counts_slabs": 1,
    "freelist_hardened": 1,
    "freelist_random": 1,
    "slab_merge": 1,
    "init_on_alloc": 1,
}


def slub_machine(version: str = "6.1", pages: int = 512, **kwargs: int) -> MM:
    """A machine of `pages` free pages, no slab cache yet, configured as Debian does."""
    options = dict(DEBIAN)
    if version in ("5.10", "5.13"):
        options["cpu_partial_counts_slabs"] = 0
    if version == "7.3":
        options["slub_cpu_partial"] = 0
    options.update(kwargs)
    nodes = options.get("nodes", 1)
    mm = machine(version, pages, orders=6, block_order=5, caches=320, **options)
    fill(mm, 0, pages * nodes, 5)
    return mm


def kmalloc_machine(version: str = "6.1", pages: int = 2048, **kwargs: int) -> MM:
    """The same with the boot and kmalloc caches."""
    mm = slub_machine(version, pages, **kwargs)
    kmem_cache_init(mm)
    return mm


def checksum(mm: MM) -> str:
    """A digest of all that SLUB keeps."""
    digest = hashlib.sha256()
    for name in ("cache", "cache_cpu", "cache_node", "random_seq", "sheaf", "ram"):
        digest.update(mm.view(name).tobytes())
    return digest.hexdigest()[:16]
