"""Zones: pageblock types, zonelists' walk, and the watermark checks of every allocation.

A zone's number is `node * mm.nr_zone_types + type`; `mm.zone` holds them all, also those without
pages. How watermarks, reserves and zonelists are computed at boot: `mmzone_init.py`.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        __GFP_ATOMIC,
        __GFP_DMA,
        __GFP_DMA32,
        __GFP_HIGHMEM,
        __GFP_MOVABLE,
        ALLOC_CMA,
        ALLOC_HIGHATOMIC,
        ALLOC_MIN_RESERVE,
        ALLOC_NON_BLOCK,
        ALLOC_OOM,
        ALLOC_RESERVES,
        ALLOC_WMARK_MASK,
        MIGRATE_HIGHATOMIC,
        MIGRATE_PCPTYPES,
        MIGRATE_UNMOVABLE,
        WMARK_MIN,
        ZONE_DMA,
        ZONE_DMA32,
        ZONE_HIGHMEM,
        ZONE_MOVABLE,
        ZONE_NORMAL,
        ZONELIST_PLACES,
    )
    from mmtwin.kernel.ram import zone_at


def get_pfnblock_migratetype(mm, pfn):
    """MIGRATE_* of the pageblock that holds a page."""
    return mm.pageblock[pfn >> mm.pageblock_order]


def set_pageblock_migratetype(mm, pfn, migratetype):
    """Gives a page's pageblock a type; the free lists stay as they are.

    set_pageblock_migratetype(): without grouping by mobility all is unmovable.
    """
    if mm.page_group_by_mobility_disabled and migratetype < MIGRATE_PCPTYPES:
        migratetype = MIGRATE_UNMOVABLE
    mm.pageblock[pfn >> mm.pageblock_order] = migratetype


def migratetype_is_mergeable(migratetype):
    """Whether pageblocks of the type may be fallbacks of each other."""
    return migratetype < MIGRATE_PCPTYPES


def zone_spans_pfn(zone, pfn):
    """Whether a pfn lies between the first and last page of a zone."""
    return zone.start_pfn <= pfn < zone.start_pfn + zone.spanned_pages


def free_area_empty(mm, zone, order, migratetype):
    """Whether a free list has no block."""
    head = zone.free_list + order * mm.nr_migratetypes + migratetype
    return mm.page[head].next == head


def gfp_zone(mm, gfp):
    """The highest zone type that a request may use (GFP_ZONE_TABLE of include/linux/gfp.h)."""
    if gfp & __GFP_DMA:
        return ZONE_DMA if mm.has.zone_dma else ZONE_NORMAL
    if gfp & __GFP_DMA32:
        return ZONE_DMA32 if mm.has.zone_dma32 else ZONE_NORMAL
    if gfp & __GFP_HIGHMEM:
        return ZONE_MOVABLE if gfp & __GFP_MOVABLE else ZONE_HIGHMEM
    return ZONE_NORMAL


def first_zone(mm, node, highest, thisnode):
    """first_zones_zonelist(): number of the preferred zone, -1 where no zone may be used.

    `highest`: zone type; `thisnode`: the node's own zones only (ZONELIST_NOFALLBACK).
    """
    place = node * ZONELIST_PLACES
    while mm.zonelist[place] >= 0:
        zone = mm.zonelist[place]
        if mm.zone[zone].type <= highest and (not thisnode or mm.zone[zone].node == node):
            return zone
        place += 1
    return -1


def watermark_unusable_free(mm, zone, order, alloc_flags):
    """__zone_watermark_unusable_free()."""
    unusable = (1 << order) - 1
    if mm.has.non_block_reserves:
        reserves = alloc_flags & ALLOC_RESERVES
    else:
        reserves = alloc_flags & (ALLOC_NON_BLOCK | ALLOC_OOM)
    if not reserves:
        if mm.has.watermark_free_highatomic:
            unusable += zone.nr_free_highatomic
        else:
            unusable += zone.nr_reserved_highatomic
    if not alloc_flags & ALLOC_CMA:
        unusable += zone.nr_free_cma
    return unusable


def watermark_min(mm, mark, alloc_flags):
    """How deep a caller may dip into the reserve: __zone_watermark_ok()."""
    if not alloc_flags & ALLOC_RESERVES:
        return mark
    if mm.has.non_block_reserves:
        if alloc_flags & ALLOC_MIN_RESERVE:
            mark -= mark // 2
            if alloc_flags & ALLOC_NON_BLOCK:
                mark -= mark // 4
        if alloc_flags & ALLOC_OOM:
            mark -= mark // 2
        return mark
    if alloc_flags & ALLOC_MIN_RESERVE:
        mark -= mark // 2
    if alloc_flags & ALLOC_OOM:
        mark -= mark // 2
    elif alloc_flags & ALLOC_NON_BLOCK:
        mark -= mark // 4
    return mark


def free_block_of_order(mm, zone, order, alloc_flags):
    """The end of __zone_watermark_ok().

    Is a block large enough, and of a type the caller may have?
    """
    if mm.has.non_block_reserves:
        harder = alloc_flags & (ALLOC_HIGHATOMIC | ALLOC_OOM) != 0
    else:
        harder = alloc_flags & (ALLOC_NON_BLOCK | ALLOC_OOM) != 0
    for current in range(order, mm.nr_orders):
        if not zone.nr_free[current]:
            continue
        for migratetype in range(MIGRATE_PCPTYPES):
            if not free_area_empty(mm, zone, current, migratetype):
                return True
        if alloc_flags & ALLOC_CMA and not free_area_empty(mm, zone, current, mm.migrate_cma):
            return True
        if harder and not free_area_empty(mm, zone, current, MIGRATE_HIGHATOMIC):
            return True
    return False


def zone_free_pages(zone):
    """zone_page_state(NR_FREE_PAGES): without what CPUs have not added up yet."""
    return zone.nr_free_pages - zone.nr_free_behind


def zone_watermark_ok(mm, number, order, mark, highest, alloc_flags):
    """__zone_watermark_ok().

    Free pages above the mark, and for an order above 0 one block of that size.
    """
    zone = zone_at(mm, number)
    least = watermark_min(mm, mark, alloc_flags) + zone.lowmem_reserve[highest]
    free = zone_free_pages(zone)
    if free - watermark_unusable_free(mm, zone, order, alloc_flags) <= least:
        return False
    return order == 0 or free_block_of_order(mm, zone, order, alloc_flags)


def zone_watermark_fast(mm, number, order, mark, highest, alloc_flags, gfp):
    """zone_watermark_fast().

    Boosts do not count for requests that may dip below the min watermark.
    """
    zone = zone_at(mm, number)
    if order == 0:
        usable = zone_free_pages(zone)
        reserved = watermark_unusable_free(mm, zone, 0, alloc_flags)
        usable -= reserved if reserved < usable else usable
        if usable > mark + zone.lowmem_reserve[highest]:
            return True
    if zone_watermark_ok(mm, number, order, mark, highest, alloc_flags):
        return True
    if order or not zone.watermark_boost or alloc_flags & ALLOC_WMARK_MASK != WMARK_MIN:
        return False
    if mm.has.watermark_min_reserve:
        if not alloc_flags & ALLOC_MIN_RESERVE:
            return False
    elif not gfp & __GFP_ATOMIC:
        return False
    return zone_watermark_ok(mm, number, 0, zone.watermark[WMARK_MIN], highest, alloc_flags)
