"""Random calls on one address space against a model of single pages, and against validate_mm()."""

import os
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmtwin.kernel.brk import sys_brk
from mmtwin.kernel.madvise import do_madvise
from mmtwin.kernel.mlock import do_mlock, do_munlock
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.mm_validate import accounted_pages, validate_mm
from mmtwin.kernel.mman import (
    MADV_DONTFORK,
    MADV_NORMAL,
    MADV_RANDOM,
    VM_DONTCOPY,
    VM_LOCKED,
    VM_RAND_READ,
)
from mmtwin.kernel.mmap import sys_mmap
from mmtwin.kernel.mprotect import do_mprotect
from mmtwin.kernel.mremap import do_mremap
from mmtwin.kernel.munmap import exit_mmap, sys_munmap
from tests.kernel.area_machine import (
    ANON,
    FIXED,
    PAGE,
    PRIVATE,
    SHARED,
    VERSIONS,
    commit,
    file,
    rights,
    space,
)

ROOM = 48  # pages that the calls are about
AT = 0x20000000
HEAP = AT + 2 * ROOM * PAGE
SHOWN = VM_LOCKED | VM_RAND_READ | VM_DONTCOPY
MOVE_TO = 3  # MREMAP_MAYMOVE | MREMAP_FIXED

CALLS = ("mmap", "file_", "shared", "munmap", "mprotect", "madvise", "mlock", "munlock", "mremap",
         "move", "brk")
RUNS, STEPS = 50 if os.environ.get("MMTWIN_PURE") else 200, 50
BYTES = 5  # of a step: bytes are drawn, as one draw a run is far cheaper than five a step


@dataclass(frozen=True)
class Page:
    """What one page is mapped as."""

    prot: int
    shared: bool
    file: File | None
    offset: int  # in the file; of anonymous memory 0
    flags: int = 0  # VM_* of SHOWN


class Model:
    """An address space as single pages."""

    def __init__(self, version: str) -> None:
        self.mm = space(version)
        self.mm.start_brk = self.mm.brk = HEAP
        self.pages: dict[int, Page] = {}
        self.file = file(pages=1024)

    def mapped(self, first: int, count: int) -> bool:
        """Whether all pages of a range are."""
        return all(place in self.pages for place in range(first, first + count))

    def step(self, call: str, page: int, count: int, value: int, other: int) -> None:
        """One call on both."""
        count = min(count, ROOM - page)
        first = AT // PAGE + page
        getattr(self, call)(first, count, value, AT // PAGE + other)

    def map(self, first: int, count: int, prot: int, flags: int, source: File | None) -> None:
        """mmap() with MAP_FIXED."""
        offset = first % 7 if source else 0
        result = sys_mmap(self.mm, source, first * PAGE, count * PAGE, prot, flags | FIXED,
                          offset * PAGE)
        assert result == first * PAGE
        for place in range(count):
            at = offset + place if source else 0
            self.pages[first + place] = Page(prot, bool(flags & SHARED), source, at)

    def mmap(self, first: int, count: int, value: int, _: int) -> None:
        self.map(first, count, value, PRIVATE | ANON, None)

    def file_(self, first: int, count: int, value: int, _: int) -> None:
        self.map(first, count, value, PRIVATE if value & 1 else SHARED, self.file)

    def shared(self, first: int, count: int, value: int, _: int) -> None:
        address = first * PAGE
        flags = SHARED | ANON | FIXED
        assert sys_mmap(self.mm, None, address, count * PAGE, value, flags, 0) == address
        source = self.mm.tree.find_vma(address).vm_file
        for place in range(count):
            self.pages[first + place] = Page(value, True, source, place)

    def munmap(self, first: int, count: int, _: int, __: int) -> None:
        assert sys_munmap(self.mm, first * PAGE, count * PAGE) == 0
        for place in range(first, first + count):
            self.pages.pop(place, None)

    def change(self, first: int, count: int, result: int, error: int, **what: Any) -> None:
        """A call that changes pages until the first hole."""
        assert result == (0 if self.mapped(first, count) else error)
        for place in range(first, first + count):
            if place not in self.pages:
                return
            self.pages[place] = replace(self.pages[place], **what)

    def mprotect(self, first: int, count: int, value: int, _: int) -> None:
        self.change(first, count, do_mprotect(self.mm, first * PAGE, count * PAGE, value), -12,
                    prot=value)

    def flags(self, first: int, count: int, clear: int, give: int, holes: bool) -> None:
        """Flags of pages, as far as they are mapped; `holes`: behind a hole too."""
        for place in range(first, first + count):
            if place in self.pages:
                page = self.pages[place]
                self.pages[place] = replace(page, flags=page.flags & ~clear | give)
            elif not holes:
                return

    def madvise(self, first: int, count: int, value: int, _: int) -> None:
        advice, clear, give = ((MADV_RANDOM, 0, VM_RAND_READ), (MADV_NORMAL, VM_RAND_READ, 0),
                               (MADV_DONTFORK, 0, VM_DONTCOPY))[value % 3]
        result = do_madvise(self.mm, first * PAGE, count * PAGE, advice)
        assert result == (0 if self.mapped(first, count) else -12)
        self.flags(first, count, clear, give, True)

    def mlock(self, first: int, count: int, _: int, __: int) -> None:
        result = do_mlock(self.mm, first * PAGE, count * PAGE)
        assert result == (0 if self.mapped(first, count) else -12)
        self.flags(first, count, 0, VM_LOCKED, False)

    def munlock(self, first: int, count: int, _: int, __: int) -> None:
        result = do_munlock(self.mm, first * PAGE, count * PAGE)
        assert result == (0 if self.mapped(first, count) else -12)
        self.flags(first, count, VM_LOCKED, 0, False)

    def area_end(self, first: int) -> int:
        """Where the area of a page ends, in pages; 0 without one."""
        vma = self.mm.tree.vma_lookup(first * PAGE)
        return 0 if vma is None else int(vma.vm_end) // PAGE

    def mremap(self, first: int, count: int, value: int, _: int) -> None:
        """In place, larger or smaller."""
        end, larger = self.area_end(first), count + value
        result = do_mremap(self.mm, first * PAGE, count * PAGE, larger * PAGE, 0)
        if not end or end < first + count:
            assert result in (-14, first * PAGE) and (value or not end or result > 0)
            return
        free = not any(place in self.pages for place in range(end, first + larger))
        if value and (end != first + count or not free):
            assert result == -12
            return
        assert result == first * PAGE
        last = self.pages[first + count - 1]
        for more in range(1, value + 1):
            offset = last.offset + more if last.file else 0
            self.pages[first + count - 1 + more] = replace(last, offset=offset)

    def move(self, first: int, count: int, _: int, target: int) -> None:
        """To another place, of the same size."""
        end = self.area_end(first)
        count = min(count, end - first) if end else 0
        if not count or max(first, target) < min(first, target) + count:
            return
        result = do_mremap(self.mm, first * PAGE, count * PAGE, count * PAGE, MOVE_TO,
                           target * PAGE)
        assert result == target * PAGE
        moved = [self.pages.pop(first + place) for place in range(count)]
        for place, page in enumerate(moved):
            self.pages[target + place] = page

    def brk(self, _: int, count: int, value: int, __: int) -> None:
        """The heap, which lies behind the room."""
        wanted = HEAP + count * PAGE - value
        assert sys_brk(self.mm, wanted) == wanted
        start = HEAP // PAGE
        for place in [place for place in self.pages if place >= start + count]:
            del self.pages[place]
        for place in range(start, start + count):
            self.pages.setdefault(place, Page(3, False, None, 0))

    def check(self) -> None:
        """The same pages; areas and counters as they must be; what could merge at once has."""
        validate_mm(self.mm)
        found: dict[int, Page] = {}
        names = {"r": 1, "w": 2, "x": 4}
        for vma in self.mm.tree:
            shown = rights(vma.vm_flags)
            prot = sum(names.get(letter, 0) for letter in shown[:3])
            for place in range(vma.vm_start // PAGE, vma.vm_end // PAGE):
                inside = place - vma.vm_start // PAGE
                offset = vma.vm_pgoff + inside if vma.vm_file else 0
                found[place] = Page(prot, shown[3] == "s", vma.vm_file, offset,
                                    vma.vm_flags & SHOWN)
        assert found == self.pages
        shared = sum(source.promised for source in
                     {page.file for page in self.pages.values() if page.file})
        assert commit(self.mm).committed_as == accounted_pages(self.mm) + shared


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=RUNS, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.binary(min_size=BYTES * STEPS, max_size=BYTES * STEPS))
def test_random_calls(version: str, drawn: bytes) -> None:
    model = Model(version)
    for at in range(0, len(drawn), BYTES):
        call, page, count, value, other = drawn[at : at + BYTES]
        name = CALLS[call % len(CALLS)]
        model.step(name, page % ROOM, count % 12 + 1, value % 8, other % ROOM)
        model.check()
    exit_mmap(model.mm)
    assert commit(model.mm).committed_as == 0 and model.mm.map_count == 0
