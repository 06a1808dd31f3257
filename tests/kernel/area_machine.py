"""Address spaces without page tables, for the tests of areas and of the calls that make them."""

from collections.abc import Iterable
from typing import Any

from mmtwin.kernel.commit import commit_of
from mmtwin.kernel.fork_mm import make_tree
from mmtwin.kernel.mm_types import File, mm_struct, vm_area_struct
from mmtwin.kernel.mman import VM_EXEC, VM_MAYSHARE, VM_READ, VM_WRITE
from mmtwin.kernel.mmap import sys_mmap
from mmtwin.kernel.unmapped_area import setup_mmap_base
from mmtwin.versions.releases import has_since
from tests.kernel.page_machine import VERSIONS, machine

PAGE = 4096
TASK_SIZE = (1 << 47) - PAGE
BASE = 0x7FFFF7FFF000  # mmap_base with the usual 8 MiB of stack, not randomized
PROT_NONE, R, W, X = 0, 1, 2, 4
SHARED, PRIVATE, FIXED, ANON = 1, 2, 0x10, 0x20
MEMORY = 4096  # pages of the machine
__all__ = ["VERSIONS", "has_since"]


def space(version: str, privileged: bool = True, **features: int) -> mm_struct:
    """An address space without areas, on a machine of its own of 16 MiB."""
    features = {"soft_dirty": 1, "vma_anon_name": int(has_since(version, "5.17"))} | features
    mm = mm_struct(machine(version, MEMORY, orders=11, block_order=9, **features))
    mm.task_size = TASK_SIZE
    mm.privileged = privileged
    make_tree(mm)
    setup_mmap_base(mm, mm.rlimits[3])
    return mm


def commit(mm: mm_struct) -> Any:
    """Its machine's Commit."""
    return commit_of(mm.machine)


def rights(flags: int) -> str:
    """As maps shows them."""
    shown = [(VM_READ, "r"), (VM_WRITE, "w"), (VM_EXEC, "x")]
    text = "".join(letter if flags & bit else "-" for bit, letter in shown)
    return text + ("s" if flags & VM_MAYSHARE else "p")


def maps(mm: mm_struct, base: int = 0) -> list[tuple[int, int, str, int, str]]:
    """(first page, pages, rights, offset, name) of each area, pages counted from `base`."""

    def line(vma: vm_area_struct) -> tuple[int, int, str, int, str]:
        name = vma.vm_file.path if vma.vm_file else vma.vm_name or ""
        pages = (vma.vm_end - vma.vm_start) // PAGE
        offset = vma.vm_pgoff if vma.vm_file else 0
        return (vma.vm_start - base) // PAGE, pages, rights(vma.vm_flags), offset, name

    return [line(vma) for vma in mm.tree]


def file(path: str = "/lib/x.so", pages: int = 64, **attributes: int) -> File:
    """An open file."""
    made = File(path, "08:01", 7, pages * PAGE)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def anon(mm: mm_struct, pages: int, addr: int = 0, flags: int = 0, prot: int = R | W) -> int:
    """Private anonymous memory; at an address if one is given."""
    return int(sys_mmap(mm, None, addr, pages * PAGE, prot, PRIVATE | ANON | flags
                        | (FIXED if addr else 0), 0))


class Link:
    """What an area's chain of anon_vmas has, without page tables."""

    def __init__(self, vma: vm_area_struct, anon_vma: object) -> None:
        self.vma = vma
        self.anon_vma = anon_vma


def touched(vma: vm_area_struct, anon_vma: object, parents: Iterable[object] = ()) -> None:
    """An area has anonymous pages, of its own and of `parents`."""
    vma.anon_vma = anon_vma
    vma.anon_vma_chain = [Link(vma, one) for one in (*parents, anon_vma)]
