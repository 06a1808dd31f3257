"""Address spaces for tests of the page side: an mm with areas, without mmap() and exec."""

from collections.abc import Iterator
from typing import Any

from mmtwin.kernel import memory, pgtable, rmap, rss_stat
from mmtwin.kernel.fork_mm import make_tree
from mmtwin.kernel.mm import MM
from mmtwin.kernel.mm_types import File, mm_struct, vm_area_struct
from mmtwin.kernel.mmu_gather import rcu_free_tables
from mmtwin.kernel.swap import lru_add_drain
from mmtwin.machine.boot import boot_mm
from mmtwin.versions.profiles import profile

PRIVATE_RW = 0x100073  # rd wr mr mw me ac
PRIVATE_RX = 0x75
PRIVATE_R = 0x71
SHARED_RW = 0xFB
PROFILES = ("x86_64-5.10", "x86_64-6.1", "x86_64-6.12", "x86_64-7.3", "arm64-5.13")


def machine(name: str = "x86_64-6.1", **settings: Any) -> MM:
    """A booted machine of 256 MiB."""
    return boot_mm(profile(name), settings.pop("memory", "256M"), 1, 1, **settings)


def new_mm(mm: MM) -> mm_struct:
    """An mm_struct with a top page table, whose task runs."""
    space = mm_struct(mm)
    space.tree = make_tree(space)
    assert pgtable.pgd_alloc(space) == 0
    rss_stat.set_current(mm, rss_stat.TaskRss(space))
    return space


def area(
    space: mm_struct, start: int, end: int, flags: int = PRIVATE_RW, file: File | None = None,
    pgoff: int | None = None,
) -> vm_area_struct:
    """An area, linked; anonymous memory has the offset that its address gives."""
    if pgoff is None:
        pgoff = 0 if file else start >> space.machine.page_shift
    vma = vm_area_struct(space, start, end, flags, pgoff, file)
    space.tree.link(vma)
    if file is not None:
        file.i_mmap.append(vma)
    return vma


def areas(space: mm_struct) -> Iterator[vm_area_struct]:
    """All areas by address."""
    vma = space.tree.find_vma(0)
    while vma is not None:
        yield vma
        vma = space.tree.find_vma(vma.vm_end)


def fork(space: mm_struct) -> mm_struct:
    """dup_mmap(), as far as pages go."""
    child = mm_struct(space.machine)
    child.tree = make_tree(child)
    assert pgtable.pgd_alloc(child) == 0
    for vma in areas(space):
        copy = area(child, vma.vm_start, vma.vm_end, vma.vm_flags, vma.vm_file, vma.vm_pgoff)
        assert rmap.anon_vma_fork(copy, vma) == 0
        assert memory.copy_page_range(copy, vma) == 0
    return child


def exit_mm(space: mm_struct) -> None:
    """exit_mmap(): everything goes."""
    gone = list(areas(space))
    memory.unmap_vmas(space, gone)
    memory.free_pgtables(space, gone)
    memory.pgd_free(space)


def settle(mm: MM) -> None:
    """What waits goes: batches in front of the LRU lists, page tables that wait for RCU."""
    lru_add_drain(mm)
    rcu_free_tables(mm)


def free_pages(mm: MM) -> int:
    """Free pages, those on per-CPU lists counted, and slab pages, which stay with their caches."""
    users = mm.view("page")["users"][: mm.max_pfn]
    return int((users == 1).sum() + (users == 2).sum())
