"""Address spaces of new tasks and dead ones: mm_alloc(), dup_mm(), mmput() (kernel/fork.c).

`task.mm` is an mm_struct. `mm.users` counts the tasks that have it (CLONE_VM): with the last one
its areas and pages go (exit_mmap()), then its top page table and the object itself (mmdrop()).
"""

from mmtwin.kernel.commit import commit_of
from mmtwin.kernel.fault import set_current
from mmtwin.kernel.memory_copy import copy_page_range
from mmtwin.kernel.mm_types import mm_struct
from mmtwin.kernel.mman import (
    ENOMEM,
    VM_ACCOUNT,
    VM_DONTCOPY,
    VM_LOCKED,
    VM_LOCKONFAULT,
    VM_NOHUGEPAGE,
    VM_WIPEONFORK,
)
from mmtwin.kernel.munmap import exit_mmap
from mmtwin.kernel.pgtable import pgd_alloc, pgd_free
from mmtwin.kernel.rmap import anon_vma_fork
from mmtwin.kernel.rss_stat import sync_mm_rss
from mmtwin.kernel.sched import tasks_of
from mmtwin.kernel.slub import kmem_cache_alloc_node, kmem_cache_free
from mmtwin.kernel.thread_stack import GFP_KERNEL, find_cache
from mmtwin.kernel.vma import link_file_vma, vm_area_dup
from mmtwin.kernel.vma_flags import vm_stat_account
from mmtwin.kernel.vma_mapletree import VmaMapleTree
from mmtwin.kernel.vma_rbtree import VmaRbTree

VM_INIT_DEF_MASK = VM_NOHUGEPAGE
# A copied mm_struct begins as its parent's (dup_mm()); what mm_init() then resets is not here.
COPIED = (
    "mmap_base", "mmap_legacy_base", "randomized", "task_size", "topdown", "start_code",
    "end_code", "start_data", "end_data", "start_brk", "brk", "start_stack", "arg_start",
    "arg_end", "env_start", "env_end", "exe_file", "vdso", "total_vm", "data_vm",
    "exec_vm", "stack_vm",
)  # fmt: skip


def mm_alloc(machine, task=None):
    """A new, empty mm_struct with its top page table, or None without memory: mm_alloc(),
    mm_init(). `task`: for whom it is; VM_NOHUGEPAGE for all comes from its old one.
    """
    number = new_mm_id(machine)
    cache = find_cache(machine, "mm_struct")
    address = kmem_cache_alloc_node(machine, cache, GFP_KERNEL, -1)
    if not address:
        return None
    mm = mm_struct(machine)
    mm.cache, mm.address, mm.owner = cache, address, task
    mm.id = number
    make_tree(mm)
    old = getattr(task, "mm", None)
    if old is not None:
        mm.def_flags = old.def_flags & VM_INIT_DEF_MASK
    if pgd_alloc(mm) < 0:
        kmem_cache_free(machine, cache, address)
        return None
    return mm


def make_tree(mm):
    """The empty tree of areas that the kernel of `mm` (an mm_struct) has; also in `mm.tree`."""
    maple = mm.machine.view("has")[0].maple_tree
    mm.tree = VmaMapleTree(mm) if maple else VmaRbTree(mm)
    return mm.tree


def new_mm_id(machine):
    """A number that no mm_struct of the machine had."""
    tasks = tasks_of(machine)
    tasks.mm_ids += 1
    return tasks.mm_ids


def dup_mm(machine, task, old):
    """A copy of an address space for a new task, or None without memory: dup_mm()."""
    mm = mm_alloc(machine, task)
    if mm is None:
        return None
    for name in COPIED:
        setattr(mm, name, getattr(old, name))
    mm.def_flags = old.def_flags & VM_INIT_DEF_MASK
    mm.saved_auxv = list(old.saved_auxv)
    mm.rlimits = dict(old.rlimits)
    if dup_mmap(mm, old):
        mmput(machine, mm)
        return None
    mm.hiwater_rss = sum(mm.counters()) - mm.counters()[2]
    mm.hiwater_vm = mm.total_vm
    return mm


def dup_mmap(mm, old):
    """The areas of `old` in `mm`, and their pages, shared until somebody writes. 0 or -ENOMEM.

    VM_DONTCOPY areas stay behind, VM_WIPEONFORK ones come empty, none is locked (dup_mmap()).
    """
    errors = []
    if not old.map_count:
        return 0
    error = mm.tree.duplicate(old.tree, copies(mm, old, errors))
    return errors[0] if errors else error


def copies(mm, old, errors):
    """Each area of `old` with its copy, None for none; the tree stores it before the next is asked
    for. The first error goes into `errors`: then there are no more copies.
    """
    for area in old.tree:
        pages = (area.vm_end - area.vm_start) >> mm.machine.page_shift
        if errors or area.vm_flags & VM_DONTCOPY:
            vm_stat_account(mm, area.vm_flags, -pages)
            yield area, None
            continue
        copy = copy_area(mm, old, area, pages)
        if copy is None:
            errors.append(-ENOMEM)
            vm_stat_account(mm, area.vm_flags, -pages)
        yield area, copy
        if copy is None:
            continue
        if copy.vm_file is not None:
            link_file_vma(copy)
        if not copy.vm_flags & VM_WIPEONFORK and copy_page_range(copy, area):
            errors.append(-ENOMEM)


def copy_area(mm, old, area, pages):
    """A vm_area_struct as another, of `mm`; None without memory."""
    if area.vm_flags & VM_ACCOUNT and commit_of(mm.machine).vm_enough_memory(old, pages):
        return None
    copy = vm_area_dup(area)
    if copy is None:
        return None
    copy.vm_mm = mm
    if copy.vm_flags & VM_WIPEONFORK:
        copy.anon_vma = None
    elif anon_vma_fork(copy, area):
        return None
    copy.vm_flags &= ~(VM_LOCKED | VM_LOCKONFAULT)
    return copy


def mmget(mm):
    """One task more has an address space: CLONE_VM."""
    mm.users += 1
    mm.mm_users += 1
    return mm


def complete_vfork_done(task):
    """The task stops using its address space: a parent that vfork()ed it goes on."""
    if getattr(task, "vfork_parent", None) is not None:
        task.vfork_parent = None


def exit_mm(machine, task):
    """A dying task gives up its address space; the mm_struct stays until another task runs on its
    CPU (`task.active_mm`). exit_mm().
    """
    mm = task.mm
    if mm is None:
        return
    complete_vfork_done(task)
    set_current(machine, task)
    sync_mm_rss(mm)
    task.mm = None
    mm.mm_count += 1
    task.active_mm = mm
    mmput(machine, mm)
    set_current(machine, None)


def mmput(machine, mm):
    """One task less has an address space; with the last its areas and pages go: mmput()."""
    mm.users -= 1
    mm.mm_users -= 1
    if mm.mm_users == 0:
        exit_mmap(mm)
        mm.exe_file = None
        mmdrop(machine, mm)


def mmdrop(machine, mm):
    """The top page table and the mm_struct go: __mmdrop()."""
    mm.mm_count -= 1
    if mm.mm_count:
        return
    pgd_free(mm)
    if mm.address:
        kmem_cache_free(machine, mm.cache, mm.address)
        mm.address = 0
