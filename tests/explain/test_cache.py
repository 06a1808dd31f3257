"""Explanations of caches: figures are those of booted machines, and of published slabinfo."""

import re
from pathlib import Path

import pytest

from mmtwin.explain.cache import (
    Asked,
    explain_cache,
    explain_slab_allocator,
    find_cache,
    kmalloc_sizes,
    lines_of,
    parse_flags,
)
from mmtwin.kernel import slub_layout
from mmtwin.kernel.slub_defs import DEFS
from mmtwin.machine import Machine
from mmtwin.versions.profiles import profile

FIXTURES = Path(__file__).parent / "fixtures"
ROW = re.compile(r"(\S.*?)\s+\d+\s+\d+\s+(\d+)\s+(\d+)\s+(\d+) :")
# objects wanted follow the CPUs; insights-0 comes from a machine with one
SLUB_DUMPS = {"pcp-meminfo-001": 8, "pcp-meminfo-005": 8, "insights-0": 1}


def rows(name: str) -> list[tuple[str, int, int, int]]:
    """(cache, bytes from object to object, objects and pages of a slab)."""
    text = (FIXTURES / f"{name}.txt").read_text()
    found = [match for match in map(ROW.match, text.splitlines()) if match]
    return [(m[1], int(m[2]), int(m[3]), int(m[4])) for m in found]


@pytest.mark.parametrize("name", ["x86_64-5.10", "arm64-5.13", "x86_64-6.12", "arm64-16k-6.12"])
def test_figures_are_those_of_a_machine(name: str) -> None:
    machine = Machine.boot(name, memory="256M", cpus=2)
    facts = profile(name)
    checked = 0
    for cache in machine.caches:
        if cache.name in ("kmem_cache", "kmem_cache_node"):
            continue  # their own sizes depend on the number of CPUs and nodes
        found = explain_cache(find_cache(cache.name, facts), facts, 2).figures
        for figure, fieldname in (
            ("size", "size"), ("offset", "offset"), ("order", "oo_order"), ("inuse", "inuse"),
            ("objects", "oo_objects"), ("cpu_partial", "cpu_partial"),
            ("min_partial", "min_partial"), ("red_left_pad", "red_left_pad"),
        ):  # fmt: skip
            assert found[figure] == getattr(cache, fieldname), (cache.name, figure)
        checked += 1
    assert checked > 80


@pytest.mark.parametrize("name", SLUB_DUMPS)
def test_published_slabinfo_of_slub(name: str) -> None:
    facts = profile("x86_64-5.10")
    found = rows(name)
    assert len(found) > 100
    for cache, size, objects, pages in found:
        asked = Asked(cache, size, 8, DEFS["SLAB_TYPESAFE_BY_RCU"], freeptr_offset=0)
        figures = explain_cache(asked, facts, SLUB_DUMPS[name]).figures
        if figures["size"] != size:  # the dump's size is what the layout ends with
            order = slub_layout.calculate_order(
                type("has", (), facts.features), size, 4096, 11, SLUB_DUMPS[name], 1
            )
            figures = {"objects": (4096 << order) // size, "pages": 1 << order}
        assert (figures["objects"], figures["pages"]) == (objects, pages), cache


@pytest.mark.parametrize(
    ("name", "bufctl", "most"), [("d2000", True, 0), ("zynq-4.4.0", False, 1)]
)
def test_published_slabinfo_of_slab(name: str, bufctl: bool, most: int) -> None:
    found = rows(name)
    assert len(found) > 80
    for cache, size, objects, pages in found:
        early = cache == "kmem_cache"
        figures = explain_slab_allocator(size, 0, 4096, False, early, bufctl, 4, most).figures
        assert (figures["objects"], figures["pages"]) == (objects, pages), cache


def test_reasons() -> None:
    text = "\n".join(lines_of(explain_cache(
        find_cache("kmalloc-192", profile("x86_64-6.12")), profile("x86_64-6.12"), 8
    )))  # fmt: skip
    assert "the largest power of two that divides 192" in text
    assert "4 * (fls(8) + 1), for 8 CPUs" in text
    assert "64 of 4096 bytes over (1.6%), at most 1/16 may be over: taken" in text
    rcu = explain_cache(Asked("x", 40, 0, parse_flags("TYPESAFE_BY_RCU")), profile(), 1)
    assert rcu.figures["offset"] == 40
    assert "readers may still look at it" in "\n".join(lines_of(rcu))


def test_names_and_nearest() -> None:
    facts = profile("arm64-5.13")
    assert kmalloc_sizes(facts)[0] == 128
    assert find_cache("kmalloc-rcl-1k", facts).object_size == 1024
    with pytest.raises(ValueError, match=r"kmalloc\(192\) takes kmalloc-256"):
        find_cache("kmalloc-192", facts)
    with pytest.raises(ValueError, match="nearest: dentry"):
        find_cache("dentri", facts)
    with pytest.raises(ValueError, match="nearest: SLAB_PANIC"):
        parse_flags("PANICK")
    with pytest.raises(ValueError, match="fit into no block"):
        explain_cache(Asked("x", 1 << 26), facts, 1)
