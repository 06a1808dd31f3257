"""The buddy allocator proper: free lists by order and migratetype, splitting and merging
(mm/page_alloc.c).

A free block is known by its first page: PG_buddy, `order`, and `migratetype`, the list it lies on.
`nr_free_pages` of the zone leaves out isolated blocks; `nr_free_cma` and `nr_free_highatomic` are
parts of it.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        FPI_TO_TAIL,
        MIGRATE_HIGHATOMIC,
        MIGRATE_PCPTYPES,
        USE_FREE,
        ZSTAT_BUDDY_FREE,
        PG_buddy,
    )
    from mmtwin.kernel.lists import list_add, list_add_tail, list_del
    from mmtwin.kernel.mmzone import (
        get_pfnblock_migratetype,
        migratetype_is_mergeable,
        set_pageblock_migratetype,
    )
    from mmtwin.kernel.ram import pcp_of, pfn_to_page, zone_at, zone_of
    from mmtwin.kernel.trace import (
        STEP_BUDDY_MERGE,
        STEP_BUDDY_SPLIT,
        STEP_MM_PAGE_ALLOC_ZONE_LOCKED,
        step,
        step_on,
    )

    MASK64 = (1 << 64) - 1


def account_freepages(mm, zone, pages, migratetype):
    """account_freepages(), __mod_zone_freepage_state()."""
    if migratetype == mm.migrate_isolate:
        return
    zone.nr_free_pages += pages
    if migratetype == mm.migrate_cma:
        zone.nr_free_cma += pages
    elif migratetype == MIGRATE_HIGHATOMIC:
        zone.nr_free_highatomic += pages


def mod_free_pages(mm, number, pages):
    """__mod_zone_page_state() of NR_FREE_PAGES: the CPU holds back a change of a zone's free pages
    until they are more than the threshold. `nr_free_pages` has changed already, or will.
    """
    zone = zone_at(mm, number)
    pcp = pcp_of(mm, number, mm.cpu)
    diff = pcp.free_diff + pages
    if diff > zone.stat_threshold or diff < -zone.stat_threshold:
        diff = 0
    zone.nr_free_behind += diff - pcp.free_diff
    pcp.free_diff = diff


def fold_free_pages(mm, cpu):
    """A CPU adds up what it held back of the free pages: refresh_cpu_vm_stats()."""
    for number in range(mm.nr_zones):
        pcp = pcp_of(mm, number, cpu)
        zone_at(mm, number).nr_free_behind -= pcp.free_diff
        pcp.free_diff = 0


def add_to_free_list(mm, zone, pfn, order, migratetype, tail):
    """Puts a block on a free list; the caller accounts for it."""
    head = zone.free_list + order * mm.nr_migratetypes + migratetype
    page = pfn_to_page(mm, pfn)
    page.flags |= PG_buddy
    page.order = order
    page.migratetype = migratetype
    page.users = USE_FREE
    if tail:
        list_add_tail(mm, pfn, head)
    else:
        list_add(mm, pfn, head)
    zone.nr_free[order] += 1


def del_page_from_free_list(mm, zone, pfn, order):
    """Takes a block off its free list; the caller accounts for it."""
    list_del(mm, pfn)
    page = pfn_to_page(mm, pfn)
    page.flags &= ~PG_buddy
    page.order = 0
    zone.nr_free[order] -= 1


def move_to_free_list(mm, zone, pfn, order, migratetype):
    """Moves a block to the tail of another type's list: it is not the next to be given out."""
    page = pfn_to_page(mm, pfn)
    old = page.migratetype
    list_del(mm, pfn)
    list_add_tail(mm, pfn, zone.free_list + order * mm.nr_migratetypes + migratetype)
    page.migratetype = migratetype
    account_freepages(mm, zone, -(1 << order), old)
    account_freepages(mm, zone, 1 << order, migratetype)
    if mm.has.freelist_hygiene:
        mod_free_pages(mm, page.zone, -(1 << order))
        mod_free_pages(mm, page.zone, 1 << order)


def get_page_from_free_area(mm, zone, order, migratetype):
    """The first block of a free list, -1 if it is empty."""
    head = zone.free_list + order * mm.nr_migratetypes + migratetype
    first = mm.page[head].next
    return -1 if first == head else first


def page_is_buddy(mm, pfn, buddy, order):
    """Whether a block's buddy is free, of the same size and in the same zone."""
    page = pfn_to_page(mm, buddy)
    return page.flags & PG_buddy != 0 and page.order == order and page.zone == mm.page[pfn].zone


def buddy_merge_likely(mm, pfn, buddy, order):
    """Whether, were the buddy freed too, the pair would merge with its own buddy."""
    if order >= mm.nr_orders - 2:
        return False
    combined = buddy & pfn
    return page_is_buddy(mm, combined, combined ^ (2 << order), order + 1)


def shuffle_pick_tail(mm):
    """A random end, drawn from the twin's own generator, xorshift64 (mm/shuffle.c)."""
    random = mm.random_state
    random ^= (random << 13) & MASK64
    random ^= random >> 7
    random ^= (random << 17) & MASK64
    mm.random_state = random
    return random & 1 != 0


def change_pageblock_range(mm, pfn, order, migratetype):
    """Gives all pageblocks of a large block a type."""
    for block in range(1 << (order - mm.pageblock_order)):
        set_pageblock_migratetype(mm, pfn + (block << mm.pageblock_order), migratetype)


def may_merge_blocks(mm, zone, buddy, migratetype):
    """Whether whole pageblocks may merge: only if their types allow it."""
    buddy_type = get_pfnblock_migratetype(mm, buddy)
    if buddy_type == migratetype:
        return True
    if mm.has.merge_checks_mergeable:
        return migratetype_is_mergeable(migratetype) and migratetype_is_mergeable(buddy_type)
    if not zone.nr_isolate_pageblock:
        return True
    return migratetype != mm.migrate_isolate and buddy_type != mm.migrate_isolate


def __free_one_page(mm, pfn, order, migratetype, fpi_flags):
    # merges with free buddies as far as it goes, then puts the block on the list of `migratetype`
    zone = zone_of(mm, pfn)
    account_freepages(mm, zone, 1 << order, migratetype)
    if migratetype != mm.migrate_isolate:
        mod_free_pages(mm, mm.page[pfn].zone, 1 << order)
    first = pfn
    low = order
    buddy = pfn ^ (1 << order)
    while order < mm.nr_orders - 1:
        buddy = pfn ^ (1 << order)
        if not page_is_buddy(mm, pfn, buddy, order):
            break
        if order >= mm.pageblock_order:
            if not may_merge_blocks(mm, zone, buddy, migratetype):
                break
            if mm.has.freelist_hygiene and mm.page[buddy].migratetype != migratetype:
                change_pageblock_range(mm, buddy, order, migratetype)
        if mm.page[buddy].migratetype != migratetype:
            account_freepages(mm, zone, -(1 << order), mm.page[buddy].migratetype)
            account_freepages(mm, zone, 1 << order, migratetype)
        del_page_from_free_list(mm, zone, buddy, order)
        pfn &= buddy
        order += 1
    if fpi_flags & FPI_TO_TAIL:
        tail = True
    elif mm.has.shuffle and order >= mm.nr_orders - 1:
        tail = shuffle_pick_tail(mm)
    else:
        tail = buddy_merge_likely(mm, pfn, buddy, order)
    add_to_free_list(mm, zone, pfn, order, migratetype, tail)
    if order > low:
        step(mm, STEP_BUDDY_MERGE, pfn, order, first, low)


def split_large_buddy(mm, pfn, order, fpi_flags):
    """Frees a block by pageblocks, each of which may have a type of its own."""
    piece = order
    if piece > mm.pageblock_order:
        piece = mm.pageblock_order
    end = pfn + (1 << order)
    while pfn < end:
        __free_one_page(mm, pfn, piece, get_pfnblock_migratetype(mm, pfn), fpi_flags)
        pfn += 1 << piece


def free_one_page(mm, pfn, order, fpi_flags):
    """Frees a block straight to the free lists, past the per-CPU lists."""
    zone_of(mm, pfn).stat[ZSTAT_BUDDY_FREE] += 1
    if mm.has.freelist_hygiene:
        split_large_buddy(mm, pfn, order, fpi_flags)
    else:
        __free_one_page(mm, pfn, order, get_pfnblock_migratetype(mm, pfn), fpi_flags)


def expand(mm, zone, pfn, low, high, migratetype):
    """Frees the upper halves of a block whose first pages the caller keeps."""
    size = 1 << high
    while high > low:
        high -= 1
        size >>= 1
        add_to_free_list(mm, zone, pfn + size, high, migratetype, False)


def page_del_and_expand(mm, zone, pfn, low, high, migratetype):
    """Takes the first pages of a free block; the rest stays free."""
    del_page_from_free_list(mm, zone, pfn, high)
    expand(mm, zone, pfn, low, high, migratetype)
    account_freepages(mm, zone, -(1 << low), migratetype)
    if mm.has.freelist_hygiene:  # else rmqueue_bulk(), rmqueue_buddy() (e0932b6c1f94, 6.10)
        mod_free_pages(mm, mm.page[pfn].zone, -(1 << low))
    if high > low:
        step(mm, STEP_BUDDY_SPLIT, pfn, high, low)


def pcp_allowed_order(mm, order):
    """May blocks of this order lie on per-CPU lists?"""
    return order <= mm.has.pcp_max_order or (
        order == mm.pageblock_order and mm.has.pcp_thp_lists != 0
    )


def __rmqueue_smallest(mm, number, order, migratetype):
    # the first block of the smallest order that has one of this type; -1 if none has
    zone = zone_at(mm, number)
    for current in range(order, mm.nr_orders):
        pfn = get_page_from_free_area(mm, zone, current, migratetype)
        if pfn < 0:
            continue
        page_del_and_expand(mm, zone, pfn, order, current, migratetype)
        mm.page[pfn].migratetype = migratetype
        if mm.has.zone_locked_by_smallest and step_on(mm, STEP_MM_PAGE_ALLOC_ZONE_LOCKED):
            step(
                mm,
                STEP_MM_PAGE_ALLOC_ZONE_LOCKED,
                pfn,
                order,
                migratetype,
                pcp_allowed_order(mm, order) and migratetype < MIGRATE_PCPTYPES,
            )
        return pfn
    return -1
