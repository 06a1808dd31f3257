"""When system calls ask for the nodes of maple trees, and for how many (6.1, lib/maple_tree.c)."""

from typing import Any

import pytest

from mmtwin.kernel.brk import do_brk_flags
from mmtwin.kernel.expand_stack import expand_stack
from mmtwin.kernel.maple_alloc import GFP_NOWAIT, MapleAlloc
from mmtwin.kernel.mm_types import vm_area_struct
from mmtwin.kernel.mman import RLIMIT_STACK, VM_GROWSDOWN
from mmtwin.kernel.munmap import sys_munmap
from mmtwin.kernel.vma import vma_link
from tests.kernel.area_machine import PAGE, TASK_SIZE, anon, commit, maps, space

AT = 0x10000000


class Log(MapleAlloc):
    """Nodes in hand that write down who wants what."""

    def __init__(self, machine: Any) -> None:
        MapleAlloc.__init__(self, machine)
        self.steps: list[str] = []
        self.masks: list[int] = []

    def request(self, count: int, gfp: int) -> bool:
        """So many are to be in hand."""
        self.steps.append(f"{count} of {self.total}")
        self.masks.append(gfp)
        return bool(MapleAlloc.request(self, count, gfp))

    def set_aside(self) -> Any:
        """Another state's from now on."""
        self.steps.append("aside")
        return MapleAlloc.set_aside(self)

    def take_back(self, hand: Any) -> None:
        """And back."""
        self.steps.append("back")
        MapleAlloc.take_back(self, hand)


def logged(version: str) -> tuple[Any, Log]:
    """An address space with a few areas, whose requests are logged from now on."""
    mm: Any = space(version)
    for place in range(3):
        assert anon(mm, 3, AT + 8 * place * PAGE) > 0
    old = mm.tree.mt.alloc
    mm.tree.mt.alloc = log = Log(mm.machine)
    log.serial, log.allocated, log.freed = old.serial, old.allocated, old.freed
    return mm, log


def test_munmap_asks_before_it_splits() -> None:
    # do_mas_align_munmap(): mas_preallocate(), then __split_vma() with a state of its own
    mm, log = logged("6.1")
    before = log.allocated
    assert sys_munmap(mm, AT + PAGE, PAGE) == 0
    assert log.steps[:3] == ["4 of 0", "aside", "4 of 0"]
    assert log.steps.count("4 of 0") == 3 and log.steps[-1] == "back"
    assert log.allocated - before == 12 and log.total == 0
    mm.tree.validate()


def test_munmap_that_fails_gives_back() -> None:
    mm, log = logged("6.1")
    commit(mm).max_map_count = 3
    before, areas = log.allocated, maps(mm, AT)
    assert sys_munmap(mm, AT + PAGE, PAGE) == -12
    assert log.steps == ["4 of 0", "aside", "back"]
    assert log.allocated - before == 4 and maps(mm, AT) == areas
    mm.tree.validate()
    assert sys_munmap(mm, AT, 3 * PAGE) == 0
    mm.tree.validate()


def test_a_heap_asks_in_the_midst_of_its_store() -> None:
    # do_brk_flags(): mas_store_gfp() of the new area; vma_link() would ask for the worst case
    mm, log = logged("6.1")
    before, bulks = log.allocated, log.bulks
    assert do_brk_flags(mm, AT + 100 * PAGE, PAGE, 0) == 0
    assert (log.allocated - before, log.bulks) == (1, bulks)
    mm.tree.validate()


def test_a_store_of_its_own_asks_without_waiting() -> None:
    # 6.12: mas_store_gfp(), mas_wr_preallocate(): mas_node_count() is GFP_NOWAIT
    mm, log = logged("6.12")
    assert mm.tree.mt.store_gfp(AT + 100 * PAGE, AT + 101 * PAGE - 1, mm) == 0
    assert log.masks and set(log.masks) == {GFP_NOWAIT}


@pytest.mark.parametrize(("version", "nodes"), [("5.10", 0), ("6.1", 4)])
def test_a_stack_asks_before_its_limit_is_looked_at(version: str, nodes: int) -> None:
    mm: Any = space(version)
    flags = 0x100173 | VM_GROWSDOWN
    vma = vm_area_struct(mm, TASK_SIZE - 8 * PAGE, TASK_SIZE, flags, (1 << 35) - 8)
    vma_link(vma)
    anon(mm, 1, AT)
    mm.rlimits[RLIMIT_STACK] = 8 * PAGE
    alloc = mm.tree.mt.alloc if nodes else None
    before = alloc.allocated if alloc else 0
    assert expand_stack(mm, TASK_SIZE - 9 * PAGE) is None
    if alloc:
        assert alloc.allocated - before == nodes and alloc.total == 0
    assert vma.vm_start == TASK_SIZE - 8 * PAGE
