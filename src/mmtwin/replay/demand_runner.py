"""Carries demands out on one twin, whatever machine it is: see demands.py.

Nothing is compared. Kmallocs go by their size and gfp, objects by the name of their cache, pages
by their bytes. Where the twin's pages are larger than the recorded ones, the small pages of users
come to lie together: as many as fit, of one task after another, share a page, as if each task used
memory in a row. So do pages of vmalloc, and pages that the kernel held at the start, whose use
nobody knows. Where they are smaller, such a page becomes as many as it has bytes. A single page
that the kernel asked for itself stays a single page.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.kernel.structs import parse_structs
from mmtwin.replay.demand_book import CONSTANTS as DEMANDS

TEXT = files(__package__).joinpath("demand_runner.pxd").read_text()
STRUCTS = parse_structs(TEXT)
HELD = np.dtype(STRUCTS["held_t"])
CONSTANTS = parse_constants(TEXT)

if not cython.compiled:
    from mmtwin.kernel.casts import as_s64, as_u8, as_u32
    from mmtwin.kernel.constants import PG_slab
    from mmtwin.kernel.page_alloc import alloc_pages, alloc_pages_bulk, free_pages
    from mmtwin.kernel.ram import (
        cache_at,
        pcp_of,
        pfn_to_page,
        virt_to_head_pfn,
        zone_at,
    )
    from mmtwin.kernel.slab_common import __kmalloc_node as kmalloc_node
    from mmtwin.kernel.slab_common import kfree
    from mmtwin.kernel.slub import kmem_cache_alloc_node, slab_free
    from mmtwin.kernel.slub_slab import rcu_free_slabs
    from mmtwin.recordings.sites import as_s32
    from mmtwin.replay.demand_book import as_demands, demand_at

    globals().update(DEMANDS)
    globals().update(CONSTANTS)

    def as_held(address, count):
        """The records at an address."""
        return (STRUCTS["held_t"] * count).from_address(address)

    def held_at(held, id):
        """One record of an array."""
        return held[id]

    def as_groups(address, count):
        """The records at an address."""
        return (STRUCTS["group_t"] * count).from_address(address)

    def group_at(groups, place):
        """One record of an array."""
        return groups[place]


class DemandRunner:
    """One twin that demands are carried out on.

    `cache_of`: the twin's cache by number in the recording's names, KMALLOC_ANY where kmalloc()
    decides, NOT_ASKED where nobody asks for such objects, -1 for none; `page_shift`: of the
    recorded machine; `stacks`: what gives kernel stacks (`take(id, cpu, kept)` says whether there
    was one, `give_back(id, cpu)`), None where they are demanded as pages.
    """

    def __init__(self, mm, cache_of, page_shift, stacks=None):
        cache_of = np.ascontiguousarray(cache_of, dtype=np.int32)
        count = np.zeros(RUN_PLACES, dtype=np.int64)
        pages = np.zeros(FOR_USES, dtype=np.int64)
        chain = np.zeros(mm.max_pfn, dtype=np.uint32)
        shares = np.zeros(mm.max_pfn, dtype=np.uint8)
        groups = np.zeros(2 * GROUPS, dtype=np.dtype(STRUCTS["group_t"]))
        self._buffers = {
            "cache_of": cache_of, "count": count, "pages": pages, "chain": chain,
            "shares": shares, "groups": groups,
        }  # fmt: skip
        self.mm = mm
        self.cache_of = as_s32(cache_of.ctypes.data, len(cache_of))
        self.nr_names = len(cache_of)
        self.count = as_s64(count.ctypes.data, len(count))
        self.pages = as_s64(pages.ctypes.data, len(pages))
        self.chain = as_u32(chain.ctypes.data, len(chain))
        self.shares = as_u8(shares.ctypes.data, len(shares))
        self.groups = as_groups(groups.ctypes.data, len(groups))
        self.page_shift = page_shift
        self.stacks = stacks
        self.max_ids = 0
        self.managed = int(mm.view("zone")["managed_pages"].sum())
        self.peak = 0
        self.reserve(1)

    def reserve(self, ids):
        """Makes room for ids below `ids`."""
        if ids <= self.max_ids:
            return
        held = np.zeros(ids, dtype=HELD)
        if self.max_ids:
            held[: self.max_ids] = self._buffers["held"]
        self._buffers["held"] = held
        self.held = as_held(held.ctypes.data, ids)
        self.max_ids = ids

    def carry_out(self, demands):
        """Carries out demands, numpy records of DEMAND whose ids there is room for."""
        self.carry_out_at(demands.ctypes.data, len(demands))

    def carry_out_at(self, address, count):
        """Carries out `count` demands in the array of DEMAND at an address."""
        with cython.nogil:
            self._run(address, count)

    def hold(self, demands, places):
        """The machine has what these demands ask for: objects at these addresses, blocks at these
        pfns (numpy arrays).
        """
        held, ids = self._buffers["held"], demands["id"]
        objects = (demands["kind"] == ASK_KMALLOC) | (demands["kind"] == ASK_OBJECT)
        held["how"][ids] = np.where(objects, HELD_OBJECT, HELD_BLOCK)
        held["place"][ids] = places
        held["bytes"][ids] = demands["bytes"]
        held["order"][ids] = demands["order"]
        held["use"][ids] = demands["use"]
        pages = np.where(objects, 0, 1 << demands["order"].astype(np.int64))
        np.add.at(self._buffers["pages"], demands["use"], pages)

    def begin(self):
        """The counts of paths, and the peak, are those from now on."""
        for name in ("cache_cpu", "pcp", "zone"):
            self.mm.view(name)["stat"][:] = 0
        self.peak = 0

    def counts(self):
        """What was counted, as a numpy array by RUN_*; it goes on changing."""
        return self._buffers["count"]

    def use_pages(self):
        """Pages that live demands hold now, by FOR_*, as a numpy array; it goes on changing."""
        return self._buffers["pages"]

    def held_objects(self):
        """What demands hold now that came from slabs or kmalloc, as numpy records of HELD."""
        held = self._buffers["held"]
        return held[held["how"] == HELD_OBJECT]

    def used_pages(self):
        """Pages that are neither on a free list nor on a per-CPU list."""
        free = 0
        for number in range(self.mm.nr_zones):
            free += zone_at(self.mm, number).nr_free_pages
            for cpu in range(self.mm.nr_cpus):
                free += pcp_of(self.mm, number, cpu).count
        return self.managed - free

    def _run(self, address, count):
        demands = as_demands(address, count)
        for i in range(count):
            demand = demand_at(demands, i)
            self.mm.cpu = demand.cpu if demand.cpu < self.mm.nr_cpus else 0
            if demand.kind == ASK_FREE:
                self._free(demand.id)
            else:
                self._ask(demand)
                used = self.used_pages()
                if used > self.peak:
                    self.peak = used
                    self.count[RUN_PEAK_TIME] = demand.time
        self.count[RUN_DEMANDS] += count

    def _ask(self, demand):
        if demand.kind == ASK_KMALLOC or demand.kind == ASK_OBJECT:
            self._object(demand)
        elif demand.kind == ASK_PAGES:
            self._pages(demand)
        elif demand.kind == ASK_AREA:
            self._area(demand)
        elif demand.kind == ASK_STACK:
            self._stack(demand)
        elif demand.kind == ASK_GRACE_PERIOD:
            rcu_free_slabs(self.mm, -1)

    # ---- what is asked for

    def _object(self, demand):
        cache = KMALLOC_ANY
        if 0 <= demand.cache < self.nr_names:
            cache = self.cache_of[demand.cache]
        bytes = demand.bytes
        if cache == NOT_ASKED:
            self.count[RUN_NOT_ASKED] += 1
            held_at(self.held, demand.id).how = HELD_NOTHING
            return
        if cache >= 0:
            address = kmem_cache_alloc_node(self.mm, cache, demand.gfp, -1)
            if demand.kind == ASK_OBJECT:
                bytes = cache_at(self.mm, cache).object_size
        else:
            address = kmalloc_node(self.mm, bytes, demand.gfp, -1)
        if address == 0:
            self.count[RUN_FAILED_OBJECTS] += 1
            held_at(self.held, demand.id).how = HELD_NOTHING
            return
        held = held_at(self.held, demand.id)
        held.how = HELD_OBJECT
        held.place = address
        held.bytes = bytes

    def _order_of(self, bytes):
        """get_order() of the twin's pages."""
        order = 0
        while (bytes - 1) >> (order + self.mm.page_shift):
            order += 1
        return order

    def _pages(self, demand):
        """Pages by their bytes; see the module."""
        order = demand.order
        if self.mm.page_shift != self.page_shift:
            if demand.use == FOR_USER or demand.use == FOR_VMALLOC or demand.use == FOR_OLD:
                if demand.bytes >> self.mm.page_shift == 0:
                    self._share(demand)
                    return
                if self.mm.page_shift < self.page_shift and order == 0:
                    self.count[RUN_SPLIT] += 1
                    self._area(demand)
                    return
            if order:
                order = self._order_of(demand.bytes)
                self.count[RUN_ORDERS] += 1
            elif demand.use == FOR_TABLE:
                self.count[RUN_TABLES] += 1
        if order >= self.mm.nr_orders:
            self._failed(demand)
            return
        pfn = alloc_pages(self.mm, demand.gfp, order, -1)
        if pfn < 0:
            self._failed(demand)
            return
        held = held_at(self.held, demand.id)
        held.how = HELD_BLOCK
        held.place = pfn
        held.order = order
        held.use = demand.use
        self.pages[demand.use] += 1 << order

    def _failed(self, demand):
        self.count[RUN_FAILED_PAGES] += 1
        held_at(self.held, demand.id).how = HELD_NOTHING

    def _share(self, demand):
        """A page that is smaller than the twin's: in the task's last one, as long as it has room.
        """
        place = (demand.pid & (GROUPS - 1)) + (0 if demand.use == FOR_USER else GROUPS)
        group = group_at(self.groups, place)
        if group.pid != demand.pid or group.left < 1 << demand.order:
            pfn = alloc_pages(self.mm, demand.gfp, 0, -1)
            group.left = 0
            if pfn < 0:
                self._failed(demand)
                return
            group.pid = demand.pid
            group.pfn = pfn
            group.left = 1 << (self.mm.page_shift - self.page_shift)
            self.pages[demand.use] += 1
        else:
            self.count[RUN_SHARED] += 1
        held = held_at(self.held, demand.id)
        held.how = HELD_SHARE
        held.place = group.pfn
        held.use = demand.use
        self.shares[group.pfn] += 1 << demand.order
        held.order = demand.order
        group.left -= 1 << demand.order
        held.bytes = place

    def _area(self, demand):
        """Single pages, as many as the bytes need: vm_area_alloc_pages() asks for them by the
        hundred.
        """
        held = held_at(self.held, demand.id)
        held.how = HELD_PAGES
        held.place = 0
        held.use = demand.use
        left = (demand.bytes + (1 << self.mm.page_shift) - 1) >> self.mm.page_shift
        while left > 0:
            wanted = left if left < AREA_CHUNK else AREA_CHUNK
            taken = alloc_pages_bulk(self.mm, demand.gfp, -1, wanted)
            if taken < 1:
                self.count[RUN_FAILED_PAGES] += 1
                break
            for place in range(taken):
                pfn = self.mm.bulk_page[place]
                self.chain[pfn] = held.place
                held.place = pfn + 1
            self.pages[held.use] += taken
            left -= taken

    def _stack(self, demand):
        held = held_at(self.held, demand.id)
        held.how = HELD_NOTHING
        if self.stacks is None:
            return
        if self.stacks.take(demand.id, self.mm.cpu, demand.order):
            held.how = HELD_STACK
        else:
            self.count[RUN_FAILED_PAGES] += 1

    # ---- what is given back

    def _free(self, id):
        held = held_at(self.held, id)
        if held.how == HELD_OBJECT:
            self._free_object(held.place)
        elif held.how == HELD_BLOCK:
            self.pages[held.use] -= 1 << held.order
            free_pages(self.mm, held.place, held.order)
        elif held.how == HELD_PAGES:
            self._free_chain(held)
        elif held.how == HELD_SHARE:
            self._free_share(held)
        elif held.how == HELD_STACK:
            self._free_stack(held, id)
        held.how = HELD_NOTHING

    def _free_object(self, address):
        pfn = virt_to_head_pfn(self.mm, address)
        if pfn_to_page(self.mm, pfn).flags & PG_slab:
            slab_free(self.mm, pfn_to_page(self.mm, pfn).cache, pfn, address)
        else:
            kfree(self.mm, address)

    def _free_chain(self, held):
        while held.place:
            next = self.chain[held.place - 1]
            free_pages(self.mm, held.place - 1, 0)
            self.pages[held.use] -= 1
            held.place = next

    def _free_share(self, held):
        """A shared page goes with the last that lies in it."""
        self.shares[held.place] -= 1 << held.order
        if self.shares[held.place]:
            return
        group = group_at(self.groups, held.bytes)
        if group.pfn == held.place:
            group.left = 0
        self.pages[held.use] -= 1
        free_pages(self.mm, held.place, 0)

    def _free_stack(self, held, id):
        if self.stacks is not None:
            self.stacks.give_back(id, self.mm.cpu)
