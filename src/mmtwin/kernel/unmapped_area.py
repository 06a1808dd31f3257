"""Where a new area goes: placement from a hint, top-down or bottom-up
(arch/x86/kernel/sys_x86_64.c, arch/x86/mm/mmap.c, mm/mmap.c, mm/util.c, mm/huge_memory.c).
"""

from mmtwin.kernel.commit import commit_of, has_of
from mmtwin.kernel.mm_types import GET_AREA_MM, GET_AREA_THP
from mmtwin.kernel.mman import (
    EINVAL,
    ENOMEM,
    EPERM,
    MAP_32BIT,
    MAP_ABOVE4G,
    MAP_FIXED,
    MAP_SHARED,
    RLIM_INFINITY,
    VM_SHADOW_STACK,
)
from mmtwin.kernel.randomize import randomize_page
from mmtwin.kernel.vma_flags import U64, page_align, vm_start_gap
from mmtwin.kernel.vma_tree import vm_unmapped_area_info

SIZE_128M = 128 << 20
SIZE_4G = 4 << 30
LOW_BEGIN, LOW_END = 0x40000000, 0x80000000  # MAP_32BIT
LOW_SPAN = 0x02000000
X86_WINDOW_BITS, ARM64_WINDOW_BITS = 47, 48
PMD_ENTRY_BYTES = 8


def default_map_window(mm):
    """What addresses end at unless a hint is above (DEFAULT_MAP_WINDOW), in bytes."""
    if has_of(mm).unmapped_area_x86:
        window = (1 << X86_WINDOW_BITS) - (1 << mm.machine.page_shift)
    else:
        window = 1 << ARM64_WINDOW_BITS
    return min(window, mm.task_size)


def setup_mmap_base(mm, stack_rlimit, random=0, stack_random=0):
    """Chooses where and in which direction mappings go (arch_pick_mmap_layout()).

    `mm`: an mm_struct with task_size; `stack_rlimit`: RLIMIT_STACK in bytes; `random`: the random
    part of the base in bytes, `stack_random`: how far the stack may have been moved (both 0
    without randomization). Sets mmap_base, mmap_legacy_base, topdown.
    """
    commit = commit_of(mm.machine)
    window = default_map_window(mm)
    legacy = bool(commit.legacy_va_layout)
    if has_of(mm).unmapped_area_x86:
        lowest = page_align(mm, window // 3)
    else:
        lowest = page_align(mm, window // 4)
        legacy = legacy or stack_rlimit == RLIM_INFINITY
    gap = stack_rlimit
    pad = commit.stack_guard_gap + stack_random
    if gap + pad <= U64:
        gap += pad
    gap = min(max(gap, SIZE_128M), window // 6 * 5)
    mm.mmap_legacy_base = lowest + random
    mm.topdown = not legacy
    mm.mmap_base = mm.mmap_legacy_base if legacy else page_align(mm, window - gap - random)
    mm.tree.stack_guard_gap = commit.stack_guard_gap
    mm.tree.mmap_min_addr = commit.mmap_min_addr


def get_unmapped_area(mm, file, addr, length, pgoff, flags, vm_flags=0):
    """The address of a new area (get_unmapped_area()).

    `file`: a File or None; `addr`: a hint, or the address with MAP_FIXED; `length`: whole pages,
    in bytes; `pgoff`: pages; `flags`: MAP_*; `vm_flags`: VM_*. Returns an address, or -ENOMEM,
    -EINVAL (not a page), -EPERM (below vm.mmap_min_addr).
    """
    if length > mm.task_size:
        return -ENOMEM
    if file is None and (flags & MAP_SHARED or has_of(mm).mmap_unmaps_late):
        pgoff = 0
    addr = choose_area(mm, file, addr, length, pgoff, flags, vm_flags)
    if addr < 0:
        return addr
    if addr > mm.task_size - length:
        return -ENOMEM
    if addr & ((1 << mm.machine.page_shift) - 1):
        return -EINVAL
    if addr < commit_of(mm.machine).mmap_min_addr and not mm.privileged:
        return -EPERM  # cap_mmap_addr()
    return addr


def choose_area(mm, file, addr, length, pgoff, flags, vm_flags):
    """By the file's own rule, for huge pages, or as the address space does."""
    has = has_of(mm)
    own_rule = file.get_area != GET_AREA_MM if file is not None else flags & MAP_SHARED
    if own_rule:
        if file is not None and file.get_area == GET_AREA_THP and has.thp_unmapped_file:
            return thp_get_unmapped_area(mm, file, addr, length, pgoff, flags, vm_flags)
    elif thp_placed(mm, file, addr, length):
        return thp_get_unmapped_area(mm, file, addr, length, pgoff, flags, vm_flags)
    return mm_get_unmapped_area(mm, file, addr, length, pgoff, flags, vm_flags)


def thp_placed(mm, file, addr, length):
    """Whether an area without a rule of its own is placed for huge pages
    (__get_unmapped_area() since 6.7).
    """
    rule = has_of(mm).thp_unmapped_anon
    if rule < 2:
        return bool(rule) and file is None
    if length % pmd_size(mm):
        return False
    if rule >= 3 and addr:
        return False
    return file is None or rule < 4


def pmd_size(mm):
    """What an entry of the last but one page table maps, in bytes (PMD_SIZE)."""
    shift = mm.machine.page_shift
    return (1 << shift) // PMD_ENTRY_BYTES << shift


def pud_size(mm):
    """What an entry of the table above maps, in bytes (PUD_SIZE)."""
    return pmd_size(mm) * ((1 << mm.machine.page_shift) // PMD_ENTRY_BYTES)


def hugetlb_get_unmapped_area(mm, addr, length, flags, size):
    """An address for huge pages of `size` bytes (hugetlb_get_unmapped_area()): the address or
    -errno.
    """
    if length > mm.task_size:
        return -ENOMEM
    if flags & MAP_FIXED:
        return -EINVAL if addr & (size - 1) else addr
    hint = -(-addr // size) * size
    if addr and mm.task_size - length >= hint and hint_is_free(mm, hint, length):
        return hint
    page, tree = 1 << mm.machine.page_shift, mm.tree
    mask = size - page
    if mm.topdown:
        found = tree.vm_unmapped_area(
            vm_unmapped_area_info(length, page, mm.mmap_base, mask, 0, 0, True))
        if found >= 0:
            return found
    begin = mm.mmap_legacy_base
    return tree.vm_unmapped_area(
        vm_unmapped_area_info(length, begin, default_map_window(mm), mask))


def thp_get_unmapped_area(mm, file, addr, length, pgoff, flags, vm_flags):
    """An address whose offset in a huge page is the file's (thp_get_unmapped_area())."""
    offset = pgoff << mm.machine.page_shift
    found = thp_padded_area(mm, file, addr, length, offset, flags, vm_flags)
    if found:
        return found
    return mm_get_unmapped_area(mm, file, addr, length, pgoff, flags, vm_flags)


def thp_padded_area(mm, file, addr, length, offset, flags, vm_flags):
    """A room larger by a huge page, so that it can be aligned (__thp_get_unmapped_area()); 0: none
    is found or no huge page fits.
    """
    size = pmd_size(mm)
    end, aligned = offset + length, (offset + size - 1) // size * size
    if end <= aligned or end - aligned < size:
        return 0
    padded = length + size
    if padded > U64 or offset + padded > U64:
        return 0
    shift = mm.machine.page_shift
    found = mm_get_unmapped_area(mm, file, addr, padded, offset >> shift, flags, vm_flags)
    if found < 0:
        return 0
    if found == addr:
        return addr
    more = (offset - found) & (size - 1)
    if has_of(mm).thp_unmapped_topdown and mm.topdown and not more:
        return found + size
    return found + more


def mm_get_unmapped_area(mm, file, addr, length, pgoff, flags, vm_flags):
    """As the address space does (mm->get_unmapped_area())."""
    if not has_of(mm).unmapped_area_x86:
        return generic_get_unmapped_area(mm, addr, length, flags, vm_flags)
    if mm.topdown:
        return x86_topdown(mm, addr, length, pgoff, flags, vm_flags)
    return x86_bottomup(mm, addr, length, pgoff, flags, vm_flags)


def guard_below(mm, vm_flags):
    """Bytes that must stay free below a shadow stack (stack_guard_placement())."""
    return 1 << mm.machine.page_shift if vm_flags & VM_SHADOW_STACK else 0


def hint_is_free(mm, addr, length):
    """Whether no area, nor the gap below a stack, is in the way at a hint."""
    vma = mm.tree.find_vma(addr)
    return vma is None or addr + length <= vm_start_gap(vma)


def x86_bottomup(mm, addr, length, pgoff, flags, vm_flags):
    """arch_get_unmapped_area() of x86."""
    if flags & MAP_FIXED:
        return addr
    begin, end = mm.mmap_legacy_base, default_map_window(mm)
    if flags & MAP_32BIT:
        begin, end = LOW_BEGIN, LOW_END
        if mm.randomized:  # find_start_end(): drawn by each call
            begin = mm.low_begin or randomize_page(mm.machine, LOW_BEGIN, LOW_SPAN)
    elif addr > end:
        end = mm.task_size
    if length > end:
        return -ENOMEM
    if addr:
        addr = page_align(mm, addr)
        if end - length >= addr and hint_is_free(mm, addr, length):
            return addr
    return mm.tree.vm_unmapped_area(vm_unmapped_area_info(
        length, begin, end, 0, pgoff << mm.machine.page_shift & U64, guard_below(mm, vm_flags)
    ))


def x86_topdown(mm, addr, length, pgoff, flags, vm_flags):
    """arch_get_unmapped_area_topdown() of x86: from mmap_base down, then bottom-up."""
    page = 1 << mm.machine.page_shift
    window = default_map_window(mm)
    if length > mm.task_size:
        return -ENOMEM
    if flags & MAP_FIXED:
        return addr
    if flags & MAP_32BIT:
        return x86_bottomup(mm, addr, length, pgoff, flags, vm_flags)
    hint = addr & ~(page - 1)
    # mmap_address_hint_valid(): the area must not lie on both sides of the window's end
    if (
        hint and mm.task_size - length >= hint
        and (hint > window) == (hint + length > window)
        and hint_is_free(mm, hint, length)
    ):
        return hint
    low, high = page, mm.mmap_base
    if flags & MAP_ABOVE4G and has_of(mm).map_above4g:
        low = SIZE_4G
    if hint > window:
        high += mm.task_size - window
    found = mm.tree.vm_unmapped_area(vm_unmapped_area_info(
        length, low, high, 0, pgoff << mm.machine.page_shift & U64, guard_below(mm, vm_flags), True
    ))
    if found >= 0:
        return found
    return x86_bottomup(mm, addr, length, pgoff, flags, 0)


def generic_get_unmapped_area(mm, addr, length, flags, vm_flags):
    """generic_get_unmapped_area(), generic_get_unmapped_area_topdown() (arm64)."""
    window, tree = default_map_window(mm), mm.tree
    least = commit_of(mm.machine).mmap_min_addr
    end = mm.task_size if addr > window else window
    if length > end - least:
        return -ENOMEM
    if flags & MAP_FIXED:
        return addr
    hint = page_align(mm, addr)
    if hint and end - length >= hint >= least and hint_is_free(mm, hint, length):
        prev = tree.find_vma_prev(hint)[1]
        if prev is None or hint >= prev.vm_end:
            return hint
    guard = guard_below(mm, vm_flags)
    if not mm.topdown:
        return tree.vm_unmapped_area(vm_unmapped_area_info(length, mm.mmap_base, end, 0, 0, guard))
    high = mm.mmap_base + (mm.task_size - window if addr > window else 0)
    low = max(1 << mm.machine.page_shift, least)
    found = tree.vm_unmapped_area(vm_unmapped_area_info(length, low, high, 0, 0, guard, True))
    if found >= 0:
        return found
    lowest = page_align(mm, window // 4)  # TASK_UNMAPPED_BASE
    return tree.vm_unmapped_area(vm_unmapped_area_info(length, lowest, end))
