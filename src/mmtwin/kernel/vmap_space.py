"""vmalloc space: which addresses are taken, which are free, which were freed and wait to be purged
(mm/vmalloc.c).

An area is cut out of the free ranges and kept in a tree of busy ones. What is given back stays
lazy, its addresses unused, until `lazy_max_pages()` are exceeded or somebody purges. From 6.9 on
the machine's CPUs have vmap nodes: each keeps freed areas of up to 256 pages for requests of the
same size (`vmap_nodes`, 72210662c5a2).

`Vmap` knows addresses only, so that a replay can run it alone; `vmalloc.py` adds what lies behind
them. `Vmap.new_object()` and `free_object()` are where the structures would be allocated.
"""

from mmtwin.kernel.align import align_up
from mmtwin.kernel.vmap_area import MASK64, Areas, FreeAreas, VmapArea

MAX_VA_SIZE_PAGES = 256  # the largest areas that a node's pool keeps
MOST_NODES = 128
NODE_PAGES = 16  # vmap_zone_size: so many pages in a row belong to one node
LAZY_BYTES = 32 << 20


class VmapNode:
    """struct vmap_node: busy and lazy areas of its addresses, and pools by size in pages."""

    def __init__(self, merges):
        self.busy = Areas()
        # in the order they are shown in; from 6.9 on (and before 5.11 in no order) not merged
        self.lazy = Areas() if merges is not None else []
        self.merges = merges
        self.pool = {}


class Vmap:
    """One machine's vmalloc space.

    `start`, `end`: VMALLOC_START and VMALLOC_END (the address behind the last byte, as the kernel
    has it, may be odd); `page_shift`; `cpus`: possible ones; `has`: the features record. `on_step`
    is called as on_step(name, *fields) where the kernel has a tracepoint.
    """

    def __init__(self, start, end, page_shift, cpus, has, on_step=None):
        self.start = start
        self.end = end
        self.page_shift = page_shift
        self.page_size = 1 << page_shift
        self.cpus = cpus
        self.cpu = 0
        self.nr_lazy = 0
        self.on_step = on_step
        self.lazy_merges = bool(has.vmap_lazy_merges)
        self.lazy_sorted = bool(has.vmap_lazy_merges or has.vmap_nodes)
        self.purge_by_work = bool(has.vmap_purge_work)
        self.exact_alignment = bool(has.vmap_exact_alignment)
        self.by_nodes = bool(has.vmap_nodes)
        count = min(max(cpus, 1), MOST_NODES) if has.vmap_nodes else 1
        self.zone_size = NODE_PAGES << page_shift if count > 1 else 1
        self.nodes = [self._new_node() for _ in range(count)]
        self.free = FreeAreas()
        self.spare = {}  # ne_fit_preload_node: a structure in store, by CPU

    def _new_node(self):
        return VmapNode(self.lazy_merges if self.lazy_sorted else None)

    def init_free_space(self):
        """vmap_init_free_space(): all but the busy areas, from 1 to the last address, is free."""
        first = 1
        for area in sorted(self.busy(), key=lambda area: area.start):
            if area.start > first:
                self.free.insert(VmapArea(first, area.start))
            first = area.end
        if first < MASK64:
            self.free.insert(VmapArea(first, MASK64))

    # ---- the structures' own memory; see vmalloc.py

    def new_object(self, gfp, node):
        """The memory of a structure: its address, -1 for none; 0 where it is not modelled."""
        return 0

    def shadow_freed(self, start, end, free):
        """A purged range lies in the free area `free` now: kasan_release_vmalloc()."""

    def free_object(self, area):
        """The memory of a structure is given back."""

    def _preload(self, gfp, node):
        """preload_this_cpu_lock(): this CPU has a structure in store for a range cut in two."""
        if self.spare.get(self.cpu) is None:
            object = self.new_object(gfp, node)
            self.spare[self.cpu] = None if object == -1 else object

    def _lower_part(self, start, end):
        object = self.spare.get(self.cpu)
        if object is None:
            object = self.new_object(0, -1)  # GFP_NOWAIT
        self.spare[self.cpu] = None
        return None if object == -1 else VmapArea(start, end, object)

    # ---- who has an address

    def node_of(self, address):
        """addr_to_node()."""
        return self.nodes[address // self.zone_size % len(self.nodes)]

    def busy(self):
        """Every busy area, node after node, each by address."""
        for node in self.nodes:
            yield from node.busy

    def lazy(self):
        """Every area that was freed and not purged yet, in the order that vmallocinfo shows."""
        for node in self.nodes:
            yield from node.lazy

    def find(self, address):
        """The busy area that an address lies in (find_vmap_area()), None if there is none."""
        first = address // self.zone_size % len(self.nodes)
        for step in range(len(self.nodes)):
            area = self.nodes[(first + step) % len(self.nodes)].busy.find(address)
            if area is not None:
                return area
        return None

    def find_unlink(self, address):
        """The same, taken out of the busy ones (find_unlink_vmap_area())."""
        first = address // self.zone_size % len(self.nodes)
        for step in range(len(self.nodes)):
            busy = self.nodes[(first + step) % len(self.nodes)].busy
            area = busy.find(address)
            if area is not None:
                busy.remove(area)
                return area
        return None

    def lazy_max_pages(self):
        """lazy_max_pages(): how many freed pages of address space may wait to be purged."""
        return self.cpus.bit_length() * (LAZY_BYTES >> self.page_shift)

    # ---- taking addresses

    def alloc(self, size, align, start, end, gfp=0, node=-1):
        """alloc_vmap_area(): a busy area of `size` bytes in [start, end), None if there is none.

        Where nothing is free it purges and tries once more. Raises ValueError for a size that is
        no multiple of the page or an alignment that is no power of two (BUG_ON, or -EINVAL).
        """
        if size <= 0 or size % self.page_size or align <= 0 or align & (align - 1):
            raise ValueError(f"vmap area of {size} bytes, aligned to {align}")
        area, wanted_by = self._node_alloc(size, align, start, end)
        if area is None:
            object = self.new_object(gfp, node)
            if object == -1:
                return None
            area = VmapArea(0, 0, object)
            address = self._from_free(size, align, start, end, gfp, node)
            self._trace("alloc_vmap_area", address, size, align, start, end, int(address == end))
            if address == end:
                self.reclaim()
                address = self._from_free(size, align, start, end, gfp, node)
                failed = int(address == end)
                self._trace("alloc_vmap_area", address, size, align, start, end, failed)
            if address == end:
                self.free_object(area)
                return None
            area.start, area.end = address, address + size
        else:
            self._trace("alloc_vmap_area", area.start, size, align, start, end, 0)
        area.vm, area.ram, area.node = None, False, wanted_by
        self.node_of(area.start).busy.insert(area)
        return area

    def _from_free(self, size, align, start, end, gfp, node):
        """__alloc_vmap_area(): an address, `end` for none."""
        self._preload(gfp, node)
        area, address = self._search(size, align, start, end)
        if area is None:
            return end
        taken = self.free.clip(area, address, size, self._lower_part, self.free_object)
        return address if taken else end

    def _search(self, size, align, start, end):
        """The free range for a request and the address in it; (None, `end`) for none."""
        length = size + align - 1
        if self.exact_alignment and (align <= self.page_size or end - start == size):
            length = size
        area = self.free.find_lowest_match(size, align, start, length)
        if area is None:
            return None, end
        address = align_up(max(area.start, start), align)
        return (None, end) if address + size > end else (area, address)

    def would_give(self, size, align, start, end):
        """The address that alloc() would take from the free ranges, `end` for none."""
        return self._search(size, align, start, end)[1]

    def alloc_from_top(self, size, align):
        """pcpu_get_vm_areas() for one group of CPUs: the highest place that is free, a busy area
        or None.
        """
        end = self.end // align * align
        area = self.free.last
        while area is not None:
            address = min(area.end // align * align, end) - size
            if address >= max(area.start, self.start):
                break
            area = area.prev
        if area is None:
            return None
        taken = self.free.clip(area, address, size, self._lower_part, self.free_object)
        if not taken:
            return None
        busy = VmapArea(address, address + size)
        self.node_of(address).busy.insert(busy)
        return busy

    def _node_alloc(self, size, align, start, end):
        """node_alloc(): an area from the pool of this CPU's node, and the node's number for later;
        only for requests in all of vmalloc space.
        """
        if len(self.nodes) == 1 or start != self.start or end != self.end:
            return None, -1
        number = self.cpu % len(self.nodes)
        pages = size >> self.page_shift
        pool = self.nodes[number].pool.get(pages)
        if not pool:
            return None, number
        area = pool.pop(0)
        if area.start % align == 0:
            return area, number
        pool.append(area)
        return None, number

    # ---- giving addresses back

    def free_noflush(self, area):
        """free_vmap_area_noflush(): an area that is not busy any more waits to be purged; whether
        so much waits that it is time.
        """
        start = area.start
        self.nr_lazy += area.size >> self.page_shift
        node = self.nodes[area.node] if area.node >= 0 else self.node_of(start)
        area.vm = None
        if node.merges is None:
            node.lazy.insert(0, area)
        elif node.merges:
            node.lazy.merge_or_add(area, self.free_object)
        else:
            node.lazy.insert(area)
        most = self.lazy_max_pages()
        self._trace("free_vmap_area_noflush", start, self.nr_lazy, most)
        return self.nr_lazy > most

    def reclaim(self):
        """What alloc() does when nothing is free."""
        self.purge(full=True)

    def purge(self, full):
        """__purge_vmap_area_lazy(): what waits is free again; how many areas.

        `full`: pools of vmap nodes are emptied too; else they keep what waited and lose a quarter.
        """
        purged = 0
        first, last = MASK64, 0
        waiting = []
        for node in self.nodes:
            self._decay(node, full)
            areas = list(node.lazy)
            node.lazy = Areas() if node.merges is not None else []
            if not areas:
                continue
            first = min(first, *(area.start for area in areas))
            last = max(last, *(area.end for area in areas))
            waiting.append((node, areas))
        for node, areas in waiting:
            purged += len(areas)
            self._purge_node(node, areas, full)
        self._trace("purge_vmap_area_lazy", first, last, purged)
        return purged

    def _purge_node(self, node, areas, full):
        # purge_vmap_node(); before 6.9 in the order of the list
        back = []
        for area in areas:
            area.prev = area.next = None
            self.nr_lazy -= area.size >> self.page_shift
            pages = area.size >> self.page_shift
            if self.by_nodes:
                self.shadow_freed(area.start, area.end, area)
            if area.node >= 0 and not full and pages <= MAX_VA_SIZE_PAGES:
                node.pool.setdefault(pages, []).insert(0, area)
            else:
                back.append(area)
        if self.by_nodes:
            back.reverse()
        for area in back:
            start, end = area.start, area.end
            merged = self.free.merge_or_add(area, self.free_object)
            if not self.by_nodes:
                self.shadow_freed(start, end, merged)

    def _decay(self, node, full):
        """decay_va_pool_node(): a quarter of each pool goes back, or all of it."""
        leaving = Areas()
        for pages in sorted(node.pool):
            pool = node.pool[pages]
            count = len(pool) if full or len(pool) < 4 else len(pool) >> 2
            for area in pool[:count]:
                leaving.merge_or_add(area, self.free_object)
            del pool[:count]
        for area in list(leaving):
            area.prev = area.next = None
            self.free.merge_or_add(area, self.free_object)

    def _trace(self, name, *fields):
        if self.on_step is not None:
            self.on_step(name, *fields)
