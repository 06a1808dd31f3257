"""brk(): the heap (mm/mmap.c, mm/vma.c)."""

from mmtwin.kernel.commit import commit_of, has_of
from mmtwin.kernel.mm_types import vm_area_struct
from mmtwin.kernel.mman import (
    EAGAIN,
    EINVAL,
    ENOMEM,
    MAP_FIXED,
    RLIM_INFINITY,
    RLIMIT_DATA,
    VM_ACCOUNT,
    VM_EXEC,
    VM_LOCKED,
    VM_SOFTDIRTY,
)
from mmtwin.kernel.mmap import may_expand_vm, mlock_future_ok
from mmtwin.kernel.mmap_pages import mm_populate
from mmtwin.kernel.munmap import do_munmap, unmap_areas
from mmtwin.kernel.unmapped_area import get_unmapped_area
from mmtwin.kernel.vma import vma_merge_new_range, vma_merge_struct
from mmtwin.kernel.vma_flags import U64, VM_DATA_DEFAULT_FLAGS, page_align, vm_start_gap


def sys_brk(mm, brk):
    """Moves the end of the heap (brk()): where it is then; unchanged if it may not go there.

    `mm`: an mm_struct with start_brk, brk, start_data, end_data; `brk`: unsigned long.
    """
    brk &= U64
    limit = mm.rlimits[RLIMIT_DATA]
    if brk < mm.start_brk:
        return mm.brk
    if limit < RLIM_INFINITY and brk - mm.start_brk + mm.end_data - mm.start_data > limit:
        return mm.brk  # check_data_rlimit()
    new, old = page_align(mm, brk), page_align(mm, mm.brk)
    if new == old:
        mm.brk = brk
        return brk
    if brk <= mm.brk:
        if not shrink_brk(mm, new, old):
            mm.brk = brk
        return mm.brk
    if grow_brk(mm, new, old) < 0:
        return mm.brk
    mm.brk = brk
    if mm.def_flags & VM_LOCKED:
        mm_populate(mm, old, new - old)
    return brk


def shrink_brk(mm, new, old):
    """Takes the end of the heap away: 0, or -errno."""
    if not has_of(mm).brk_expands:
        return do_munmap(mm, new, old - new)
    vma = mm.tree.find_vma(new)
    if vma is None or vma.vm_start >= old:
        return -EINVAL  # nothing is there: the heap keeps its end
    return unmap_areas(mm, vma, new, old)


def grow_brk(mm, new, old):
    """Adds to the heap: 0, or -errno. A page, or a stack's gap, stays free behind it."""
    expands = has_of(mm).brk_expands
    length = (new - old) & U64  # PAGE_ALIGN() of the last page wraps
    if expands:
        error = check_brk_limits(mm, old, length)
        if error:
            return error
    following = mm.tree.find_vma(old)
    page = 1 << mm.machine.page_shift
    if following is not None and new + page > vm_start_gap(following):
        return -ENOMEM
    return do_brk_flags(mm, old, length, 0)


def check_brk_limits(mm, addr, length):
    """Whether the heap may have a range (check_brk_limits()): 0, or -errno."""
    mapped = get_unmapped_area(mm, None, addr, length, 0, MAP_FIXED)
    if mapped < 0:
        return mapped
    return 0 if mlock_future_ok(mm, mm.def_flags, length) else -EAGAIN


def do_brk_flags(mm, addr, length, flags):
    """Private, writable, anonymous memory at an address (do_brk_flags()): 0, or -errno.

    `addr`, `length`: whole pages, in bytes; `flags`: VM_EXEC or 0.
    """
    has, commit = has_of(mm), commit_of(mm.machine)
    flags |= VM_DATA_DEFAULT_FLAGS | VM_ACCOUNT | mm.def_flags
    if not has.brk_expands:
        error = check_brk_limits(mm, addr, length)
        if error:
            return error
        if do_munmap(mm, addr, length):
            return -ENOMEM
    pages = length >> mm.machine.page_shift
    if not may_expand_vm(mm, flags, pages) or mm.map_count > commit.max_map_count:
        return -ENOMEM
    if commit.vm_enough_memory(mm, pages):
        return -ENOMEM
    vma = merge_heap(mm, addr, length, flags)
    if vma is None:
        shift = mm.machine.page_shift
        vma = vm_area_struct(mm, addr, addr + length, flags, addr >> shift)
        if mm.tree.link_gfp(vma):
            commit.vm_unacct_memory(pages)
            return -ENOMEM
    mm.total_vm += pages
    mm.data_vm += pages
    if flags & VM_LOCKED:
        mm.locked_vm += pages
    if has.soft_dirty:
        vma.vm_flags |= VM_SOFTDIRTY
    return 0


def merge_heap(mm, addr, length, flags):
    """The area that takes a new part of the heap, or None. Since 6.1 only the one before does, and
    brk() lets only one that ends above start_brk.
    """
    vmg = vma_merge_struct(mm, addr, addr + length, flags, addr >> mm.machine.page_shift)
    vmg.next, vmg.prev = mm.tree.find_vma_prev(addr)
    if not has_of(mm).brk_expands:
        return vma_merge_new_range(vmg)
    prev = vmg.prev
    if prev is None or prev.vm_end != addr or prev.vm_end <= mm.start_brk <= addr:
        return None
    return vma_merge_new_range(vmg, just_expand=True)


def vm_brk_flags(mm, addr, request, flags):
    """Maps zeroed memory where exec wants it, bss for one (vm_brk_flags()): 0, or -errno.

    `addr`: an address; `request`: bytes; `flags`: VM_EXEC or 0.
    """
    length = page_align(mm, request)
    if length < request:
        return -ENOMEM
    if not length:
        return 0
    if flags & ~VM_EXEC:
        return -EINVAL
    if has_of(mm).brk_expands:
        error = check_brk_limits(mm, addr, length) or do_munmap(mm, addr, length)
        if error:
            return error
    error = do_brk_flags(mm, addr, length, flags)
    if not error and mm.def_flags & VM_LOCKED:
        mm_populate(mm, addr, length)
    return error
