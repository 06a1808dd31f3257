# What a process's memory is described by (include/linux/mm_types.h). `mm` is an mm_struct here, as
# in the kernel; the machine it lives on is `mm.machine`.
cimport cython

from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.paging cimport Paging, paging_of
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u64, virt_t

@cython.final
cdef class File:
    cdef public str path                # as /proc/PID/maps shows it
    cdef public str dev                 # "major:minor", hexadecimal, two digits each
    cdef public s64 ino
    cdef public s64 size                # bytes
    cdef public s32 device              # a device's or kernel's pages, not the page cache
    cdef public s32 shmem                # tmpfs and its like: its pages count as MM_SHMEMPAGES
    cdef public object data             # bytes, or None where only the size is known
    cdef public dict i_pages            # the page cache: filemap.Node by index / 64
    cdef public s64 nrpages             # pages in it
    cdef public s32 cached              # its pages are all in the page cache since before
    cdef public s64 mmap_miss           # file_ra_state: faults that did not find their page
    cdef public u64 mapping             # what page->mapping says of its pages, 0: none yet
    cdef public list i_mmap             # areas that map it
    cdef public s32 f_mode              # FMODE_READ | FMODE_WRITE
    cdef public s32 append              # append-only
    cdef public s32 noexec              # on a mount with noexec
    cdef public s32 can_mmap            # it has f_op->mmap
    cdef public s32 get_area            # its f_op->get_unmapped_area: GET_AREA_*
    cdef public u64 vm_flags            # VM_* that its f_op->mmap sets
    cdef public s32 zero                # /dev/zero: mmap_zero()
    cdef public s64 promised            # pages of vm_committed_as that go with it
    cdef public s32 vm_close            # its areas have vm_ops->close
    cdef public bytes head              # first bytes of the file where data is None

@cython.final
cdef class vm_area_struct:
    cdef public virt_t vm_start
    cdef public virt_t vm_end           # first address behind it
    cdef public u64 vm_flags            # VM_* of mman.pxd
    cdef public u64 vm_pgoff            # offset in vm_file, in pages; of anonymous memory too
    cdef public mm_struct vm_mm
    cdef public object vm_file          # a File, or None
    cdef public s32 no_ops              # no file but /dev/zero, private: no vm_ops
    cdef public object anon_vma         # an rmap.anon_vma, or None
    cdef public list anon_vma_chain     # rmap.anon_vma_chain, oldest first
    cdef public u64 anon_pgoff          # offset as anonymous memory, in pages (vma_anon_pgoff)
    cdef public object policy           # mempolicy, None for the task's
    cdef public object userfaultfd      # its vm_userfaultfd_ctx, or None
    cdef public s32 special             # a special mapping: never split, not anonymous
    cdef public str vm_name             # of a special mapping ("[vdso]") or PR_SET_VMA_ANON_NAME
    cdef public vm_area_struct vm_next  # neighbours by address
    cdef public vm_area_struct vm_prev
    cdef public vm_area_struct left     # node of mm.tree before 6.1
    cdef public vm_area_struct right
    cdef public vm_area_struct parent
    cdef public s32 red
    cdef public u64 rb_subtree_gap
    cdef public u64 address             # of its slab object, 0 for none

@cython.final
cdef class mm_struct:
    cdef public MM machine
    cdef public object tree             # areas by address: see vma_tree.py
    cdef public vm_area_struct mmap     # the first area
    cdef public s64 mm_users
    cdef public s64 mm_count
    cdef public s64 map_count
    cdef public virt_t mmap_base
    cdef public virt_t mmap_legacy_base
    cdef public virt_t low_begin        # where a search for MAP_32BIT is to begin, 0: draw it
    cdef public s32 randomized          # its tasks have PF_RANDOMIZE
    cdef public virt_t task_size
    cdef public virt_t highest_vm_end
    cdef public s32 privileged          # its tasks have CAP_IPC_LOCK, CAP_SYS_ADMIN, CAP_SYS_RAWIO
    cdef public s32 topdown             # get_unmapped_area goes down from mmap_base
    cdef public u64 def_flags
    cdef public u64 total_vm            # pages
    cdef public u64 locked_vm
    cdef public u64 pinned_vm
    cdef public u64 data_vm
    cdef public u64 exec_vm
    cdef public u64 stack_vm
    cdef public u64 hiwater_rss
    cdef public u64 hiwater_vm
    cdef public virt_t start_code
    cdef public virt_t end_code
    cdef public virt_t start_data
    cdef public virt_t end_data
    cdef public virt_t start_brk
    cdef public virt_t brk
    cdef public virt_t start_stack
    cdef public virt_t arg_start
    cdef public virt_t arg_end
    cdef public virt_t env_start
    cdef public virt_t env_end
    cdef s64 rss_stat[4]                # pages by MM_*: see rss_stat.py
    cdef public s64 pgtables_bytes
    cdef public pfn_t pgd               # first page of the top page table, -1 for none
    cdef public s64 pgd_slot            # ... its first entry, as a word of RAM
    cdef readonly Paging paging         # levels and entry formats, those of the machine
    cdef s64 rss_percpu[256]            # CPUs' parts of rss_stat (6.2 and later), CPU * 4 + MM_*
    cdef s64 rss_vec[4]                 # of the page table that is walked: see add_mm_rss_vec()
    cdef public object tlb              # the mmu_gather of an unmap that is going on, or None
    cdef public object task_rss         # rss_stat.TaskRss of a task that nobody names
    cdef public list saved_auxv         # (AT_*, value)
    cdef public dict rlimits            # RLIMIT_* -> bytes (or a count); of the task's signal
    cdef public File exe_file
    cdef public virt_t vdso
    cdef public object owner            # the sched.Task that it was made for
    cdef public s32 cache               # number of the slab cache mm_struct, -1: not modelled
    cdef public u64 address             # of its slab object
    cdef public s64 users               # tasks that hold it (see sched.Shared)
    cdef public u64 security
    cdef public s64 id                  # a number of its own, never given twice
