"""What a process's memory is described by: mm_struct, vm_area_struct, and the files it maps
(include/linux/mm_types.h, include/linux/fs.h).

mm_types.pxd has every field with its type and meaning. `mm` is an mm_struct in the files of
process address spaces (mmap.py, memory.py, exec.py ...), as in the kernel; `mm.machine` is the MM
it is on.
"""

import cython

from mmtwin.kernel.mman import RLIM_INFINITY, RLIMIT_DEFAULTS

if not cython.compiled:
    from mmtwin.kernel.paging import paging_of

FMODE_READ, FMODE_WRITE = 1, 2
# How a file wants addresses chosen: as the mm does, for huge pages (thp_get_unmapped_area()), as
# shared memory (shmem_get_unmapped_area()).
GET_AREA_MM, GET_AREA_THP, GET_AREA_SHMEM = range(3)
NR_MM_COUNTERS = 4  # MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES


class File:
    """An open file, as far as memory goes: what maps shows of it, its size and its page cache."""

    def __init__(self, path, dev="00:00", ino=0, size=0, data=None, device=False, shmem=False,
                 head=b""):
        self.path = path
        self.dev = dev
        self.ino = ino
        self.size = size if data is None else len(data)
        self.device = device
        self.zero = path == "/dev/zero"
        self.shmem = shmem
        self.data = data
        self.i_pages = {}
        self.nrpages = self.mmap_miss = 0
        self.cached = False
        self.mapping = 0
        self.head = head
        self.i_mmap = []
        self.f_mode = FMODE_READ | FMODE_WRITE
        self.append = self.noexec = 0
        self.can_mmap = 1
        self.get_area = GET_AREA_SHMEM if shmem else GET_AREA_MM
        self.vm_flags = 0
        self.vm_close = self.promised = 0

    def __repr__(self):
        return f"<File {self.path} {self.dev} {self.ino}: {self.size} bytes>"


class vm_area_struct:
    """A range of addresses with one set of flags and one backing; `vm_start` <= a < `vm_end`."""

    def __init__(self, mm, start, end, flags, pgoff=0, file=None, name=None):
        self.vm_mm = mm
        self.vm_start = start
        self.vm_end = end
        self.vm_flags = flags
        self.vm_pgoff = pgoff
        self.vm_file = file
        # mmap_zero() of drivers/char/mem.c leaves a private mapping without vm_ops
        self.no_ops = file is None or file.zero
        self.vm_name = name
        self.anon_vma = None
        self.anon_vma_chain = []
        self.anon_pgoff = start >> mm.machine.page_shift
        self.policy = self.userfaultfd = None
        self.special = 0
        self.vm_next = self.vm_prev = None
        self.left = self.right = self.parent = None
        self.red = False
        self.rb_subtree_gap = 0
        self.address = 0

    def __repr__(self):
        what = self.vm_file.path if self.vm_file else self.vm_name or "anonymous"
        return f"<vma {self.vm_start:x}-{self.vm_end:x} {self.vm_flags:#x} {what}>"


class mm_struct:
    """A process's address space; the fields are those of the kernel's struct."""

    def __init__(self, machine):
        self.machine = machine
        self.tree = None
        self.mmap = None
        self.mm_users = self.mm_count = self.users = 1
        self.map_count = 0
        self.mmap_base = self.mmap_legacy_base = self.task_size = self.highest_vm_end = 0
        self.topdown = self.privileged = True
        self.randomized = False
        self.low_begin = 0
        self.def_flags = 0
        self.total_vm = self.locked_vm = self.pinned_vm = 0
        self.data_vm = self.exec_vm = self.stack_vm = 0
        self.hiwater_rss = self.hiwater_vm = 0
        self.start_code = self.end_code = self.start_data = self.end_data = 0
        self.start_brk = self.brk = self.start_stack = 0
        self.arg_start = self.arg_end = self.env_start = self.env_end = 0
        if not cython.compiled:
            self.rss_stat = [0] * NR_MM_COUNTERS
            self.rss_percpu = [0] * 256
            self.rss_vec = [0] * NR_MM_COUNTERS
        self.pgtables_bytes = 0
        self.pgd = self.pgd_slot = -1
        self.paging = paging_of(machine) if machine is not None else None
        self.tlb = self.task_rss = None
        self.saved_auxv = []
        self.rlimits = dict.fromkeys(range(16), RLIM_INFINITY) | RLIMIT_DEFAULTS
        self.exe_file = None
        self.vdso = 0
        self.owner = None
        self.cache = -1
        self.address = 0
        self.security = 0
        self.id = 0

    def counters(self):
        """rss_stat as a list: pages of files, anonymous pages, swap entries, shared memory."""
        return [self.rss_stat[member] for member in range(NR_MM_COUNTERS)]

    def __repr__(self):
        return f"<mm {self.id}: {self.map_count} areas, {self.total_vm} pages>"
