"""Objects taken and given back where a recorded kernel says so, after the twin predicted another.

`take_object` allocates one given object wherever it lies free; `put_back` undoes an allocation;
`make_cpu_slab` gives the CPU the slab that the kernel evidently allocates from.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import PG_partial, PG_slab
    from mmtwin.kernel.ram import (
        cache_at,
        cache_cpu_of,
        cache_node_of,
        pfn_to_page,
        virt_to_head_pfn,
        virt_to_pfn,
    )
    from mmtwin.kernel.slub_alloc import node_match
    from mmtwin.kernel.slub_defs import TO_HEAD, TO_TAIL
    from mmtwin.kernel.slub_free import is_object
    from mmtwin.kernel.slub_freelist import get_freepointer, kmem_cache_debug, set_freepointer
    from mmtwin.kernel.slub_partial import add_partial, flush_slab, remove_partial
    from mmtwin.kernel.slub_slab import (
        inc_slabs_node,
        leave_rcu_queue,
        numa_node_id,
        pfmemalloc_match,
    )


def slab_of(mm, cache, object):
    """The pfn of the slab of this cache that has an object at this address, or -1."""
    pfn = virt_to_pfn(mm, object)
    if pfn < mm.min_pfn or pfn >= mm.max_pfn:
        return -1
    pfn = virt_to_head_pfn(mm, object)
    page = pfn_to_page(mm, pfn)
    if not page.flags & PG_slab or page.cache != cache or not is_object(mm, pfn, object):
        return -1
    return pfn


def find_before(mm, s, head, object):
    """The object before this one on a free list, 0 if it is the first, 1 if it is not there."""
    before = 0
    entry = head
    while entry and entry != object:
        before = entry
        entry = get_freepointer(mm, s, entry)
    return before if entry else 1


def cpu_of_slab(mm, cache, pfn):
    """The CPU whose slab it is, or -1."""
    for cpu in range(mm.nr_cpus):
        if cache_cpu_of(mm, cache, cpu).slab == pfn:
            return cpu
    return -1


def leave_cpu_partial(mm, cache, pfn):
    """Takes a slab off whichever CPU partial list it is on; the slabs before it count one less."""
    page = pfn_to_page(mm, pfn)
    for cpu in range(mm.nr_cpus):
        c = cache_cpu_of(mm, cache, cpu)
        entry = c.partial
        while entry >= 0 and entry != pfn:
            entry = pfn_to_page(mm, entry).next
        if entry < 0:
            continue
        if c.partial == pfn:
            c.partial = page.next
            page.next = -1
            return
        entry = c.partial
        while entry != pfn:
            above = pfn_to_page(mm, entry)
            entry = above.next
            above.slabs -= 1
            above.pobjects -= page.objects - page.inuse
        above.next = page.next
        page.next = -1
        return


def take_from_cpu(mm, cache, pfn, object):
    """Takes an object off the free list of the CPU that owns its slab."""
    cpu = cpu_of_slab(mm, cache, pfn)
    if cpu < 0:
        return False
    s = cache_at(mm, cache)
    c = cache_cpu_of(mm, cache, cpu)
    before = find_before(mm, s, c.freelist, object)
    if before == 1:
        return False
    if before:
        set_freepointer(mm, s, before, get_freepointer(mm, s, object))
    else:
        c.freelist = get_freepointer(mm, s, object)
    c.tid += mm.has.tid_step
    return True


def take_from_slab(mm, cache, pfn, object):
    """Takes an object off its slab's own free list; a slab that is full then leaves its list."""
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    before = find_before(mm, s, page.freelist, object)
    if before == 1:
        return False
    if before:
        set_freepointer(mm, s, before, get_freepointer(mm, s, object))
    else:
        page.freelist = get_freepointer(mm, s, object)
    page.inuse += 1
    if page.freelist or cpu_of_slab(mm, cache, pfn) >= 0:
        return True
    if page.flags & PG_partial:
        remove_partial(mm, cache, pfn)
    else:
        leave_cpu_partial(mm, cache, pfn)
    page.frozen = 0
    return True


def sheaf_index(mm, number, object):
    """The place of an object in a sheaf, or -1."""
    if number >= 0:
        for place in range(mm.sheaf[number].size):
            if mm.sheaf[number].objects[place] == object:
                return place
    return -1


def find_in_sheaves(mm, cache, object):
    """The sheaf of this cache that has the object, or -1: CPUs' sheaves, then the barns'."""
    for cpu in range(mm.nr_cpus):
        c = cache_cpu_of(mm, cache, cpu)
        if sheaf_index(mm, c.sheaf_main, object) >= 0:
            return c.sheaf_main
        if sheaf_index(mm, c.sheaf_spare, object) >= 0:
            return c.sheaf_spare
        if sheaf_index(mm, c.sheaf_rcu, object) >= 0:
            return c.sheaf_rcu
    for node in range(mm.nr_nodes):
        number = cache_node_of(mm, cache, node).barn_full
        while number >= 0 and sheaf_index(mm, number, object) < 0:
            number = mm.sheaf[number].next
        if number >= 0:
            return number
    number = mm.rcu_sheaf_first
    while number >= 0 and sheaf_index(mm, number, object) < 0:
        number = mm.sheaf[number].next
    return number


def take_from_sheaves(mm, cache, object):
    """Takes an object out of the sheaf that has it; the objects behind it close up."""
    if not cache_at(mm, cache).sheaf_capacity:
        return False
    number = find_in_sheaves(mm, cache, object)
    if number < 0:
        return False
    place = sheaf_index(mm, number, object)
    mm.sheaf[number].size -= 1
    while place < mm.sheaf[number].size:
        mm.sheaf[number].objects[place] = mm.sheaf[number].objects[place + 1]
        place += 1
    if not mm.sheaf[number].size:
        leave_barn_full(mm, cache, number)
    return True


def leave_barn_full(mm, cache, number):
    """A sheaf emptied where it lay among a barn's full ones goes to its empty ones."""
    for node in range(mm.nr_nodes):
        n = cache_node_of(mm, cache, node)
        before = -1
        entry = n.barn_full
        while entry >= 0 and entry != number:
            before = entry
            entry = mm.sheaf[entry].next
        if entry < 0:
            continue
        if before >= 0:
            mm.sheaf[before].next = mm.sheaf[number].next
        else:
            n.barn_full = mm.sheaf[number].next
        n.nr_full -= 1
        mm.sheaf[number].next = n.barn_empty
        n.barn_empty = number
        n.nr_empty += 1
        return


def keep_slab(mm, cache, pfn):
    """A slab that waits for the end of its grace period was not given up, as the use of one of its
    objects shows: it is a partial one of its node again.
    """
    page = pfn_to_page(mm, pfn)
    if page.inuse or page.frozen or page.flags & PG_partial or not leave_rcu_queue(mm, pfn):
        return
    inc_slabs_node(mm, cache, pfn)
    add_partial(mm, cache, pfn, TO_TAIL)


def take_object(mm, cache, object):
    """Allocates the object at this address, wherever it lies free. Returns whether it was free.

    Everything else keeps its order; a slab that becomes full leaves the partial list it is on.
    """
    pfn = slab_of(mm, cache, object)
    if pfn < 0:
        return False
    keep_slab(mm, cache, pfn)
    if take_from_sheaves(mm, cache, object) or take_from_cpu(mm, cache, pfn, object):
        return True
    return take_from_slab(mm, cache, pfn, object)


def put_back(mm, cache, object):
    """Undoes an allocation: the object is the first free one again where it came from.

    In the CPU's main sheaf if it has one with room, on its free list if it owns the slab, else
    on the slab's own. Returns False if no object has the address or it is free already.
    """
    pfn = slab_of(mm, cache, object)
    if pfn < 0 or object_state(mm, cache, object) != 1:
        return False
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    c = cache_cpu_of(mm, cache, mm.cpu)
    if c.sheaf_main >= 0 and mm.sheaf[c.sheaf_main].size < s.sheaf_capacity:
        mm.sheaf[c.sheaf_main].objects[mm.sheaf[c.sheaf_main].size] = object
        mm.sheaf[c.sheaf_main].size += 1
        return True
    if c.slab == pfn:
        set_freepointer(mm, s, object, c.freelist)
        c.freelist = object
        c.tid += mm.has.tid_step
        return True
    set_freepointer(mm, s, object, page.freelist)
    if not page.freelist and cpu_of_slab(mm, cache, pfn) < 0:
        add_partial(mm, cache, pfn, TO_HEAD)
    page.freelist = object
    page.inuse -= 1
    return True


def put_first(mm, number, object):
    """Puts an object under all others of a sheaf that has room for it."""
    place = mm.sheaf[number].size
    mm.sheaf[number].size += 1
    while place:
        mm.sheaf[number].objects[place] = mm.sheaf[number].objects[place - 1]
        place -= 1
    mm.sheaf[number].objects[0] = object


def put_under(mm, cache, object):
    """An object that was put back into the CPU's main sheaf, where the kernel gave out another,
    makes way for that one and what lies under it: its own place is not known.

    It goes under all others where the kernel's is next to it. Where it is alone in the main sheaf
    and the kernel's lies in the one that would be next, that one is the main sheaf now.
    """
    c = cache_cpu_of(mm, cache, mm.cpu)
    if c.sheaf_main < 0 or not mm.sheaf[c.sheaf_main].size:
        return
    place = mm.sheaf[c.sheaf_main].size - 1
    last = mm.sheaf[c.sheaf_main].objects[place]
    if place:
        if mm.sheaf[c.sheaf_main].objects[place - 1] == object:
            mm.sheaf[c.sheaf_main].size = place
            put_first(mm, c.sheaf_main, last)
        return
    n = cache_node_of(mm, cache, numa_node_id(mm))
    main = c.sheaf_main
    spare = c.sheaf_spare >= 0 and mm.sheaf[c.sheaf_spare].size != 0
    number = c.sheaf_spare if spare else n.barn_full
    if sheaf_index(mm, number, object) < 0:
        return
    room = mm.sheaf[number].size < cache_at(mm, cache).sheaf_capacity
    if not room and not spare:
        return
    if room:
        mm.sheaf[main].size = 0
        put_first(mm, number, last)
    c.sheaf_main = number
    if spare:
        c.sheaf_spare = main
        return
    n.barn_full = mm.sheaf[number].next
    n.nr_full -= 1
    mm.sheaf[number].next = -1
    mm.sheaf[main].next = n.barn_empty
    n.barn_empty = main
    n.nr_empty += 1


def skip_objects(mm, cache, object):
    """Takes the object off this CPU's free list, and all before it: they stay allocated, unseen.

    False, and nothing is done, if it is not on the list, or the cache has sheaves before it.
    """
    s = cache_at(mm, cache)
    c = cache_cpu_of(mm, cache, mm.cpu)
    if c.slab < 0 or s.sheaf_capacity or find_before(mm, s, c.freelist, object) == 1:
        return False
    c.freelist = get_freepointer(mm, s, object)
    c.tid += mm.has.tid_step
    return True


def make_cpu_slab(mm, cache, object):
    """Makes the slab that holds this object the CPU's, as an allocation from it shows it to be.

    The CPU's slab of before is flushed, the new one leaves the list it is on. False if there is no
    such slab, another CPU owns it, or the cache is a debug cache, whose CPUs own none.
    """
    pfn = slab_of(mm, cache, object)
    s = cache_at(mm, cache)
    if pfn < 0 or kmem_cache_debug(s) or not mm.has.slub_cpu_slabs:
        return False
    c = cache_cpu_of(mm, cache, mm.cpu)
    if c.slab == pfn:
        return True
    if cpu_of_slab(mm, cache, pfn) >= 0:
        return False
    keep_slab(mm, cache, pfn)
    page = pfn_to_page(mm, pfn)
    if page.flags & PG_partial:
        remove_partial(mm, cache, pfn)
    else:
        leave_cpu_partial(mm, cache, pfn)
    flush_slab(mm, cache, mm.cpu)
    c.slab = pfn
    c.freelist = page.freelist
    page.freelist = 0
    page.inuse = page.objects
    page.frozen = 1
    return True


def object_state(mm, cache, object):
    """Whether an object is live (1) or free (0); -1 if no object of this cache has the address."""
    pfn = slab_of(mm, cache, object)
    if pfn < 0:
        return -1
    s = cache_at(mm, cache)
    if s.sheaf_capacity and find_in_sheaves(mm, cache, object) >= 0:
        return 0
    cpu = cpu_of_slab(mm, cache, pfn)
    if find_before(mm, s, pfn_to_page(mm, pfn).freelist, object) != 1:
        return 0
    if cpu >= 0 and find_before(mm, s, cache_cpu_of(mm, cache, cpu).freelist, object) != 1:
        return 0
    return 1


def last_of_sheaf(mm, number):
    """The object that a sheaf gives next."""
    return mm.sheaf[number].objects[mm.sheaf[number].size - 1]


def next_object(mm, cache, gfp, node):
    """The object that the next allocation takes, 0 if that needs a new slab; changes nothing.

    Tells a replay whether an allocation was decided before or after an interrupt whose events
    stand before its own. Other nodes' lists are not looked at, nor what a refill of an empty
    sheaf would put last.
    """
    c = cache_cpu_of(mm, cache, mm.cpu)
    n = cache_node_of(mm, cache, numa_node_id(mm) if node < 0 else node)
    if c.sheaf_main >= 0:
        if mm.sheaf[c.sheaf_main].size:
            return last_of_sheaf(mm, c.sheaf_main)
        if c.sheaf_spare >= 0 and mm.sheaf[c.sheaf_spare].size:
            return last_of_sheaf(mm, c.sheaf_spare)
        if n.barn_full >= 0:
            return last_of_sheaf(mm, n.barn_full)
    if c.slab >= 0 and node_match(mm, c.slab, node) and pfmemalloc_match(mm, c.slab, gfp):
        if c.freelist:
            return c.freelist
        if pfn_to_page(mm, c.slab).freelist:
            return pfn_to_page(mm, c.slab).freelist
    pfn = c.partial
    while pfn >= 0:
        if node_match(mm, pfn, node) and pfmemalloc_match(mm, pfn, gfp):
            return pfn_to_page(mm, pfn).freelist
        pfn = pfn_to_page(mm, pfn).next
    head = n.partial
    pfn = pfn_to_page(mm, head).next
    while pfn != head:
        if pfmemalloc_match(mm, pfn, gfp):
            return pfn_to_page(mm, pfn).freelist
        pfn = pfn_to_page(mm, pfn).next
    return 0
