"""Bad input gets the kernel's answer: NULL, what it would print, or a dead task."""

from collections.abc import Callable
from typing import Any

import pytest

from mmtwin import Machine
from mmtwin.machine import Complaint

PROFILES = ("x86_64-5.10", "arm64-5.13", "x86_64-6.1", "x86_64-6.12", "x86_64-7.3")


@pytest.fixture(params=PROFILES)
def k(request: pytest.FixtureRequest) -> Machine:
    return Machine.boot(request.param, memory="128M")


def said(k: Machine, call: Callable[[], object]) -> list[str]:
    """The names of what a call made the kernel print."""
    before = len(k.complaints)
    call()
    return [complaint.name for complaint in k.complaints[before:]]


def test_sizes_that_nothing_holds(k: Machine) -> None:
    for size in (64 << 20, 1 << 40, 1 << 63, (1 << 64) - 1):
        assert k.kmalloc(size, "GFP_KERNEL|__GFP_NOWARN") == 0
        assert said(k, lambda size=size: k.kmalloc(size)) == ["ORDER"]  # type: ignore[misc]
        assert said(k, lambda size=size: k.kvmalloc(size)) in (  # type: ignore[misc]
            ["KVMALLOC"], [],
        ), size
    for size in (1 << 40, 1 << 63, (1 << 64) - 1):
        assert said(k, lambda size=size: k.vmalloc(size)) == ["VMALLOC"]  # type: ignore[misc]
    # 5.10 fails as for a size that is too large, later ones warn at once
    nothing = "VMALLOC" if k.profile.name == "x86_64-5.10" else "VMALLOC_ZERO"
    assert said(k, lambda: k.vmalloc(0)) == [nothing]
    assert k.alloc_pages(11, "GFP_KERNEL|__GFP_NOWARN") is None
    assert said(k, lambda: k.alloc_pages(31)) == ["ORDER"]
    with pytest.raises(ValueError, match="order -1"):
        k.alloc_pages(-1)
    assert k.validate() == []


def test_frees_of_the_wrong_kind(k: Machine) -> None:
    small, area = k.kmalloc(100), k.vmalloc(9000)
    with pytest.raises(Complaint, match="vfree"):
        k.vfree(small)
    with pytest.raises(Complaint, match="page fault"):
        k.kfree(area)
    with pytest.raises(Complaint, match="vfree"):
        k.vfree(area + 8)
    with pytest.raises(Complaint, match="page fault"):
        k.ksize(area)
    k.kvfree(0)
    k.kvfree(16)
    k.kvfree(area)
    with pytest.raises(Complaint, match="nonexistent vm area"):
        k.vfree(area)
    with pytest.raises(Complaint, match="nonexistent vm area"):
        k.kvfree(area)
    k.kvfree(small)
    assert k.validate() == []


def test_vunmap_of_what_vmalloc_gave_loses_its_pages(k: Machine) -> None:
    address = k.vmalloc(9000)
    state: Any = k.mm.vmalloc
    used = state.nr_pages
    k.vunmap(address)
    assert state.nr_pages == used
    assert state.nr_lost == 3
    assert k.validate() == []


def test_a_frame_larger_than_the_stack_ends_the_task(k: Machine) -> None:
    task = k.fork("deep")
    assert task is not None and task.stack is not None
    with task.frame("huge", {"buf": len(task.stack)}):
        assert task.state in ("zombie", "dead")
    assert [complaint.name for complaint in k.complaints] == ["STACK_OVERFLOW"]
    with pytest.raises(ValueError, match="has no stack"), task.frame("again"):
        pass
    with pytest.raises(ValueError, match="cannot end"):
        k.exit(task)
    with pytest.raises(ValueError, match="is dead"):
        k.run(task)


def test_variables_that_are_none(k: Machine) -> None:
    task = k.fork("some")
    assert task is not None
    for size in (0, -5, 1 << 40):
        with pytest.raises(ValueError, match="variable buf"), task.frame("f", {"buf": size}):
            pass
    assert task.depth == 0 or task.state == "running"
    assert k.complaints == []


def test_caches_that_cannot_be(k: Machine) -> None:
    for name, size in (("", 64), ("zero", 0), ("huge", 1 << 40)):
        with pytest.raises(ValueError, match="bad name or size"):
            k.kmem_cache_create(name, size)
    with pytest.raises(ValueError, match="power of two"):
        k.kmem_cache_create("odd", 64, align=3)
    with pytest.raises(ValueError, match="not a number of 32 bits"):
        k.kmem_cache_create("flags", 64, flags=-1)
    with pytest.raises(ValueError, match="node 1: the machine has 1"):
        k.kmem_cache_alloc("dentry", node=1)
    for gfp in (-1, 1 << 32):
        with pytest.raises(ValueError, match="not a number of 32 bits"):
            k.kmalloc(8, gfp)


def test_kmemleak_of_what_is_gone() -> None:
    k = Machine.boot("x86_64-6.1", memory="64M", DEBUG_KMEMLEAK=True)
    gone = k.kmalloc(64)
    k.kfree(gone)
    k.kmemleak.free(gone)  # says so only in a debug build
    for call in (k.kmemleak.not_leak, k.kmemleak.ignore, k.kmemleak.no_scan):
        with pytest.raises(Complaint, match=f"unknown object at {gone:#x}"):
            call(gone)
    here = k.kmalloc(64)
    with pytest.raises(Complaint, match="Scan area larger than object"):
        k.kmemleak.scan_area(here, 80)
    with pytest.raises(Complaint, match="overlaps existing"):
        k.kmemleak.alloc(here, 64)
    for place in (0, here + (1 << 40)):
        with pytest.raises(ValueError, match="not in the direct map"):
            k.kmemleak.erase(place)


@pytest.mark.parametrize(
    ("option", "letters"), [("Q", "Q"), ("FqZ,dentry;x", "qx"), ("fzpuoa", "")]
)
def test_letters_that_slub_debug_does_not_know(option: str, letters: str) -> None:
    for profile, word in (("x86_64-6.1", "slub"), ("x86_64-6.12", "slab")):
        k = Machine.boot(profile, memory="64M", cmdline={"slub_debug": option})
        assert [str(complaint) for complaint in k.complaints] == [
            f"{word}_debug option '{letter}' unknown. skipped" for letter in letters
        ]
