"""vmalloc space with KASAN: every area has shadow pages, and is poisoned when it is free.

mm/vmalloc.c: alloc_vmap_area(), __get_vm_area_node(), remove_vm_area(), purge_vmap_node(), as far
as they call KASAN. With KASAN off nothing happens here.
"""

from mmtwin.kernel.constants import CHECK_KASAN
from mmtwin.kernel.kasan_hooks import (
    kasan_depopulate_vmalloc,
    kasan_poison_vmalloc,
    kasan_populate_vmalloc,
    kasan_unpoison_vmalloc,
)
from mmtwin.kernel.vmap_space import Vmap


class KasanVmap(Vmap):
    """vmalloc space of a machine (`mm`) whose areas get their shadow."""

    mm = None

    def alloc(self, size, align, start, end, gfp=0, node=-1):
        """alloc_vmap_area(): an area with its shadow, None without either."""
        area = super().alloc(size, align, start, end, gfp, node)
        if area is None or not self.mm.checkers & CHECK_KASAN:
            return area
        if kasan_populate_vmalloc(self.mm, area.start, size):
            return area
        self.node_of(area.start).busy.remove(area)
        self.free_noflush(area)
        return None

    def shadow_freed(self, start, end, free):
        """kasan_release_vmalloc()"""
        if self.mm.checkers & CHECK_KASAN:
            kasan_depopulate_vmalloc(self.mm, start, end, free.start, free.end)


def kasan_map(mm, vm, size):
    """`size` bytes of an area may be used: what was asked of vmalloc(), all pages of others."""
    if mm.checkers & CHECK_KASAN:
        kasan_unpoison_vmalloc(mm, vm.address, size)


def kasan_unmap(mm, vm):
    """An area is given up."""
    if mm.checkers & CHECK_KASAN:
        kasan_poison_vmalloc(mm, vm.address, vm.area_size(1 << mm.page_shift))
