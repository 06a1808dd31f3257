"""Per-CPU page lists: what each version keeps on them, when it fills and when it drains them
(mm/page_alloc.c).

List `pindex` holds blocks of one order and migratetype: `3 * order + migratetype` up to
`pcp_max_order`, then the lists of pageblock-sized blocks. `pcp.count` counts pages. The first page
of a block has PG_pcp and `order`.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        ALLOC_FROM_PCP,
        ALLOC_FROM_PCP_REFILL,
        ALLOC_HIGHATOMIC,
        EXPIRE_ROUNDS,
        FPI_NONE,
        MIGRATE_MOVABLE,
        MIGRATE_PCPTYPES,
        PCPF_FREE_HIGH_BATCH,
        PCPF_PREV_FREE_HIGH_ORDER,
        PCPSTAT_ALLOC,
        PCPSTAT_DRAIN,
        PCPSTAT_DRAIN_BLOCKS,
        PCPSTAT_FREE,
        PCPSTAT_REFILL,
        PCPSTAT_REFILL_BLOCKS,
        PCPSTAT_SEEN,
        USE_FREE,
        VM_PGFREE,
        WMARK_HIGH,
        ZONE_BELOW_HIGH,
        ZONE_MOVABLE,
        ZONE_RECLAIM_ACTIVE,
        PG_pcp,
    )
    from mmtwin.kernel.lists import list_add, list_add_tail, list_del
    from mmtwin.kernel.mmzone import get_pfnblock_migratetype, zone_watermark_ok
    from mmtwin.kernel.page_alloc_buddy import (
        __free_one_page,
        fold_free_pages,
        free_one_page,
        mod_free_pages,
    )
    from mmtwin.kernel.page_alloc_fallback import __rmqueue
    from mmtwin.kernel.ram import pcp_of, pfn_to_page, zone_at
    from mmtwin.kernel.trace import (
        STEP_MM_PAGE_PCPU_DRAIN,
        STEP_PCP_ALLOC,
        STEP_PCP_FREE,
        STEP_PCP_REFILL,
        step,
    )


def order_to_pindex(mm, migratetype, order):
    """The per-CPU list for blocks of an order and MIGRATE_* (below MIGRATE_PCPTYPES)."""
    if order <= mm.has.pcp_max_order:
        return MIGRATE_PCPTYPES * order + migratetype
    base = MIGRATE_PCPTYPES * (mm.has.pcp_max_order + 1)
    if mm.has.pcp_thp_lists == 3:
        return base + migratetype
    if mm.has.pcp_thp_lists == 2:
        return base + (migratetype == MIGRATE_MOVABLE)
    return base


def pindex_to_order(mm, pindex):
    """The order of the blocks on a list of a per_cpu_pages."""
    if pindex >= MIGRATE_PCPTYPES * (mm.has.pcp_max_order + 1):
        return mm.pageblock_order
    return pindex // MIGRATE_PCPTYPES


def clamp(value, low, high):
    """The kernel's clamp(): where the bounds cross, the upper one wins."""
    if value < low:
        value = low
    return high if value > high else value


def put_on_pcp_list(mm, pcp, pfn, order, pindex, tail):
    """Puts a block on a per-CPU list; the caller sets `page.migratetype` (pcp_migratetype)."""
    page = pfn_to_page(mm, pfn)
    page.flags |= PG_pcp
    page.order = order
    page.users = USE_FREE
    if tail:
        list_add_tail(mm, pfn, pcp.lists + pindex)
    else:
        list_add(mm, pfn, pcp.lists + pindex)
    pcp.count += 1 << order


def take_off_pcp_list(mm, pcp, pfn, order):
    """Takes a block off its per-CPU list."""
    list_del(mm, pfn)
    page = pfn_to_page(mm, pfn)
    page.flags &= ~PG_pcp
    page.order = 0
    pcp.count -= 1 << order


def free_pcp_page(mm, number, pcp, pfn):
    """One block from a per-CPU list to the free lists."""
    page = pfn_to_page(mm, pfn)
    order = page.order
    migratetype = page.migratetype
    if mm.has.freelist_hygiene or mm.zone[number].nr_isolate_pageblock:
        migratetype = get_pfnblock_migratetype(mm, pfn)
    take_off_pcp_list(mm, pcp, pfn, order)
    __free_one_page(mm, pfn, order, migratetype, FPI_NONE)
    step(mm, STEP_MM_PAGE_PCPU_DRAIN, pfn, order, migratetype)
    pcp.stat[PCPSTAT_DRAIN_BLOCKS] += 1


def drain_round_robin(mm, number, pcp, count):
    """A block from each list in turn, oldest first; an empty list leaves its turn to the next.

    free_pcppages_bulk() before fd56eef258a1 (5.18); `count` in pages.
    """
    pindex = 0
    turns = 0
    while count > 0:
        while True:
            turns += 1
            pindex += 1
            if pindex == pcp.nr_lists:
                pindex = 0
            last = mm.page[pcp.lists + pindex].prev
            if last != pcp.lists + pindex:
                break
        if turns == pcp.nr_lists:
            turns = count  # the only list with blocks
        while True:
            last = mm.page[pcp.lists + pindex].prev
            count -= 1 << mm.page[last].order
            free_pcp_page(mm, number, pcp, last)
            turns -= 1
            if count <= 0 or turns == 0:
                break
            if mm.page[pcp.lists + pindex].prev == pcp.lists + pindex:
                break


def drain_whole_lists(mm, number, pcp, count, pindex):
    """Each list to its end before the next, oldest first, from the given one on."""
    while count > 0:
        last = mm.page[pcp.lists + pindex].prev
        if last == pcp.lists + pindex:
            pindex += 1
            if pindex == pcp.nr_lists:
                pindex = 0
            continue
        pages = 1 << mm.page[last].order
        free_pcp_page(mm, number, pcp, last)
        count -= pages


def free_pcppages_bulk(mm, number, cpu, count, pindex):
    """About `count` pages from the lists of a CPU to the free lists."""
    pcp = pcp_of(mm, number, cpu)
    if count > pcp.count:
        count = pcp.count
    if count <= 0:
        return
    pcp.stat[PCPSTAT_DRAIN] += 1
    if mm.has.pcp_drains_whole_lists:
        drain_whole_lists(mm, number, pcp, count, pindex)
    else:
        drain_round_robin(mm, number, pcp, count)


def nr_pcp_free(mm, pcp, high, free_high):
    """How many pages a free that found the lists full gives back."""
    if mm.has.pcp_auto_tune == 0 and mm.has.pcp_free_factor == 0:
        return pcp.batch
    if free_high:
        if mm.has.pcp_auto_tune:
            return min(pcp.count, pcp.batch << mm.has.pcp_batch_scale)
        return pcp.count
    if high < pcp.batch:
        return 1
    least = pcp.batch
    most = high - pcp.batch
    if mm.has.pcp_auto_tune:
        return clamp(pcp.free_count, least, most)
    least = pcp.batch << pcp.free_count
    if least < most and pcp.free_count < mm.has.pcp_batch_scale:
        pcp.free_count += 1
    return clamp(least, pcp.batch, most)


def nr_pcp_high_tuned(mm, zone, pcp, free_high):
    """Tunes pcp->high on a free: down while the zone is short of pages, up with the frees."""
    pcp.high = clamp(pcp.high, pcp.high_min, pcp.high_max)
    high = pcp.high
    if high == 0:
        return 0
    if free_high:
        pcp.high = max(high - (pcp.batch << mm.has.pcp_batch_scale), pcp.high_min)
        return 0
    freed = max(pcp.free_count, pcp.batch)
    if zone.flags & ZONE_RECLAIM_ACTIVE:
        pcp.high = max(high - freed, pcp.high_min)
        return min(pcp.batch << 2, pcp.high)
    if pcp.high_min == pcp.high_max:
        return high
    if zone.flags & ZONE_BELOW_HIGH:
        pcp.high = max(high - freed, pcp.high_min)
        high = max(pcp.count, pcp.high_min)
    elif pcp.count >= high and pcp.high < pcp.free_count + pcp.batch:
        pcp.high = clamp(pcp.free_count + pcp.batch, pcp.high_min, pcp.high_max)
    return high


def nr_pcp_high(mm, zone, pcp, free_high):
    """The number of pages from which a free drains."""
    if mm.has.pcp_auto_tune:
        return nr_pcp_high_tuned(mm, zone, pcp, free_high)
    high = pcp.high
    if free_high:
        return 0
    if mm.has.pcp_free_factor and zone.flags & ZONE_RECLAIM_ACTIVE:
        return min(pcp.batch << 2, high)
    return high


def note_free(mm, pcp, order):
    """Bookkeeping of a free; whether a CPU that only frees such blocks gives all of them back."""
    if not mm.has.pcp_auto_tune:
        return mm.has.pcp_free_high and pcp.free_count > 0 and 0 < order <= mm.has.pcp_max_order
    pcp.alloc_factor >>= 1
    free_high = False
    if 0 < order <= mm.has.pcp_max_order:
        needed = pcp.batch
        if mm.has.pcp_free_high_late:
            needed += pcp.high_min // 2
        free_high = (
            pcp.free_count >= needed
            and pcp.flags & PCPF_PREV_FREE_HIGH_ORDER
            and (not pcp.flags & PCPF_FREE_HIGH_BATCH or pcp.count >= pcp.batch)
        )
        pcp.flags |= PCPF_PREV_FREE_HIGH_ORDER
    else:
        pcp.flags &= ~PCPF_PREV_FREE_HIGH_ORDER
    if pcp.free_count < pcp.batch << mm.has.pcp_batch_scale:
        pcp.free_count += 1 << order
    return free_high


def free_unref_page_commit(mm, pfn, migratetype, order):
    """Onto the list of this CPU; if that makes them too long, some go to the free lists."""
    number = mm.page[pfn].zone
    zone = zone_at(mm, number)
    pcp = pcp_of(mm, number, mm.cpu)
    pindex = order_to_pindex(mm, migratetype, order)
    mm.vm_event[VM_PGFREE] += 1 << order
    pcp.stat[PCPSTAT_FREE] += 1
    put_on_pcp_list(mm, pcp, pfn, order, pindex, False)
    step(mm, STEP_PCP_FREE, pfn, order, migratetype, number)
    free_high = note_free(mm, pcp, order)
    high = nr_pcp_high(mm, zone, pcp, free_high)
    if pcp.count < high:
        return
    to_free = nr_pcp_free(mm, pcp, high, free_high)
    piece = pcp.batch if mm.has.pcp_frees_in_batches else to_free
    while to_free > 0 and pcp.count > 0:
        free_pcppages_bulk(mm, number, mm.cpu, min(to_free, piece), pindex)
        to_free -= piece
    if zone.flags & ZONE_BELOW_HIGH and zone_watermark_ok(
        mm, number, 0, zone.watermark[WMARK_HIGH] + zone.watermark_boost, ZONE_MOVABLE, 0
    ):
        zone.flags &= ~ZONE_BELOW_HIGH


def free_to_pcp(mm, pfn, order):
    """free_unref_page().

    Isolated blocks pass the lists by, blocks of other types count as movable.
    """
    migratetype = get_pfnblock_migratetype(mm, pfn)
    mm.page[pfn].migratetype = migratetype
    if migratetype >= MIGRATE_PCPTYPES:
        if migratetype == mm.migrate_isolate:
            free_one_page(mm, pfn, order, FPI_NONE)
            return
        migratetype = MIGRATE_MOVABLE
    free_unref_page_commit(mm, pfn, migratetype, order)


def nr_pcp_alloc_tuned(mm, zone, pcp, order):
    """Batches double while the CPU only allocates, and the lists may grow for it."""
    pcp.high = clamp(pcp.high, pcp.high_min, pcp.high_max)
    high = pcp.high
    if high < pcp.batch:
        return 1
    batch = pcp.batch
    if order == 0:
        batch <<= pcp.alloc_factor
    if pcp.high_min != pcp.high_max and not zone.flags & ZONE_BELOW_HIGH:
        pcp.high = min(high + batch, pcp.high_max)
        high = pcp.high
    if order == 0:
        most = max(high - pcp.count - pcp.batch, pcp.batch)
        if batch <= most and pcp.alloc_factor < mm.has.pcp_batch_scale:
            pcp.alloc_factor += 1
        batch = min(batch, most)
    return max(batch >> order, 2) if batch > 1 else batch


def nr_pcp_alloc(mm, zone, pcp, order):
    """Blocks that an empty list is filled with."""
    if mm.has.pcp_auto_tune:
        return nr_pcp_alloc_tuned(mm, zone, pcp, order)
    batch = pcp.batch
    if mm.has.pcp_max_order and batch > 1:
        batch = max(batch >> order, 2)
    return batch


def rmqueue_bulk(mm, number, order, count, pindex, migratetype, alloc_flags):
    """Fills a list at its tail, so that it gives out pages in physical order; blocks taken."""
    pcp = pcp_of(mm, number, mm.cpu)
    mm.rmqueue_mode = 0
    taken = 0
    while taken < count:
        pfn = __rmqueue(mm, number, order, migratetype, alloc_flags)
        if pfn < 0:
            break
        put_on_pcp_list(mm, pcp, pfn, order, pindex, True)
        taken += 1
    if not mm.has.freelist_hygiene:
        mod_free_pages(mm, number, -(taken << order))
    pcp.stat[PCPSTAT_REFILL] += 1
    pcp.stat[PCPSTAT_REFILL_BLOCKS] += taken
    step(mm, STEP_PCP_REFILL, number, order, migratetype, taken)
    return taken


def __rmqueue_pcplist(mm, number, order, migratetype, alloc_flags):
    # a block from this CPU's list, filled if it is empty; -1 if it stays so
    zone = zone_at(mm, number)
    pcp = pcp_of(mm, number, mm.cpu)
    pindex = order_to_pindex(mm, migratetype, order)
    head = pcp.lists + pindex
    mm.last_alloc_from = ALLOC_FROM_PCP
    if mm.page[head].next == head:
        batch = nr_pcp_alloc(mm, zone, pcp, order)
        if mm.has.pcp_no_highatomic_refill and alloc_flags & ALLOC_HIGHATOMIC:
            return -1
        if rmqueue_bulk(mm, number, order, batch, pindex, migratetype, alloc_flags) == 0:
            return -1
        mm.last_alloc_from = ALLOC_FROM_PCP_REFILL
    pfn = mm.page[head].next
    take_off_pcp_list(mm, pcp, pfn, order)
    pcp.stat[PCPSTAT_ALLOC] += 1
    step(mm, STEP_PCP_ALLOC, pfn, order, migratetype, number)
    return pfn


def rmqueue_pcplist(mm, number, order, migratetype, alloc_flags):
    """An allocation halves what the frees before it have built up."""
    if mm.has.pcp_auto_tune or mm.has.pcp_free_factor:
        pcp = pcp_of(mm, number, mm.cpu)
        pcp.free_count >>= 1
    return __rmqueue_pcplist(mm, number, order, migratetype, alloc_flags)


def drain_zone_pages(mm, number, cpu):
    """A batch of a CPU's pages of a (remote) zone goes to the free lists."""
    pcp = pcp_of(mm, number, cpu)
    free_pcppages_bulk(mm, number, cpu, pcp.batch, 0)


def drain_pcp(mm, number, cpu, count, pindex):
    """`count` pages of a CPU's lists of a zone go to the free lists, list `pindex` first
    (free_pcppages_bulk()).

    For replay: a drain that a recording shows, whatever caused it.
    """
    free_pcppages_bulk(mm, number, cpu, count, pindex)


def drain_pages_zone(mm, number, cpu):
    """All of a CPU's pages of a zone go to the free lists (drain_pages_zone())."""
    pcp = pcp_of(mm, number, cpu)
    while pcp.count:
        step_pages = pcp.count
        if mm.has.pcp_drain_in_batches:
            step_pages = min(step_pages, pcp.batch << mm.has.pcp_batch_scale)
        free_pcppages_bulk(mm, number, cpu, step_pages, 0)


def drain_pages(mm, cpu):
    """All pages of a CPU's lists go to the free lists, zone by zone (drain_pages())."""
    for number in range(mm.nr_zones):
        if mm.zone[number].present_pages:
            drain_pages_zone(mm, number, cpu)


def drain_all_pages(mm):
    """All pages of all per-CPU lists go to the free lists (drain_all_pages(NULL))."""
    for cpu in range(mm.nr_cpus):
        drain_pages(mm, cpu)


def decay_pcp_high(mm, number, cpu):
    """Lowers a CPU's pcp->high by an eighth and drains what is above it; whether there is more to
    do.

    decay_pcp_high(): about once a second on each CPU (51a755c56dc0, 6.7).
    """
    pcp = pcp_of(mm, number, cpu)
    if not mm.has.pcp_auto_tune:
        return False
    high = pcp.high
    if high > pcp.high_min:
        high = max(pcp.count - (pcp.batch << mm.has.pcp_batch_scale), high - (high >> 3))
        pcp.high = max(high, pcp.high_min)
    to_drain = pcp.count - pcp.high
    piece = pcp.batch
    while to_drain > 0:
        free_pcppages_bulk(mm, number, cpu, min(to_drain, piece), 0)
        to_drain -= piece
    return pcp.high > pcp.high_min


def refresh_cpu_vm_stats(mm, cpu):
    """What the timer of a CPU's counters does to its page lists: decay, and drains of other nodes'
    lists.

    refresh_cpu_vm_stats(true), about once a second; the lists of a remote zone that were used are
    drained a batch when they have not been used for 3 rounds.
    """
    fold_free_pages(mm, cpu)
    for number in range(mm.nr_zones):
        zone = zone_at(mm, number)
        if zone.present_pages == 0:
            continue
        pcp = pcp_of(mm, number, cpu)
        if pcp.stat[PCPSTAT_SEEN] != pcp.stat[PCPSTAT_ALLOC] + pcp.stat[PCPSTAT_FREE]:
            pcp.stat[PCPSTAT_SEEN] = pcp.stat[PCPSTAT_ALLOC] + pcp.stat[PCPSTAT_FREE]
            pcp.expire = EXPIRE_ROUNDS
        decay_pcp_high(mm, number, cpu)
        if not mm.has.numa or pcp.expire == 0 or pcp.count == 0:
            continue
        if zone.node == mm.cpu_node[cpu]:
            pcp.expire = 0
            continue
        pcp.expire -= 1
        if pcp.expire == 0:
            drain_zone_pages(mm, number, cpu)
