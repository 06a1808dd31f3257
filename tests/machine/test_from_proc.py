"""A machine from /proc alone: what must be exact is, and a truth of the same moment agrees."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtwin.kernel.page_alloc_check import validate
from mmtwin.machine.proc_pages import KPF_BUDDY, has_flag, runs, split_run
from mmtwin.machine.proc_slab import SlabHints, deal_slabs, fill_slabs, slab_heads
from mmtwin.machine.proc_types import refine_types
from mmtwin.machine.recorded import machine_at_proc, zones_at
from mmtwin.machine.texts import SlabText, parse_buddyinfo, parse_slabinfo
from mmtwin.machine.zones import zone_number


@pytest.fixture(scope="module", params=["start", "end"])
def state(request: pytest.FixtureRequest, recording: Any) -> Any:
    return recording, request.param, machine_at_proc(recording, request.param)


def test_buddyinfo_is_exact(state: Any) -> None:
    recording, name, mm = state
    rows = parse_buddyinfo(recording.snapshots[name].text("buddyinfo"))
    for zone in zones_at(recording, name):
        if zone.numbers["spanned"]:
            record = mm.view("zone")[zone_number(mm, mm.profile, zone)]
            row = rows[zone.node, zone.name]
            assert list(record["nr_free"][: len(row)]) == row


def test_slab_counts_are_exact(state: Any) -> None:
    recording, name, mm = state
    slabs = mm.view("cache_node")["nr_slabs"]
    objects = mm.view("cache_node")["total_objects"]
    for line in parse_slabinfo(recording.snapshots[name].text("slabinfo")):
        number = mm.cache_names.index(line.name)
        assert (slabs[number], objects[number]) == (line.slabs, line.objects), line.name


def test_the_state_is_valid(state: Any) -> None:
    assert validate(state[2]) == []


def test_most_pageblock_types_are_guessed_right(state: Any) -> None:
    recording, name, mm = state
    truth = recording.snapshots[name].truth["pageblocks"]
    mine = mm.view("pageblock")[: len(truth)]
    assert np.mean(mine == np.array(truth)) > 0.85


def test_a_missing_file_is_one_clear_error(recording: Any) -> None:
    with pytest.raises(ValueError, match="has no kpageflags at 'stopped'"):
        machine_at_proc(recording, "stopped")
    with pytest.raises(ValueError, match="has no zoneinfo, pagetypeinfo, kpageflags at 'nowhere'"):
        machine_at_proc(recording, "nowhere")


@given(st.integers(0, 5000), st.integers(1, 3000), st.integers(0, 10))
def test_a_run_falls_into_merged_blocks(start: int, length: int, largest: int) -> None:
    blocks = split_run(start, start + length, largest)
    pages = [page for pfn, order in blocks for page in range(pfn, pfn + (1 << order))]
    assert pages == list(range(start, start + length))
    assert all(pfn % (1 << order) == 0 and order <= largest for pfn, order in blocks)
    heads = set(blocks)
    for pfn, order in blocks:
        assert order == largest or (pfn ^ (1 << order), order) not in heads


@given(st.lists(st.booleans(), max_size=60))
def test_runs_cover_what_is_wanted(wanted: list[bool]) -> None:
    found = runs(np.array(wanted, dtype=bool))
    assert [any(a <= i < b for a, b in found) for i in range(len(wanted))] == wanted
    assert all(a < b for a, b in found)


def test_slab_heads_end_where_tails_end() -> None:
    slab, tail, head = 1 << 7, 1 << 16, 1 << 15
    flags = np.array([0, slab, slab | head, slab | tail, slab | tail, slab | head, slab | tail],
                     dtype=np.uint64)
    assert slab_heads(flags) == [(1, 1), (2, 3), (5, 2)]
    assert slab_heads(np.zeros(4, dtype=np.uint64)) == []
    assert has_flag(flags, KPF_BUDDY).sum() == 0


def line(name: str, slabs: int, pages: int = 1, active: int = 0) -> SlabText:
    return SlabText(name, active, slabs * 4, 1024, 4, pages, slabs)


def test_slabs_are_dealt_by_hint_then_by_size() -> None:
    lines = [line("a", 2), line("b", 1), line("c", 1, pages=4)]
    heads = [(8, 1), (9, 1), (10, 1), (12, 4)]
    owners = deal_slabs(lines, heads, SlabHints({8: "b"}))
    assert owners == {"a": [9, 10], "b": [8], "c": [12]}


def test_free_objects_come_from_hints_then_from_counts() -> None:
    entry: dict[str, Any] = {"red_left_pad": 0, "node_partial": []}
    fill_slabs(entry, line("a", 2, active=5), [3, 7], 0, 12, {3 << 12: False, 7 << 12: True})
    by_pfn = {slab["pfn"]: slab for slab in entry["slabs"]}
    assert by_pfn[3]["free"] == [3 << 12]
    assert by_pfn[7]["free"] == [(7 << 12) + 1024, (7 << 12) + 2048]
    assert entry["node_partial"] == [3, 7]


def test_types_are_swapped_until_counts_agree() -> None:
    vectors = np.array([[1, 0], [0, 3], [2, 0]])
    wanted = {0: np.array([0, 3]), 1: np.array([3, 0])}
    assert refine_types([1, 1, 0], vectors, wanted) == [1, 0, 1]
    assert refine_types([0, 0], vectors[:2], {}) == [0, 0]


def test_caches_have_the_kernels_geometry(state: Any) -> None:
    recording, name, mm = state
    record = mm.view("cache")
    for said in recording.snapshots[name].truth["slab"]:
        mine = record[mm.cache_names.index(said["name"])]
        for field in ("size", "object_size", "offset", "min_partial", "cpu_partial"):
            assert mine[field] == said[field], (said["name"], field)
        assert mine["oo_order"] << 16 | mine["oo_objects"] == said["oo"], said["name"]
