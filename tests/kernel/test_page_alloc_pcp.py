"""Per-CPU lists: how many pages fill them, when they drain, and from which list."""

import pytest
from page_machine import (
    GFP_KERNEL,
    GFP_MOVABLE,
    GFP_RECLAIMABLE,
    MOVABLE,
    NORMAL,
    PAGE_VERSIONS,
    UNMOVABLE,
    fill,
    free_list,
    machine,
    pcp_lists,
    pcp_of,
    pcp_size,
)

from mmtwin.kernel.constants import (
    ALLOC_FROM_PCP,
    ALLOC_FROM_PCP_REFILL,
    ALLOC_FROM_ZONE,
    PCPF_FREE_HIGH_BATCH,
    ZONE_BELOW_HIGH,
)
from mmtwin.kernel.mm import MM
from mmtwin.kernel.page_alloc import alloc_pages, alloc_pages_bulk, free_pages
from mmtwin.kernel.page_alloc_check import validate
from mmtwin.kernel.page_alloc_pcp import (
    decay_pcp_high,
    drain_all_pages,
    drain_pages,
    drain_pages_zone,
    drain_pcp,
    drain_zone_pages,
    order_to_pindex,
    pindex_to_order,
    refresh_cpu_vm_stats,
)
from mmtwin.kernel.page_alloc_state import recall_alloc, recall_free, recall_refill
from mmtwin.kernel.trace import clear_steps, read_steps
from mmtwin.machine import Machine


def full(version: str, pages: int = 1024, **features: int) -> MM:
    """A machine with `pages` free pages of each of three types, lists of batch 15 and high 90."""
    mm = machine(version, 3 * pages, orders=11, block_order=9, **features)
    for migratetype in range(3):
        fill(mm, migratetype * pages, pages, 10, migratetype)
    pcp_size(mm, 15, 90)
    return mm


def taken(mm: MM, order: int = 0, gfp: int = GFP_KERNEL) -> int:
    """Blocks that leave the free lists for the next allocation."""
    mm.step_mask = 1 << 3
    clear_steps(mm)
    assert alloc_pages(mm, gfp, order, -1) >= 0
    return len(read_steps(mm))


def drained(mm: MM, pfn: int, order: int = 0) -> list[int]:
    """The blocks that reach the free lists because of a free, in order."""
    mm.step_mask = 1 << 4
    clear_steps(mm)
    free_pages(mm, pfn, order)
    return [args[0] for _, _, _, args in read_steps(mm)]


@pytest.mark.parametrize(
    ("version", "blocks"),
    [("5.10", [15, 1, 1, 1, 1]), ("5.13", [15, 1, 1, 1, 1]), ("6.1.176", [15, 7, 3, 2, 1])],
)
def test_a_list_is_filled_with_a_batch_of_pages(version: str, blocks: list[int]) -> None:
    mm = full(version)
    assert [taken(mm, order) for order in range(5)] == blocks


@pytest.mark.parametrize("version", PAGE_VERSIONS)
def test_refills_give_out_pages_in_physical_order(version: str) -> None:
    mm = full(version)
    pages = [alloc_pages(mm, GFP_KERNEL, 0, -1) for _ in range(30)]
    assert pages == list(range(30))
    free_pages(mm, 7, 0)
    assert alloc_pages(mm, GFP_KERNEL, 0, -1) == 7  # the last one freed is the first to go


def test_who_served_an_allocation_is_known() -> None:
    mm = full("5.10")
    served = []
    for order in (0, 0, 1):
        alloc_pages(mm, GFP_KERNEL, order, -1)
        served.append(mm.last_alloc_from)
    assert served == [ALLOC_FROM_PCP_REFILL, ALLOC_FROM_PCP, ALLOC_FROM_ZONE]


def test_batches_double_while_only_allocating_since_6_7() -> None:
    mm = full("6.12.107", 4096)
    pcp_size(mm, 15, 200, 2000)
    sizes = []
    for _ in range(900):
        size = taken(mm)
        sizes += [size] if size else []
    assert sizes == [15, 30, 60, 120, 240, 480]
    free_pages(mm, 0, 0)
    assert pcp_of(mm)["alloc_factor"] == 2  # 5, halved
    assert taken(mm, 3) == 2  # higher orders do not double


def test_high_grows_with_refills_unless_the_zone_is_short() -> None:
    mm = full("6.12.107")
    pcp_size(mm, 15, 60, 120)
    assert taken(mm) == 15 and pcp_of(mm)["high"] == 75
    mm.view("zone")[NORMAL]["watermark"][2] = 4000
    for _ in range(14):
        alloc_pages(mm, GFP_KERNEL, 0, -1)
    assert taken(mm) == 30 and pcp_of(mm)["high"] == 75
    assert mm.view("zone")[NORMAL]["flags"] & ZONE_BELOW_HIGH


def test_before_5_18_drains_take_a_page_from_each_list_in_turn() -> None:
    mm = full("5.10")
    pages = {t: [] for t in range(3)}
    for gfp, kind in ((GFP_KERNEL, 0), (GFP_MOVABLE, 1), (GFP_RECLAIMABLE, 2)):
        pages[kind] = [alloc_pages(mm, gfp, 0, -1) for _ in range(30)]
    freed = [pfn for group in zip(*pages.values(), strict=True) for pfn in group]
    drains = [drained(mm, pfn) for pfn in freed]
    assert [len(d) for d in drains] == [0] * 89 + [15]
    turns = zip(pages[1], pages[2], pages[0], strict=True)
    assert drains[-1] == [pfn for turn in turns for pfn in turn][:15]
    assert validate(mm) == []


def test_before_5_18_empty_lists_give_their_turn_to_the_next() -> None:
    mm = full("5.10")
    unmovable = [alloc_pages(mm, GFP_KERNEL, 0, -1) for _ in range(75)]
    movable = [alloc_pages(mm, GFP_MOVABLE, 0, -1) for _ in range(15)]
    drains = [drained(mm, pfn) for pfn in movable + unmovable]
    turns = [unmovable[n // 3 * 2 + n % 3 - 1] if n % 3 else movable[n // 3] for n in range(15)]
    assert drains[-1] == turns


def test_from_5_14_to_5_17_the_turn_goes_over_the_lists_of_all_orders() -> None:
    mm = full("5.17")
    pairs = [alloc_pages(mm, GFP_KERNEL, 1, -1) for _ in range(40)]
    for place, pfn in enumerate(pairs):
        free_pages(mm, pfn, 1)
        pcp_of(mm)["free_count"] = 0
        assert pcp_of(mm)["count"] <= 90, place
    drain_pcp(mm, NORMAL, 0, 5, 0)  # blocks of two pages, as many as make five pages at least
    before = int(pcp_of(mm)["count"])
    drain_pcp(mm, NORMAL, 0, 5, 0)
    assert before - pcp_of(mm)["count"] == 6
    assert validate(mm) == []


def test_since_5_18_a_drain_empties_the_freed_pages_list_first() -> None:
    mm = full("6.1.176")
    movable = [alloc_pages(mm, GFP_MOVABLE, 0, -1) for _ in range(30)]
    unmovable = [alloc_pages(mm, GFP_KERNEL, 0, -1) for _ in range(60)]
    for pfn in movable[:10] + unmovable:
        assert drained(mm, pfn) == []
    drains = [drained(mm, pfn) for pfn in movable[10:]]
    assert [len(d) for d in drains[:20]] == [0] * 19 + [15]
    assert drains[19] == movable[:15]


def test_drains_double_while_only_freeing_before_6_7() -> None:
    mm = full("6.1.176", 2048)
    pcp_size(mm, 15, 400)
    pages = [alloc_pages(mm, GFP_KERNEL, 0, -1) for _ in range(1600)]
    sizes = [len(drained(mm, pfn)) for pfn in pages]
    assert [size for size in sizes if size] == [15, 30, 60, 120, 240, 385, 385]
    alloc_pages(mm, GFP_KERNEL, 0, -1)
    assert pcp_of(mm)["free_count"] == 2  # 5, halved


def test_frees_of_higher_orders_alone_drain_everything() -> None:
    mm = full("6.1.176", 2048)
    pcp_size(mm, 15, 100)
    pages = [alloc_pages(mm, GFP_KERNEL, 2, -1) for _ in range(60)]
    sizes = [len(drained(mm, pfn, 2)) for pfn in pages]
    first = next(n for n, size in enumerate(sizes) if size)
    assert sizes[first : first + 3] == [4, 22, 1]  # a batch, then all of it, again and again
    assert set(sizes[first + 1 :]) == {22, 1}


def test_a_drain_of_high_orders_waits_for_two_frees_in_a_row_since_6_7() -> None:
    mm = full("6.12.107")
    pcp_size(mm, 15, 400)
    pages = [alloc_pages(mm, GFP_KERNEL, 1, -1) for _ in range(30)]
    single = [alloc_pages(mm, GFP_KERNEL, 0, -1) for _ in range(30)]
    pcp_of(mm)["flags"] = PCPF_FREE_HIGH_BATCH
    for pfn in single[:20]:
        free_pages(mm, pfn, 0)
    assert drained(mm, pages[0], 1) == []  # the one before was a single page
    assert len(drained(mm, pages[1], 1)) > 10


def test_lists_and_orders() -> None:
    mm = machine("6.1.176", orders=11, block_order=9)
    pairs = [(order, kind) for order in range(4) for kind in range(3)]
    assert [order_to_pindex(mm, kind, order) for order, kind in pairs] == list(range(12))
    assert [order_to_pindex(mm, kind, 9) for kind in range(3)] == [12, 13, 12]
    assert [pindex_to_order(mm, n) for n in (0, 5, 11, 12, 13)] == [0, 1, 3, 9, 9]
    for lists, places in ((3, [12, 13, 14]), (1, [12, 12, 12])):
        mm = machine("6.1.176", orders=11, block_order=9, pcp_thp_lists=lists)
        assert [order_to_pindex(mm, kind, 9) for kind in range(3)] == places


def test_huge_blocks_lie_on_lists_of_their_own() -> None:
    mm = full("6.1.176")
    pcp_size(mm, 15, 2000)
    pfn = alloc_pages(mm, GFP_MOVABLE, 9, -1)
    assert pcp_lists(mm) == {13: [1536]} and pfn == 1024
    free_pages(mm, pfn, 9)
    assert pcp_lists(mm) == {13: [1024, 1536]} and pcp_of(mm)["count"] == 1024
    assert validate(mm) == []


@pytest.mark.parametrize("version", PAGE_VERSIONS)
def test_drains_on_request(version: str) -> None:
    mm = full(version)
    alloc_pages(mm, GFP_KERNEL, 0, -1)
    pcp_of(mm)["alloc_factor"] = 0
    alloc_pages(mm, GFP_MOVABLE, 0, -1)
    assert pcp_of(mm)["count"] == 28
    drain_pcp(mm, NORMAL, 0, 3, 0)
    drain_zone_pages(mm, NORMAL, 0)
    assert pcp_of(mm)["count"] == 10 and validate(mm) == []
    drain_pages_zone(mm, NORMAL, 0)
    assert pcp_of(mm)["count"] == 0 and pcp_lists(mm) == {}
    for drain in (lambda: drain_pages(mm, 0), lambda: drain_all_pages(mm)):
        alloc_pages(mm, GFP_KERNEL, 0, -1)
        drain()
        assert pcp_of(mm)["count"] == 0 and validate(mm) == []


def test_high_decays_by_an_eighth_and_drains_what_is_above() -> None:
    mm = full("6.12.107")
    pcp_size(mm, 15, 40, 800)
    for _ in range(46):
        alloc_pages(mm, GFP_KERNEL, 0, -1)  # 15 + 30 + 60
    pcp_of(mm)["high"] = 64
    assert pcp_of(mm)["count"] == 59
    assert decay_pcp_high(mm, NORMAL, 0)
    assert pcp_of(mm)["high"] == 56 and pcp_of(mm)["count"] == 56
    while decay_pcp_high(mm, NORMAL, 0):
        pass
    assert pcp_of(mm)["high"] == 40 and pcp_of(mm)["count"] == 40
    assert not decay_pcp_high(full("6.1.176"), NORMAL, 0)


def test_lists_of_a_remote_node_expire() -> None:
    mm = machine("6.1.176", 64, nodes=2)
    fill(mm, 0, 128, 4)
    pcp_size(mm, 4, 40)
    remote = NORMAL + mm.nr_zone_types
    pfn = alloc_pages(mm, GFP_KERNEL, 0, 1)
    free_pages(mm, pfn, 0)
    free_pages(mm, alloc_pages(mm, GFP_KERNEL, 0, 0), 0)
    counts = []
    for _ in range(4):
        counts.append(int(pcp_of(mm, remote)["count"]))
        refresh_cpu_vm_stats(mm, 0)
    assert counts == [4, 4, 4, 0] and pcp_of(mm, NORMAL)["count"] == 4
    assert validate(mm) == []


def test_bulk_takes_pages_from_the_list_without_an_event() -> None:
    mm = full("6.1.176")
    mm.step_mask = 1
    assert alloc_pages_bulk(mm, GFP_KERNEL, -1, 20) == 20
    assert list(mm.view("bulk_page")[:20]) == list(range(20))
    assert read_steps(mm) == [] and pcp_of(mm)["count"] == 10
    assert alloc_pages_bulk(mm, GFP_KERNEL, -1, 1) == 1  # one page is taken as always
    assert len(read_steps(mm)) == 1
    assert alloc_pages_bulk(mm, GFP_KERNEL, -1, 0) == 0
    assert alloc_pages_bulk(mm, GFP_KERNEL, -1, 600) == 512  # what the array holds


def test_bulk_of_more_than_the_zone_has_gives_one_page() -> None:
    mm = machine("6.1.176", 16)
    fill(mm, 0, 16, 4)
    assert alloc_pages_bulk(mm, GFP_KERNEL, -1, 40) == 1
    for _ in range(15):
        alloc_pages(mm, GFP_KERNEL, 0, -1)
    assert alloc_pages_bulk(mm, GFP_KERNEL, -1, 4) == 0


def test_inside_the_lists_lock_pages_pass_the_lists_by() -> None:
    mm = full("6.1.176")
    pfn = alloc_pages(mm, GFP_KERNEL, 0, -1)
    mm.pcp_locked = 1
    free_pages(mm, pfn, 0)
    assert free_list(mm, 0) == [0, 15] and pcp_of(mm)["count"] == 14
    assert alloc_pages(mm, GFP_KERNEL, 0, -1) == 0 and mm.last_alloc_from == ALLOC_FROM_ZONE


def test_what_no_list_shows_is_recalled_from_events() -> None:
    kernel, twin = full("6.12.107"), full("6.12.107")
    for mm in (kernel, twin):
        pcp_size(mm, 15, 100, 800)
    kernel.step_mask = 1 << 3
    for number in range(400):
        clear_steps(kernel)
        pfn = alloc_pages(kernel, GFP_KERNEL, 0, -1)
        if read_steps(kernel):
            recall_refill(twin, pfn, 0, len(read_steps(kernel)))
        recall_alloc(twin, pfn, 0)
        if number % 61 == 60:
            free_pages(kernel, pfn, 0)
            recall_free(twin, pfn, 0)
    for field in ("alloc_factor", "free_count", "flags"):
        assert pcp_of(twin)[field] == pcp_of(kernel)[field]
    assert pcp_of(kernel)["alloc_factor"] > 0


def test_counters_of_lists_and_events() -> None:
    mm = full("6.1.176")
    pages = [alloc_pages(mm, GFP_KERNEL, 0, -1) for _ in range(20)]
    free_pages(mm, pages[0], 0)
    assert list(pcp_of(mm)["stat"][:4]) == [20, 2, 30, 1]
    assert mm.view("vm_event")[NORMAL] == 20 and mm.view("vm_event")[16] == 1
    assert free_list(mm, 10, MOVABLE) == [1024] and free_list(mm, 9, UNMOVABLE) == [512]


@pytest.mark.parametrize("blocks, factor", [(3, 0), (4, 1), (10, 2), (16, 3), (17, 3), (100, 5)])
def test_a_refill_tells_the_factor_of_its_batch(blocks, factor):
    k = Machine.boot("x86_64-7.3", memory="512M", seed=1)
    pfn = k.alloc_pages(0).pfn
    pcp = k.mm.view("pcp")
    place = int(k.mm.view("page")["zone"][pfn]) * k.mm.nr_cpus
    pcp["batch"][place], pcp["alloc_factor"][place] = 4, 0
    recall_refill(k.mm, pfn, 0, blocks)
    assert int(pcp["alloc_factor"][place]) == factor
