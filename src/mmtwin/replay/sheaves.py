"""Sheaves in a replay: what a refill takes from new slabs whose random starts no event names."""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.kernel.structs import parse_structs
from mmtwin.replay.unseen import Unseen

TEXT = files(__package__).joinpath("sheaves.pxd").read_text()
STRUCTS = parse_structs(TEXT)
OWN = parse_constants(TEXT)

if not cython.compiled:
    from mmtwin.kernel.page_alloc_pcp import order_to_pindex
    from mmtwin.kernel.ram import (
        cache_at,
        cache_cpu_of,
        page_address,
        pcp_of,
        pfn_to_page,
        virt_to_head_pfn,
    )
    from mmtwin.kernel.slub import slab_free
    from mmtwin.kernel.slub_refill import refill_from_new_slabs, refill_from_partial
    from mmtwin.kernel.slub_sheaf import (
        install_refilled_sheaf,
        replace_from_barn,
        sheaf_at,
        sheaf_to_refill,
    )
    from mmtwin.kernel.slub_turn import is_turnable, place_of, top_of_slab, turn_slab, turned
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import event_at, wrap64
    from mmtwin.replay.mend import queue_of
    from mmtwin.replay.pages import collect, gfp_of, set_cpu
    from mmtwin.replay.queues import QUEUES, empty, get, item_at, replace, waiting
    from mmtwin.replay.resync import adopt_slab, bring_slab, is_inside
    from mmtwin.replay.unseen import INTERRUPT

    globals().update(EVENT_CONSTANTS)
    globals().update(QUEUES)
    globals().update(OWN)

    def refill_at(refills, place):
        """One record of an array."""
        return refills[place]

    def late_at(lates, place):
        """One record of an array."""
        return lates[place]

    def as_lates(address, count):
        """The records at an address."""
        return (STRUCTS["late_t"] * count).from_address(address)

    def as_refills(address, count):
        """The records at an address."""
        return (STRUCTS["refill_t"] * count).from_address(address)


class Sheaves(Unseen):
    """What no event names, and sheaves filled from several slabs at once."""

    def __init__(self, mm, gfp_bits, resync, bulk_sites, maple):
        Unseen.__init__(self, mm, gfp_bits, resync, bulk_sites, maple)
        mm.sheaves_unbacked = 1  # a sheaf's own kmalloc and kfree are events
        refills = np.zeros(OWN["MOST_REFILLS"], dtype=np.dtype(STRUCTS["refill_t"]))
        self._buffers["refills"] = refills
        self.refills = as_refills(refills.ctypes.data, len(refills))
        self.nr_refills = 0
        lates = np.zeros(OWN["MOST_LATE"], dtype=np.dtype(STRUCTS["late_t"]))
        self._buffers["lates"] = lates
        self.lates = as_lates(lates.ctypes.data, len(lates))
        self.nr_late = 0
        self.sheaves = self.mm.has.sheaves != 0

    def _expect_start(self, cache, event, page):
        """Where a shuffled new slab begins was drawn at random: the recording's first object
        tells.
        """
        s = cache_at(self.mm, cache)
        if page < 0 or s.random_seq < 0:
            return
        offset = event.address - page_address(self.mm, page) - s.red_left_pad
        for place in range(s.oo_objects):
            if self.mm.random_seq[s.random_seq + place] == offset:
                self.mm.next_freelist_start = place
                return

    def _refill_part(self, event, number, cache):
        """A slab was made for a sheaf, which __pcs_replace_empty_main() fills with the CPU's lock
        given up: whether another task or an interrupt asks for or frees an object of the cache
        before the object that it is for is given out. Then the sheaf is filled as far as it was.
        """
        target = number + event.ahead
        if cache == self.maple.cache and self.maple.prefilled(target):
            return False
        demand = event_at(self.events, target)
        stop = self._others_come(number, target, demand)
        place = self._refill_of(demand)
        if place < 0:
            earlier = self._earlier_refill(target, demand, cache)
            if earlier >= 0 and self._begin_refill(event_at(self.events, earlier), cache):
                self._take_held_page(number, earlier, cache)
        if place < 0 and (stop == target or not self._begin_refill(demand, cache)):
            return False
        refill = refill_at(self.refills, self._refill_of(demand))
        slabs = self._slabs_between(number, stop, target)
        set_cpu(self.mm, event)
        self.coming = self._blocks_between(number, stop)
        self._fill(refill, cache, gfp_of(self, demand.gfp), slabs if stop < target else -1)
        collect(self, event.cpu)
        self.coming = 0
        self._turn_slabs(number, stop, cache, refill.sheaf, 0)
        self._place_slabs(number, stop, cache, 0)
        if stop < target:
            self._take_held_page(stop, target, cache)
        return stop < target

    def _others_come(self, number, target, demand):
        """The number of the first event after `number` in which another task or an interrupt
        asks for or frees an object of the demand's cache, `target` if none does before it.
        """
        for i in range(number + 1, target):
            event = event_at(self.events, i)
            if KIND_KMALLOC <= event.kind <= KIND_KMEM_CACHE_FREE:
                if event.cache == demand.cache and event.cpu == demand.cpu:
                    return i
        return target

    def _earlier_refill(self, target, demand, cache):
        """The number of another task's demand whose sheaf was being filled when this task came,
        though its first slab shows only later; -1 if there is none.

        A slab is made for it with fewer objects given out since this refill than a sheaf has:
        without a refill of its own it would have needed none.
        """
        asked = 0
        stop = target + NEAREST if target + NEAREST < self.available else self.available
        for i in range(target + 1, stop):
            event = event_at(self.events, i)
            if event.kind == KIND_KMALLOC or event.kind == KIND_KMEM_CACHE_ALLOC:
                asked += event.cache == demand.cache
                if asked + 1 >= cache_at(self.mm, cache).sheaf_capacity:
                    return -1
            if event.kind != KIND_MM_PAGE_ALLOC or event.role & ROLE_BITS != ROLE_SLAB:
                continue
            if not event.ahead or event.pid == demand.pid or i + event.ahead >= self.available:
                continue
            other = event_at(self.events, i + event.ahead)
            if other.cache == demand.cache and other.pid == event.pid and other.cpu == demand.cpu:
                return i + event.ahead if self._refill_of(other) < 0 else -1
        return -1

    def _refill_of(self, demand):
        """The place of a refill that a demand's task has begun, -1 if it has none."""
        for place in range(self.nr_refills):
            refill = refill_at(self.refills, place)
            if refill.pid == demand.pid and refill.address == demand.address:
                return place
        return -1

    def _begin_refill(self, demand, cache):
        """The first step of a refill: what partial slabs have. Whether the CPU needs one."""
        set_cpu(self.mm, demand)
        c = cache_cpu_of(self.mm, cache, self.mm.cpu)
        if self.mm.has.slub_cpu_slabs or self.nr_refills == MOST_REFILLS or c.sheaf_main < 0:
            return False
        if sheaf_at(self.mm, c.sheaf_main).size or replace_from_barn(self.mm, cache):
            return False
        gfp = gfp_of(self, demand.gfp)
        sheaf = sheaf_to_refill(self.mm, cache, gfp, True)
        if sheaf < 0:
            return False
        refill = refill_at(self.refills, self.nr_refills)
        self.nr_refills += 1
        refill.pid = demand.pid
        refill.address = demand.address
        refill.sheaf = sheaf
        wanted = sheaf_at(self.mm, sheaf).capacity
        objects = sheaf_at(self.mm, sheaf).objects
        filled = refill_from_partial(self.mm, cache, gfp, objects, 0, wanted)
        sheaf_at(self.mm, sheaf).size = filled
        return True

    def _take_held_page(self, first, target, cache):
        """A task that others came between had taken its next slab's page already, though its event
        comes later (prep_new_page() clears it before trace_mm_page_alloc()): the page is next on
        its CPU's list, and from event `first` on another comes off that list before it.
        """
        for number in range(first, target):
            if self._is_slab_for(number, target):
                break
        else:
            return
        page = event_at(self.events, number)
        if page.migratetype < 0 or not is_inside(self.mm, page.address, page.order):
            return
        cpu = page.cpu if page.cpu < self.mm.nr_cpus else 0
        pcp = pcp_of(self.mm, pfn_to_page(self.mm, page.address).zone, cpu)
        head = pcp.lists + order_to_pindex(self.mm, page.migratetype, page.order)
        if pfn_to_page(self.mm, head).next != page.address:
            return
        for i in range(first, number):
            event = event_at(self.events, i)
            if event.kind != KIND_MM_PAGE_ALLOC or event.cpu != page.cpu:
                continue
            if event.order == page.order and event.migratetype == page.migratetype:
                break
        else:
            return
        demand = event_at(self.events, target)
        refill = refill_at(self.refills, self._refill_of(demand))
        self._fill(refill, cache, gfp_of(self, demand.gfp), 1)
        collect(self, page.cpu)
        self._turn_slabs(number, number + 1, cache, refill.sheaf, 0)
        self._place_slabs(number, number + 1, cache, 0)

    def _fill(self, refill, cache, gfp, slabs):
        """A step of a refill: so many new slabs, as many as it takes if that is negative."""
        sheaf = sheaf_at(self.mm, refill.sheaf)
        sheaf.size += refill_from_new_slabs(
            self.mm, cache, gfp, sheaf.objects, sheaf.size, sheaf.capacity - sheaf.size, slabs
        )

    def _finish_refill(self, demand, cache):
        """The last step of a refill that others came between: the sheaf is the CPU's."""
        place = self._refill_of(demand)
        if place < 0:
            return
        refill = refill_at(self.refills, place)
        self._fill(refill, cache, gfp_of(self, demand.gfp), -1)
        install_refilled_sheaf(self.mm, cache, refill.sheaf)
        last = refill_at(self.refills, self.nr_refills - 1)
        refill.pid = last.pid
        refill.address = last.address
        refill.sheaf = last.sheaf
        self.nr_refills -= 1

    def _is_slab_for(self, number, target):
        """Whether an event is of a page that the kernel took for a slab for that demand."""
        event = event_at(self.events, number)
        if event.kind != KIND_MM_PAGE_ALLOC or event.role & ROLE_BITS != ROLE_SLAB:
            return False
        return number + event.ahead == target

    def _blocks_between(self, number, stop):
        """How many blocks the task takes off the free lists behind a slab's page, event `number`,
        and before event `stop`: the lists that the next slabs come from are filled.
        """
        page = event_at(self.events, number)
        target = number + page.ahead
        blocks = run = 0
        for i in range(number + 1, stop):
            event = event_at(self.events, i)
            if event.pid != page.pid or event.cpu != page.cpu or event.flags & INTERRUPT:
                continue
            if event.kind == KIND_MM_PAGE_ALLOC_ZONE_LOCKED:
                run += 1
            elif event.kind == KIND_MM_PAGE_ALLOC:
                if self._is_slab_for(i, target):
                    blocks += run
                run = 0
        return blocks

    def _slabs_between(self, number, stop, target):
        """How many slabs were made for a demand from one event to before another."""
        slabs = 0
        for i in range(number, stop):
            slabs += self._is_slab_for(i, target)
        return slabs

    def _turn_slabs(self, number, stop, cache, sheaf, predicted):
        """The new slabs that the kernel took for one object from event `number` to before `stop`,
        whose objects went into a sheaf: the twin's begin where the kernel's began. Where the
        predicted object is then.

        A slab's start was drawn at random; of each the first object that is given out tells it.
        """
        target = number + event_at(self.events, number).ahead
        queue = queue_of(self, event_at(self.events, number).cpu, QUEUE_TWIN_SLAB)
        nth = 0
        for i in range(number, stop):
            if not self._is_slab_for(i, target):
                continue
            if nth >= waiting(queue):
                break
            mine = item_at(queue, nth)
            nth += 1
            if is_turnable(self.mm, cache, mine):
                event = event_at(self.events, i)
                predicted = self._turn_slab(event, target, cache, mine, sheaf, predicted)
        return predicted

    def _turn_slab(self, event, target, cache, mine, sheaf, predicted):
        """One of them: the twin's at pfn `mine`, the kernel's at the event's."""
        first = page_address(self.mm, mine)
        size = 1 << (self.mm.page_shift + pfn_to_page(self.mm, mine).order)
        object = self._first_object(page_address(self.mm, event.address), size, target)
        given = predicted if first <= predicted < first + size else 0
        top = given if given else top_of_slab(self.mm, mine, sheaf)
        if not object or not top:
            return predicted
        wanted = object - page_address(self.mm, event.address) + first
        place = place_of(self.mm, cache, mine, wanted)
        distance = place - place_of(self.mm, cache, mine, top)
        if place < 0 or not distance:
            return predicted
        distance += pfn_to_page(self.mm, mine).objects
        turn_slab(self.mm, cache, mine, sheaf, distance)
        return turned(self.mm, cache, mine, given, distance) if given else predicted

    def _place_slabs(self, number, stop, cache, predicted):
        """The slabs that the kernel made for one object from event `number` to before `stop`
        (several for a sheaf): the twin's are moved to their pages. Where the predicted object is
        then.
        """
        first = event_at(self.events, number)
        target = number + first.ahead
        queue = queue_of(self, first.cpu, QUEUE_TWIN_SLAB)
        count = self._slabs_between(number, stop, target)
        # None shall come to where the twin has one that is still to be moved.
        back = count > 1 and waiting(queue) > 1 and item_at(queue, 0) < first.address
        nth = count - 1 if back else 0
        for offset in range(stop - number):
            i = stop - 1 - offset if back else number + offset
            event = event_at(self.events, i)
            if not self._is_slab_for(i, target):
                continue
            if is_inside(self.mm, event.address, event.order):
                event.role |= ROLE_DONE
                mine = item_at(queue, nth) if nth < waiting(queue) else NO_SLAB
                self._compare_page(event.address, mine)
                if self.resync and mine != event.address:
                    predicted = self._place_slab(event, cache, mine, predicted)
            nth += -1 if back else 1
        while count and not empty(queue):
            get(queue)
            count -= 1
        return predicted

    def _place_slab(self, event, cache, mine, predicted):
        """One slab of the twin's, -1 for none, comes to the kernel's page for it."""
        self.objects.doubt()
        if mine < 0:
            adopt_slab(self.mm, cache, event.address, event.order, gfp_of(self, event.gfp))
        else:
            size = 1 << (self.mm.page_shift + pfn_to_page(self.mm, mine).order)
            offset = wrap64(predicted - page_address(self.mm, mine))
            fate = self._fate(mine)
            late = queue_of(self, event.cpu, QUEUE_TWIN_ZONE)
            replace(late, mine, SETTLED)
            replace(late, event.address, mine)
            if bring_slab(self.mm, mine, event.address, fate) and offset < size:
                predicted = page_address(self.mm, event.address) + offset
        self.seen = self.mm.next_step
        return predicted

    def _first_object(self, first, size, number):
        """The first object that is given out of `size` bytes from event `number` on, 0 if none is
        seen.
        """
        stop = number + FURTHEST if number + FURTHEST < self.available else self.available
        for i in range(number, stop):
            event = event_at(self.events, i)
            if event.kind != KIND_KMALLOC and event.kind != KIND_KMEM_CACHE_ALLOC:
                continue
            if first <= event.address < first + size:
                return event.address
        return 0

    def _frees_late(self, event, cache):
        """kfree() and kmem_cache_free() write their event before slab_free(): a task that gives
        way right behind the event frees the object only when it runs again. Whether it is so; the
        object is kept until then.

        The recording does not say where the task gave way; it did there if what was last in the
        CPU's sheaf before the free is given out before this object.
        """
        if self.nr_late == MOST_LATE or event.flags & INTERRUPT:
            return False
        set_cpu(self.mm, event)
        c = cache_cpu_of(self.mm, cache, self.mm.cpu)
        if c.sheaf_main < 0 or not sheaf_at(self.mm, c.sheaf_main).size:
            return False
        sheaf = sheaf_at(self.mm, c.sheaf_main)
        if not self._is_late(event, sheaf.objects[sheaf.size - 1]):
            return False
        late = late_at(self.lates, self.nr_late)
        late.pid = event.pid
        late.address = event.address
        late.cache = cache
        late.cpu = self.mm.cpu
        self.nr_late += 1
        self.interrupted = True
        return True

    def _gave_way(self, event):
        """The number of the next event of the CPU's tasks, if it is another task's, else -1."""
        stop = self.demand + NEAREST if self.demand + NEAREST < self.available else self.available
        for i in range(self.demand + 1, stop):
            other = event_at(self.events, i)
            if other.cpu == event.cpu and other.flags & INTERRUPT == 0:
                return i if other.pid != event.pid else -1
        return -1

    def _is_late(self, event, top):
        """Whether the next object of the cache that another task gets, but for those that are
        freed meanwhile, is `top`, before the event's task runs again.
        """
        first = self._gave_way(event)
        if first < 0:
            return False
        above = 0
        stop = first + NEAREST if first + NEAREST < self.available else self.available
        for i in range(first, stop):
            other = event_at(self.events, i)
            if other.cpu != event.cpu:
                continue
            if other.pid == event.pid and other.flags & INTERRUPT == 0:
                return False
            if other.cache != event.cache:
                continue
            if other.kind == KIND_KFREE or other.kind == KIND_KMEM_CACHE_FREE:
                above += 1
            elif other.kind == KIND_KMALLOC or other.kind == KIND_KMEM_CACHE_ALLOC:
                if not above:
                    return other.address == top
                above -= 1
        return False

    def _free_late(self, event):
        """A task runs again that gave way before it freed an object."""
        kept = 0
        for place in range(self.nr_late):
            late = late_at(self.lates, place)
            if late.pid == event.pid and event.flags & INTERRUPT == 0:
                set_cpu(self.mm, event)
                slab_free(
                    self.mm, late.cache, virt_to_head_pfn(self.mm, late.address), late.address
                )
                collect(self, event.cpu)
                continue
            self.lates[kept] = self.lates[place]
            kept += 1
        self.nr_late = kept

    def _take_nodes(self, event):
        """A task runs again that had not done all that its last event tells."""
        if self.nr_late:
            self._free_late(event)
        if self.maple.cache >= 0:
            Unseen._take_nodes(self, event)
            self.interrupted |= self.nr_late > 0
        else:
            self.interrupted = self.nr_late > 0
