"""The areas of an address space by address (mm/mmap.c, mm/vma.c): what both kinds of tree offer.

`mm.tree` is one of them: a red-black tree with a list and the vmacache before 6.1
(vma_rbtree.py), a maple tree since (maple_tree.py). The bounds of an area that is in a tree change
through the tree only. A tree keeps what follows from the areas in it: `mm.mmap`, `mm.map_count`,
`mm.highest_vm_end`.
"""

import cython

from mmtwin.kernel.mman import VM_SHADOW_STACK

if not cython.compiled:
    from mmtwin.kernel.mman import VM_GROWSDOWN

STACK_GUARD_PAGES = 256  # stack_guard_gap= of the command line, in pages


class vm_unmapped_area_info:
    """What an unmapped area must be like (struct vm_unmapped_area_info): bytes and addresses."""

    def __init__(self, length, low_limit, high_limit, align_mask=0, align_offset=0, start_gap=0,
                 topdown=False):
        self.length = length
        self.low_limit = low_limit
        self.high_limit = high_limit
        self.align_mask = align_mask
        self.align_offset = align_offset
        self.start_gap = start_gap
        self.topdown = topdown


class VmaTree:
    """What trees of areas have in common."""

    def __init__(self, mm):
        self.mm = mm
        self.page_size = 1 << mm.machine.page_shift
        self.stack_guard_gap = STACK_GUARD_PAGES * self.page_size
        self.shadow_stack = VM_SHADOW_STACK
        self.mmap_min_addr = 0
        self.searches = None
        self._visits = self.cache_hits = self.cache_misses = 0

    def _find(self, address):
        raise NotImplementedError

    @property
    def visits(self):
        """How many nodes searches came to."""
        return self._visits

    def start_gap(self, vma):
        """Where others must end: below the gap that guards a stack (vm_start_gap())."""
        gap = 0
        if vma.vm_flags & VM_GROWSDOWN:
            gap = self.stack_guard_gap
        elif vma.vm_flags & self.shadow_stack:
            gap = self.page_size
        return vma.vm_start - gap if vma.vm_start > gap else 0

    def find_vma(self, address):
        """The first area that ends above an address (find_vma()).

        `address`: unsigned long. Returns a vm_area_struct, or None where there is none.
        """
        return self._find(address)

    def find_vma_intersection(self, start, end):
        """The first area that has an address of `start` <= a < `end`, or None.

        `start`, `end`: unsigned long (find_vma_intersection()).
        """
        vma = self._find(start)
        return None if vma is None or end <= vma.vm_start else vma

    def find_exact_vma(self, start, end):
        """The area with just these bounds, or None (find_exact_vma())."""
        vma = self._find(start)
        if vma is None or vma.vm_start != start or vma.vm_end != end:
            return None
        return vma

    def vma_lookup(self, address):
        """The area that has an address, or None (vma_lookup())."""
        vma = self._find(address)
        return None if vma is None or address < vma.vm_start else vma

    def find_vma_prev(self, address):
        """The first area that ends above an address, and the one before it: each may be None.

        `address`: unsigned long (find_vma_prev()).
        """
        vma = self._find(address)
        return vma, self.last() if vma is None else self.prev(vma)

    def link_gfp(self, vma):
        """An area comes in, without vma_link()'s request beforehand. Returns 0 or -ENOMEM."""
        return self.link(vma)

    def preallocate(self, start, end, vma):
        """Asks for what a store of an area will need: 0 or -ENOMEM. A store, or give_back(),
        follows.
        """
        return 0

    def give_back(self):
        """No store comes."""

    def begin_erase(self):
        """Areas will go; gather() each, then erase() or cancel_erase(). Returns 0 or -ENOMEM."""
        return 0

    def gather(self, vma):
        """An area that will go."""

    def cancel_erase(self):
        """They stay."""

    def __iter__(self):
        """The areas by address; the tree may change behind the one that was handed out last."""
        vma = self.first()
        while vma is not None:
            following = self.next(vma)
            yield vma
            vma = following

    def vm_unmapped_area(self, info):
        """An address for an area that is not there yet (vm_unmapped_area()).

        `info`: a vm_unmapped_area_info. Returns the address, or -ENOMEM; `searches`, unless None,
        gets both (the event mmap:vm_unmapped_area).
        """
        found = self.unmapped_area_topdown(info) if info.topdown else self.unmapped_area(info)
        if self.searches is not None:
            self.searches.append((info, found))
        return found


def mm_find_vma(mm, address):
    """mm.tree.find_vma(address), for compiled code: the first area that ends above an address."""
    tree = mm.tree
    return tree._find(address)
