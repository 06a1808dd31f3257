"""Free pages set from outside: a machine made from a recording's lists, and pages taken out
wherever they lie.

These are no kernel functions: machine/ builds a state with them, replay/ brings the twin back to
what a recording shows after a miss.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        MIGRATE_MOVABLE,
        MIGRATE_PCPTYPES,
        USE_FREE,
        USE_UNKNOWN,
        PG_buddy,
        PG_pcp,
    )
    from mmtwin.kernel.mmzone import get_pfnblock_migratetype
    from mmtwin.kernel.page_alloc_buddy import (
        account_freepages,
        add_to_free_list,
        del_page_from_free_list,
        pcp_allowed_order,
    )
    from mmtwin.kernel.page_alloc_pcp import note_free, put_on_pcp_list, take_off_pcp_list
    from mmtwin.kernel.ram import pcp_of, pfn_to_page, zone_of


def set_users(mm, pfn, pages, use):
    """Notes what pages are for (USE_*)."""
    for place in range(pages):
        mm.page[pfn + place].users = use


def add_free_block(mm, pfn, order, migratetype, tail):
    """Puts a block on a free list as it is, without merging; its pages must not be free."""
    zone = zone_of(mm, pfn)
    set_users(mm, pfn, 1 << order, USE_FREE)
    add_to_free_list(mm, zone, pfn, order, migratetype, tail)
    account_freepages(mm, zone, 1 << order, migratetype)


def add_pcp_block(mm, number, cpu, pindex, pfn, order, tail):
    """Puts a block on list `pindex` of a CPU's lists of zone `number`; its pages must not be free.

    It remembers the type its list stands for, or its pageblock's where that has no list of its
    own.
    """
    page = pfn_to_page(mm, pfn)
    set_users(mm, pfn, 1 << order, USE_FREE)
    put_on_pcp_list(mm, pcp_of(mm, number, cpu), pfn, order, pindex, tail)
    page.migratetype = get_pfnblock_migratetype(mm, pfn)
    if page.migratetype < MIGRATE_PCPTYPES or pindex % MIGRATE_PCPTYPES != MIGRATE_MOVABLE:
        page.migratetype = pindex % MIGRATE_PCPTYPES


def free_block_of(mm, pfn):
    """The first pfn of the free block that holds a page, -1 if the page is not free."""
    for order in range(mm.nr_orders):
        head = pfn >> order << order
        page = pfn_to_page(mm, head)
        if page.flags & (PG_buddy | PG_pcp) and page.order >= order:
            return head
    return -1


def pcp_that_holds(mm, pfn):
    """Follows the list to its head, and finds whose head it is."""
    entry = pfn
    while entry < mm.first_head:
        entry = mm.page[entry].next
    number = mm.page[pfn].zone
    for cpu in range(mm.nr_cpus):
        pcp = pcp_of(mm, number, cpu)
        if pcp.lists <= entry < pcp.lists + pcp.nr_lists:
            return pcp
    return pcp_of(mm, number, mm.cpu)


def put_rest(mm, block, order, pfn, end, migratetype):
    """Halves a block until what lies outside [pfn, end) is free again."""
    if block >= end or block + (1 << order) <= pfn:
        zone = zone_of(mm, block)
        add_to_free_list(mm, zone, block, order, migratetype, False)
        account_freepages(mm, zone, 1 << order, migratetype)
        return
    if block >= pfn and block + (1 << order) <= end:
        return
    half = block + (1 << (order - 1))
    put_rest(mm, block, order - 1, pfn, end, migratetype)
    put_rest(mm, half, order - 1, pfn, end, migratetype)


def take_from_block(mm, block, pfn, end):
    """Takes a free block apart; its order."""
    order = mm.page[block].order
    if mm.page[block].flags & PG_pcp:
        take_off_pcp_list(mm, pcp_that_holds(mm, block), block, order)
        migratetype = get_pfnblock_migratetype(mm, block)
    else:
        migratetype = mm.page[block].migratetype
        zone = zone_of(mm, block)
        del_page_from_free_list(mm, zone, block, order)
        account_freepages(mm, zone, -(1 << order), migratetype)
    put_rest(mm, block, order, pfn, end, migratetype)
    return order


def take_free_page(mm, pfn, order):
    """Takes exactly this block out of the free lists and per-CPU lists; how many of its pages were
    free.

    Blocks that reach beyond it are split, the rest goes to the heads of the free lists. The pages
    are then in use, of unknown use, as far as they were free.
    """
    end = pfn + (1 << order)
    place = pfn
    taken = 0
    while place < end:
        block = free_block_of(mm, place)
        if block < 0:
            place += 1
            continue
        size = 1 << take_from_block(mm, block, pfn, end)
        block += size
        if block > end:
            block = end
        set_users(mm, place, block - place, USE_UNKNOWN)
        taken += block - place
        place = block
    mm.page[pfn].refcount = 1
    return taken


def recall_free(mm, pfn, order):
    """A free that came before the state was taken: what it left in a CPU's alloc_factor,
    free_count and flags.

    No list shows these fields. With every allocation, free and refill that a recording has of
    `mm.cpu` before the moment, in order, they are what the kernel had (`recall_alloc`,
    `recall_refill`); the lists stay as they are.
    """
    if mm.has.pcp_auto_tune and pcp_allowed_order(mm, order):
        pcp = pcp_of(mm, mm.page[pfn].zone, mm.cpu)
        note_free(mm, pcp, order)


def recall_alloc(mm, pfn, order):
    """An allocation that came before the state was taken; see `recall_free`."""
    if mm.has.pcp_auto_tune and pcp_allowed_order(mm, order):
        pcp = pcp_of(mm, mm.page[pfn].zone, mm.cpu)
        pcp.free_count >>= 1


def recall_refill(mm, pfn, order, blocks):
    """A list was filled with so many blocks (mm_page_alloc_zone_locked); see `recall_free`."""
    if not mm.has.pcp_auto_tune or order:
        return
    pcp = pcp_of(mm, mm.page[pfn].zone, mm.cpu)
    # nr_pcp_alloc() gives at most batch << alloc_factor: so many blocks tell of one not seen.
    while blocks > pcp.batch << pcp.alloc_factor and pcp.alloc_factor < mm.has.pcp_batch_scale:
        pcp.alloc_factor += 1
    if blocks >= pcp.batch << pcp.alloc_factor and pcp.alloc_factor < mm.has.pcp_batch_scale:
        pcp.alloc_factor += 1
