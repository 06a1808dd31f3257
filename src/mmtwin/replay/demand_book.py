"""Which demand an address of the recorded machine belongs to: ids of live objects and pages."""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.kernel.structs import parse_structs
from mmtwin.recordings.event import EVENT
from mmtwin.replay.objects import Objects

TEXT = files(__package__).joinpath("demand_book.pxd").read_text()
STRUCTS = parse_structs(TEXT)
DEMAND = np.dtype(STRUCTS["demand_t"])
CONSTANTS = parse_constants(TEXT)

if not cython.compiled:
    from mmtwin.kernel.casts import as_s64, as_u8, as_u32, as_u64
    from mmtwin.recordings.event import as_events, event_at, wrap64
    from mmtwin.recordings.sites import as_s32

    globals().update(CONSTANTS)

    def as_demands(address, count):
        """The records at an address."""
        return (STRUCTS["demand_t"] * count).from_address(address)

    def demand_at(demands, number):
        """One record of an array."""
        return demands[number]

    def as_task_areas(address, count):
        """The records at an address."""
        return (STRUCTS["task_areas_t"] * count).from_address(address)

    def task_areas_at(tasks, place):
        """One record of an array."""
        return tasks[place]


class DemandBook:
    """The live demands of a recording, and those that wait to be taken.

    `facts`: of the recorded machine: `nr_pages`, `page_offset` (address of pfn 0), `page_shift`,
    `large` (bytes above which kmalloc takes pages), `gfp_bits` (32 ints: the twin's gfp bit of
    each recorded one), `sizes` (bytes from object to object by number of a name, 0 unknown),
    `bulk_sites` (call sites of the arrays of vmalloc's pages), `bulk_unseen` (no event names
    those pages), `table_gfp` (recorded mask of a page table), `table_spare_gfp` (bits of it that
    may be missing), `task_cache`, `cred_cache` (numbers of names, -1), `stack_bytes`,
    `area_sites` (call sites of what a mapped stack's area needs), `keeps_stacks` (CPUs keep some);
    `own_stacks`: stacks are demanded as such, and what the recorded machine did for them is left
    out; `hidden_sites`: call sites whose kmallocs the twin does by itself; `routes`: {call site:
    number of the name that it asks for, where the recorded machine has caches in common}.
    """

    def __init__(self, facts, own_stacks=False, hidden_sites=(), routes=()):
        self.nr_pages = facts["nr_pages"]
        self.page_offset = facts["page_offset"]
        self.page_shift = facts["page_shift"]
        self.large = facts["large"]
        self.bulk_unseen = facts["bulk_unseen"]
        self.table_gfp = facts["table_gfp"]
        self.table_spare_gfp = facts["table_spare_gfp"]
        self.task_cache = facts["task_cache"]
        self.cred_cache = facts["cred_cache"]
        self.stack_bytes = facts["stack_bytes"]
        self.keeps_stacks = facts["keeps_stacks"]
        self.own_stacks = own_stacks
        self.objects = Objects()
        self.grace_due = 0
        self.nr_demands = self.nr_free_ids = 0
        self.next_id = 1
        self.max_ids = 0
        self._buffers = {}
        bits = np.array(facts["gfp_bits"], dtype=np.uint32)
        sizes = np.array([*facts["sizes"], 0], dtype=np.uint64)
        bulk = np.array([*facts["bulk_sites"], 0], dtype=np.uint64)
        route = sorted(dict(routes).items())
        route_site = np.array([*(site for site, _ in route), 0], dtype=np.uint64)
        route_cache = np.array([*(cache for _, cache in route), -1], dtype=np.int32)
        hidden = np.array([*hidden_sites, 0], dtype=np.uint64)
        area = np.array([*facts["area_sites"], 0], dtype=np.uint64)
        demands = np.zeros(DEMAND_ROOM, dtype=DEMAND)
        count = np.zeros(DEMANDS_PLACES, dtype=np.int64)
        tasks = np.zeros(PIDS, dtype=np.dtype(STRUCTS["task_areas_t"]))
        page_id = np.zeros(self.nr_pages + 1, dtype=np.uint32)
        live = np.zeros(self.nr_pages + 1, dtype=np.uint8)
        nothing = np.zeros(1, dtype=EVENT)
        self.nothing = nothing.ctypes.data
        self._buffers = {
            "bits": bits, "sizes": sizes, "bulk": bulk, "hidden": hidden, "demands": demands,
            "count": count, "tasks": tasks, "page_id": page_id, "live": live, "nothing": nothing,
            "route_site": route_site, "route_cache": route_cache, "area": area,
        }  # fmt: skip
        self.bits = as_u32(bits.ctypes.data, len(bits))
        self.size_of = as_u64(sizes.ctypes.data, len(sizes))
        self.nr_names = len(sizes) - 1
        self.bulk_site = as_u64(bulk.ctypes.data, len(bulk))
        self.nr_bulk_sites = len(bulk) - 1
        self.hidden_site = as_u64(hidden.ctypes.data, len(hidden))
        self.nr_hidden_sites = len(hidden) - 1
        self.area_site = as_u64(area.ctypes.data, len(area))
        self.nr_area_sites = len(area) - 1
        self.route_site = as_u64(route_site.ctypes.data, len(route_site))
        self.route_cache = as_s32(route_cache.ctypes.data, len(route_cache))
        self.nr_routes = len(route)
        self.demands = as_demands(demands.ctypes.data, len(demands))
        self.count = as_s64(count.ctypes.data, len(count))
        self.tasks = as_task_areas(tasks.ctypes.data, len(tasks))
        self.page_id = as_u32(page_id.ctypes.data, len(page_id))
        self.live = as_u8(live.ctypes.data, len(live))
        self._grow()

    def _grow(self):
        """Room for the ids of one more chunk of demands."""
        if self.max_ids - self.next_id + self.nr_free_ids > 2 * DEMAND_ROOM:
            return
        size = max(2 * self.max_ids, 1 << 18)
        for name in ("left", "companion", "free_id"):
            array = np.zeros(size, dtype=np.uint32)
            if name in self._buffers:
                array[: self.max_ids] = self._buffers[name]
            self._buffers[name] = array
        self.left = as_u32(self._buffers["left"].ctypes.data, size)
        self.companion = as_u32(self._buffers["companion"].ctypes.data, size)
        self.free_id = as_u32(self._buffers["free_id"].ctypes.data, size)
        self.max_ids = size

    def size(self):
        """Ids so far are below this."""
        return self.max_ids

    def counts(self):
        """What was counted, as a numpy array by DEMANDS_*; it goes on changing."""
        return self._buffers["count"]

    def known_objects(self):
        """The live objects so far as numpy records (`twin` is the id)."""
        return self.objects.records()

    def forget(self):
        """Begins again: the live objects and pages are no longer known."""
        self.objects = Objects()
        self._buffers["page_id"][:] = 0
        self._buffers["live"][:] = 0
        self._buffers["companion"][:] = 0
        self._buffers["count"][:] = 0
        self.next_id = 1
        self.nr_free_ids = 0
        self.nr_demands = 0

    def take(self):
        """The demands since the last take(), as numpy records that the next read overwrites."""
        count = self.nr_demands
        self.nr_demands = 0
        return self._buffers["demands"][:count]

    def adopt_object(self, address, cache, bytes, kmalloc, task, gfp):
        """An object that lives at the start is demanded again; `cache`: number of its name;
        `task`: a task_struct; `gfp` in the twin's bits.
        """
        self._grow()
        self.objects.reserve(1)
        id = self._new_id()
        demand = demand_at(self.demands, self.nr_demands)
        demand.time = demand.call_site = 0
        demand.bytes = bytes
        demand.id = id
        demand.gfp = gfp
        demand.cache = cache
        demand.pid = demand.cpu = demand.order = demand.use = 0
        demand.kind = ASK_KMALLOC if kmalloc else ASK_OBJECT
        self.nr_demands += 1
        self._know(address, id, 0, bytes)
        if task and self.own_stacks:
            self.companion[id] = self._new_id()
            self._stack(event_at(as_events(self.nothing, 1), 0), self.companion[id], 0)

    def give_back_object(self, address):
        """An object that was adopted is given back at once: it lay free at the start."""
        id = self._forget_object(address)
        if id != 0:
            self._give_back(event_at(as_events(self.nothing, 1), 0), id)

    def site_of(self, address):
        """The call site that asked for a live object, 0 if it is not known."""
        return self.objects.call_site_of(address)

    def adopt_pages(self, pfn, order, gfp, use):
        """A block of pages in use at the start is demanded again; `gfp` in the twin's bits."""
        self._grow()
        id = self._new_id()
        demand = demand_at(self.demands, self.nr_demands)
        demand.time = demand.call_site = 0
        demand.bytes = wrap64(1) << (self.page_shift + order)
        demand.id = id
        demand.gfp = gfp
        demand.cache = -1
        demand.pid = demand.cpu = 0
        demand.order = order
        demand.use = use
        demand.kind = ASK_PAGES
        self.nr_demands += 1
        for place in range(pfn, pfn + (1 << order)):
            self.page_id[place] = id
        self.left[id] = 1 << order

    def _new_id(self):
        if self.nr_free_ids > 0:
            self.nr_free_ids -= 1
            id = self.free_id[self.nr_free_ids]
        else:
            id = self.next_id
            self.next_id += 1
        self.companion[id] = 0
        self.left[id] = 0
        return id

    def _emit(self, event, kind, id):
        """A demand of an event's task; its other fields are the caller's."""
        demand = demand_at(self.demands, self.nr_demands)
        demand.time = event.time
        demand.call_site = event.call_site
        demand.bytes = 0
        demand.id = id
        demand.gfp = 0
        demand.cache = -1
        demand.pid = event.pid
        demand.cpu = event.cpu
        demand.kind = kind
        demand.order = 0
        demand.use = FOR_KERNEL
        self.nr_demands += 1
        return demand

    def _give_back(self, event, id):
        """What has this id is given back, and what goes with it before."""
        if id == SUPPRESSED or id == 0:
            return
        other = self.companion[id]
        if other != 0:
            self.companion[id] = 0
            self._give_back(event, other)
        self._emit(event, ASK_FREE, id)
        self.free_id[self.nr_free_ids] = id
        self.nr_free_ids += 1

    def _stack(self, event, id, kept):
        """A task's stack; `kept`: the recorded machine's CPU had kept one."""
        demand = self._emit(event, ASK_STACK, id)
        demand.bytes = self.stack_bytes
        demand.use = FOR_STACK
        demand.order = kept

    def _fork(self, event, id, task):
        """A task_struct is a fork: its stack goes when it goes. It is asked for when the events to
        come tell whether it is a new one.
        """
        self._forked(event, task)
        task.stack = self.companion[id] = self._new_id()
        task.forking = FORK_BEGUN

    def _forked(self, event, task):
        """The task that forks goes on: the new one has its stack (dup_task_struct()). Where CPUs
        keep stacks, one of whose area nothing was asked had been kept.
        """
        if task.forking:
            self._stack(event, task.stack, self.keeps_stacks and task.forking == FORK_BEGUN)
            task.forking = 0

    def _know(self, address, id, call_site, bytes):
        """A live object's id."""
        self.objects.add(address, id, call_site, bytes, bytes)
        pfn = wrap64(address - self.page_offset) >> self.page_shift
        if pfn < self.nr_pages and self.live[pfn] < 255:
            self.live[pfn] += 1

    def _forget_object(self, address):
        """The id of an object that is live no more, 0 if it is not known."""
        id = self.objects.remove(address)
        if id != 0:
            pfn = wrap64(address - self.page_offset) >> self.page_shift
            if pfn < self.nr_pages and 0 < self.live[pfn] < 255:
                self.live[pfn] -= 1
        return id

    def _know_pages(self, event, id):
        """Whose these pages are; what was there was given back unseen."""
        for place in range(event.address, event.address + (1 << event.order)):
            self.live[place] = 0
            if self.page_id[place] != 0:
                self.count[DEMANDS_UNSEEN_FREES] += 1
                self._leave(event, place)
            self.page_id[place] = id
        if id != SUPPRESSED:
            self.left[id] = 1 << event.order

    def _leave(self, event, pfn):
        """A page is no longer its block's, which goes with its last page."""
        id = self.page_id[pfn]
        self.page_id[pfn] = 0
        if id != SUPPRESSED:
            self.left[id] -= 1
            if self.left[id] == 0:
                self._give_back(event, id)

    def _is_site(self, sites, count, site):
        for place in range(count):
            if sites[place] == site:
                break
        else:
            return False
        return True

    def _route(self, site, cache):
        """The name that a call site asks for, `cache` where it is not known."""
        low, high = 0, self.nr_routes
        while low < high:
            middle = (low + high) // 2
            if self.route_site[middle] < site:
                low = middle + 1
            else:
                high = middle
        return self.route_cache[low] if self.route_site[low] == site and site else cache

    def _task_of(self, pid):
        """What is known of a task: it takes the place of another one's."""
        task = task_areas_at(self.tasks, pid & (PIDS - 1))
        if task.pid != pid:
            task.pid = pid
            task.left = task.forking = task.hidden = 0
        return task
