"""Setting the twin right after a miss: the kernel's page, object or slab takes the place of the
twin's own.

Nothing here is a kernel's doing. A miss is counted before; these bring the state back to what the
recording shows, so that one miss does not become many.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        MIGRATE_MOVABLE,
        MIGRATE_PCPTYPES,
        USE_FREE,
        USE_UNKNOWN,
        PG_head,
        PG_large_kmalloc,
        PG_partial,
        PG_pcp,
        PG_slab,
        PG_tail,
    )
    from mmtwin.kernel.lists import list_add, list_del
    from mmtwin.kernel.mmzone import get_pfnblock_migratetype
    from mmtwin.kernel.page_alloc import free_pages, free_pages_prepare
    from mmtwin.kernel.page_alloc_buddy import __free_one_page, pcp_allowed_order
    from mmtwin.kernel.page_alloc_pcp import free_pcp_page, order_to_pindex, take_off_pcp_list
    from mmtwin.kernel.page_alloc_state import (
        add_pcp_block,
        free_block_of,
        pcp_that_holds,
        set_users,
        take_free_page,
    )
    from mmtwin.kernel.ram import (
        cache_at,
        cache_cpu_of,
        page_address,
        pfn_to_page,
        zone_of,
    )
    from mmtwin.kernel.slub_defs import TO_HEAD
    from mmtwin.kernel.slub_freelist import get_freepointer, set_freepointer
    from mmtwin.kernel.slub_partial import add_partial, remove_partial
    from mmtwin.kernel.slub_resync import leave_barn_full, leave_cpu_partial
    from mmtwin.kernel.slub_slab import dec_slabs_node, inc_slabs_node, leave_rcu_queue, new_slab
    from mmtwin.recordings.event import wrap64
    from mmtwin.replay.fate import FATES

    globals().update(FATES)

    def is_inside(mm, pfn, order):
        """Whether a block lies in the machine's memory, at an address of its order."""
        if order >= mm.nr_orders or pfn & ((1 << order) - 1):
            return False
        return mm.min_pfn <= pfn <= mm.max_pfn - (1 << order)


def page_is_free(mm, pfn):
    """Whether a page is on a free list or a per-CPU list."""
    if pfn_to_page(mm, pfn).refcount > 0:
        return False
    return free_block_of(mm, pfn) >= 0


def take_page(mm, pfn, order):
    """Takes exactly this block, if all of it is free."""
    block = free_block_of(mm, pfn)
    if block < 0 or block + (1 << pfn_to_page(mm, block).order) < pfn + (1 << order):
        return False
    return take_free_page(mm, pfn, order) == 1 << order


def is_block(mm, pfn, order):
    """Whether pages are in use as one block of this order that is no slab: it can be freed as
    such.
    """
    page = pfn_to_page(mm, pfn)
    if page_is_free(mm, pfn) or page.flags & (PG_slab | PG_tail):
        return False
    if page.flags & PG_head:
        return page.order == order
    for place in range(1, 1 << order):
        page = pfn_to_page(mm, pfn + place)
        if page.flags & (PG_slab | PG_head | PG_tail) or page_is_free(mm, pfn + place):
            return False
    return True


def vacate(mm, pfn, order):
    """Whatever the twin keeps in these pages ends: they are in use then, for nothing known.

    A slab or compound block that reaches into them is given back as a whole, as the kernel must
    have done.
    """
    for place in range(1 << order):
        head = pfn + place
        if pfn_to_page(mm, head).flags & PG_tail:
            head = pfn_to_page(mm, head).compound_head
        give_back_slab(mm, head)
        if pfn_to_page(mm, head).flags & PG_head:
            break_up(mm, head, pfn, pfn + (1 << order))
    take_free_page(mm, pfn, order)


def break_up(mm, head, pfn, end):
    """A compound block becomes single pages; those outside [pfn, end) are freed."""
    pages = 1 << pfn_to_page(mm, head).order
    for place in range(head, head + pages):
        page = pfn_to_page(mm, place)
        page.flags &= ~(PG_head | PG_tail | PG_large_kmalloc)
        page.order = 0
        page.refcount = 1
    for place in range(head, head + pages):
        if place < pfn or place >= end:
            free_pages(mm, place, 0)


def put_away(mm, pfn, order, fate):
    """A block that the twin took and the kernel did not goes where the kernel has it (FATE_*): on
    this CPU's list as its next block, in use for nothing known, else back to the free lists.

    There it, or the block it merges into, is the first of its list: so the twin came to take it.
    """
    if not free_pages_prepare(mm, pfn, order):
        return
    if fate == FATE_USED:
        set_users(mm, pfn, 1 << order, USE_UNKNOWN)
        pfn_to_page(mm, pfn).refcount = 1
    elif fate == FATE_LIST and pcp_allowed_order(mm, order):
        migratetype = get_pfnblock_migratetype(mm, pfn)
        if migratetype >= MIGRATE_PCPTYPES:
            migratetype = MIGRATE_MOVABLE
        pindex = order_to_pindex(mm, migratetype, order)
        add_pcp_block(mm, pfn_to_page(mm, pfn).zone, mm.cpu, pindex, pfn, order, False)
    else:
        undo_take(mm, pfn, order)


def undo_take(mm, pfn, order):
    """A prepared block goes back to the free lists, and there to the head."""
    __free_one_page(mm, pfn, order, get_pfnblock_migratetype(mm, pfn), 0)
    block = free_block_of(mm, pfn)
    page = pfn_to_page(mm, block)
    head = zone_of(mm, block).free_list + page.order * mm.nr_migratetypes + page.migratetype
    list_del(mm, block)
    list_add(mm, block, head)


def exchange_blocks(mm, mine, wanted, order, fate):
    """The free block `wanted` takes the place of `mine`, which goes where the kernel has it
    (`fate`, see put_away()).

    `mine` is on a per-CPU list or given out. Returns whether `wanted` was free.
    """
    if mine == wanted:
        return True
    block = pfn_to_page(mm, mine)
    if block.flags & PG_slab:
        return block.order == order and move_slab(mm, mine, wanted, fate)
    if block.flags & PG_pcp:
        if block.order != order or block.zone != pfn_to_page(mm, wanted).zone:
            return False
    elif not is_block(mm, mine, order):
        return False
    if not take_page(mm, wanted, order):
        return False
    copy_use(mm, mine, wanted, order)
    if block.flags & PG_pcp:
        list_add(mm, wanted, mine)
        list_del(mm, mine)
        block.flags &= ~PG_pcp
        set_users(mm, mine, 1 << order, USE_UNKNOWN)
        block.order = 0
    put_away(mm, mine, order, fate)
    return True


def swap_blocks(mm, mine, wanted, order):
    """Of two blocks that the twin took from the free lists each takes the other's place: `wanted`
    is on a per-CPU list, `mine` too or given out. Whether that could be.
    """
    if not pfn_to_page(mm, wanted).flags & PG_pcp:
        return False
    before = pfn_to_page(mm, wanted).prev
    migratetype = pfn_to_page(mm, wanted).migratetype
    pcp = pcp_that_holds(mm, wanted)
    if not exchange_blocks(mm, mine, wanted, order, FATE_USED):
        return False
    page = pfn_to_page(mm, mine)
    set_users(mm, mine, 1 << order, USE_FREE)
    page.refcount = 0
    page.flags |= PG_pcp
    page.order = order
    page.migratetype = migratetype
    list_add(mm, mine, wanted if before == mine else before)
    pcp.count += 1 << order
    return True


def copy_use(mm, mine, wanted, order):
    """A block gets the records of another: what it is used for, by whom, compound or not."""
    for place in range(1 << order):
        page = pfn_to_page(mm, wanted + place)
        other = pfn_to_page(mm, mine + place)
        page.flags = other.flags
        page.users = other.users
        page.order = other.order
        page.migratetype = other.migratetype
        page.refcount = other.refcount
        page.mapcount = other.mapcount
        page.compound_head = other.compound_head - mine + wanted if other.flags & PG_tail else 0


def return_block(mm, pfn):
    """A block that the twin put on a per-CPU list and the kernel did not; whether it is on one."""
    page = pfn_to_page(mm, pfn)
    if not page.flags & PG_pcp:
        return False
    order = page.order
    take_off_pcp_list(mm, pcp_that_holds(mm, pfn), pfn, order)
    undo_take(mm, pfn, order)
    return True


def drain_page(mm, pfn):
    """Moves a block from a per-CPU list to the free lists; whether it was on one."""
    number = pfn_to_page(mm, pfn).zone
    if not pfn_to_page(mm, pfn).flags & PG_pcp:
        return False
    free_pcp_page(mm, number, pcp_that_holds(mm, pfn), pfn)
    return True


def unlink_slab(mm, cache, pfn):
    """Takes a slab off whatever list it is on: a CPU's slab, its partial list, its node's."""
    page = pfn_to_page(mm, pfn)
    if page.flags & PG_partial:
        remove_partial(mm, cache, pfn)
        return
    for cpu in range(mm.nr_cpus):
        c = cache_cpu_of(mm, cache, cpu)
        if c.slab == pfn:
            c.slab = -1
            c.freelist = 0
            return
    leave_cpu_partial(mm, cache, pfn)


def give_back_slab(mm, pfn):
    """A slab the kernel gave back: its pages are nobody's then, and may be freed. Whether it was a
    slab.
    """
    page = pfn_to_page(mm, pfn)
    if not page.flags & PG_slab:
        return False
    cache = page.cache
    carry_sheaves(mm, cache, page_address(mm, pfn), 1 << (mm.page_shift + page.order), 0)
    if not leave_rcu_queue(mm, pfn):
        unlink_slab(mm, cache, pfn)
        dec_slabs_node(mm, cache, pfn)
    page.flags &= ~PG_slab
    page.cache = -1
    page.freelist = 0
    page.inuse = 0
    page.objects = 0
    page.frozen = 0
    return True


def adopt_slab(mm, cache, pfn, order, gfp):
    """A slab the kernel made of a block where the twin made none: it goes on its node's partial
    list.

    Whatever the block is in the twin ends. Returns whether the cache can have slabs of this order.
    """
    vacate(mm, pfn, order)
    pfn_to_page(mm, pfn).order = order
    mm.page_override = pfn
    made = new_slab(mm, cache, gfp, -1)
    mm.page_override = -1
    if made < 0:
        return False
    inc_slabs_node(mm, cache, made)
    add_partial(mm, cache, made, TO_HEAD)
    return True


def move_slab(mm, pfn, wanted, fate):
    """A slab at `pfn` is moved to the free block `wanted`, its lists and its place on them kept;
    whether it was. What it leaves goes where the kernel has it (`fate`, see put_away()).
    """
    page = pfn_to_page(mm, pfn)
    other = pfn_to_page(mm, wanted)
    order = page.order
    cache = page.cache
    s = cache_at(mm, cache)
    if not page.flags & PG_slab or not take_page(mm, wanted, order):
        return False
    distance = wrap64(page_address(mm, wanted) - page_address(mm, pfn))
    copy_use(mm, pfn, wanted, order)
    other.cache = cache
    other.inuse = page.inuse
    other.objects = page.objects
    other.frozen = page.frozen
    other.freelist = move_chain(mm, s, page.freelist, distance)
    for cpu in range(mm.nr_cpus):
        c = cache_cpu_of(mm, cache, cpu)
        if c.slab == pfn:
            c.slab = wanted
            c.freelist = move_chain(mm, s, c.freelist, distance)
    move_links(mm, cache, pfn, wanted)
    carry_sheaves(mm, cache, page_address(mm, pfn), 1 << (mm.page_shift + order), distance)
    page.flags &= ~(PG_slab | PG_partial)
    page.cache = -1
    page.freelist = 0
    put_away(mm, pfn, order, fate)
    return True


def bring_slab(mm, pfn, wanted, fate):
    """As move_slab(), whatever the twin keeps at `wanted`."""
    if not pfn_to_page(mm, pfn).flags & PG_slab:
        return False
    if move_slab(mm, pfn, wanted, fate):
        return True
    order = pfn_to_page(mm, pfn).order
    if wanted & ((1 << order) - 1):
        return False
    vacate(mm, wanted, order)
    free_pages(mm, wanted, order)
    return move_slab(mm, pfn, wanted, fate)


def slab_is_unused(mm, pfn):
    """Whether a page is the first of a slab whose objects are all free, in sheaves or not."""
    page = pfn_to_page(mm, pfn)
    if not page.flags & PG_slab:
        return False
    used = page.inuse
    s = cache_at(mm, page.cache)
    for cpu in range(mm.nr_cpus):
        c = cache_cpu_of(mm, page.cache, cpu)
        if c.slab == pfn:
            entry = c.freelist
            while entry:
                used -= 1
                entry = get_freepointer(mm, s, entry)
    if used and s.sheaf_capacity:
        size = 1 << (mm.page_shift + page.order)
        used -= in_sheaves(mm, page.cache, page_address(mm, pfn), size)
    return used == 0


def in_sheaves(mm, cache, first, size):
    """How many objects of `size` bytes from `first` on are in sheaves of their cache."""
    found = 0
    for number in range(mm.next_sheaf):
        if mm.sheaf[number].cache == cache:
            for place in range(mm.sheaf[number].size):
                found += wrap64(mm.sheaf[number].objects[place] - first) < size
    return found


def move_links(mm, cache, pfn, wanted):
    """A slab's place on its node's partial list or a CPU's is another's."""
    page = pfn_to_page(mm, pfn)
    if page.flags & PG_partial:
        list_add(mm, wanted, pfn)
        list_del(mm, pfn)
        return
    pfn_to_page(mm, wanted).next = page.next
    for cpu in range(mm.nr_cpus):
        c = cache_cpu_of(mm, cache, cpu)
        entry = c.partial
        if entry == pfn:
            c.partial = wanted
            entry = -1
        while entry >= 0:
            if pfn_to_page(mm, entry).next == pfn:
                pfn_to_page(mm, entry).next = wanted
            entry = pfn_to_page(mm, entry).next


def carry_sheaves(mm, cache, first, size, distance):
    """Objects in sheaves from `first` on, `size` bytes: at a distance now; with none, of no sheaf
    any more.
    """
    for number in range(mm.next_sheaf):
        if mm.sheaf[number].cache != cache:
            continue
        kept = 0
        for place in range(mm.sheaf[number].size):
            object = mm.sheaf[number].objects[place]
            if wrap64(object - first) < size:
                if not distance:
                    continue
                object = wrap64(object + distance)
            mm.sheaf[number].objects[kept] = object
            kept += 1
        if kept < mm.sheaf[number].size:
            mm.sheaf[number].size = kept
            if not kept:
                leave_barn_full(mm, cache, number)


def move_chain(mm, s, first, distance):
    """Writes a free list again at another place; its first object there."""
    entry = first
    while entry:
        following = get_freepointer(mm, s, entry)
        target = wrap64(following + distance) if following else 0
        set_freepointer(mm, s, wrap64(entry + distance), target)
        entry = following
    return wrap64(first + distance) if first else 0


def move_large(mm, pfn, wanted, fate):
    """A large kmalloc is moved to the block `wanted`, free or not; whether that lies in memory."""
    order = pfn_to_page(mm, pfn).order
    if not is_inside(mm, wanted, order):
        return False
    if not exchange_blocks(mm, pfn, wanted, order, fate):
        vacate(mm, wanted, order)
        free_pages(mm, wanted, order)
        exchange_blocks(mm, pfn, wanted, order, fate)
    return True
