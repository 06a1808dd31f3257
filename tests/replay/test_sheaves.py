"""Sheaves in a replay: a task whose sheaf is being filled, and another that comes between."""

import numpy as np

from mmtwin.kernel import slub_cache
from mmtwin.kernel.slub_defs import GFP_KERNEL, SLAB_NO_MERGE
from mmtwin.machine import Machine
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay.counts import COUNTS
from mmtwin.replay.engine import Engine

SIZE = 1024
CAPACITY = 12
ORDER = 1
FIRST, SECOND = 10, 11  # the tasks
Row = tuple[str, int, int, int]


def boot() -> Machine:
    """Slabs begin with their first object; the CPU's list has pages for them."""
    k = Machine.boot("x86_64-7.3", memory="1G", seed=5, SLAB_FREELIST_RANDOM=False)
    k.alloc_pages(ORDER)
    return k


class Story:
    """Events of two tasks that take objects of one cache on one CPU."""

    def __init__(self) -> None:
        self.k = boot()
        self.cache = slub_cache.kmem_cache_create(
            self.k.mm, "raced", SIZE, 0, SLAB_NO_MERGE, sheaf_capacity=CAPACITY
        )
        s = self.k.mm.view("cache")[self.cache]
        self.objects = int(s["oo_objects"])
        assert int(s["oo_order"]) == ORDER and self.objects < CAPACITY
        self.rows: list[Row] = []

    def slabs(self, count: int) -> list[int]:
        """The pages that the cache's next slabs get."""
        other = boot()
        pages = [other.alloc_pages(ORDER) for _ in range(count)]
        return [page.pfn for page in pages if page is not None]

    def sheaf(self, pfns: list[int]) -> list[int]:
        """The objects of a sheaf filled from these slabs, the one that it gives first first."""
        mm = self.k.mm
        first = [mm.page_offset + (pfn << mm.page_shift) for pfn in pfns]
        objects = [base + SIZE * place for base in first for place in range(self.objects)]
        return objects[:CAPACITY][::-1]

    def replay(self, resync: bool = False) -> tuple[int, int]:
        """Objects predicted, objects exact."""
        events = np.zeros(len(self.rows), EVENT)
        for number, (kind, pid, address, ahead) in enumerate(self.rows):
            event = events[number]
            event["kind"], event["pid"] = CONSTANTS["KIND_" + kind], pid
            event["address"], event["ahead"], event["gfp"] = address, ahead, GFP_KERNEL
            event["cache"], event["bytes_alloc"] = 0, SIZE
            event["role"] = CONSTANTS["ROLE_DEMAND"]
            if kind == "MM_PAGE_ALLOC":
                event["role"], event["order"] = CONSTANTS["ROLE_SLAB"], ORDER
        engine = Engine(self.k.mm, [self.cache], [1 << bit for bit in range(32)], 8192, resync)
        engine.run(events.ctypes.data, 0, len(events), len(events))
        assert self.k.validate() == []
        counts = engine.counts()
        return (
            int(counts[COUNTS["COUNT_OBJECTS_PREDICTED"]]),
            int(counts[COUNTS["COUNT_OBJECTS_EXACT"]]),
        )


def test_a_task_that_comes_between_fills_a_sheaf_of_its_own() -> None:
    story = Story()
    p, q, *more = story.slabs(4)
    mine, theirs = story.sheaf([p, more[1]]), story.sheaf([q, more[0]])
    story.rows = [
        ("MM_PAGE_ALLOC", FIRST, p, 5),
        ("MM_PAGE_ALLOC", SECOND, q, 2),
        ("MM_PAGE_ALLOC", SECOND, more[0], 1),
        ("KMEM_CACHE_ALLOC", SECOND, theirs[0], 0),
        ("MM_PAGE_ALLOC", FIRST, more[1], 1),
        # The second task's sheaf is the CPU's; the first one's is the spare one.
        *(("KMEM_CACHE_ALLOC", FIRST, object, 0) for object in theirs[1:] + mine),
    ]
    assert story.replay() == (2 * CAPACITY, 2 * CAPACITY)


def test_a_page_taken_before_its_event_is_not_given_to_the_task_that_comes_between() -> None:
    story = Story()
    p, q, *more = story.slabs(4)
    mine, theirs = story.sheaf([p, more[1]]), story.sheaf([q, more[0]])
    story.rows = [
        ("MM_PAGE_ALLOC", SECOND, q, 2),
        ("MM_PAGE_ALLOC", SECOND, more[0], 1),
        ("KMEM_CACHE_ALLOC", SECOND, theirs[0], 0),
        ("MM_PAGE_ALLOC", FIRST, p, 2),
        ("MM_PAGE_ALLOC", FIRST, more[1], 1),
        *(("KMEM_CACHE_ALLOC", FIRST, object, 0) for object in theirs[1:] + mine),
    ]
    assert story.replay() == (2 * CAPACITY, 2 * CAPACITY)


def freed_once(objects: list[int], pages: list[int]) -> list[Row]:
    """FIRST fills a sheaf from two slabs, takes two objects and gives the second one back."""
    first, second, *_ = objects
    return [
        ("MM_PAGE_ALLOC", FIRST, pages[0], 2),
        ("MM_PAGE_ALLOC", FIRST, pages[1], 1),
        ("KMEM_CACHE_ALLOC", FIRST, first, 0),
        ("KMEM_CACHE_ALLOC", FIRST, second, 0),
        ("KMEM_CACHE_FREE", FIRST, second, 0),
    ]


def test_a_task_that_gives_way_behind_its_free_s_event_frees_when_it_runs_again() -> None:
    story = Story()
    _first, second, third, *others = objects = story.sheaf(story.slabs(2))
    story.rows = [
        *freed_once(objects, story.slabs(2)),
        ("KMEM_CACHE_ALLOC", SECOND, third, 0),
        ("KMEM_CACHE_ALLOC", FIRST, second, 0),
        *(("KMEM_CACHE_ALLOC", SECOND, object, 0) for object in others),
    ]
    assert story.replay() == (CAPACITY + 1, CAPACITY + 1)


def test_a_task_that_had_freed_before_another_ran_is_not_late() -> None:
    story = Story()
    _first, second, third, *_ = objects = story.sheaf(story.slabs(2))
    story.rows = [
        *freed_once(objects, story.slabs(2)),
        ("KMEM_CACHE_ALLOC", SECOND, second, 0),
        ("KMEM_CACHE_ALLOC", FIRST, third, 0),
    ]
    assert story.replay() == (4, 4)


def test_slabs_that_only_the_twin_made_leave_the_cpu_s_list_as_it_was() -> None:
    story = Story()
    pages = story.slabs(2)
    objects = story.sheaf(pages)
    story.rows = [
        ("KMEM_CACHE_ALLOC", FIRST, story.k.mm.page_offset + (5000 << 12), 0),
        ("MM_PAGE_ALLOC", FIRST, pages[0], 2),
        ("MM_PAGE_ALLOC", FIRST, pages[1], 1),
        *(("KMEM_CACHE_ALLOC", FIRST, object, 0) for object in objects),
    ]
    assert story.replay(resync=True) == (CAPACITY + 1, CAPACITY)
