"""vmalloc space set right from outside: a replay's twin chose other addresses than the kernel.

`Trial` takes areas on trial, to see what the twin would choose next.
"""

from mmtwin.kernel.vmap_area import FreeAreas, VmapArea


class Trial:
    """Areas taken on trial: after give_up() the space is as before, the shape of its tree of free
    ranges included, on which later choices depend (find_vmap_lowest_match()).
    """

    def __init__(self, vmap):
        self.vmap = vmap
        self.free, self.pools = vmap.free, [node.pool for node in vmap.nodes]
        self.taken = []
        vmap.free = copy_of(vmap.free)
        for node in vmap.nodes:
            node.pool = {pages: list(pool) for pages, pool in node.pool.items()}

    def alloc(self, size, align, start, end):
        """As Vmap.alloc(): whether there was room. Nothing may be freed until give_up()."""
        area = self.vmap.alloc(size, align, start, end)
        if area is not None:
            self.taken.append(area)
        return area is not None

    def give_up(self):
        """Gives everything back."""
        self.vmap.free = self.free
        for node, pool in zip(self.vmap.nodes, self.pools, strict=True):
            node.pool = pool
        for area in self.taken:
            self.vmap.find_unlink(area.start)


def copy_of(free):
    """A FreeAreas of the same ranges in a tree of the same shape."""
    copies = {None: None}
    for area in free:
        copies[area] = VmapArea(area.start, area.end, area.object)
    for area in free:
        copy = copies[area]
        copy.left, copy.right = copies[area.left], copies[area.right]
        copy.parent, copy.red, copy.largest = copies[area.parent], area.red, area.largest
        copy.prev, copy.next = copies[area.prev], copies[area.next]
    same = FreeAreas()
    same.tree.root = copies[free.tree.root]
    same.head, same.last, same.count = copies[free.head], copies[free.last], free.count
    return same


def give_back(vmap, area):
    """A busy area is free again at once, as if it had not been taken (free_vmap_area())."""
    vmap.find_unlink(area.start)
    vmap.free.merge_or_add(area, vmap.free_object)


def take_range(vmap, start, end):
    """Makes a range busy: out of a free one, out of a node's pool, or a lazily freed area that is
    the same. None if it is none of these.
    """
    area = vmap.free.find(start)
    if area is not None and area.end >= end:
        taken = vmap.free.clip(
            area, start, end - start, lambda low, high: VmapArea(low, high), vmap.free_object
        )
        busy = VmapArea(start, end) if taken else None
    else:
        busy = _from_pool(vmap, start, end) or _from_lazy(vmap, start, end)
    if busy is not None:
        vmap.node_of(start).busy.insert(busy)
    return busy


def known_ranges(vmap, ranges):
    """Ranges that a real machine has: (first address, the one behind the last, whether it was
    freed and waits to be purged). What lies in them is not known. Raises ValueError where two
    overlap.
    """
    for start, end, lazy in ranges:
        area = take_range(vmap, start, end)
        if area is None:
            raise ValueError(f"two areas of vmalloc space share {start:#x}")
        vmap.tables.exist(start, end)
        if lazy:
            vmap.find_unlink(start)
            vmap.free_noflush(area)


def _from_pool(vmap, start, end):
    for node in vmap.nodes:
        pool = node.pool.get((end - start) >> vmap.page_shift, [])
        for area in pool:
            if area.start == start:
                pool.remove(area)
                return area
    return None


def _from_lazy(vmap, start, end):
    for node in vmap.nodes:
        for area in node.lazy:
            if (area.start, area.end) == (start, end):
                node.lazy.remove(area)
                vmap.nr_lazy -= area.size >> vmap.page_shift
                return area
    return None
