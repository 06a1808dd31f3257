"""Caches that a write to /sys/kernel/slab/CACHE/shrink made smaller: no event names them."""

import re

import numpy as np
import pytest

from mmtwin.kernel import slub_shrink
from mmtwin.kernel.slub_defs import GFP_KERNEL, SLAB_NO_MERGE
from mmtwin.machine import Machine
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay.counts import COUNTS
from mmtwin.replay.engine import Engine
from mmtwin.replay.write_sites import KERNFS_WRITERS

SITE = 0xFFFFFFFF81234560
TASK, OTHER = 7, 8
SIZE = 512


class Shrinking:
    """A cache with slabs, of which the CPU has one, and a second machine that does as told."""

    def __init__(self, version: str) -> None:
        self.machines = []
        for _ in range(2):
            k = Machine.boot(f"x86_64-{version}", memory="1G", seed=5)
            cache = k.kmem_cache_create("shrunk", SIZE, flags=SLAB_NO_MERGE)
            self.machines.append((k, cache))
        self.cache = cache.number
        self.slab = int(k.mm.view("cache")[self.cache]["oo_objects"])
        self.objects = [self.alloc() for _ in range(3 * self.slab + 2)]
        self.rows: list[tuple[str, int, int]] = []
        self.written = 2

    def alloc(self) -> int:
        """An object, of both machines."""
        objects = [k.kmem_cache_alloc(cache) for k, cache in self.machines]
        assert objects[0] == objects[1]
        return objects[0]

    def free(self, objects: list[int]) -> None:
        for k, cache in self.machines:
            for object in objects:
                k.kmem_cache_free(cache, object)

    def write(self, pages: list[int], pid: int = TASK, allocates: int = 0) -> None:
        """A write to /sys in which these slabs are given back, and an object allocated."""
        buffer = self.machines[0][0].mm.page_offset + (5 << 12)
        self.rows.append(("KMALLOC", TASK, buffer))
        self.rows += [("MM_PAGE_FREE", pid, page) for page in pages]
        if allocates:
            self.next_objects(1, allocates)
        self.rows.append(("KFREE", TASK, buffer))

    def shrink(self) -> list[int]:
        """Shrinks the second machine's cache alone: the slabs that it gave back."""
        mm = self.machines[1][0].mm
        slabs = np.flatnonzero(mm.view("page")["cache"][: mm.max_pfn] == self.cache)
        slub_shrink.kmem_cache_shrink(mm, self.cache)
        return [int(pfn) for pfn in slabs if mm.view("page")["cache"][pfn] != self.cache]

    def next_objects(self, count: int, pid: int = TASK) -> list[int]:
        """The kernel's next objects, by the second machine."""
        k, cache = self.machines[1]
        objects = [k.kmem_cache_alloc(cache) for _ in range(count)]
        self.rows += [("KMEM_CACHE_ALLOC", pid, object) for object in objects]
        return objects

    def replay(self) -> dict[str, int]:
        k = self.machines[0][0]
        events = np.zeros(len(self.rows), EVENT)
        order = int(k.mm.view("cache")[self.cache]["oo_order"])
        for event, (kind, pid, address) in zip(events, self.rows, strict=True):
            event["kind"], event["pid"], event["address"] = CONSTANTS["KIND_" + kind], pid, address
            event["gfp"], event["bytes_alloc"] = GFP_KERNEL, SIZE
            event["cache"] = 0
            event["role"] = CONSTANTS["ROLE_DEMAND"]
            if kind == "MM_PAGE_FREE":
                event["role"], event["order"] = CONSTANTS["ROLE_SLAB"], order
            if kind == "KMALLOC":
                event["bytes_req"], event["bytes_alloc"] = self.written + 1, 8
                event["call_site"], event["cache"] = SITE, -1
        bits = [1 << bit for bit in range(32)]
        engine = Engine(k.mm, [self.cache], bits, 8192, kernfs_sites=[SITE])
        engine.run(events.ctypes.data, 0, len(events), len(events))
        assert k.validate() == []
        counts = engine.counts()
        objects = counts[COUNTS["COUNT_OBJECTS_PREDICTED"]] - counts[COUNTS["COUNT_OBJECTS_EXACT"]]
        return {"kept": int(counts[COUNTS["UNEXPLAINED_SLAB_KEPT"]]), "objects": int(objects)}


VERSIONS = ("5.10", "6.1", "6.12")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_slab_given_back_in_a_write_tells_which_cache_is_shrunk(version: str) -> None:
    story = Shrinking(version)
    story.free(story.objects[1 : 2 * story.slab] + story.objects[-3:])
    empty = story.shrink()
    assert empty
    story.write(empty)
    story.next_objects(story.slab - 1)
    # one is the buffer of the write: its own cache is not known here
    assert story.replay() == {"kept": 0, "objects": 1}


def test_another_task_s_slab_is_no_shrink() -> None:
    story = Shrinking("6.1")
    story.free(story.objects[1 : 2 * story.slab] + story.objects[-3:])
    story.write(story.shrink()[:1], OTHER)
    assert story.replay()["kept"] == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_of_a_cache_without_empty_slabs_its_next_object_tells(version: str) -> None:
    story = Shrinking(version)
    # the CPU's slab has two objects in use, the first one lacks one, the second one two
    second = story.slab
    story.free([story.objects[3], *story.objects[second + 2 : second + 4]])
    assert story.shrink() == []
    story.write([])
    assert story.next_objects(5)[0] == story.objects[3]
    assert story.replay() == {"kept": 0, "objects": 2}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_tells_of_a_shrunk_cache_is_not_predicted(version: str) -> None:
    story = Shrinking(version)
    # the CPU's slab is full, its partial list has the emptier slab first
    story.objects += [story.alloc() for _ in range(story.slab - 2)]
    story.free([story.objects[story.slab + 3], *story.objects[4:7]])
    assert story.shrink() == []
    story.write([])
    assert story.next_objects(4)[0] == story.objects[story.slab + 3]
    assert story.replay() == {"kept": 0, "objects": 2}
    states = [k.mm.view("page")[["freelist", "inuse", "frozen"]] for k, _ in story.machines]
    slabs = np.flatnonzero(story.machines[0][0].mm.view("page")["cache"] == story.cache)
    assert (states[0][slabs] == states[1][slabs]).all()


def test_without_a_write_nothing_was_shrunk() -> None:
    story = Shrinking("6.1")
    second = story.slab
    story.free([story.objects[3], *story.objects[second + 2 : second + 4]])
    assert story.shrink() == []
    story.next_objects(5)
    assert story.replay()["objects"] > 1


def not_seen(story: Shrinking, allocates: int = 0) -> bool:
    """Whether the shrink of a cache that has no empty slab remains unknown."""
    second = story.slab
    story.free([story.objects[3], *story.objects[second + 2 : second + 4]])
    story.write([], allocates=allocates)
    assert story.shrink() == []
    story.next_objects(5)
    return story.replay()["objects"] > 2


def test_a_write_in_which_its_task_allocates_is_no_shrink() -> None:
    # as cgroup_procs_write() does
    assert not_seen(Shrinking("5.10"), TASK)
    assert not not_seen(Shrinking("5.10"), OTHER)


def test_a_write_of_a_word_is_no_shrink() -> None:
    story = Shrinking("5.10")
    story.written = len("+memory\n")
    assert not_seen(story)
    assert not not_seen(Shrinking("5.10"))


def test_who_writes() -> None:
    for name in ("kernfs_fop_write_iter", "kernfs_fop_write", "kernfs_fop_write_iter.part.0"):
        assert re.fullmatch(KERNFS_WRITERS, name)
    assert not re.fullmatch(KERNFS_WRITERS, "kernfs_fop_writes")
