"""A prediction held against another kernel: what is compared with what; and real pairs.

Pairs of recordings of the same workload: MMTWIN_PAIRS=A=B:A=C names them (see docs/what-if.md).
"""

import os

import pytest

from mmtwin.machine import Machine
from mmtwin.procfs.slabinfo import SlabInfo
from mmtwin.recordings import default_recording_path, open_recording
from mmtwin.replay import ReplayError, what_if
from mmtwin.replay.against import (
    Shown,
    components,
    last_snapshot,
    rows_by_cache,
    shown_by,
    shown_by_twin,
    tally,
)

PAIRS = [pair.split("=") for pair in os.environ.get("MMTWIN_PAIRS", "").split(":") if pair]


def row(name, slabs, size=64, objects=64, pages=1):
    return SlabInfo(name, slabs * objects, slabs * objects, size, objects, pages, slabs, slabs)


def shown(*rows, groups=()):
    caches = {each.name: each for each in rows}
    return Shown(
        caches, {name: frozenset(group) for group in groups for name in group}, {},
        sum(each.num_slabs * each.pagesperslab << 12 for each in rows), 0,
    )  # fmt: skip


def compared(real, predicted, before=None, page=4096):
    before = before or predicted
    rows = rows_by_cache((before, before, real, predicted), (page, page))
    return {each["name"]: each for each in rows}, tally(rows)


def test_caches_go_by_name():
    rows, sums = compared(
        shown(row("a", 10), row("b", 40), row("c", 3), row("none", 0)),
        shown(row("a", 10), row("b", 42), row("d", 3), row("none", 0)),
    )
    assert sums["caches"] == 2 and sums["slabs_exact"] == 1
    assert sums["slabs_within_5_percent"] == sums["geometry_exact"] == 2
    assert sums["only_real"] == ["c"] and sums["only_predicted"] == ["d"]
    assert rows["b"]["real"]["slabs"] == 40 and rows["b"]["predicted"]["slabs"] == 42


def test_a_merged_cache_goes_by_any_of_its_names():
    real = shown(row("filp", 5), groups=[{"filp", "pid"}])
    predicted = shown(row("pid", 6), groups=[{"filp", "pid"}])
    rows, sums = compared(real, predicted)
    assert sums["caches"] == 1 and sums["merged_alike"] == 1
    assert rows["filp"]["predicted"]["slabs"] == 6


def test_what_is_merged_on_one_side_only_is_held_together():
    real = shown(row("filp", 5), row("pid", 2))
    predicted = shown(row("filp", 7), groups=[{"filp", "pid", "other"}])
    assert components(real, predicted) == [frozenset({"filp", "pid", "other"})]
    rows, sums = compared(real, predicted)
    assert sums["merged_alike"] == 0 and sums["slabs_exact"] == 1
    assert rows["filp"]["real"]["slabs"] == 7


def test_geometry_is_size_objects_and_order():
    real = shown(row("a", 4, size=128, objects=32), row("b", 4, pages=2))
    predicted = shown(row("a", 4), row("b", 4, pages=2))
    rows, sums = compared(real, predicted)
    assert sums["geometry_exact"] == 1 and not rows["a"]["same_geometry"]
    assert rows["b"]["real"]["bytes"] == 4 * 2 * 4096


def test_one_slab_more_of_few_is_within():
    for real, predicted, within in ((1, 2, 1), (1, 3, 0), (100, 105, 1), (100, 106, 0)):
        assert compared(shown(row("a", real)), shown(row("a", predicted)))[1][
            "slabs_within_5_percent"
        ] == within


def test_a_twin_shows_what_its_proc_shows():
    k = Machine.boot("x86_64-6.1", memory="64M")
    for _ in range(100):
        k.kmalloc(100)
    now = shown_by_twin(k.mm)
    assert now.caches["kmalloc-128"].num_slabs == 4
    assert "pool_workqueue" in now.names("maple_node")
    free = int(k.mm.view("zone")["nr_free_pages"].sum()) << 12
    assert now.free_bytes == free and set(now.pagesets) == {(0, "DMA"), (0, "DMA32")}


def test_a_recording_shows_what_its_last_snapshot_holds():
    with open_recording(default_recording_path()) as recording:
        assert last_snapshot(recording).name == "end"
        found = shown_by(recording)
        assert found.caches["dentry"].objsize == 192
        assert len(found.names("maple_node")) > 1
        figures = what_if(recording, against=recording)
    against = figures["against"]
    assert figures["changes"] == [f"profile {figures['machines'][0]['profile']}"]
    holds(against, caches=70, near=0.9, part=50)


def test_a_recording_without_snapshots_holds_nothing_against(tmp_path):
    (tmp_path / "trace.txt").write_text(
        "# tracer: nop\n"
        "     a-1   [000] ..... 1.000000: kfree: call_site=0xffffffff81000000 ptr=0x0\n"
    )
    with pytest.raises(ReplayError, match="no snapshot with slabinfo"):
        what_if(against=tmp_path / "trace.txt")


@pytest.mark.skipif(not PAIRS, reason="MMTWIN_PAIRS names no recordings")
@pytest.mark.parametrize(("recorded", "other"), PAIRS or [("", "")])
def test_real_pairs(recorded, other):
    """Of the same release: what was asked for is nearly the same, so the rest is rules."""
    holds(what_if(recorded, against=other)["against"], caches=50, near=0.8, part=10)


def holds(against, caches, near, part):
    """More than `caches` caches and the limits of the pages' lists as predicted, `near` of the
    caches with as many slabs or nearly so, the slabs' memory within one part in `part`.
    """
    sums = against["compared"]
    assert sums["geometry_exact"] == sums["merged_alike"] == sums["caches"] > caches
    assert sums["slabs_within_5_percent"] >= near * sums["caches"]
    assert all(each["real"] == each["predicted"] for each in against["pagesets"])
    slab = against["bytes"]["slab"]
    assert abs(slab["predicted"] - slab["real"]) < slab["real"] // part
