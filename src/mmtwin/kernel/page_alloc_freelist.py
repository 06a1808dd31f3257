"""get_page_from_freelist(): the walk over the zonelist (mm/page_alloc.c)."""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        __GFP_COMP,
        __GFP_MOVABLE,
        __GFP_THISNODE,
        __GFP_ZERO,
        ALLOC_FROM_ZONE,
        ALLOC_HIGHATOMIC,
        ALLOC_NO_WATERMARKS,
        ALLOC_NOFRAGMENT,
        ALLOC_NON_BLOCK,
        ALLOC_OOM,
        ALLOC_WMARK_MASK,
        ALLOC_WMARK_MIN,
        CHECK_KASAN,
        MIGRATE_HIGHATOMIC,
        USE_KERNEL,
        USE_USER,
        VM_PAGEOUTRUN,
        VM_PGALLOC,
        WMARK_HIGH,
        ZONE_BELOW_HIGH,
        ZONE_BOOSTED_WATERMARK,
        ZONELIST_PLACES,
        ZSTAT_BUDDY_ALLOC,
        ZSTAT_NUMA_FOREIGN,
        ZSTAT_NUMA_HIT,
        ZSTAT_NUMA_LOCAL,
        ZSTAT_NUMA_MISS,
        ZSTAT_NUMA_OTHER,
        PG_head,
        PG_pfmemalloc,
        PG_tail,
    )
    from mmtwin.kernel.kasan_hooks import kasan_unpoison_pages
    from mmtwin.kernel.mmzone import gfp_zone, zone_free_pages, zone_watermark_fast
    from mmtwin.kernel.page_alloc_buddy import (
        __rmqueue_smallest,
        mod_free_pages,
        pcp_allowed_order,
    )
    from mmtwin.kernel.page_alloc_fallback import __rmqueue, reserve_highatomic_pageblock
    from mmtwin.kernel.page_alloc_pcp import rmqueue_pcplist
    from mmtwin.kernel.ram import clear_pages, pfn_to_page, zone_at
    from mmtwin.kernel.trace import STEP_MM_PAGE_ALLOC_ZONE_LOCKED, STEP_WATERMARK_FAIL, step


def prep_new_page(mm, pfn, order, gfp, alloc_flags):
    """prep_new_page(): the pages are the caller's; a compound page's tails point to its head."""
    page = pfn_to_page(mm, pfn)
    pages = 1 << order
    use = USE_USER if gfp & __GFP_MOVABLE else USE_KERNEL
    page.flags &= ~(PG_pfmemalloc | PG_head | PG_tail)
    page.refcount = 1
    page.mapcount = 0
    page.users = use
    if alloc_flags & ALLOC_NO_WATERMARKS:
        page.flags |= PG_pfmemalloc
    if order:
        for place in range(1, pages):
            tail = pfn_to_page(mm, pfn + place)
            tail.users = use
            if gfp & __GFP_COMP:
                tail.flags |= PG_tail
                tail.compound_head = pfn
        if gfp & __GFP_COMP:
            page.flags |= PG_head
            page.order = order
    if mm.contents and (gfp & __GFP_ZERO or mm.has.init_on_alloc) and not mm.has.init_on_free:
        clear_pages(mm, pfn, pages)
    if mm.checkers & CHECK_KASAN:
        kasan_unpoison_pages(mm, pfn, order)


def zone_statistics(mm, preferred, number, count):
    """zone_statistics(): NUMA hits and misses."""
    if not mm.has.numa:
        return
    if mm.zone[number].node == mm.zone[preferred].node:
        mm.zone[number].stat[ZSTAT_NUMA_HIT] += count
    else:
        mm.zone[number].stat[ZSTAT_NUMA_MISS] += count
        mm.zone[preferred].stat[ZSTAT_NUMA_FOREIGN] += count
    if mm.zone[number].node == mm.cpu_node[mm.cpu]:
        mm.zone[number].stat[ZSTAT_NUMA_LOCAL] += count
    else:
        mm.zone[number].stat[ZSTAT_NUMA_OTHER] += count


def rmqueue_buddy(mm, number, order, migratetype, alloc_flags):
    """Straight from the free lists."""
    pfn = -1
    mm.rmqueue_mode = 0
    mm.last_alloc_from = ALLOC_FROM_ZONE
    if alloc_flags & ALLOC_HIGHATOMIC:
        pfn = __rmqueue_smallest(mm, number, order, MIGRATE_HIGHATOMIC)
        if pfn >= 0 and not mm.has.zone_locked_by_smallest:
            step(mm, STEP_MM_PAGE_ALLOC_ZONE_LOCKED, pfn, order, migratetype, 0)
    if pfn < 0:
        pfn = __rmqueue(mm, number, order, migratetype, alloc_flags)
    if pfn < 0 and mm.has.highatomic_last_resort and alloc_flags & (ALLOC_OOM | ALLOC_NON_BLOCK):
        pfn = __rmqueue_smallest(mm, number, order, MIGRATE_HIGHATOMIC)
    if pfn >= 0:
        if not mm.has.freelist_hygiene:
            mod_free_pages(mm, number, -(1 << order))
        mm.zone[number].stat[ZSTAT_BUDDY_ALLOC] += 1
        if (
            mm.has.highatomic_first
            and alloc_flags & ALLOC_HIGHATOMIC
            and alloc_flags & ALLOC_WMARK_MASK == ALLOC_WMARK_MIN
        ):
            reserve_highatomic_pageblock(mm, pfn, order)
    return pfn


def kswapd_balances(mm, number):
    """wakeup_kswapd() after a boost: it would reclaim and end the boost; only that is modelled.

    A node that is hopeless wakes no kswapd: the boost stands.
    """
    zone = zone_at(mm, number)
    zone.flags &= ~ZONE_BOOSTED_WATERMARK
    if mm.kswapd_hopeless:
        return
    zone.boost_ended = zone.watermark_boost
    zone.watermark_boost = 0
    mm.vm_event[VM_PAGEOUTRUN] += 1


def set_kswapd_hopeless(mm, number, hopeless):
    """Whether kswapd has given up, as a recording shows by a zone's boost: one that stands, the
    last that was taken for ended, or one that is over.
    """
    zone = zone_at(mm, number)
    mm.kswapd_hopeless = hopeless
    boost = zone.boost_ended
    zone.boost_ended = zone.watermark_boost
    zone.watermark_boost = boost


def rmqueue(mm, preferred, number, order, migratetype, alloc_flags):
    """A block from a zone: this CPU's list if it may hold such blocks, else the free lists."""
    zone = zone_at(mm, number)
    pfn = -1
    if pcp_allowed_order(mm, order) and not (mm.pcp_locked and mm.has.buddy_after_pcp):
        pfn = rmqueue_pcplist(mm, number, order, migratetype, alloc_flags)
        if pfn < 0 and mm.has.buddy_after_pcp:
            pfn = rmqueue_buddy(mm, number, order, migratetype, alloc_flags)
    else:
        pfn = rmqueue_buddy(mm, number, order, migratetype, alloc_flags)
    if pfn >= 0:
        mm.vm_event[VM_PGALLOC + zone.type] += 1 << order
        zone_statistics(mm, preferred, number, 1)
    if zone.flags & ZONE_BOOSTED_WATERMARK:
        kswapd_balances(mm, number)
    return pfn


def zone_allows(mm, number, order, highest, alloc_flags, gfp):
    """The watermark checks of get_page_from_freelist(); zones below the high mark are noted."""
    zone = zone_at(mm, number)
    if mm.has.pcp_auto_tune and not zone.flags & ZONE_BELOW_HIGH:
        mark = zone.watermark[WMARK_HIGH] + zone.watermark_boost
        if zone_watermark_fast(mm, number, order, mark, highest, alloc_flags, gfp):
            return True
        zone.flags |= ZONE_BELOW_HIGH
    mark = zone.watermark[alloc_flags & ALLOC_WMARK_MASK] + zone.watermark_boost
    if zone_watermark_fast(mm, number, order, mark, highest, alloc_flags, gfp):
        return True
    step(mm, STEP_WATERMARK_FAIL, number, order, mark, zone_free_pages(zone))
    return alloc_flags & ALLOC_NO_WATERMARKS != 0


def scan_zonelist(mm, gfp, order, alloc_flags, node, migratetype):
    """One pass of get_page_from_freelist() over the zonelist."""
    highest = gfp_zone(mm, gfp)
    preferred = -1
    place = node * ZONELIST_PLACES
    while mm.zonelist[place] >= 0:
        number = mm.zonelist[place]
        place += 1
        zone = zone_at(mm, number)
        if zone.type > highest or (gfp & __GFP_THISNODE and zone.node != node):
            continue
        if preferred < 0:
            preferred = number
        if alloc_flags & ALLOC_NOFRAGMENT and zone.node != mm.zone[preferred].node:
            return -1  # rather mix pageblocks at home than go to a remote node
        if not zone_allows(mm, number, order, highest, alloc_flags, gfp):
            continue
        pfn = rmqueue(mm, preferred, number, order, migratetype, alloc_flags)
        if pfn >= 0:
            prep_new_page(mm, pfn, order, gfp, alloc_flags)
            if alloc_flags & ALLOC_HIGHATOMIC and not mm.has.highatomic_first:
                reserve_highatomic_pageblock(mm, pfn, order)
            return pfn
    return -1


def get_page_from_freelist(mm, gfp, order, alloc_flags, node, migratetype):
    """The zones in order; without ALLOC_NOFRAGMENT if that finds none."""
    pfn = scan_zonelist(mm, gfp, order, alloc_flags, node, migratetype)
    if pfn < 0 and alloc_flags & ALLOC_NOFRAGMENT:
        alloc_flags &= ~ALLOC_NOFRAGMENT
        pfn = scan_zonelist(mm, gfp, order, alloc_flags, node, migratetype)
    return pfn
