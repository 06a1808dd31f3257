"""The replay loop: a recording's demands into the twin, the twin's responses held against the
kernel's.

A demand is carried out at the first event it caused: an object whose slab had to be made is asked
for when the slab's page was taken, a few events before its own event (`event.ahead`, see
recordings/roles.py). After each demand the steps that the twin's tracepoints wrote are compared
with the recording's responses, in order. With `resync`, what the twin got wrong is counted and
then set right, so that each miss counts once; without, the twin runs free and the recording's
addresses are translated into its own.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.replay.lock_order import LockOrder

if not cython.compiled:
    from mmtwin.kernel.casts import as_s64
    from mmtwin.kernel.constants import PG_large_kmalloc, PG_slab
    from mmtwin.kernel.page_alloc import free_pages
    from mmtwin.kernel.ram import (
        cache_at,
        cache_cpu_of,
        pfn_to_page,
        virt_to_head_pfn,
        virt_to_pfn,
    )
    from mmtwin.kernel.slab_common import __kmalloc_node as kmalloc_node
    from mmtwin.kernel.slab_common import kfree, kmalloc_slab
    from mmtwin.kernel.slub import kmem_cache_alloc_node, slab_free
    from mmtwin.kernel.slub_resync import (
        make_cpu_slab,
        next_object,
        object_state,
        put_back,
        put_under,
        skip_objects,
        take_object,
    )
    from mmtwin.kernel.slub_slab import rcu_free_slab
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import as_events, event_at
    from mmtwin.recordings.sites import as_s32
    from mmtwin.replay.counts import COUNTS
    from mmtwin.replay.mend import queue_of
    from mmtwin.replay.pages import collect, gfp_of, node_of, set_cpu, watch_alloc
    from mmtwin.replay.queues import QUEUES, empty, get, put, skip_to
    from mmtwin.replay.resync import bring_slab, is_inside, move_large, page_is_free, vacate
    from mmtwin.replay.sheaves import SETTLED
    from mmtwin.replay.timers import rested
    from mmtwin.replay.unseen import INTERRUPT

    globals().update(COUNTS)
    globals().update(EVENT_CONSTANTS)
    globals().update(QUEUES)
    globals().update(parse_constants(files(__package__).joinpath("engine.pxd").read_text()))


class Engine(LockOrder):
    """One replay: an MM, the maps from the recording's numbers to the twin's, and the counts.

    `cache_of`: int32 array, the twin's cache by number in the recording's names, -1 for none;
    `gfp_bits`: 32 ints, the twin's gfp bit of each recorded bit; `large`: KMALLOC_MAX_CACHE_SIZE
    in bytes; `ordered`: whether the order of the lists that the machine begins with is the
    kernel's; the others: of LockOrder.
    """

    def __init__(
        self, mm, cache_of, gfp_bits, large, resync=True, bulk_sites=(), ordered=True, maple=None,
        write_sites=(), settings=(), kernfs_sites=(),
    ):  # fmt: skip
        LockOrder.__init__(
            self, mm, gfp_bits, resync, bulk_sites, maple, write_sites, settings, kernfs_sites
        )
        cache_of = np.ascontiguousarray(cache_of, dtype=np.int32)
        misses = np.zeros(mm.max_caches, dtype=np.int64)
        self._buffers["cache_of"] = cache_of
        self._buffers["misses"] = misses
        self.misses = as_s64(misses.ctypes.data, len(misses))
        self.cache_of = as_s32(cache_of.ctypes.data, len(cache_of))
        self.nr_names = len(cache_of)
        self.large = large
        self.ordered = ordered
        self.orderly = ordered and not self.sheaves

    def run(self, address, start, stop, available):
        """Carries out events `start` to `stop` of the `available` ones in the array of EVENT at an
        address.

        Events behind `stop` are looked at, not carried out: pass those that `ahead` can reach.
        """
        self.maple.look(address, start, available)
        self.mentions.aim(address, start, available)
        self.mm.reclaims = not self.resync  # drains for it have events, which come before
        with cython.nogil:
            self._run(address, start, stop, available)
        self.mm.reclaims, self.mm.oom_victim = 1, 0

    def cache_misses(self):
        """Objects that were predicted wrongly, by cache number, as a numpy array."""
        return self._buffers["misses"]

    def _run(self, address, start, stop, available):
        events = as_events(address, available)
        self.events = events
        self.available = available
        self.stop = stop
        self.looked = 0
        for i in range(start, stop):
            self._event(event_at(events, i), i)
        self.count[COUNT_EVENTS] += stop - start

    def _event(self, event, number):
        kind = event.kind
        self.demand = self.now = number
        rested(self, event)
        self.mm.oom_victim = event.flags & INTERRUPT == 0 and event.pid == self.victim
        if self.interrupted:
            self._take_nodes(event)
        if event.flags & INTERRUPT:
            self.mm.pcp_locked = event.extra & EXTRA_PCP_LOCKED != 0
            if event.ahead:
                self._interrupted(event, number)
        else:
            self.mm.pcp_locked = 0
            if event.time >= self.next_due:
                self._vmstat_update(event)
            if event.pid == self.waiting_pid:
                self._go_on(event)
        if kind >= KIND_MM_PAGE_ALLOC and kind <= KIND_MM_PAGE_ALLOC_EXTFRAG:
            if is_inside(self.mm, event.address, event.order):
                self._page_event(event, number, kind)
            elif kind == KIND_MM_PAGE_ALLOC:
                # pfn -1, 0 before 5.11: the kernel found no page
                self._failed_demand(event)
            else:
                self.count[UNEXPLAINED_OUTSIDE] += 1
        elif kind == KIND_KMALLOC or kind == KIND_KMEM_CACHE_ALLOC:
            if event.role & ROLE_DONE == 0:
                self._object_alloc(event, -1)
            if kind == KIND_KMALLOC:
                self._after_kmalloc(event)
        elif kind == KIND_KFREE or kind == KIND_KMEM_CACHE_FREE:
            if event.role & ROLE_DONE == 0:
                self._object_free(event)
            if event.address == self.write_buffer:
                self._written()

    def _page_event(self, event, number, kind):
        if kind == KIND_MM_PAGE_ALLOC:
            if event.role & ROLE_DONE == 0:
                self._page_alloc_event(event, number)
        elif kind == KIND_MM_PAGE_FREE:
            self._page_free_event(event, number)
        elif kind == KIND_MM_PAGE_FREE_BATCHED:
            if event.role == ROLE_DEMAND:
                self._free_in_turn(event, number, 0)
        elif kind == KIND_MM_PAGE_ALLOC_ZONE_LOCKED:
            self._zone_event(event, number)
        elif kind == KIND_MM_PAGE_PCPU_DRAIN:
            self._has_lock(event.cpu)
            self._drain_event(event)
        elif self.resync:
            # Whether a pageblock is claimed depends on its movable pages, which no event names.
            self.mm.claim_override = event.extra & 1

    def _awaits(self, event, number, kind):
        """Whether the event that this one is ahead of is still to be carried out, and of a kind
        like this.
        """
        if not event.ahead or number + event.ahead >= self.available:
            return False
        awaited = event_at(self.events, number + event.ahead)
        if kind == KIND_KMALLOC and awaited.kind == KIND_KMEM_CACHE_ALLOC:
            return awaited.role & ROLE_DONE == 0
        if kind == KIND_KFREE and awaited.kind == KIND_KMEM_CACHE_FREE:
            return awaited.role & ROLE_DONE == 0
        return awaited.kind == kind and awaited.role & ROLE_DONE == 0

    def _interrupted(self, event, number):
        """An interrupt's first event: was the allocation whose event comes after it decided before
        it?

        The recording cannot say; where the twin would now give out the very object, it was.
        """
        if event.kind == KIND_MM_PAGE_FREE or not self._awaits(event, number, KIND_KMALLOC):
            return
        demand = event_at(self.events, number + event.ahead)
        if not 0 <= demand.cache < self.nr_names:
            return
        cache = self.cache_of[demand.cache]
        gfp = gfp_of(self, demand.gfp)
        set_cpu(self.mm, event)
        if cache == self.maple.cache and self.maple.can_wait(number, number + event.ahead):
            return
        if cache >= 0 and next_object(self.mm, cache, gfp, -1) == demand.address:
            demand.role |= ROLE_DONE
            self.demand = number + event.ahead
            self._object_alloc(demand, -1)
            self.demand = number

    def _zone_event(self, event, number):
        """A block left the free lists; at the last one for a page, the page is asked for."""
        late = queue_of(self, event.cpu, QUEUE_TWIN_ZONE)
        if not empty(late):
            self.nr_wrong = 0
            mine = get(late)
            self._count_zone(mine, event.address, event.order)
            if mine == SETTLED:
                self.nr_wrong = 0
            self._set_zone_right()
            return
        put(queue_of(self, event.cpu, QUEUE_KERNEL_ZONE), self._zone_item(event))
        if self._awaits(event, number, KIND_MM_PAGE_ALLOC):
            page = event_at(self.events, number + event.ahead)
            if is_inside(self.mm, page.address, page.order):
                self._page_alloc_event(page, number + event.ahead)
                page.role |= ROLE_DONE

    def _page_alloc_event(self, event, number):
        if event.role == ROLE_DEMAND or event.role == ROLE_NONE:
            self._page_alloc(event)
        elif event.role == ROLE_SILENT:
            self._silent_slab(event, number)
        elif self.maple.cache >= 0 and self.maple.has_slab(event.address):
            self._slab_of_nodes(event, number)
        else:
            self._slab_page(event, number)

    def _slab_page(self, event, number):
        """SLUB took a page: the object that it needed a slab for is asked for now."""
        if self._awaits(event, number, KIND_KMALLOC):
            demand = event_at(self.events, number + event.ahead)
            cache = self._cache_of(demand, gfp_of(self, demand.gfp))
            if cache >= 0 and cache_at(self.mm, cache).sheaf_capacity:
                if self._refill_part(event, number, cache):
                    return
            demand.role |= ROLE_DONE
            self.demand = number + event.ahead
            self._object_alloc(demand, number if event.role & ROLE_DONE == 0 else -1)
        else:
            self._compare_page(event.address, get(queue_of(self, event.cpu, QUEUE_TWIN_SLAB)))

    def _page_free_event(self, event, number):
        if event.role == ROLE_SLAB:
            self._slab_free_event(event, number)
        elif event.ahead == 0:
            if event.pid == self.write_pid:
                self._page_migrates(event, number)
            if event.role != ROLE_LARGE_KMALLOC or not page_is_free(self.mm, event.address):
                self._free_in_turn(event, number, event.order)  # else kfree() did it

    def _slab_free_event(self, event, number):
        """SLUB gave a slab back: the twin did when it became empty, or after a grace period."""
        if rcu_free_slab(self.mm, event.address):
            collect(self, event.cpu)
        elif event.ahead and pfn_to_page(self.mm, event.address).flags & PG_slab:
            self._free_ahead(event, number)
        if self.kernfs_writes and not page_is_free(self.mm, event.address):
            self._shrinks(event, number)
        self.count[COUNT_SLAB_FREE_PREDICTED] += 1
        mine = queue_of(self, event.cpu, QUEUE_TWIN_SLAB_FREE)
        free = page_is_free(self.mm, event.address)
        self.count[UNEXPLAINED_SLAB_GIVEN_BACK] += skip_to(mine, event.address) if free else 0
        predicted = get(mine)
        if self.maple.cache >= 0:
            self._slab_of_nodes_freed(number)
        if predicted == event.address and free:
            self.count[COUNT_SLAB_FREE_EXACT] += 1
        elif not page_is_free(self.mm, event.address):
            self.count[UNEXPLAINED_SLAB_KEPT] += 1
            if self.resync:
                self.objects.doubt()
                vacate(self.mm, event.address, event.order)
                free_pages(self.mm, event.address, event.order)
                collect(self, event.cpu)

    def _free_ahead(self, event, number):
        """The free that emptied the slab may come behind the slab's own, with its event."""
        if self._awaits(event, number, KIND_KFREE):
            demand = event_at(self.events, number + event.ahead)
            if demand.cache == event.cache:
                self.demand = number + event.ahead
                self._object_free(demand)
                self.demand = number
                demand.role |= ROLE_DONE

    def _object_alloc(self, event, number):
        """An object is asked for; `number`: of the event that took the page of a slab for it, -1
        if none did.
        """
        if event.extra & EXTRA_NESTED:
            self._outer_alloc(event)
        set_cpu(self.mm, event)
        if event.address == 0:
            self.count[UNEXPLAINED_FAILED_DEMAND] += 1
            return
        gfp = gfp_of(self, event.gfp)
        if event.kind == KIND_KMALLOC and event.bytes_req > self.large:
            self._large_alloc(event, gfp)
            return
        cache = self._cache_of(event, gfp)
        if cache < 0:
            self.count[UNEXPLAINED_UNKNOWN_CACHE] += 1
            return
        self.count[COUNT_BYTES_PREDICTED] += 1
        if cache_at(self.mm, cache).size == event.bytes_alloc:
            self.count[COUNT_BYTES_EXACT] += 1
        sheaves = cache_at(self.mm, cache).sheaf_capacity
        if sheaves:
            if self.nr_refills:
                self._finish_refill(event, cache)
        elif number >= 0:
            self._expect_start(cache, event, event_at(self.events, number).address)
        if cache == self.maple.cache:
            self.maple.expect(event.address, gfp)
        if number >= 0 and sheaves:
            self.coming = self._blocks_between(number, self.demand)
        told = self.kernfs_writes and number < 0 and self._shrunk_before(event, cache, gfp)
        predicted = self.maple.take(self.demand, gfp) if cache == self.maple.cache else 0
        sheaf = self.maple.sheaf() if predicted else -1
        if not predicted:
            predicted = kmem_cache_alloc_node(self.mm, cache, gfp, node_of(self.mm, event))
        self.mm.next_freelist_start = -1
        collect(self, event.cpu)
        self.coming = 0
        if number >= 0 and sheaves:
            if sheaf < 0:
                sheaf = cache_cpu_of(self.mm, cache, self.mm.cpu).sheaf_main
            predicted = self._turn_slabs(number, self.demand, cache, sheaf, predicted)
        right = self._compare_object(event, cache, predicted)
        self.count[COUNT_OBJECTS_EXACT] -= right and told
        predicted = self._after_exchanges(predicted)
        if number >= 0:
            predicted = self._place_slabs(number, self.demand, cache, predicted)
        if self.resync and not right and predicted != event.address:
            self._set_object_right(event, cache, predicted)
        if not empty(queue_of(self, event.cpu, QUEUE_TWIN_SLAB)):
            self._undo_slabs(event.cpu)
        if cache == self.maple.cache:
            self._other_nodes(event, gfp)

    def _outer_alloc(self, event):
        """A slab's vector of cgroups is asked for: the object that it is for was taken before."""
        number = self.demand
        if event.ahead and number + event.ahead < self.available:
            demand = event_at(self.events, number + event.ahead)
            if not demand.role & ROLE_DONE:
                demand.role |= ROLE_DONE
                self.demand = number + event.ahead
                self._object_alloc(demand, -1)
                self.demand = number

    def _cache_of(self, event, gfp):
        """The cache asked: of a kmalloc by its size, unless the recording knows better (random
        caches).
        """
        named = self.cache_of[event.cache] if 0 <= event.cache < self.nr_names else -1
        if event.kind == KIND_KMALLOC and named < 0:
            return kmalloc_slab(self.mm, event.bytes_req, gfp)
        return named

    def _compare_object(self, event, cache, predicted):
        """Counts an object given out; whether the twin gave the kernel's."""
        self.count[COUNT_OBJECTS_PREDICTED] += 1
        watch_alloc(self, event, event.address if self.resync else predicted)
        if predicted == event.address:
            event.extra |= EXTRA_EXACT
            self.count[COUNT_OBJECTS_EXACT] += 1
            self.count[COUNT_OBJECTS_SAME_SLAB] += 1
            return True
        self.misses[cache] += 1
        if predicted == 0:
            self.count[UNEXPLAINED_FAILED_ALLOC] += 1
        elif virt_to_head_pfn(self.mm, predicted) == self._head_pfn(event.address):
            self.count[COUNT_OBJECTS_SAME_SLAB] += 1
        return False

    def _set_object_right(self, event, cache, predicted):
        """The kernel gave out another object: the twin takes that one and puts its own back.

        But where it is further down a list of known order, those before it were taken unseen.
        """
        known = cache == self.maple.cache and self.maple.scripted
        if known and self.maple.missed(predicted, event.address):
            self.seen = self.mm.next_step
            return
        if self.kernfs_writes and self._was_shrunk(cache, event.address):
            put_back(self.mm, cache, predicted)
            self._shrink(cache)
            predicted = kmem_cache_alloc_node(self.mm, cache, gfp_of(self, event.gfp), -1)
            if predicted == event.address:
                self.seen = self.mm.next_step
                return
        if self.ordered and not known and skip_objects(self.mm, cache, event.address):
            self.count[UNEXPLAINED_SILENT_OBJECT_ALLOC] += 1
            self.seen = self.mm.next_step
            return
        if predicted != 0 and put_back(self.mm, cache, predicted) and self.sheaves:
            put_under(self.mm, cache, event.address)
        pfn = self._head_pfn(event.address)
        if not self._is_slab_of(pfn, cache):
            self.objects.doubt()
            self.count[UNEXPLAINED_UNREACHABLE] += 1
        elif object_state(self.mm, cache, event.address) == 1:
            self.count[UNEXPLAINED_SILENT_OBJECT_FREE] += 1
        else:
            make_cpu_slab(self.mm, cache, event.address)
            if not take_object(self.mm, cache, event.address):
                self.objects.doubt()
                self.count[UNEXPLAINED_UNREACHABLE] += 1
        self.seen = self.mm.next_step

    def _large_alloc(self, event, gfp):
        """kmalloc_large(): pages straight from the page allocator."""
        predicted = kmalloc_node(self.mm, event.bytes_req, gfp, node_of(self.mm, event))
        collect(self, event.cpu)
        self.count[COUNT_BYTES_PREDICTED] += 1
        if predicted == 0:
            self.count[UNEXPLAINED_FAILED_ALLOC] += 1
            return
        watch_alloc(self, event, event.address if self.resync else predicted)
        pfn = virt_to_pfn(self.mm, self._after_exchanges(predicted))
        if 1 << (pfn_to_page(self.mm, pfn).order + self.mm.page_shift) == event.bytes_alloc:
            self.count[COUNT_BYTES_EXACT] += 1
        recorded = virt_to_pfn(self.mm, event.address)
        if self.resync and pfn != recorded and recorded >= 0:
            self.objects.doubt()
            move_large(self.mm, pfn, recorded, self._fate(pfn))
            self.seen = self.mm.next_step

    def _object_free(self, event):
        set_cpu(self.mm, event)
        if event.address <= ZERO_SIZE_PTR:
            return
        object = self.objects.remove(event.address)
        if object == 0 or self.resync:
            object = event.address  # in use since before the first event: the same in both
        pfn = self._head_pfn(object)
        if pfn < 0:
            self.count[UNEXPLAINED_OUTSIDE] += 1
        elif pfn_to_page(self.mm, pfn).flags & PG_slab:
            self._free_slab_object(event, pfn, object)
        elif pfn_to_page(self.mm, pfn).flags & PG_large_kmalloc and event.kind == KIND_KFREE:
            kfree(self.mm, object)
            collect(self, event.cpu)
        else:
            self.count[UNEXPLAINED_UNKNOWN_OBJECT] += 1

    def _free_slab_object(self, event, pfn, object):
        """An object that the twin knows to be one, or that is looked at: the kernel's own checks
        are left out.
        """
        cache = pfn_to_page(self.mm, pfn).cache
        nodes = cache == self.maple.cache
        if nodes:
            self._free_other_nodes(event)
        if (nodes or not self.objects.sure) and object_state(self.mm, cache, object) != 1:
            self.count[UNEXPLAINED_SILENT_OBJECT_ALLOC] += 1
            if not self.resync or not take_object(self.mm, cache, object):
                return
        if not self.resync and not self.objects.sure:
            self.objects.doubt()  # it may be the twin's object of another address
        if self.sheaves and cache_at(self.mm, cache).sheaf_capacity:
            if self._frees_late(event, cache):
                return
        slab_free(self.mm, cache, pfn, object)
        collect(self, event.cpu)
        if nodes:
            self._after_free()

    def _silent_slab(self, event, number):
        """A slab was taken for objects that no event names (bulk allocation): they used up what
        there was.
        """
        cache = self.cache_of[event.cache] if 0 <= event.cache < self.nr_names else -1
        if cache >= 0 and cache == self.maple.cache:
            self._slab_of_nodes(event, number)
            return
        set_cpu(self.mm, event)
        self.count[UNEXPLAINED_SILENT_SLAB] += 1
        if cache < 0:
            self._page_alloc(event)
            return
        for _ in range(MOST_SILENT_OBJECTS):
            if kmem_cache_alloc_node(self.mm, cache, gfp_of(self, event.gfp), -1) == 0:
                return
            collect(self, event.cpu)
            predicted = get(queue_of(self, event.cpu, QUEUE_TWIN_SLAB))
            if predicted >= 0:
                self._compare_page(event.address, predicted)
                if self.resync and predicted != event.address:
                    self.objects.doubt()
                    bring_slab(self.mm, predicted, event.address, self._fate(predicted))
                    self.seen = self.mm.next_step
                return
