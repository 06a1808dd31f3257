"""Fallback between migratetypes: stealing and claiming pageblocks, and the high-atomic reserve
(mm/page_alloc.c).

Three generations of rules. At first the largest block of another type is moved, with its whole
pageblock where that pays, and taken from there. With `freelist_hygiene` it is taken from its own
list, unless half of its pageblock is free or alike: then that is claimed. With `fallback_claims`
claiming comes first, down to smaller blocks, and what is stolen else is the smallest block.
"Movable" pages (PageLRU) are those of USE_USER and USE_PAGE_CACHE.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        ALLOC_CMA,
        ALLOC_KSWAPD,
        ALLOC_NOFRAGMENT,
        MIGRATE_HIGHATOMIC,
        MIGRATE_MOVABLE,
        MIGRATE_PCPTYPES,
        MIGRATE_RECLAIMABLE,
        MIGRATE_UNMOVABLE,
        USE_PAGE_CACHE,
        USE_USER,
        WMARK_HIGH,
        ZONE_BOOSTED_WATERMARK,
        ZSTAT_CLAIM,
        ZSTAT_FALLBACK,
        PG_buddy,
    )
    from mmtwin.kernel.mmzone import (
        free_area_empty,
        get_pfnblock_migratetype,
        migratetype_is_mergeable,
        set_pageblock_migratetype,
        zone_free_pages,
        zone_spans_pfn,
    )
    from mmtwin.kernel.page_alloc_buddy import (
        __rmqueue_smallest,
        account_freepages,
        change_pageblock_range,
        del_page_from_free_list,
        expand,
        get_page_from_free_area,
        mod_free_pages,
        move_to_free_list,
        page_del_and_expand,
    )
    from mmtwin.kernel.policy import FALLBACK
    from mmtwin.kernel.ram import pfn_to_page, zone_at
    from mmtwin.kernel.trace import (
        STEP_MM_PAGE_ALLOC_EXTFRAG,
        STEP_MM_PAGE_ALLOC_ZONE_LOCKED,
        step,
    )

    def ask_fallback(function, start_type, place):
        """Calls the C function at an address."""
        return FALLBACK(function)(start_type, place)

    RMQUEUE_NORMAL, RMQUEUE_CMA, RMQUEUE_CLAIM, RMQUEUE_STEAL = range(4)


def fallback_type(start_type, place):
    """The table fallbacks[]: what to try first and second."""
    if place == 0:
        return MIGRATE_UNMOVABLE if start_type == MIGRATE_RECLAIMABLE else MIGRATE_RECLAIMABLE
    return MIGRATE_UNMOVABLE if start_type == MIGRATE_MOVABLE else MIGRATE_MOVABLE


def fallback_by_policy(mm, zone, order, start_type):
    """find_suitable_fallback() where the slot `fallback` says what to try: see policy.py."""
    for place in range(MIGRATE_PCPTYPES):
        migratetype = ask_fallback(mm.fallback_policy, start_type, place)
        if migratetype < 0 or migratetype >= MIGRATE_PCPTYPES or migratetype == start_type:
            break
        if not free_area_empty(mm, zone, order, migratetype):
            return migratetype
    return -1


def find_suitable_fallback(mm, zone, order, start_type):
    """The type to fall back to at this order, -1 if no list has a block."""
    if zone.nr_free[order] == 0:
        return -1
    if mm.fallback_policy:
        return fallback_by_policy(mm, zone, order, start_type)
    for place in range(2):
        migratetype = fallback_type(start_type, place)
        if not free_area_empty(mm, zone, order, migratetype):
            return migratetype
    return -1


def can_steal_fallback(mm, order, start_type):
    """can_steal_fallback(), should_try_claim_block(): is the whole pageblock worth trying for?"""
    return (
        order >= mm.pageblock_order // 2
        or start_type in (MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE)
        or mm.page_group_by_mobility_disabled != 0
    )


def boost_watermark(mm, zone):
    """Makes kswapd reclaim a pageblock more, so that fallbacks get rarer."""
    block = 1 << mm.pageblock_order
    high = zone.watermark[WMARK_HIGH]
    most = high // 10000 * mm.watermark_boost_factor
    most += high % 10000 * mm.watermark_boost_factor // 10000
    if block * 4 > zone.managed_pages or most == 0:
        return False
    if most < block:
        most = block
    zone.watermark_boost += block
    if zone.watermark_boost > most:
        zone.watermark_boost = most
    return True


def page_is_movable(page):
    """PageLRU() or movable by its driver, as far as its use is known."""
    return page.users == USE_USER or page.users == USE_PAGE_CACHE


def count_movable(mm, pfn):
    """Pages of the pageblock that are in use and movable."""
    start = pfn >> mm.pageblock_order << mm.pageblock_order
    end = start + (1 << mm.pageblock_order)
    movable = 0
    while start < end:
        page = pfn_to_page(mm, start)
        if page.flags & PG_buddy:
            start += 1 << page.order
            continue
        movable += page_is_movable(page)
        start += 1
    return movable


def count_free(mm, pfn):
    """Pages of the pageblock that are free."""
    start = pfn >> mm.pageblock_order << mm.pageblock_order
    end = start + (1 << mm.pageblock_order)
    free = 0
    while start < end:
        if mm.page[start].flags & PG_buddy:
            free += 1 << mm.page[start].order
            start += 1 << mm.page[start].order
        else:
            start += 1
    return free


def block_in_zone(mm, number, pfn):
    """prep_move_freepages_block(): blocks across a zone's boundary are not moved as a whole."""
    zone = zone_at(mm, number)
    start = pfn >> mm.pageblock_order << mm.pageblock_order
    end = start + (1 << mm.pageblock_order)
    return zone_spans_pfn(zone, start) and zone_spans_pfn(zone, end - 1)


def move_freepages_block(mm, number, pfn, migratetype):
    """The free blocks of the pageblock go to the list tails of another type.

    Pages moved, 0 where none can.
    """
    zone = zone_at(mm, number)
    start = pfn >> mm.pageblock_order << mm.pageblock_order
    end = start + (1 << mm.pageblock_order)
    if not zone_spans_pfn(zone, end - 1):
        return 0
    if not zone_spans_pfn(zone, start):
        start = pfn
    moved = 0
    while start < end:
        if mm.page[start].flags & PG_buddy:
            size = 1 << mm.page[start].order
            move_to_free_list(mm, zone, start, mm.page[start].order, migratetype)
            moved += size
            start += size
        else:
            start += 1
    return moved


def should_claim(mm, pfn, free, start_type, block_type):
    """Is half of the pageblock free, or in use for something like this allocation?"""
    if mm.claim_override >= 0:
        alike = mm.claim_override
        mm.claim_override = -1
        return alike != 0
    movable = count_movable(mm, pfn)
    if start_type == MIGRATE_MOVABLE:
        alike = movable
    elif block_type == MIGRATE_MOVABLE:
        alike = (1 << mm.pageblock_order) - free - movable
    else:
        alike = 0
    return free + alike >= 1 << (mm.pageblock_order - 1) or mm.page_group_by_mobility_disabled != 0


def steal_suitable_fallback(mm, number, pfn, alloc_flags, start_type, whole_block):
    """steal_suitable_fallback() before e0932b6c1f94 (6.10): what is stolen moves to the tails of
    `start_type`'s lists.
    """
    zone = zone_at(mm, number)
    order = mm.page[pfn].order
    old_type = get_pfnblock_migratetype(mm, pfn)
    if old_type != MIGRATE_HIGHATOMIC:
        if order >= mm.pageblock_order:
            change_pageblock_range(mm, pfn, order, start_type)
            zone.stat[ZSTAT_CLAIM] += 1
        else:
            if boost_watermark(mm, zone) and alloc_flags & ALLOC_KSWAPD:
                zone.flags |= ZONE_BOOSTED_WATERMARK
            if whole_block:
                moved = move_freepages_block(mm, number, pfn, start_type)
                if moved:
                    if should_claim(mm, pfn, moved, start_type, old_type):
                        set_pageblock_migratetype(mm, pfn, start_type)
                        zone.stat[ZSTAT_CLAIM] += 1
                    return
    move_to_free_list(mm, zone, pfn, order, start_type)


def trace_extfrag(mm, number, pfn, order, fallback_order, start_type, fallback_mt):
    """The event mm_page_alloc_extfrag; change_ownership: the pageblock took the new type."""
    mm.zone[number].stat[ZSTAT_FALLBACK] += 1
    step(
        mm,
        STEP_MM_PAGE_ALLOC_EXTFRAG,
        pfn,
        order,
        fallback_order,
        start_type,
        fallback_mt,
        get_pfnblock_migratetype(mm, pfn) == start_type,
    )


def __rmqueue_fallback(mm, number, order, start_type, alloc_flags):
    # the older rules: a block of another type, -1 if there is none; without freelist_hygiene it
    # then lies on `start_type`'s list, still whole
    zone = zone_at(mm, number)
    least = order
    if alloc_flags & ALLOC_NOFRAGMENT and (
        order < mm.pageblock_order or not mm.has.nofragment_low_orders
    ):
        least = mm.pageblock_order
    current = mm.nr_orders - 1
    migratetype = -1
    while current >= least:
        migratetype = find_suitable_fallback(mm, zone, current, start_type)
        if migratetype >= 0:
            break
        current -= 1
    if migratetype < 0:
        return -1
    whole = can_steal_fallback(mm, current, start_type)
    if not whole and start_type == MIGRATE_MOVABLE and current > order:
        # no whole block to win: rather split the smallest
        for current in range(order, mm.nr_orders):
            migratetype = find_suitable_fallback(mm, zone, current, start_type)
            if migratetype >= 0:
                break
        whole = can_steal_fallback(mm, current, start_type)
    pfn = get_page_from_free_area(mm, zone, current, migratetype)
    if mm.has.freelist_hygiene:
        pfn = take_suitable_fallback(
            mm, number, pfn, current, order, start_type, migratetype, alloc_flags, whole
        )
    else:
        steal_suitable_fallback(mm, number, pfn, alloc_flags, start_type, whole)
    trace_extfrag(mm, number, pfn, order, current, start_type, migratetype)
    return pfn


def take_suitable_fallback(
    mm, number, pfn, current, order, start_type, block_type, alloc_flags, whole_block
):
    """steal_suitable_fallback() since e0932b6c1f94 (6.10): the page to give out.

    It comes from a pageblock that is claimed, else from the block itself, whose rest stays.
    """
    zone = zone_at(mm, number)
    if whole_block:
        claimed = try_to_claim_block(
            mm, number, pfn, current, order, start_type, block_type, alloc_flags
        )
        if claimed >= 0:
            return claimed
    elif boost_watermark(mm, zone) and alloc_flags & ALLOC_KSWAPD:
        zone.flags |= ZONE_BOOSTED_WATERMARK
    page_del_and_expand(mm, zone, pfn, order, current, block_type)
    mm.page[pfn].migratetype = block_type
    return pfn


def try_to_claim_block(mm, number, pfn, current, order, start_type, block_type, alloc_flags):
    """The newer rule: the pageblock changes its type, or nothing is taken (-1)."""
    zone = zone_at(mm, number)
    if current >= mm.pageblock_order:
        del_page_from_free_list(mm, zone, pfn, current)
        account_freepages(mm, zone, -(1 << current), block_type)
        mod_free_pages(mm, number, -(1 << current))
        change_pageblock_range(mm, pfn, current, start_type)
        expand(mm, zone, pfn, order, current, start_type)
        account_freepages(mm, zone, (1 << current) - (1 << order), start_type)
        mod_free_pages(mm, number, (1 << current) - (1 << order))
        zone.stat[ZSTAT_CLAIM] += 1
        return pfn
    if boost_watermark(mm, zone) and alloc_flags & ALLOC_KSWAPD:
        zone.flags |= ZONE_BOOSTED_WATERMARK
    if not block_in_zone(mm, number, pfn):
        return -1
    if not should_claim(mm, pfn, count_free(mm, pfn), start_type, block_type):
        return -1
    move_freepages_block(mm, number, pfn, start_type)
    set_pageblock_migratetype(mm, pfn, start_type)
    zone.stat[ZSTAT_CLAIM] += 1
    return __rmqueue_smallest(mm, number, order, start_type)


def __rmqueue_claim(mm, number, order, start_type, alloc_flags):
    # the largest blocks of other types, if their pageblocks can be claimed
    zone = zone_at(mm, number)
    least = order
    if order < mm.pageblock_order and alloc_flags & ALLOC_NOFRAGMENT:
        least = mm.pageblock_order
    for current in range(mm.nr_orders - 1, least - 1, -1):
        if not can_steal_fallback(mm, current, start_type):
            break
        migratetype = find_suitable_fallback(mm, zone, current, start_type)
        if migratetype < 0:
            continue
        pfn = get_page_from_free_area(mm, zone, current, migratetype)
        pfn = try_to_claim_block(
            mm, number, pfn, current, order, start_type, migratetype, alloc_flags
        )
        if pfn >= 0:
            trace_extfrag(mm, number, pfn, order, current, start_type, migratetype)
            return pfn
    return -1


def __rmqueue_steal(mm, number, order, start_type):
    # one block of another type, the smallest that does; its pageblock keeps its type
    zone = zone_at(mm, number)
    for current in range(order, mm.nr_orders):
        migratetype = find_suitable_fallback(mm, zone, current, start_type)
        if migratetype < 0:
            continue
        pfn = get_page_from_free_area(mm, zone, current, migratetype)
        page_del_and_expand(mm, zone, pfn, order, current, migratetype)
        mm.page[pfn].migratetype = migratetype
        trace_extfrag(mm, number, pfn, order, current, start_type, migratetype)
        return pfn
    return -1


def rmqueue_by_mode(mm, number, order, migratetype, alloc_flags):
    """__rmqueue() by rmqueue_mode: what failed once under the lock is not tried again."""
    if mm.rmqueue_mode <= RMQUEUE_NORMAL:
        pfn = __rmqueue_smallest(mm, number, order, migratetype)
        if pfn >= 0:
            return pfn
    if mm.rmqueue_mode <= RMQUEUE_CMA and alloc_flags & ALLOC_CMA:
        pfn = __rmqueue_smallest(mm, number, order, mm.migrate_cma)
        if pfn >= 0:
            mm.rmqueue_mode = RMQUEUE_CMA
            return pfn
    if mm.rmqueue_mode <= RMQUEUE_CLAIM:
        pfn = __rmqueue_claim(mm, number, order, migratetype, alloc_flags)
        if pfn >= 0:
            mm.rmqueue_mode = RMQUEUE_NORMAL
            return pfn
    if not alloc_flags & ALLOC_NOFRAGMENT:
        pfn = __rmqueue_steal(mm, number, order, migratetype)
        if pfn >= 0:
            mm.rmqueue_mode = RMQUEUE_STEAL
            return pfn
    return -1


def rmqueue_retrying(mm, number, order, migratetype, alloc_flags):
    """__rmqueue() before 6.15: at first a fallback fills the own list, which is then tried again;
    since e0932b6c1f94 (6.10) it gives the page.
    """
    while True:
        pfn = __rmqueue_smallest(mm, number, order, migratetype)
        if pfn < 0 and alloc_flags & ALLOC_CMA:
            pfn = __rmqueue_smallest(mm, number, order, mm.migrate_cma)
        if pfn >= 0:
            return pfn
        pfn = __rmqueue_fallback(mm, number, order, migratetype, alloc_flags)
        if pfn < 0 or mm.has.freelist_hygiene:
            return pfn


def __rmqueue(mm, number, order, migratetype, alloc_flags):
    # a block from the free lists, whatever it takes; set mm.rmqueue_mode to 0 when the lock is
    # taken
    zone = zone_at(mm, number)
    pfn = -1
    if alloc_flags & ALLOC_CMA and zone.nr_free_cma > zone_free_pages(zone) // 2:
        pfn = __rmqueue_smallest(mm, number, order, mm.migrate_cma)
    if pfn < 0:
        if mm.has.fallback_claims:
            pfn = rmqueue_by_mode(mm, number, order, migratetype, alloc_flags)
        else:
            pfn = rmqueue_retrying(mm, number, order, migratetype, alloc_flags)
    if pfn >= 0 and not mm.has.zone_locked_by_smallest:
        step(mm, STEP_MM_PAGE_ALLOC_ZONE_LOCKED, pfn, order, migratetype, order == 0)
    return pfn


def max_highatomic(mm, zone):
    """At most 1% of a zone is reserved, rounded up to pageblocks."""
    block = 1 << mm.pageblock_order
    most = zone.managed_pages // 100
    if not mm.has.highatomic_one_percent:
        return most + block
    if most < block:
        return 0
    return (most + block - 1) // block * block


def reserve_highatomic_pageblock(mm, pfn, order):
    """The pageblock of a high-order atomic allocation is kept for more of them."""
    number = mm.page[pfn].zone
    zone = zone_at(mm, number)
    if zone.nr_reserved_highatomic >= max_highatomic(mm, zone):
        return
    if not migratetype_is_mergeable(get_pfnblock_migratetype(mm, pfn)):
        return
    if (
        mm.has.freelist_hygiene
        and order < mm.pageblock_order
        and not block_in_zone(mm, number, pfn)
    ):
        return
    if order < mm.pageblock_order or not mm.has.freelist_hygiene:
        set_pageblock_migratetype(mm, pfn, MIGRATE_HIGHATOMIC)
        move_freepages_block(mm, number, pfn, MIGRATE_HIGHATOMIC)
        zone.nr_reserved_highatomic += 1 << mm.pageblock_order
    else:
        change_pageblock_range(mm, pfn, order, MIGRATE_HIGHATOMIC)
        zone.nr_reserved_highatomic += 1 << order


def unreserve_block(mm, number, pfn, order, migratetype):
    """One pageblock (or a larger free block) leaves the reserve; whether free pages came of it."""
    zone = zone_at(mm, number)
    if get_pfnblock_migratetype(mm, pfn) == MIGRATE_HIGHATOMIC:
        size = 1 << mm.pageblock_order
        if order > mm.pageblock_order and mm.has.freelist_hygiene:
            size = 1 << order
        if size > zone.nr_reserved_highatomic:
            size = zone.nr_reserved_highatomic
        zone.nr_reserved_highatomic -= size
    if order >= mm.pageblock_order and mm.has.freelist_hygiene:
        move_to_free_list(mm, zone, pfn, order, migratetype)
        change_pageblock_range(mm, pfn, order, migratetype)
        return True
    set_pageblock_migratetype(mm, pfn, migratetype)
    return move_freepages_block(mm, number, pfn, migratetype) > 0


def unreserve_highatomic_pageblock(mm, number, migratetype, force):
    """Gives a zone's high-atomic pageblock to another type; whether free pages came of it.

    `force`: also the last one. unreserve_highatomic_pageblock(), of one zone of its zonelist.
    """
    zone = zone_at(mm, number)
    if not force and zone.nr_reserved_highatomic <= 1 << mm.pageblock_order:
        return False
    for order in range(mm.nr_orders):
        pfn = get_page_from_free_area(mm, zone, order, MIGRATE_HIGHATOMIC)
        if pfn >= 0 and unreserve_block(mm, number, pfn, order, migratetype):
            return True
    return False
