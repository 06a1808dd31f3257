"""A process's areas before 6.1: a list, a red-black tree augmented by gaps (mm/mmap.c), and the
vmacache (mm/vmacache.c), the areas that a task found last.

524e00b36e8c (6.1) took the tree out, 763ecb035029 the list, 7964cf8caa4d the vmacache.
"""

import cython

from mmtwin.kernel.rbtree import RbTree
from mmtwin.kernel.vma_tree import VmaTree

if not cython.compiled:
    from mmtwin.kernel.mman import ENOMEM

    VMACACHE_SIZE = 4


class VmaRbTree(VmaTree):
    """mm_struct's mmap, mm_rb and vmacache_seqnum, and the vmacache of the running task."""

    def __init__(self, mm):
        VmaTree.__init__(self, mm)
        self.rb = RbTree(self.augment)
        # PMD_SHIFT since ddbf369c0a33 (4.19)
        self.shift = 2 * mm.machine.page_shift - 3
        self.seqnum = self.cache_seqnum = 0
        self.vmacache = [None] * VMACACHE_SIZE
        self._tasks = {}
        self.task = 0

    def switch_task(self, pid):
        """Another thread of the process runs: the vmacache is its own (current->vmacache)."""
        self._tasks[self.task] = self.cache_seqnum, self.vmacache
        empty = self.seqnum, [None] * VMACACHE_SIZE
        self.cache_seqnum, self.vmacache = self._tasks.pop(pid, empty)
        self.task = pid

    def _vmacache_find(self, address):
        if self.seqnum != self.cache_seqnum:
            self.cache_seqnum = self.seqnum
            self.vmacache = [None] * VMACACHE_SIZE
            return None
        place = (address >> self.shift) & (VMACACHE_SIZE - 1)
        for i in range(VMACACHE_SIZE):
            vma = self.vmacache[place]
            if vma is not None and vma.vm_start <= address and vma.vm_end > address:
                return vma
            place = (place + 1) & (VMACACHE_SIZE - 1)
        return None

    def _find(self, address):
        # find_vma(): the cache first
        vma = self._vmacache_find(address)
        if vma is not None:
            self.cache_hits += 1
            return vma
        self.cache_misses += 1
        node = self.rb.root
        while node is not None:
            self._visits += 1
            if node.vm_end > address:
                vma = node
                if node.vm_start <= address:
                    break
                node = node.left
            else:
                node = node.right
        if vma is not None:
            self.vmacache[(address >> self.shift) & (VMACACHE_SIZE - 1)] = vma
        return vma

    def first(self):
        """The lowest area, or None."""
        return self.mm.mmap

    def last(self):
        """The highest area, or None (rb_last())."""
        node = self.rb.root
        while node is not None and node.right is not None:
            node = node.right
        return node

    def next(self, vma):
        """The area after one, or None."""
        return vma.vm_next

    def prev(self, vma):
        """The area before one, or None."""
        return vma.vm_prev

    def link(self, vma):
        """An area comes in (vma_link()): where no other is. Returns 0."""
        parent, prev, left = None, None, False
        node = self.rb.root
        while node is not None:  # find_vma_links()
            self._visits += 1
            parent = node
            left = node.vm_end > vma.vm_start
            if left:
                node = node.left
            else:
                prev = node
                node = node.right
        # __vma_link_list()
        vma.vm_prev = prev
        vma.vm_next = self.mm.mmap if prev is None else prev.vm_next
        if prev is None:
            self.mm.mmap = vma
        else:
            prev.vm_next = vma
        if vma.vm_next is not None:
            vma.vm_next.vm_prev = vma
        # __vma_link_rb()
        self._gap_after(vma, vma.vm_next)
        self.rb.link(vma, parent, left)
        self.mm.map_count += 1
        return 0

    def unlink(self, vma):
        """An area goes (__vma_unlink()). Returns 0."""
        self.detach(vma, vma)
        return 0

    def detach(self, first, last):
        """The areas from one to another go: a list of them (detach_vmas_to_be_unmapped())."""
        before, after = first.vm_prev, last.vm_next
        gone = []
        vma = first
        while vma is not after:
            self.rb.erase(vma)
            gone.append(vma)
            vma = vma.vm_next
        if before is None:
            self.mm.mmap = after
        else:
            before.vm_next = after
        first.vm_prev = last.vm_next = None
        if after is not None:
            after.vm_prev = before
        self._gap_after(before, after)
        self.seqnum += 1  # vmacache_invalidate()
        self.mm.map_count -= len(gone)
        return gone

    def erase(self, start, end):
        """Nothing is left between two addresses: the areas there, a list. None sticks out."""
        first = self.find_vma_intersection(start, end)
        if first is None:
            return []
        last = first
        while last.vm_next is not None and last.vm_next.vm_start < end:
            last = last.vm_next
        return self.detach(first, last)

    def adjust(self, vma, start, end, pgoff, insert=None, neighbour=None, removed=()):
        """The bounds of an area change (__vma_adjust()). Returns 0.

        `start`, `end`: addresses; `pgoff`: in pages. `insert`: a new area, for what the area gives
        up. `neighbour`: the area behind, which begins at `end` from now on. `removed`: a list of
        areas that it covers now; they go.
        """
        vma.vm_start, vma.vm_end, vma.vm_pgoff = start, end, pgoff
        if neighbour is not None:
            pages = (end - neighbour.vm_start) // self.page_size
            neighbour.vm_pgoff += pages
            neighbour.vm_start = end
        for gone in removed:
            self.detach(gone, gone)
        if insert is not None:
            self.link(insert)
        self.rb.propagate(vma)
        self._gap_after(vma, vma.vm_next)
        return 0

    def duplicate(self, old, pairs):
        """fork: the areas of another tree (dup_mmap()); see VmaMapleTree. Returns 0."""
        for _, copy in pairs:
            if copy is not None:
                self.link(copy)
        return 0

    def destroy(self):
        """An address space ends: nothing but the areas held the tree."""
        self.rb.root = self.mm.mmap = None

    def _gap_after(self, vma, following):
        """What changes behind an area whose end changed (vma_gap_update())."""
        if following is not None:
            self.rb.propagate(following)
        else:
            self.mm.highest_vm_end = 0 if vma is None else vma.vm_end

    def augment(self, vma):
        """Works out an area's rb_subtree_gap: the largest gap below an area of its subtree."""
        vma.rb_subtree_gap = self._subtree_gap(vma)

    def _gap(self, vma):
        # vma_compute_gap()
        gap = self.start_gap(vma)
        if vma.vm_prev is None:
            return gap
        return gap - vma.vm_prev.vm_end if gap > vma.vm_prev.vm_end else 0

    def _subtree_gap(self, vma):
        gap = self._gap(vma)
        if vma.left is not None and vma.left.rb_subtree_gap > gap:
            gap = vma.left.rb_subtree_gap
        if vma.right is not None and vma.right.rb_subtree_gap > gap:
            gap = vma.right.rb_subtree_gap
        return gap

    def unmapped_area(self, info):
        """The lowest address where an area fits, or -ENOMEM (unmapped_area())."""
        return self._lowest(info)

    def unmapped_area_topdown(self, info):
        """The highest address where an area fits, or -ENOMEM (unmapped_area_topdown())."""
        return self._highest(info)

    def _lowest(self, info):
        length = info.length + info.align_mask
        if info.high_limit < length or info.low_limit > info.high_limit - length:
            return -ENOMEM
        high = info.high_limit - length  # where a gap begins at most
        low = info.low_limit + length  # where it ends at least
        gap_start = gap_end = 0
        vma = self.rb.root
        up = vma is None or vma.rb_subtree_gap < length
        if up:
            vma = None
        while vma is not None:
            if not up:
                self._visits += 1
                gap_end = self.start_gap(vma)
                below = vma.left
                if gap_end >= low and below is not None and below.rb_subtree_gap >= length:
                    vma = below
                    continue
            up = False
            gap_end = self.start_gap(vma)
            gap_start = 0 if vma.vm_prev is None else vma.vm_prev.vm_end
            if gap_start > high:
                return -ENOMEM
            if gap_end >= low and gap_end > gap_start and gap_end - gap_start >= length:
                break
            below = vma.right
            if below is not None and below.rb_subtree_gap >= length:
                vma = below
                continue
            below = vma
            vma = vma.parent
            while vma is not None and below is vma.right:
                below = vma
                vma = vma.parent
            up = True
        if vma is None:  # above every area
            gap_start = self.mm.highest_vm_end
            if gap_start > high:
                return -ENOMEM
        if gap_start < info.low_limit:
            gap_start = info.low_limit
        return gap_start + ((info.align_offset - gap_start) & info.align_mask)

    def _highest(self, info):
        length = info.length + info.align_mask
        if info.high_limit < length or info.low_limit > info.high_limit - length:
            return -ENOMEM
        high = info.high_limit - length
        low = info.low_limit + length
        gap_end = info.high_limit
        vma = self.rb.root
        up = False
        if self.mm.highest_vm_end <= high:
            vma = None
        elif vma is None or vma.rb_subtree_gap < length:
            return -ENOMEM
        while vma is not None:
            gap_start = 0 if vma.vm_prev is None else vma.vm_prev.vm_end
            if not up:
                self._visits += 1
                below = vma.right
                if gap_start <= high and below is not None and below.rb_subtree_gap >= length:
                    vma = below
                    continue
            up = False
            gap_end = self.start_gap(vma)
            if gap_end < low:
                return -ENOMEM
            if gap_start <= high and gap_end > gap_start and gap_end - gap_start >= length:
                break
            below = vma.left
            if below is not None and below.rb_subtree_gap >= length:
                vma = below
                continue
            below = vma
            vma = vma.parent
            while vma is not None and below is vma.left:
                below = vma
                vma = vma.parent
            if vma is None:
                return -ENOMEM
            up = True
        if gap_end > info.high_limit:
            gap_end = info.high_limit
        gap_end -= info.length
        return gap_end - ((gap_end - info.align_offset) & info.align_mask)

    def validate(self):
        """Checks list, tree, colours, gaps and counts (validate_mm()); raises ValueError."""
        mm = self.mm
        count, before, end = 0, None, 0
        vma = mm.mmap
        while vma is not None:
            if vma.vm_prev is not before or not end <= vma.vm_start < vma.vm_end:
                raise ValueError(f"{vma} does not follow {before}")
            count, before, end = count + 1, vma, vma.vm_end
            vma = vma.vm_next
        if count != mm.map_count or end != mm.highest_vm_end:
            raise ValueError(
                f"{mm.map_count} areas up to {mm.highest_vm_end:#x}, found {count}, {end:#x}"
            )
        found = []
        self._validate(self.rb.root, None, found)
        if [id(vma) for vma in self] != [id(vma) for vma in found]:
            raise ValueError(f"the list's {count} areas are not the tree's {len(found)}")

    def _validate(self, vma, parent, found):
        """Checks a subtree and adds its areas to a list; returns how many black nodes deep."""
        if vma is None:
            return 0
        if vma.parent is not parent or (vma.red and (parent is None or parent.red)):
            raise ValueError(f"{vma}: wrong parent or colour")
        gap = self._subtree_gap(vma)
        if vma.rb_subtree_gap != gap:
            raise ValueError(f"{vma}: gap {vma.rb_subtree_gap:#x}, not {gap:#x}")
        depth = self._validate(vma.left, vma, found)
        found.append(vma)
        if depth != self._validate(vma.right, vma, found):
            raise ValueError(f"{vma}: black depths differ")
        return depth + (not vma.red)
