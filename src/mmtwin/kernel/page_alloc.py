"""The page allocator's entries: alloc_pages, free_pages, the zonelist walk and the slow path
(mm/page_alloc.c).

Pages are pfns; -1 is no page. GFP bits are the twin's (`constants.pxd`), orders powers of two of
pages. The CPU that allocates or frees is `mm.cpu`. Reclaim and compaction are not modelled: where
the kernel would reclaim, only the per-CPU lists are drained and the high-atomic reserve is given
up; then the allocation fails.

Parts: `page_alloc_pcp` (per-CPU lists), `page_alloc_buddy` (free lists), `page_alloc_fallback`
(migratetypes), `mmzone` (watermarks), `mmzone_init` (boot), `page_alloc_state` (lists set from
outside), `page_alloc_check`.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        __GFP_ATOMIC,
        __GFP_DIRECT_RECLAIM,
        __GFP_FS,
        __GFP_HIGH,
        __GFP_KSWAPD_RECLAIM,
        __GFP_MEMALLOC,
        __GFP_MOVABLE,
        __GFP_NOFAIL,
        __GFP_NOMEMALLOC,
        __GFP_NORETRY,
        __GFP_NOWARN,
        __GFP_RECLAIMABLE,
        __GFP_RETRY_MAYFAIL,
        __GFP_THISNODE,
        ALLOC_CMA,
        ALLOC_CPUSET,
        ALLOC_HIGHATOMIC,
        ALLOC_KSWAPD,
        ALLOC_MIN_RESERVE,
        ALLOC_NO_WATERMARKS,
        ALLOC_NOFRAGMENT,
        ALLOC_NON_BLOCK,
        ALLOC_OOM,
        ALLOC_WMARK_LOW,
        ALLOC_WMARK_MIN,
        BULK_PAGES,
        CHECK_KASAN,
        COMPLAINT_BAD_ORDER,
        COMPLAINT_BAD_PAGE,
        COMPLAINT_ORDER,
        COMPLAINT_PAGE_ALLOC,
        FPI_NONE,
        FPI_TO_TAIL,
        MIGRATE_MOVABLE,
        MIGRATE_UNMOVABLE,
        PAGE_ALLOC_COSTLY_ORDER,
        USE_FREE,
        VM_ALLOCSTALL,
        VM_PAGEOUTRUN,
        VM_PGALLOC,
        VM_PGFREE,
        ZONE_DMA32,
        ZONE_NORMAL,
        ZONELIST_PLACES,
        PG_hole,
        PG_reserved,
    )
    from mmtwin.kernel.kasan_hooks import kasan_poison_pages
    from mmtwin.kernel.mm import complain
    from mmtwin.kernel.mmzone import first_zone, gfp_zone, zone_watermark_fast
    from mmtwin.kernel.page_alloc_buddy import free_one_page, pcp_allowed_order
    from mmtwin.kernel.page_alloc_fallback import unreserve_highatomic_pageblock
    from mmtwin.kernel.page_alloc_freelist import (
        get_page_from_freelist,
        prep_new_page,
        zone_statistics,
    )
    from mmtwin.kernel.page_alloc_pcp import __rmqueue_pcplist, drain_all_pages, free_to_pcp
    from mmtwin.kernel.ram import clear_pages, pfn_to_page, zone_of
    from mmtwin.kernel.trace import (
        STEP_ALLOC_SLOWPATH,
        STEP_MM_PAGE_ALLOC,
        STEP_MM_PAGE_FREE,
        STEP_MM_PAGE_FREE_BATCHED,
        step,
    )


def gfp_migratetype(mm, gfp):
    """MIGRATE_* that a request's flags ask for (gfp_migratetype())."""
    if mm.page_group_by_mobility_disabled:
        return MIGRATE_UNMOVABLE
    return (gfp & (__GFP_MOVABLE | __GFP_RECLAIMABLE)) >> 3


def alloc_flags_cma(mm, gfp):
    """gfp_to_alloc_flags_cma(): movable requests may use CMA blocks."""
    if mm.migrate_cma >= 0 and gfp_migratetype(mm, gfp) == MIGRATE_MOVABLE:
        return ALLOC_CMA
    return 0


def alloc_flags_nofragment(mm, number, gfp):
    """With DMA32 below it, ZONE_NORMAL first tries not to mix pageblocks."""
    alloc_flags = ALLOC_KSWAPD if gfp & __GFP_KSWAPD_RECLAIM else 0
    if not mm.has.zone_dma32 or mm.zone[number].type != ZONE_NORMAL:
        return alloc_flags
    if mm.nr_nodes > 1 and mm.zone[number - ZONE_NORMAL + ZONE_DMA32].present_pages == 0:
        return alloc_flags
    return alloc_flags | ALLOC_NOFRAGMENT


def alloc_flags_nonblocking(mm, gfp, order):
    """Requests that cannot wait may use more of the reserves (ALLOC_HARDER in older releases)."""
    if gfp & __GFP_NOMEMALLOC:
        return 0
    if not mm.has.non_block_reserves:
        if not gfp & __GFP_ATOMIC:
            return 0
        return ALLOC_NON_BLOCK | ALLOC_HIGHATOMIC if order > 0 else ALLOC_NON_BLOCK
    if gfp & __GFP_DIRECT_RECLAIM:
        return 0
    if order > 0 and gfp & __GFP_HIGH:
        return ALLOC_NON_BLOCK | ALLOC_HIGHATOMIC
    return ALLOC_NON_BLOCK


def gfp_to_alloc_flags(mm, gfp, order):
    """gfp_to_alloc_flags(), of the slow path."""
    alloc_flags = ALLOC_WMARK_MIN | ALLOC_CPUSET
    if gfp & __GFP_HIGH:
        alloc_flags |= ALLOC_MIN_RESERVE
    if gfp & __GFP_KSWAPD_RECLAIM:
        alloc_flags |= ALLOC_KSWAPD
    alloc_flags |= alloc_flags_nonblocking(mm, gfp, order)
    return alloc_flags | alloc_flags_cma(mm, gfp)


def pfmemalloc_flags(mm, gfp):
    """__gfp_pfmemalloc_flags(): the reserves for who frees memory, part of them for a victim of
    the OOM killer.
    """
    if gfp & __GFP_NOMEMALLOC:
        return 0
    if gfp & __GFP_MEMALLOC:
        return ALLOC_NO_WATERMARKS
    return ALLOC_OOM if mm.oom_victim else 0


def may_oom(mm, gfp, order):
    """__alloc_pages_may_oom(): whether the OOM killer is called for such a request that found
    nothing to reclaim. Whom it takes is not modelled: who asks.
    """
    if not gfp & __GFP_DIRECT_RECLAIM or gfp & __GFP_NORETRY or order > PAGE_ALLOC_COSTLY_ORDER:
        return False
    return not gfp & (__GFP_RETRY_MAYFAIL | __GFP_THISNODE) and gfp_zone(mm, gfp) >= ZONE_NORMAL


def unreserve_any(mm, gfp, node, migratetype, force):
    """unreserve_highatomic_pageblock() over the zones of the request, in the zonelist's order."""
    highest = gfp_zone(mm, gfp)
    place = node * ZONELIST_PLACES
    while mm.zonelist[place] >= 0:
        number = mm.zonelist[place]
        place += 1
        if gfp & __GFP_THISNODE and mm.zone[number].node != node:
            continue
        if mm.zone[number].type <= highest and unreserve_highatomic_pageblock(
            mm, number, migratetype, force
        ):
            return True
    return False


def direct_reclaim(mm, gfp, order, alloc_flags, node, migratetype):
    """__alloc_pages_direct_reclaim() with nothing to reclaim but what the lists hold back."""
    mm.vm_event[VM_ALLOCSTALL + gfp_zone(mm, gfp)] += 1
    pfn = get_page_from_freelist(mm, gfp, order, alloc_flags, node, migratetype)
    if pfn < 0 and mm.reclaims:
        unreserve_any(mm, gfp, node, migratetype, False)
        drain_all_pages(mm)
        pfn = get_page_from_freelist(mm, gfp, order, alloc_flags, node, migratetype)
    return pfn


def __alloc_pages_slowpath(mm, gfp, order, node, migratetype):
    # the order of attempts: min watermark, reserves, reclaim, the high-atomic reserve, a last
    # look; -1 is OOM
    step(mm, STEP_ALLOC_SLOWPATH, order, gfp)
    alloc_flags = gfp_to_alloc_flags(mm, gfp, order)
    if alloc_flags & ALLOC_KSWAPD:
        mm.vm_event[VM_PAGEOUTRUN] += 1
    pfn = get_page_from_freelist(mm, gfp, order, alloc_flags, node, migratetype)
    if pfn >= 0:
        return pfn
    reserves = pfmemalloc_flags(mm, gfp)
    if reserves:
        alloc_flags = reserves | (alloc_flags & ALLOC_KSWAPD) | alloc_flags_cma(mm, gfp)
    while True:
        pfn = get_page_from_freelist(mm, gfp, order, alloc_flags, node, migratetype)
        if pfn >= 0 or not gfp & __GFP_DIRECT_RECLAIM:
            return pfn
        pfn = direct_reclaim(mm, gfp, order, alloc_flags, node, migratetype)
        if pfn >= 0 or gfp & __GFP_NORETRY:
            return pfn
        if order > PAGE_ALLOC_COSTLY_ORDER and not gfp & __GFP_RETRY_MAYFAIL:
            break
        if not unreserve_any(mm, gfp, node, migratetype, True):  # should_reclaim_retry()
            break
    # out_of_memory() kills nobody for who may not wait for file systems
    if not mm.reclaims and gfp & __GFP_FS and may_oom(mm, gfp, order):
        mm.oom_victim = 1
        alloc_flags = ALLOC_OOM | (alloc_flags & ALLOC_KSWAPD) | alloc_flags_cma(mm, gfp)
        return get_page_from_freelist(mm, gfp, order, alloc_flags, node, migratetype)
    if gfp & __GFP_NOFAIL:
        alloc_flags = ALLOC_MIN_RESERVE
        if not mm.has.non_block_reserves:
            alloc_flags = ALLOC_NON_BLOCK | (ALLOC_HIGHATOMIC if order > 0 else 0)
        return get_page_from_freelist(mm, gfp, order, alloc_flags, node, migratetype)
    return -1


def alloc_pages(mm, gfp, order, node):
    """__alloc_pages(): 2^order pages for CPU `mm.cpu`; the pfn of the first, -1 if there are none.

    `gfp`: the twin's __GFP_* bits; `node`: the preferred node, -1 for the CPU's own. The block is
    aligned to its size; with __GFP_COMP and order > 0 it is a compound page. `mm.last_alloc_from`
    says who served it. A failure is kept in `mm.complaints` unless __GFP_NOWARN. The event
    mm_page_alloc comes last, as in the kernel.
    """
    if order < 0 or order >= mm.nr_orders or node >= mm.nr_nodes:
        if not gfp & __GFP_NOWARN:
            complain(mm, COMPLAINT_ORDER, gfp, order)
        return -1
    if node < 0:
        node = mm.cpu_node[mm.cpu]
    migratetype = gfp_migratetype(mm, gfp)
    preferred = first_zone(mm, node, gfp_zone(mm, gfp), gfp & __GFP_THISNODE != 0)
    if preferred < 0:
        return -1
    alloc_flags = ALLOC_WMARK_LOW | alloc_flags_cma(mm, gfp)
    alloc_flags |= alloc_flags_nofragment(mm, preferred, gfp)
    if mm.has.highatomic_first:
        alloc_flags |= alloc_flags_nonblocking(mm, gfp, order) & ALLOC_HIGHATOMIC
    pfn = get_page_from_freelist(mm, gfp, order, alloc_flags, node, migratetype)
    if pfn < 0:
        pfn = __alloc_pages_slowpath(mm, gfp, order, node, migratetype)
        if pfn < 0 and not gfp & __GFP_NOWARN:
            complain(mm, COMPLAINT_PAGE_ALLOC, gfp, order)
    step(mm, STEP_MM_PAGE_ALLOC, pfn, order, gfp, migratetype)
    return pfn


def bulk_zone(mm, gfp, node, count):
    """The local zone that has `count` pages above the low watermark, -1 for none."""
    highest = gfp_zone(mm, gfp)
    preferred = -1
    place = node * ZONELIST_PLACES
    alloc_flags = ALLOC_WMARK_LOW | alloc_flags_cma(mm, gfp)
    while mm.zonelist[place] >= 0:
        number = mm.zonelist[place]
        place += 1
        if mm.zone[number].type > highest:
            continue
        if preferred < 0:
            preferred = number
        if mm.zone[number].node != mm.zone[preferred].node:
            return -1
        if zone_watermark_fast(
            mm,
            number,
            0,
            mm.zone[number].watermark[ALLOC_WMARK_LOW] + mm.zone[number].watermark_boost + count,
            mm.zone[preferred].type,
            alloc_flags,
            gfp,
        ):
            return number
    return -1


def alloc_pages_bulk(mm, gfp, node, count):
    """__alloc_pages_bulk(): `count` single pages at once, without an event; how many it took,
    fewer if it must.

    Their pfns are in `mm.bulk_page`, which holds 512. A zone short of pages gives one page in the
    ordinary way (with its event), and so it does for a count of 1. 387ba26fb1cb, 5.13.
    """
    if node < 0:
        node = mm.cpu_node[mm.cpu]
    if count > BULK_PAGES:
        count = BULK_PAGES
    if count <= 0:
        return 0
    number = bulk_zone(mm, gfp, node, count) if count > 1 else -1
    migratetype = gfp_migratetype(mm, gfp)
    alloc_flags = ALLOC_WMARK_LOW | alloc_flags_cma(mm, gfp)
    taken = 0
    while number >= 0 and taken < count:
        pfn = __rmqueue_pcplist(mm, number, 0, migratetype, alloc_flags)
        if pfn < 0:
            break
        prep_new_page(mm, pfn, 0, gfp, 0)
        mm.bulk_page[taken] = pfn
        taken += 1
    if taken:
        mm.vm_event[VM_PGALLOC + mm.zone[number].type] += taken
        zone_statistics(mm, first_zone(mm, node, gfp_zone(mm, gfp), False), number, taken)
        return taken
    mm.bulk_page[0] = alloc_pages(mm, gfp, 0, node)
    return 1 if mm.bulk_page[0] >= 0 else 0


def free_pages_prepare(mm, pfn, order):
    """free_pages_prepare().

    Checks, the event, and the pages forget their use; whether they may be freed.
    """
    if pfn < mm.min_pfn or pfn + (1 << order) > mm.max_pfn or pfn & ((1 << order) - 1):
        complain(mm, COMPLAINT_BAD_ORDER, pfn, order)
        return False
    step(mm, STEP_MM_PAGE_FREE, pfn, order)
    pages = 1 << order
    for place in range(pages):
        if mm.page[pfn + place].users == USE_FREE:
            complain(mm, COMPLAINT_BAD_PAGE, pfn + place, order)
            return False
    for place in range(pages):
        page = pfn_to_page(mm, pfn + place)
        if page.flags & PG_reserved:
            zone_of(mm, pfn).managed_pages += 1  # free_reserved_page()
        page.flags &= PG_hole
        page.users = USE_FREE
        page.order = 0
        page.refcount = 0
    if mm.contents and mm.has.init_on_free:
        clear_pages(mm, pfn, pages)
    if mm.checkers & CHECK_KASAN:
        kasan_poison_pages(mm, pfn, order)
    return True


def free_prepared(mm, pfn, order):
    """Where a prepared block goes: a per-CPU list, or the free lists."""
    if pcp_allowed_order(mm, order) and not (mm.pcp_locked and mm.has.buddy_after_pcp):
        free_to_pcp(mm, pfn, order)
    else:
        mm.vm_event[VM_PGFREE] += 1 << order
        free_one_page(mm, pfn, order, FPI_NONE)


def free_pages(mm, pfn, order):
    """__free_pages() on the last reference: the block goes to this CPU's list, or to the free
    lists if too large.

    A page that is free already is refused and kept in `mm.complaints`. A page reserved at boot
    becomes managed. The event mm_page_free comes first.
    """
    if free_pages_prepare(mm, pfn, order):
        free_prepared(mm, pfn, order)


def free_unref_page_batch(mm, pfn, order):
    """One page of free_unref_page_list() or free_unref_folios(), which also emit
    mm_page_free_batched.

    The effect on the lists is that of free_pages(). The kernel prepares the whole batch first (its
    mm_page_free events), then puts page after page on the lists, each after its
    mm_page_free_batched: what drains comes then.
    """
    if free_pages_prepare(mm, pfn, order):
        step(mm, STEP_MM_PAGE_FREE_BATCHED, pfn)
        free_prepared(mm, pfn, order)


def free_contig_range(mm, pfn, count):
    """__free_contig_range(): single pages in a row, freed in blocks as large as their place
    allows.

    What vfree() does with each run of adjacent pages where `vfree_contig`: every page has its
    mm_page_free event of order 0, but per-CPU lists and free lists take whole blocks.
    """
    end = pfn + count
    for place in range(count):
        if not free_pages_prepare(mm, pfn + place, 0):
            return
    while pfn < end:
        order = 0
        while (
            order < mm.nr_orders - 1 and not pfn & ((2 << order) - 1) and pfn + (2 << order) <= end
        ):
            order += 1
        free_prepared(mm, pfn, order)
        pfn += 1 << order


def free_pages_to_tail(mm, pfn, order):
    """__free_pages_ok(FPI_TO_TAIL): to the tail of the free lists, past the per-CPU lists.

    What alloc_pages_exact() does with the pages it took too many (since 5.19, `exact_to_tail`).
    """
    if free_pages_prepare(mm, pfn, order):
        mm.vm_event[VM_PGFREE] += 1 << order
        free_one_page(mm, pfn, order, FPI_TO_TAIL)


def free_pages_core(mm, pfn, order):
    """__free_pages_core(): boot memory becomes managed and free, at the tail of its list."""
    for place in range(1 << order):
        page = pfn_to_page(mm, pfn + place)
        page.flags &= ~PG_reserved
    zone_of(mm, pfn).managed_pages += 1 << order
    free_pages_to_tail(mm, pfn, order)


def split_page(mm, pfn, order):
    """Makes a block that is not compound single pages, each with its own reference."""
    for place in range(1, 1 << order):
        mm.page[pfn + place].refcount = 1


def alloc_pages_exact(mm, gfp, pages, node):
    """alloc_pages_exact(): `pages` single pages in a row, the pfn of the first or -1.

    The smallest block that holds them is split, and what it has too many is freed at once: to the
    tails of the free lists since df48a5f7a3bb (6.0), through the per-CPU lists before.
    """
    order = 0
    while 1 << order < pages:
        order += 1
    pfn = alloc_pages(mm, gfp, order, node)
    if pfn < 0:
        return -1
    split_page(mm, pfn, order)
    for place in range(pages, 1 << order):
        if mm.has.exact_to_tail:
            free_pages_to_tail(mm, pfn + place, 0)
        else:
            free_pages(mm, pfn + place, 0)
    return pfn
