"""A small machine with kmemleak on it, and a page of global variables."""

from slub_machine import GFP_KERNEL, kmalloc_machine

from mmtwin.kernel.constants import CHECK_KMEMLEAK
from mmtwin.kernel.kmemleak import Kmemleak
from mmtwin.kernel.kmemleak_object import KMEMLEAK_GREY, KmemleakObject
from mmtwin.kernel.page_alloc import alloc_pages
from mmtwin.kernel.slab_common import __kmalloc_node as kmalloc_node
from mmtwin.kernel.slab_common import kfree

ZEROED = 0x100  # __GFP_ZERO
HZ = 250
LONG_AGO = 10 * HZ


class Leaks:
    """A machine `mm`, its kmemleak `k`, and `root`: the address of a page that is a root."""

    def __init__(self, version: str = "6.1", pages: int = 2048, **kwargs: int) -> None:
        self.mm = kmalloc_machine(version, pages, **kwargs)
        self.k = Kmemleak(self.mm, HZ)
        self.mm.kmemleak = self.k
        self.mm.contents = 1
        self.k.init()
        self.root = self.page(0)
        self.k.create_object(self.root, 4096, KMEMLEAK_GREY, GFP_KERNEL)
        assert self.mm.checkers == CHECK_KMEMLEAK

    def page(self, order: int) -> int:
        """The address of a block of zeroed pages."""
        pfn = alloc_pages(self.mm, GFP_KERNEL | ZEROED, order, -1)
        return (self.mm.page_offset + (pfn << 12)) & (1 << 64) - 1

    def kmalloc(self, size: int = 64) -> int:
        return kmalloc_node(self.mm, size, GFP_KERNEL | ZEROED, -1)

    def kfree(self, address: int) -> None:
        kfree(self.mm, address)

    def store(self, place: int, value: int) -> None:
        """Writes a word, aligned or not."""
        ram = self.mm.view("ram").view("u1")
        start = (place - self.mm.page_offset) & (1 << 64) - 1
        ram[start : start + 8] = list(value.to_bytes(8, "little"))

    def scan(self) -> int:
        """A scan long after; how many new leaks."""
        self.mm.jiffies += LONG_AGO
        found: int = self.k.scan()
        return found

    def settle(self) -> set[int]:
        """Scans until nothing counts as modified; the addresses of all that is leaked."""
        self.scan()
        self.scan()
        return {o.pointer for o in self.k.object_list if self.k.is_unreferenced(o)}

    def object(self, address: int) -> KmemleakObject:
        found = self.k.tree.at[address]
        assert isinstance(found, KmemleakObject)
        return found
