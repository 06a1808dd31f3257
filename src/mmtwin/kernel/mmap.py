"""mmap(): flags, checks, placement and the new area (mm/mmap.c, mm/vma.c)."""

from mmtwin.kernel.commit import OVERCOMMIT_NEVER, commit_of, has_of
from mmtwin.kernel.mm_types import FMODE_READ, FMODE_WRITE, File, vm_area_struct
from mmtwin.kernel.mman import (
    EACCES,
    EAGAIN,
    EBADF,
    EEXIST,
    EINVAL,
    ENODEV,
    ENOMEM,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
    MAP_32BIT,
    MAP_ANONYMOUS,
    MAP_DENYWRITE,
    MAP_DROPPABLE,
    MAP_EXECUTABLE,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_HUGETLB,
    MAP_LOCKED,
    MAP_NONBLOCK,
    MAP_NORESERVE,
    MAP_POPULATE,
    MAP_PRIVATE,
    MAP_SHARED,
    MAP_SHARED_VALIDATE,
    MAP_STACK,
    MAP_SYNC,
    MAP_TYPE,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    RLIMIT_AS,
    RLIMIT_DATA,
    RLIMIT_MEMLOCK,
    VM_ACCOUNT,
    VM_DENYWRITE,
    VM_DONTDUMP,
    VM_DROPPABLE,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_LOCKED,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_NOHUGEPAGE,
    VM_NORESERVE,
    VM_READ,
    VM_SHARED,
    VM_SOFTDIRTY,
    VM_SYNC,
    VM_WIPEONFORK,
    VM_WRITE,
)
from mmtwin.kernel.mmap_pages import DEV_ZERO, mm_populate
from mmtwin.kernel.munmap import complete_munmap, detach_areas, do_munmap, gather_areas
from mmtwin.kernel.unmapped_area import (
    get_unmapped_area,
    hugetlb_get_unmapped_area,
    pmd_size,
    pud_size,
)
from mmtwin.kernel.vma import (
    vma_link,
    vma_merge_new_range,
    vma_merge_own,
    vma_merge_struct,
)
from mmtwin.kernel.vma_flags import (
    U64,
    VM_LOCKED_MASK,
    accountable_mapping,
    is_data_mapping,
    page_align,
    vm_stat_account,
    vma_supports_mlock,
)

MAP_UNINITIALIZED = 0x4000000
MAP_HUGE_SHIFT, MAP_HUGE_MASK = 26, 0x3F
MAP_HUGE_SIZES = MAP_HUGE_MASK << MAP_HUGE_SHIFT  # MAP_HUGE_2MB, MAP_HUGE_1GB
# What every file's mmap knows (LEGACY_MAP_MASK); other bits are no error without _VALIDATE.
LEGACY_MAP_MASK = (
    MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE
    | MAP_UNINITIALIZED | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK
    | MAP_STACK | MAP_HUGETLB | MAP_32BIT | MAP_HUGE_SIZES
)
MAX_LFS_FILESIZE = (1 << 63) - 1
SHMEM_DEVICE = "00:01"


def sys_mmap(mm, file, addr, length, prot, flags, offset):
    """mmap() as it is called (ksys_mmap_pgoff()).

    `file`: what the descriptor names, None if it is none; `offset`: bytes; all numbers unsigned
    long. Returns the address or -errno.
    """
    shift = mm.machine.page_shift
    if offset & ((1 << shift) - 1):
        return -EINVAL
    if flags & MAP_ANONYMOUS:
        file = None
        if flags & MAP_HUGETLB:
            return mmap_hugetlb(mm, addr & U64, length & U64, flags)
    elif file is None:
        return -EBADF
    elif flags & MAP_HUGETLB:
        return -EINVAL
    flags &= ~(MAP_EXECUTABLE | MAP_DENYWRITE)
    return vm_mmap_pgoff(mm, file, addr & U64, length & U64, prot, flags, (offset & U64) >> shift)


def mmap_hugetlb(mm, addr, length, flags):
    """MAP_HUGETLB: an address is looked for, but hugetlb_reserve_pages() finds no huge page in an
    empty pool: -errno.
    """
    size_bits = flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK
    size = 1 << size_bits if size_bits else pmd_size(mm)
    if size not in (pmd_size(mm), pud_size(mm)):
        return -EINVAL  # hstate_sizelog()
    length = -(-length // size) * size
    if not length:
        return -EINVAL
    found = hugetlb_get_unmapped_area(mm, addr, length, flags, size)
    return found if found < 0 else -ENOMEM


def vm_mmap_pgoff(mm, file, addr, length, prot, flags, pgoff):
    """do_mmap(), and the pages that the caller wants at once (vm_mmap_pgoff())."""
    address = do_mmap(mm, file, addr, length, prot, flags, pgoff)
    if address < 0:
        return address
    vma = mm.tree.find_vma(address)
    if vma is not None and (
        vma.vm_flags & VM_LOCKED or flags & (MAP_POPULATE | MAP_NONBLOCK) == MAP_POPULATE
    ):
        mm_populate(mm, address, page_align(mm, length))
    return address


def remap_file_pages(mm, start, size, prot, pgoff, flags):
    """Another part of a shared file at the same addresses: mmap() with MAP_FIXED since 4.0
    (remap_file_pages()): 0 or -errno.

    `start`, `size`: bytes, the page's part is dropped; `prot`: must be 0; `pgoff`: pages; `flags`:
    MAP_NONBLOCK or 0. The range must be mapped from one file, with one set of flags.
    """
    shift = mm.machine.page_shift
    start, size = start >> shift << shift, size >> shift << shift
    end = start + size & U64
    if prot or end <= start or pgoff + (size >> shift) > U64:
        return -EINVAL
    vma = last = mm.tree.vma_lookup(start)
    if vma is None or not vma.vm_flags & VM_SHARED:
        return -EINVAL
    while end > last.vm_end:
        following = mm.tree.next(last)
        if (
            following is None or following.vm_start != last.vm_end
            or following.vm_file is not vma.vm_file or following.vm_flags != vma.vm_flags
        ):
            return -EINVAL
        last = following
    prot = sum(bit for bit, flag in (
        (PROT_READ, VM_READ), (PROT_WRITE, VM_WRITE), (PROT_EXEC, VM_EXEC)
    ) if vma.vm_flags & flag)  # fmt: skip
    flags = flags & MAP_NONBLOCK | MAP_SHARED | MAP_FIXED | MAP_POPULATE
    flags |= MAP_LOCKED if vma.vm_flags & VM_LOCKED else 0
    file, mode = vma.vm_file, vma.vm_file.f_mode
    file.f_mode = FMODE_READ | FMODE_WRITE  # else it would not be VM_SHARED
    address = vm_mmap_pgoff(mm, file, start, size, prot, flags, pgoff)
    file.f_mode = mode
    return min(address, 0)


def calc_vm_flags(mm, prot, flags):
    """VM_* that PROT_* and MAP_* give (calc_vm_prot_bits(), calc_vm_flag_bits())."""
    vm_flags = mm.def_flags | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC
    for bit, given in (
        (prot & PROT_READ, VM_READ), (prot & PROT_WRITE, VM_WRITE), (prot & PROT_EXEC, VM_EXEC),
        (flags & MAP_GROWSDOWN, VM_GROWSDOWN), (flags & MAP_LOCKED, VM_LOCKED),
        (flags & MAP_SYNC, VM_SYNC),
        (flags & MAP_DENYWRITE and has_of(mm).map_denywrite, VM_DENYWRITE),
        (flags & MAP_STACK and has_of(mm).map_stack_nohuge, VM_NOHUGEPAGE),
    ):
        if bit:
            vm_flags |= given
    return vm_flags


def do_mmap(mm, file, addr, length, prot, flags, pgoff):
    """Maps a file or anonymous memory (do_mmap()).

    `mm`: an mm_struct; `file`: a File, or None; `addr`: a hint or address, `length`: bytes;
    `prot`, `flags`: PROT_*, MAP_*; `pgoff`: the offset in pages. Returns the address, or -errno in
    the order of the kernel's checks. Pages are not faulted in: see vm_mmap_pgoff().
    """
    commit, page = commit_of(mm.machine), 1 << mm.machine.page_shift
    if not length:
        return -EINVAL
    if flags & MAP_FIXED_NOREPLACE:
        flags |= MAP_FIXED
    if not flags & MAP_FIXED:
        addr &= ~(page - 1) & U64  # round_hint_to_min()
        if addr and addr < commit.mmap_min_addr:
            addr = page_align(mm, commit.mmap_min_addr)
    length = page_align(mm, length)
    if not length:
        return -ENOMEM
    pages = length // page
    if pgoff + pages > U64:
        return -EOVERFLOW
    if mm.map_count > commit.max_map_count:
        return -ENOMEM
    vm_flags = calc_vm_flags(mm, prot, flags)
    addr = get_unmapped_area(mm, file, addr, length, pgoff, flags, vm_flags)
    if addr < 0:
        return addr
    if (
        flags & MAP_FIXED_NOREPLACE
        and mm.tree.find_vma_intersection(addr, addr + length) is not None
    ):
        return -EEXIST
    if flags & MAP_LOCKED and not can_do_mlock(mm):
        return -EPERM
    if not mlock_future_ok(mm, vm_flags, length):
        return -EAGAIN
    if file is not None:
        vm_flags = file_flags(mm, file, pgoff, length, prot, flags, vm_flags)
    else:
        vm_flags = anonymous_flags(mm, flags, vm_flags)
        pgoff = 0 if flags & MAP_TYPE == MAP_SHARED else addr // page
    if vm_flags < 0:
        return vm_flags
    if flags & MAP_NORESERVE and commit.overcommit_memory != OVERCOMMIT_NEVER:
        vm_flags |= VM_NORESERVE
    return mmap_region(mm, file, addr, length, vm_flags, pgoff)


def file_flags(mm, file, pgoff, length, prot, flags, vm_flags):
    """What do_mmap() checks of a file: VM_*, or -errno."""
    page = 1 << mm.machine.page_shift
    if length > MAX_LFS_FILESIZE or pgoff > (MAX_LFS_FILESIZE - length) // page:
        return -EOVERFLOW  # file_mmap_ok()
    kind = flags & MAP_TYPE
    if kind in (MAP_SHARED, MAP_SHARED_VALIDATE):
        if kind == MAP_SHARED:
            flags &= LEGACY_MAP_MASK
        if flags & ~LEGACY_MAP_MASK & ~MAP_TYPE:
            return -EOPNOTSUPP
        if prot & PROT_WRITE and not file.f_mode & FMODE_WRITE:
            return -EACCES
        if file.append and file.f_mode & FMODE_WRITE:
            return -EACCES
        vm_flags |= VM_SHARED | VM_MAYSHARE
        if not file.f_mode & FMODE_WRITE:
            vm_flags &= ~(VM_MAYWRITE | VM_SHARED)
    elif kind != MAP_PRIVATE:
        return -EINVAL
    if not file.f_mode & FMODE_READ:
        return -EACCES
    if file.noexec:
        if vm_flags & VM_EXEC:
            return -EPERM
        vm_flags &= ~VM_MAYEXEC
    if not file.can_mmap:
        return -ENODEV
    if vm_flags & VM_GROWSDOWN:
        return -EINVAL
    return vm_flags


def anonymous_flags(mm, flags, vm_flags):
    """What do_mmap() checks without a file: VM_*, or -errno."""
    kind = flags & MAP_TYPE
    if kind == MAP_PRIVATE:
        return vm_flags
    if kind == MAP_SHARED:
        return -EINVAL if vm_flags & VM_GROWSDOWN else vm_flags | VM_SHARED | VM_MAYSHARE
    if kind == MAP_DROPPABLE and has_of(mm).map_droppable:
        if flags & (MAP_LOCKED | MAP_HUGETLB) or vm_flags & VM_GROWSDOWN:
            return -EINVAL
        return vm_flags | VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP
    return -EINVAL


# ---- limits


def can_do_mlock(mm):
    """Whether its tasks may lock memory at all (can_do_mlock())."""
    return mm.privileged or mm.rlimits[RLIMIT_MEMLOCK] != 0


def mlock_future_ok(mm, vm_flags, length):
    """Whether `length` more bytes, if locked, keep to RLIMIT_MEMLOCK (mlock_future_ok(),
    mlock_future_check()).
    """
    if not vm_flags & VM_LOCKED or mm.privileged:
        return True
    shift = mm.machine.page_shift
    return (length >> shift) + mm.locked_vm <= mm.rlimits[RLIMIT_MEMLOCK] >> shift


def may_expand_vm(mm, vm_flags, pages):
    """Whether `pages` more keep to RLIMIT_AS and RLIMIT_DATA (may_expand_vm())."""
    shift = mm.machine.page_shift
    if mm.total_vm + pages > mm.rlimits[RLIMIT_AS] >> shift:
        return False
    limit = mm.rlimits[RLIMIT_DATA]  # 0 is no limit, as the hard limit is taken to be infinite
    return not (is_data_mapping(vm_flags) and limit and mm.data_vm + pages > limit >> shift)


def count_vma_pages_range(mm, start, end):
    """How many pages of a range are mapped (count_vma_pages_range())."""
    bytes_mapped = 0
    vma = mm.tree.find_vma_intersection(start, end)
    while vma is not None and vma.vm_start < end:
        bytes_mapped += min(end, vma.vm_end) - max(start, vma.vm_start)
        vma = mm.tree.next(vma)
    return bytes_mapped >> mm.machine.page_shift


# ---- the area


def mmap_region(mm, file, addr, length, vm_flags, pgoff):
    """Makes the area, or makes a neighbour larger (mmap_region()): the address or -errno."""
    if has_of(mm).mmap_unmaps_late:
        return mmap_region_late(mm, file, addr, length, vm_flags, pgoff)
    commit, pages = commit_of(mm.machine), length >> mm.machine.page_shift
    if not may_expand_vm(mm, vm_flags, pages):
        mapped = count_vma_pages_range(mm, addr, addr + length)
        if not may_expand_vm(mm, vm_flags, pages - mapped):
            return -ENOMEM
    if do_munmap(mm, addr, length):
        return -ENOMEM
    if accountable_mapping(vm_flags):
        if commit.vm_enough_memory(mm, pages):
            return -ENOMEM
        vm_flags |= VM_ACCOUNT
    return finish_mapping(mm, file, addr, length, vm_flags, pgoff)


def mmap_region_late(mm, file, addr, length, vm_flags, pgoff):
    """Since 6.12: what is there stays until nothing can fail any more."""
    commit, pages = commit_of(mm.machine), length >> mm.machine.page_shift
    old_pages = old_accounted = 0
    vma = mm.tree.find_vma_intersection(addr, addr + length)
    if vma is not None:
        error = gather_areas(mm, vma, addr, addr + length)
        if error:
            return error
        vma = mm.tree.find_vma_intersection(addr, addr + length)
    while vma is not None and vma.vm_start < addr + length:
        size = (vma.vm_end - vma.vm_start) >> mm.machine.page_shift
        old_pages += size
        old_accounted += size if vma.vm_flags & VM_ACCOUNT else 0
        vma = mm.tree.next(vma)
    if not may_expand_vm(mm, vm_flags, pages - old_pages):
        return -ENOMEM
    accountable = accountable_mapping(vm_flags)
    if accountable:
        if pages != old_accounted and commit.vm_enough_memory(mm, pages - old_accounted):
            return -ENOMEM
        vm_flags |= VM_ACCOUNT
    detached = detach_areas(mm, addr, addr + length) if old_pages else []
    for vma in detached if accountable else ():
        vma.vm_flags &= ~VM_ACCOUNT  # what was promised to them is the new area's
    return finish_mapping(mm, file, addr, length, vm_flags, pgoff, detached)


def finish_mapping(mm, file, addr, length, vm_flags, pgoff, detached=()):
    """The new range merges or becomes an area, and is counted (__mmap_complete()), once the
    `detached` areas count no more: its address, or -ENOMEM: no memory for it.
    """
    late, pages = has_of(mm).mmap_unmaps_late, length >> mm.machine.page_shift
    vma = None if file is not None and file.vm_flags else merge_new(
        mm, file, addr, length, vm_flags, pgoff)
    if vma is None:
        vma = new_area(mm, file, addr, length, vm_flags, pgoff)
        if vma is None:
            if vm_flags & VM_ACCOUNT:
                commit_of(mm.machine).vm_unacct_memory(pages)
            complete_munmap(mm, detached)
            return -ENOMEM
        vm_flags = vma.vm_flags
    complete_munmap(mm, detached)
    vm_stat_account(mm, vm_flags, pages)
    if vm_flags & VM_LOCKED:
        if vma_supports_mlock(vma, VM_DROPPABLE if late else 0):
            mm.locked_vm += pages
        else:
            vma.vm_flags &= ~VM_LOCKED_MASK
    if has_of(mm).soft_dirty:
        vma.vm_flags |= VM_SOFTDIRTY
    return addr


def merge_new(mm, file, addr, length, vm_flags, pgoff):
    """The neighbour that takes a new range, or None."""
    vmg = vma_merge_struct(mm, addr, addr + length, vm_flags, pgoff, file)
    vmg.next, vmg.prev = mm.tree.find_vma_prev(addr)
    if has_of(mm).mmap_merge == 1:
        return vma_merge_own(vmg)
    return vma_merge_new_range(vmg)


def new_area(mm, file, addr, length, vm_flags, pgoff):
    """A new vm_area_struct in the tree, None without memory; shared anonymous memory gets a file
    of its own.
    """
    if file is not None and not (file.zero and vm_flags & VM_SHARED):
        vm_flags |= file.vm_flags  # what f_op->mmap sets
    elif vm_flags & VM_SHARED:  # of /dev/zero as well: mmap_zero()
        file = shmem_zero_setup(mm, length, vm_flags)
        if file is None:
            return None
    vma = vm_area_struct(mm, addr, addr + length, vm_flags, pgoff, file)
    return None if vma_link(vma) else vma


def shmem_zero_setup(mm, length, vm_flags):
    """The file of shared anonymous memory (shmem_zero_setup()): a File that is deleted already,
    with a promise of its size; None if that cannot be given.
    """
    commit, pages = commit_of(mm.machine), length >> mm.machine.page_shift
    if vm_flags & VM_NORESERVE:
        pages = 0
    elif commit.vm_enough_memory(mm, pages):
        return None
    file = File(DEV_ZERO, SHMEM_DEVICE, commit.next_shmem_ino, length, shmem=True)
    file.promised = pages
    commit.next_shmem_ino += 1
    return file
