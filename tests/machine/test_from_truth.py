"""A machine from a truth holds exactly what the truth says, list by list."""

import copy
from typing import Any

import numpy as np
import pytest

from mmtwin.kernel.constants import PG_slab
from mmtwin.kernel.page_alloc_check import validate
from mmtwin.kernel.slub_state import cpu_partial, cpu_slab, node_partial, read_freelist
from mmtwin.machine.from_truth import build_from_truth
from mmtwin.machine.recorded import machine_at_truth, profile_of, twin_gfp_of, zones_at
from mmtwin.machine.truth_pages import free_lists, known_pageblocks, pcp_lists
from mmtwin.machine.truth_slab import slab_order
from mmtwin.machine.zones import zone_number
from mmtwin.versions.profiles import profile


@pytest.fixture(scope="module", params=["start", "end"])
def state(request: pytest.FixtureRequest, recording: Any) -> Any:
    name = request.param
    return recording, name, machine_at_truth(recording, name), recording.snapshots[name].truth


def test_free_lists_and_pcp_lists_in_order(state: Any) -> None:
    recording, name, mm, truth = state
    zones = {zone.name: zone for zone in zones_at(recording, name)}
    for said in truth["buddy"]:
        number = zone_number(mm, mm.profile, zones[said["name"]])
        assert free_lists(mm, number) == said["free"]
        pages = sum(len(pfns) << int(key.split(",")[0]) for key, pfns in said["free"].items())
        assert mm.view("zone")["nr_free_pages"][number] == pages
        for cpu, pcp in enumerate(said["pcp"]):
            assert pcp_lists(mm, number, cpu) == pcp["lists"]
            record = mm.view("pcp")[number * mm.nr_cpus + cpu]
            assert (record["count"], record["high"]) == (pcp["count"], pcp["high"])


def test_slabs_and_their_free_lists_in_order(state: Any) -> None:
    _, _, mm, truth = state
    pages = mm.view("page")[: mm.max_pfn]
    for number, said in enumerate(reversed(truth["slab"])):
        assert mm.cache_names[number] == said["name"]
        mine = (pages["cache"] == number) & (pages["flags"] & PG_slab != 0)
        assert list(np.flatnonzero(mine)) == [slab["pfn"] for slab in said["slabs"]]
        for slab in said["slabs"]:
            assert read_freelist(mm, number, pages["freelist"][slab["pfn"]]) == slab["free"]
            assert pages["inuse"][slab["pfn"]] == slab["inuse"]
        for cpu in said["cpu"]:
            assert cpu_slab(mm, number, cpu["cpu"]) == (cpu.get("slab", -1), cpu["freelist"])
            assert cpu_partial(mm, number, cpu["cpu"]) == cpu["partial"]
        assert node_partial(mm, number) == said["node_partial"]


def test_caches_have_the_kernels_geometry(state: Any) -> None:
    recording, _, mm, truth = state
    for number, said in enumerate(reversed(truth["slab"])):
        record = mm.view("cache")[number]
        for name in ("size", "object_size", "offset", "min_partial", "random"):
            assert record[name] == said[name], (said["name"], name)
        assert record["oo_order"] << 16 | record["oo_objects"] == said["oo"]
        start = int(record["random_seq"])
        count = len(said["random_seq"])
        if count:
            sequence = mm.view("random_seq")[start : start + count]
            assert list(sequence) == said["random_seq"]
        attributes = recording.sys_kernel_slab.get(said["name"], {})
        if "align" in attributes:
            assert record["align"] == int(attributes["align"])


def test_watermarks_and_reserves_are_those_of_zoneinfo(state: Any) -> None:
    recording, name, mm, _ = state
    for zone in zones_at(recording, name):
        record = mm.view("zone")[zone_number(mm, mm.profile, zone)]
        marks = [int(mark) + int(record["watermark_boost"]) for mark in record["watermark"][:3]]
        assert marks == [zone.numbers[mark] for mark in ("min", "low", "high")]
        places = [number for _, number in mm.profile.zones]
        assert list(record["lowmem_reserve"][places]) == zone.protection


def test_the_state_is_valid(state: Any) -> None:
    assert validate(state[2]) == []


def test_a_profile_is_read_from_the_recording(recording: Any) -> None:
    facts = profile_of(recording)
    assert facts.name == "x86_64-6.1"
    assert facts.version.startswith("6.1.")
    assert facts.on("SLAB_FREELIST_HARDENED")
    assert facts.migratetypes == profile("x86_64-6.1").migratetypes
    assert "nokaslr" in facts.cmdline
    assert twin_gfp_of(recording)[:23] == [1 << bit for bit in range(23)]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda t: t["buddy"][0]["free"].update({"11,0": [0]}), "no free list 11,0"),
        (lambda t: t["buddy"][0]["free"].update({"3,1": [4097]}), "free block 4097 of list 3,1"),
        (lambda t: t["buddy"][0]["free"].update({"0,1": [300, 301, 300]}), "twice on the list"),
        (lambda t: t["buddy"][0]["free"].update({"0,1": [1 << 40]}), "cannot be"),
        (lambda t: t["buddy"][0].update(name="Normal"), "'Normal' that zoneinfo has not"),
        (lambda t: t["buddy"][0]["pcp"][0]["lists"].update({"40": [300]}), "no per-CPU list 40"),
    ],
)
def test_a_truth_that_cannot_be_is_one_clear_error(
    recording: Any, change: Any, error: str
) -> None:
    truth = {"buddy": copy.deepcopy(recording.snapshots["start"].truth["buddy"])}
    truth["pageblocks"], truth["slab"] = [], []
    change(truth)
    with pytest.raises(ValueError, match=error):
        build_from_truth(profile_of(recording), zones_at(recording, "start"), truth)


def test_a_missing_truth_is_one_clear_error(recording: Any) -> None:
    with pytest.raises(ValueError, match="holds no truth of 'stopped'"):
        machine_at_truth(recording, "stopped")


def test_pageblocks_of_kernels_with_eight_bits_a_block() -> None:
    facts = profile("x86_64-7.3")
    assert facts.limits.pageblock_bits == 8

    class Twin:
        profile, pageblock_order = facts, 9

    # one section of 64 blocks: every other entry is a type, of the first 32 blocks only
    entries = [0] * 64
    entries[0], entries[2], entries[62] = 2, 1, 1
    truth = {"pageblocks": entries, "buddy": [{"free": {"10,1": [40 << 9], "3,2": [50 << 9]}}]}
    known = known_pageblocks(Twin(), truth)  # type: ignore[arg-type]
    assert (known[0], known[1], known[2], known[31]) == (2, 1, 0, 1)
    assert (known[40], known[41], known[50]) == (1, 1, 2)
    assert 33 not in known


def test_kmalloc_caches_are_found_by_name(state: Any) -> None:
    _, _, mm, _ = state
    table = mm.view("kmalloc_cache").reshape(-1, 32)
    for name, kind, index in (
        ("kmalloc-64", 0, 6), ("kmalloc-96", 0, 1), ("kmalloc-8k", 0, 13),
        ("kmalloc-rcl-192", 16, 2), ("dma-kmalloc-1k", 17, 10), ("kmalloc-cg-8", 18, 3),
    ):
        assert mm.cache_names[table[kind, index]] == name


def test_a_slab_may_be_smaller_than_preferred() -> None:
    assert slab_order(256, 32, 4096, (1, 32)) == 1
    assert slab_order(256, 16, 4096, (1, 32)) == 0
    assert slab_order(5824, 5, 4096, (3, 5)) == 3
    assert slab_order(5824, 2, 4096, (3, 5)) == 2


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda c: c.update(size=0), "cannot be of 0 bytes"),
        (lambda c: c["slabs"][0].update(pfn=1 << 40), "is no block of order"),
        (lambda c: c["slabs"][0].update(free=[8]), "lies outside RAM"),
        (lambda c: c.update(node_partial=[1 << 40]), "entry that is no page"),
        (lambda c: c["cpu"][0].update(slab=-5), "has a slab that is no page"),
        (lambda c: c.update(oo="x"), "cache kmalloc-1k: a value of another kind than is due"),
        (lambda c: c.update(oo=0), "slabs of kmalloc-1k cannot be of oo 0x0"),
        (lambda c: c.update(offset=-1), "cache kmalloc-1k: a number that is too large or too sm"),
        (lambda c: c.pop("size"), "cache kmalloc-1k: size is missing"),
    ],
)
def test_a_cache_that_cannot_be_is_one_clear_error(
    recording: Any, change: Any, error: str
) -> None:
    truth = recording.snapshots["start"].truth
    cache = copy.deepcopy(next(c for c in truth["slab"] if c["name"] == "kmalloc-1k"))
    change(cache)
    broken = {"buddy": truth["buddy"], "pageblocks": [], "slab": [cache]}
    with pytest.raises(ValueError, match=error):
        build_from_truth(profile_of(recording), zones_at(recording, "start"), broken)
