"""Merges, splits and expansions against a model of single pages: every pair and triple of areas
with the flags, files, offsets, anon_vmas and names that matter, in each version.

What matters is what is_mergeable_vma(), is_mergeable_anon_vma() and the offsets compare: flags
that are as the range's, differ, or differ in what is ignored (VM_SOFTDIRTY); no file, one file, a
file whose areas have vm_ops->close; an offset that goes on or does not; a name; and an anon_vma
that is missing, the area's own, shared by the neighbours, or shared with a parent. A new range
meets all combinations of all of these on both sides. Around an area that changes, a neighbour that
differs in what alone forbids a merge (other flags, another file, another name) is otherwise as
alike as can be: whatever else it had could not make it merge. A part of an area that changes at
one end has the one neighbour there; the other one is missing or would merge. An inner part has
none: all of these are run.

The model knows areas as runs of pages of one number, and says of a changed run only which of its
two borders goes: where both sides are alike in all that must be, and their anonymous pages may
have one anon_vma.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, product
from typing import Any

import pytest

from mmtwin.kernel.mm_types import File, mm_struct, vm_area_struct
from mmtwin.kernel.mm_validate import validate_mm
from mmtwin.kernel.mmap import finish_mapping
from mmtwin.kernel.mprotect import do_mprotect
from mmtwin.kernel.munmap import sys_munmap
from mmtwin.kernel.vma import vma_link
from mmtwin.kernel.vma_flags import vm_stat_account, vma_pages
from tests.kernel.area_machine import PAGE, VERSIONS, Link, file, has_since, space

READ = 0x71  # VM_READ, VM_MAYREAD, VM_MAYWRITE, VM_MAYEXEC
EXEC = 0x75
SOFTDIRTY = 0x8000000
FIRST = 0x10000  # the first page of all
WIDTH = 3  # pages of an area
ALIKE, SKEWED = 0, 5  # how far a file offset is from where the first page's leads


@dataclass(frozen=True)
class Page:
    """What one page is mapped as; `area`: the number of its area."""

    area: int
    flags: int
    file: File | None
    pgoff: int
    anon: str | None
    parents: int  # anon_vmas of a parent that its area is linked to
    name: str | None = None


@dataclass(frozen=True)
class Kind:
    """What an area is like, of those that lie side by side."""

    flags: int
    file: str  # of FILES
    skew: int
    anon: str | None
    parents: int = 0
    name: str | None = None


# An area nobody touched; touched; one that shares its anon_vma with its neighbours; a child's.
FILES = {"": None, "file": file(), "close": file("/dev/x", vm_close=1)}
ANONS = ((None, 0), ("own", 0), ("shared", 0), ("shared", 1))


def kinds(*flags: int, skews: tuple[int, ...] = (ALIKE, SKEWED)) -> list[Kind]:
    """Every kind of area with one of these flags."""
    return [Kind(f, of_file, skew, *anon)
            for f, of_file, skew, anon in product(flags, FILES, skews, ANONS)]


def sides(inner: Kind, named: bool) -> list[Kind | None]:
    """What may lie beside an area whose flags become READ; None: nothing."""
    alike = replace(inner, flags=READ, anon="shared", parents=0)
    other = "" if inner.file else "file"
    found: list[Kind | None] = [None, replace(alike, flags=READ | SOFTDIRTY),
                                replace(alike, flags=EXEC), replace(alike, file=other, name=None)]
    if named and not inner.file:
        found.append(replace(alike, name="other"))
    found += [replace(alike, skew=skew, anon=anon, parents=parents)
              for skew, (anon, parents) in product((ALIKE, SKEWED), ANONS)]
    return found


def triples(named: bool) -> Iterator[tuple[Kind | None, Kind, Kind | None, int, int]]:
    """(before, middle, after, first page of the middle that changes, how many)."""
    inner = kinds(EXEC, skews=(ALIKE,))
    if named:
        inner += [replace(kind, name="name") for kind in inner if not kind.file]
    for middle in inner:
        around = sides(middle, named)
        few = [None, replace(middle, flags=READ, anon="shared", parents=0)]
        for before, after in product(around, around):
            yield before, middle, after, 0, WIDTH
        for side, rest in product(around, few):
            yield side, middle, rest, 0, 1
            yield rest, middle, side, WIDTH - 1, 1
        for before, after in product(few, few):
            yield before, middle, after, 1, 1


class Model:
    """Pages by number."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.pages: dict[int, Page] = {}

    def put(self, area: int, first: int, count: int, kind: Kind) -> None:
        """An area of pages."""
        for page in range(first, first + count):
            self.pages[page] = Page(
                area, kind.flags, FILES[kind.file], page + kind.skew,
                f"{kind.anon}{area}" if kind.anon == "own" else kind.anon, kind.parents,
                kind.name)

    def singular(self, page: Page) -> bool:
        """Its area's chain has just one link."""
        return page.anon is not None and not page.parents

    def anon_fits(self, changed: str | None, parents: int, other: Page) -> bool:
        """Whether pages of `changed` may be in the area of another."""
        if has_since(self.version, "6.16"):
            if other.anon is None and changed is not None:
                return not parents
            if other.anon is not None and changed is None:
                return not other.parents
            return changed == other.anon
        if changed is None or other.anon is None:
            return self.singular(other) or changed == other.anon
        return changed == other.anon

    def fits(self, inner: Page, other: Page, step: int, anon: str | None, parents: int) -> bool:
        """Whether a changed page may join its neighbour's area; `step`: 1 if that is above."""
        return (
            not (inner.flags ^ other.flags) & ~SOFTDIRTY
            and inner.file is other.file
            and inner.name == other.name
            and other.pgoff == inner.pgoff + step
            and self.anon_fits(anon, parents, other)
        )

    def join(self, first: int, last: int, new: bool) -> None:
        """The pages from `first` to `last` changed, or are new: they join their neighbours."""
        inner, end = self.pages[first], self.pages[last]
        below, above = self.pages.get(first - 1), self.pages.get(last + 1)
        anon, parents = inner.anon, inner.parents
        right = above is not None and self.fits(end, above, 1, anon, parents)
        own_way = new and has_since(self.version, "6.1") and not has_since(self.version, "6.12")
        if own_way and right and above is not None:
            anon = above.anon
        left = below is not None and self.fits(inner, below, -1, anon, parents)
        if left and right and below is not None and above is not None and not own_way:
            right = below.anon is None or above.anon is None or below.anon == above.anon
        if inner.file is FILES["close"]:
            if not has_since(self.version, "6.3"):
                return  # an area with vm_ops->close never merges
            if last - first + 1 == WIDTH and not new:
                return  # the changed area itself would go
            right = right and not (left and new)
        numbers = {inner.area}
        if left and below is not None:
            numbers.add(below.area)
        if right and above is not None:
            numbers.add(above.area)
        anons = [p.anon for p in self.pages.values() if p.area in numbers and p.anon]
        chains = max(p.parents for p in self.pages.values() if p.area in numbers)
        for place, page in self.pages.items():
            if page.area in numbers:
                self.pages[place] = replace(
                    page, area=min(numbers), anon=anons[0] if anons else None, parents=chains)

    def areas(self) -> list[tuple[int, int, int, str | None]]:
        """(first page, pages, flags, anon_vma) of each area."""
        found = []
        places = sorted(self.pages)
        for _, group in groupby(places, key=lambda place: self.pages[place].area):
            run = list(group)
            page = self.pages[run[0]]
            found.append((run[0], len(run), page.flags & ~SOFTDIRTY, page.anon))
        return found


def real_areas(mm: mm_struct) -> list[tuple[int, int, int, str | None]]:
    """The same of an address space."""
    return [(vma.vm_start // PAGE, vma_pages(vma), vma.vm_flags & ~SOFTDIRTY & ~0x100000,
             None if vma.anon_vma is None else vma.anon_vma.name) for vma in mm.tree]


class Anon:
    """An anon_vma as far as its identity matters; a parent's has other areas too."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.chains: list[object] = []
        self.num_children, self.num_active_vmas, self.refcount = 2, 1, 1 << 20
        self.address = 0
        self.root = self.parent = self


class Case:
    """One layout, in an address space and in the model."""

    def __init__(self, version: str, mm: mm_struct) -> None:
        self.mm = mm
        self.model = Model(version)
        self.anons: dict[str, Anon] = {}

    def put(self, area: int, first: int, count: int, kind: Kind) -> None:
        """An area in both."""
        self.model.put(area, first, count, kind)
        page = self.model.pages[first]
        vma = vm_area_struct(self.mm, first * PAGE, (first + count) * PAGE, kind.flags,
                             page.pgoff, page.file, page.name)
        vma.anon_pgoff = page.pgoff
        if page.anon is not None:
            names = [f"parent{n}" for n in range(kind.parents)] + [page.anon]
            for name in names:
                anon: Any = self.anons.setdefault(name, Anon(name))
                link = Link(vma, anon)
                vma.anon_vma_chain.append(link)
                anon.chains += [link, object()]
            vma.anon_vma = anon
        vma_link(vma)
        vm_stat_account(self.mm, kind.flags, count)

    def check(self, what: object) -> None:
        """Both have the same areas; then the address space is emptied."""
        assert real_areas(self.mm) == self.model.areas(), what
        validate_mm(self.mm)
        for vma in list(self.mm.tree):
            vma.anon_vma, vma.anon_vma_chain = None, []
        assert sys_munmap(self.mm, FIRST * PAGE, 16 * PAGE) == 0


@pytest.fixture(autouse=True)
def _no_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links of anon_vmas as these tests make them."""

    def clone(target: vm_area_struct, source: vm_area_struct) -> int:
        target.anon_vma_chain += [Link(target, link.anon_vma) for link in source.anon_vma_chain]
        return 0

    def unlink(vma: vm_area_struct) -> None:
        vma.anon_vma, vma.anon_vma_chain = None, []

    for module in ("vma", "mmap_pages", "mremap_move"):
        for name, does in (("anon_vma_clone", clone), ("unlink_anon_vmas", unlink)):
            monkeypatch.setattr(f"mmtwin.kernel.{module}.{name}", does, raising=False)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_range_between_two(version: str) -> None:
    mm = space(version)
    around = kinds(READ, EXEC)
    inner = [Kind(READ, of_file, ALIKE, None) for of_file in FILES]
    for before, new, after in product(around, inner, around):
        case = Case(version, mm)
        case.put(0, FIRST, WIDTH, before)
        case.put(2, FIRST + 2 * WIDTH, WIDTH, after)
        start = FIRST + WIDTH
        case.model.put(1, start, WIDTH, new)
        case.model.join(start, start + WIDTH - 1, True)
        finish_mapping(mm, FILES[new.file], start * PAGE, WIDTH * PAGE, new.flags,
                       start)
        case.check((before, new, after))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_range_that_becomes_as_its_neighbours(version: str) -> None:
    mm = space(version)
    for before, middle, after, first, count in triples(has_since(version, "5.17")):
        case = Case(version, mm)
        for area, kind in enumerate((before, middle, after)):
            if kind is not None:
                case.put(area, FIRST + area * WIDTH, WIDTH, kind)
        start = FIRST + WIDTH + first
        model = case.model
        for place in range(start, FIRST + 2 * WIDTH):
            inside = place < start + count
            model.pages[place] = replace(model.pages[place], area=10 if inside else 11,
                                         flags=READ if inside else EXEC)
        if first:
            for place in range(FIRST + WIDTH, start):
                model.pages[place] = replace(model.pages[place], area=1)
        whole = model.pages[start]
        model.join(start, start + count - 1, False)
        assert do_mprotect(mm, start * PAGE, count * PAGE, 1) == 0
        case.check((before, middle, after, first, count, whole))


@pytest.mark.parametrize("version", VERSIONS)
def test_one_neighbour(version: str) -> None:
    mm = space(version)
    for below, kind, of_file in product((True, False), kinds(READ, EXEC), FILES):
        case = Case(version, mm)
        case.put(0, FIRST + (0 if below else WIDTH), WIDTH, kind)
        start = FIRST + (WIDTH if below else 0)
        case.model.put(1, start, WIDTH, Kind(READ, of_file, ALIKE, None))
        case.model.join(start, start + WIDTH - 1, True)
        finish_mapping(mm, FILES[of_file], start * PAGE, WIDTH * PAGE, READ, start)
        case.check((below, kind, of_file))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hole_splits(version: str) -> None:
    mm = space(version)
    for kind, first, count in product(kinds(READ), range(WIDTH), range(1, WIDTH + 1)):
        case = Case(version, mm)
        case.put(0, FIRST, WIDTH, kind)
        for place in range(FIRST + first, FIRST + first + count):
            case.model.pages.pop(place, None)
        for place in range(FIRST + first, FIRST + WIDTH):
            if place in case.model.pages:
                case.model.pages[place] = replace(case.model.pages[place], area=1)
        assert sys_munmap(mm, (FIRST + first) * PAGE, count * PAGE) == 0
        case.check((kind, first, count))
