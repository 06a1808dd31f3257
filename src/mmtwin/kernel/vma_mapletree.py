"""A process's areas since 6.1: mm_struct.mm_mt, a maple tree (mm/mmap.c, mm/vma.c).

There is no list, and no cache of areas found.
"""

from mmtwin.kernel.maple_store import MapleStore
from mmtwin.kernel.maple_tree import ULONG_MAX
from mmtwin.kernel.maple_validate import validate_maple_tree
from mmtwin.kernel.mman import ENOMEM
from mmtwin.kernel.vma_tree import VmaTree


class VmaMapleTree(VmaTree):
    """`mt`: the tree, whose readers need no lock (MM_MT_FLAGS)."""

    def __init__(self, mm):
        VmaTree.__init__(self, mm)
        self.mt = MapleStore(mm.machine)
        has = mm.machine.view("has")[0]
        self.bulk = bool(has.maple_bulk)
        self.counts_detached = bool(has.munmap_counts_detached)
        self.dup = bool(has.maple_dup)
        self.min_addr = bool(has.unmapped_min_addr)
        self.detached = self.hand = None
        self.gone = []

    def _find(self, address):
        return self.mt._find(address)

    @property
    def visits(self):
        """How many nodes walks and searches came to."""
        return self.mt.visits

    def first(self):
        """The lowest area, or None."""
        return self._find(0)

    def last(self):
        """The highest area, or None."""
        return self.mt.find_before(0xFFFFFFFFFFFFFFFF)

    def next(self, vma):
        """The area after one, or None."""
        return self._find(vma.vm_end)

    def prev(self, vma):
        """The area before one, or None."""
        return self.mt.find_before(vma.vm_start - 1) if vma.vm_start else None

    # ---- changes

    def link(self, vma):
        """An area comes in (vma_link()): where no other is. Returns 0 or -ENOMEM."""
        error = self._store(vma.vm_start, vma.vm_end, vma)
        if not error:
            self.mm.map_count += 1
        return error

    def link_gfp(self, vma):
        """An area comes in, and asks for nodes in the midst of the store, as do_brk_flags() does
        (vma_iter_store_gfp()). Returns 0 or -ENOMEM.
        """
        error = self.mt.store_gfp(vma.vm_start, vma.vm_end - 1, vma)
        if not error:
            self.mm.map_count += 1
        return error

    def unlink(self, vma):
        """An area goes."""
        error = self._store(vma.vm_start, vma.vm_end, None)
        if not error:
            self.mm.map_count -= 1
        return error

    def _store(self, start, end, vma):
        """vma_iter_prealloc(), vma_iter_store()."""
        error = self.mt.preallocate(start, end - 1, vma)
        if not error:
            self.mt.store(start, end - 1, vma)
        return error

    def preallocate(self, start, end, vma):
        """vma_iter_prealloc(); see VmaTree."""
        return self.mt.preallocate(start, end - 1, vma)

    def give_back(self):
        """vma_iter_free()"""
        self.mt.mas_destroy()

    def begin_erase(self):
        """Areas will go: the nodes for that are asked for before anything is split
        (do_mas_align_munmap()). Returns 0 or -ENOMEM.
        """
        if self.bulk:
            if self.mt.preallocate(0, 0, None):
                return -ENOMEM
            self.hand = self.mt.alloc.set_aside()
        self.detached = MapleStore(self.mm.machine, alloc_range=False, in_rcu=False)
        self.gone = []
        return 0

    def gather(self, vma):
        """An area that goes waits in a tree of its own (mt_detach of do_mas_align_munmap(), since
        6.11 of vms_gather_munmap_vmas()).
        """
        self.gone.append(vma)
        if not self.counts_detached:
            self.detached.store_gfp(vma.vm_start, vma.vm_end - 1, vma)
        elif len(self.gone) > 1:  # one entry needs no node
            for i in range(0 if len(self.gone) == 2 else len(self.gone) - 1, len(self.gone)):
                self.detached.store_gfp(i, i, self.gone[i])

    def cancel_erase(self):
        """They stay."""
        self.detached.destroy()
        self._end_erase()
        self.mt.mas_destroy()

    def _end_erase(self):
        if self.bulk:
            self.mt.alloc.take_back(self.hand)
        self.detached = self.hand = None

    def erase(self, start, end):
        """Nothing is left between two addresses: the areas there, a list. None sticks out.

        They were gathered, or are now. All addresses, up to ULONG_MAX: exit_mmap().
        """
        if start == 0 and end >= ULONG_MAX:
            gone = list(self)
            self.mm.map_count -= len(gone)
            self.destroy()
            return gone
        if self.detached is None:
            self.begin_erase()
            vma = self.find_vma_intersection(start, end)
            while vma is not None and vma.vm_start < end:
                self.gather(vma)
                vma = self.next(vma)
        gone, detached = self.gone, self.detached
        self._end_erase()
        if not gone:
            self.mt.mas_destroy()
            return gone
        if self.bulk:
            self.mt.store(start, end - 1, None)
        else:
            self.mt.store_gfp(start, end - 1, None)
        self.mm.map_count -= len(gone)
        detached.destroy()
        return gone

    def adjust(self, vma, start, end, pgoff, insert=None, neighbour=None, removed=()):
        """The bounds of an area change (__vma_adjust(); vma_complete(), commit_merge(),
        vma_shrink()). Returns 0 or -ENOMEM.

        `start`, `end`: addresses; `pgoff`: in pages. `insert`: a new area, for what the area gives
        up. `neighbour`: the area behind, which begins at `end` from now on. `removed`: a list of
        areas that it covers now; they go.
        """
        was_start, was_end = vma.vm_start, vma.vm_end
        stores = []
        if start > was_start and insert is None:
            stores.append((was_start, start, None))
        if end < was_end and insert is None and neighbour is None:
            stores.append((end, was_end, None))
        if start < was_start or end > was_end:
            stores.append((start, end, vma))
        elif neighbour is not None:
            stores.append((end, neighbour.vm_end, neighbour))
        if insert is not None:
            stores.append((insert.vm_start, insert.vm_end, insert))
        if stores and self.mt.preallocate(stores[0][0], stores[0][1] - 1, stores[0][2]):
            return -ENOMEM
        vma.vm_start, vma.vm_end, vma.vm_pgoff = start, end, pgoff
        if neighbour is not None:
            neighbour.vm_pgoff += (end - neighbour.vm_start) // self.page_size
            neighbour.vm_start = end
        for first, behind, entry in stores:
            self.mt.store(first, behind - 1, entry)
        self.mm.map_count += (insert is not None) - len(removed)
        return 0

    def duplicate(self, old, pairs):
        """fork: the areas of another tree (dup_mmap()). Returns 0 or -ENOMEM.

        `pairs`: each area of `old` by address with its copy, None where it has none
        (VM_DONTCOPY); each is stored before the next is asked for. The tree has no areas yet.
        """
        if self.dup:
            self.mt.duplicate(old.mt)
            for vma, copy in pairs:
                self.mt.store_gfp(vma.vm_start, vma.vm_end - 1, copy)
                self.mm.map_count += copy is not None
        else:
            self.mt.expect(old.mm.map_count)
            self.mt.in_rcu = False
            for _, copy in pairs:
                if copy is not None:
                    self.mt.mas_store(copy.vm_start, copy.vm_end - 1, copy)
                    self.mm.map_count += 1
            self.mt.mas_destroy()
            self.mt.in_rcu = True
        return 0

    def destroy(self):
        """The tree's nodes go (__mt_destroy()), not the areas."""
        self.mt.destroy()

    # ---- where there is room

    def unmapped_area(self, info):
        """The lowest address where an area fits, or -ENOMEM (unmapped_area())."""
        length = info.length + info.align_mask + info.start_gap
        low = info.low_limit
        if self.min_addr and low < self.mmap_min_addr:
            low = self.mmap_min_addr
        while low < info.high_limit:
            gap = self.mt.mas_empty_area(low, info.high_limit - 1, length)
            if gap < 0:
                break
            gap += info.start_gap
            gap += (info.align_offset - gap) & info.align_mask
            above = self._find(gap)
            if above is None or self.start_gap(above) == above.vm_start:
                return gap
            if self.start_gap(above) >= gap + length - 1:
                return gap
            low = above.vm_end
        return -ENOMEM

    def unmapped_area_topdown(self, info):
        """The highest address where an area fits, or -ENOMEM (unmapped_area_topdown())."""
        length = info.length + info.align_mask + info.start_gap
        low, high = info.low_limit, info.high_limit
        if self.min_addr and low < self.mmap_min_addr:
            low = self.mmap_min_addr
        while low < high:
            gap = self.mt.mas_empty_area_rev(low, high - 1, length)
            if gap < 0:
                break
            end = gap + length
            above = self._find(end)
            if above is not None and self.start_gap(above) < end:
                high = self.start_gap(above)
                continue
            gap = end - info.length
            return gap - ((gap - info.align_offset) & info.align_mask)
        return -ENOMEM

    def validate(self):
        """Checks the tree and its areas (mt_validate(), validate_mm()); raises ValueError."""
        validate_maple_tree(self.mt)
        count = 0
        for start, last, vma in self.mt.entries():
            if vma is None:
                continue
            count += 1
            if (vma.vm_start, vma.vm_end) != (start, last + 1):
                raise ValueError(f"{vma} stands at {start:#x} to {last + 1:#x}")
        if count != self.mm.map_count:
            raise ValueError(f"{self.mm.map_count} areas, found {count}")
