"""What an area is for, out of its vm_struct, what comes next, and the first snapshot."""

from types import SimpleNamespace
from typing import Any

from mmtwin.kernel.vmap_space import Vmap
from mmtwin.procfs import vmallocinfo
from mmtwin.replay.vmalloc_events import Step
from mmtwin.replay.vmalloc_requests import Requests, living

PAGE = 4096
START, END = 0xFFFFC90000000000, 0xFFFFE8FFFFFFFFFF
MODULES = 0xFFFFFFFFC0000000
STACK = "pages=4 vmalloc N0=4"
IOREMAP = "phys=0x00000000fed00000 ioremap"


def make(*rows: tuple[int, int, str]) -> Requests:
    """A space whose first snapshot shows (page, pages with the guard page, words)."""
    has = SimpleNamespace(
        vmap_lazy_merges=1, vmap_nodes=0, vmap_purge_work=1, vmap_exact_alignment=1
    )
    vmap = Vmap(START, END, 12, 1, has)
    vmap.init_free_space()
    text = "".join(
        f"{START + first * PAGE:#x}-{START + (first + pages) * PAGE:#x} {pages * PAGE} "
        f"f+0x1/0x2 {words}\n"
        for first, pages, words in rows
    )
    unseen: Any = {area.addresses: area for area in vmallocinfo.parse(text)}
    space: Any = SimpleNamespace(modules_start=MODULES, modules_end=MODULES + (1 << 30))
    return Requests(vmap, space, 5 * PAGE, 4 * PAGE, unseen)


def steps(*words: str) -> list[Step]:
    """`what`, the address of its object, and of an array the pages; all of one task."""
    found = []
    for index, word in enumerate(words):
        what, address, *pages = word.split()
        size = 8 * int(pages[0]) if pages else 64
        found.append(Step(index, what, 7, 0, int(address), size))
    return found


def given(requests: Requests, told: list[Step]) -> list[tuple[int, int]]:
    """(page, pages) that each request gets."""
    found = []
    stack = False
    for place, step in enumerate(told):
        if step.what == "struct":
            size, align, start, end = requests.what_for(told, place, stack)
            area = requests.map.alloc(size, align, start, end)
            assert area is not None
            requests.unseen.pop((area.start, area.end), None)
            found.append(((area.start - START) // PAGE, size // PAGE))
        stack = step.what == "task"
    return found


def test_an_array_of_a_page_is_no_area() -> None:
    # two areas, one without an array, and not one whose array of a page is the other
    assert given(make(), steps("struct 1", "struct 2", "array 3 1")) == [(0, 2), (2, 2)]
    assert given(make(), steps("struct 1", "struct 2", "array 3 2")) == [(0, 1025), (1025, 3)]


def test_what_was_given_back_is_not_what_a_snapshot_shows() -> None:
    told = steps("struct 1", "free 1", "struct 1", "struct 2", "free 3")
    assert living(told) == {2, 3}
    # the first one is of a page, whatever the snapshot shows where it was
    requests = make((2, 2, IOREMAP), (4, 2, IOREMAP))
    assert given(requests, told) == [(0, 2), (2, 2), (4, 2)]
    assert not requests.unseen


def test_a_size_that_nothing_tells_follows_from_what_comes_next() -> None:
    # an ioremap of 16 pages was taken and given back, and is not free yet: the next is behind it
    requests = make((4, 5, STACK), (48, 17, IOREMAP))
    told = steps("struct 1", "free 1", "struct 2", "task 9", "struct 3", "array 4 4")
    requests.map.alloc(2 * PAGE, 1, START, END)
    assert given(requests, told) == [(16, 17), (48, 17), (4, 5)]


def test_stacks_that_no_event_told_of_are_found() -> None:
    requests = make((0, 5, STACK), (8, 5, STACK), (16, 5, STACK), (21, 4, "pages=3 vmalloc"))
    assert given(requests, steps("struct 1", "array 2 3")) == [(21, 4)]
    assert not requests.unseen
    # a snapshot that explains nothing takes nothing
    requests = make((0, 5, STACK), (40, 3, "pages=2 vmalloc"))
    assert given(requests, steps("struct 1", "array 2 2")) == [(0, 3)]


def test_of_two_areas_shown_it_is_the_one_that_fits_the_next() -> None:
    # behind a stack that no event told of, the first is a vmap: then the next stack fits too
    large = (65536, 65537, "phys=0x00000000b0000000 ioremap")
    requests = make((0, 5, STACK), (5, 5, "vmap"), (12, 5, STACK), large)
    told = steps("struct 1", "task 9", "struct 2", "array 3 4", "struct 4")
    assert given(requests, told) == [(5, 5), (12, 5), (65536, 65537)]


def test_a_stack_of_a_cpu_is_aligned_as_that_of_a_task() -> None:
    requests = make((0, 2, "vmap"), (4, 5, STACK))
    assert given(requests, steps("struct 1", "struct 2", "array 3 4")) == [(0, 2), (4, 5)]
