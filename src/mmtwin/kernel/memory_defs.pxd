# Numbers of page faults: include/linux/mm_types.h (enum fault_flag, enum vm_fault_reason). One
# text for C and, through memory_defs.py, for Python.

cdef enum:
    FAULT_FLAG_WRITE = 0x1
    FAULT_FLAG_USER = 0x40
    FAULT_FLAG_REMOTE = 0x80
    FAULT_FLAG_INSTRUCTION = 0x100
    FAULT_FLAG_UNSHARE = 0x400

cdef enum:
    VM_FAULT_OOM = 0x1
    VM_FAULT_SIGBUS = 0x2
    VM_FAULT_MAJOR = 0x4
    VM_FAULT_SIGSEGV = 0x40
    VM_FAULT_NOPAGE = 0x100
    VM_FAULT_FALLBACK = 0x800
    VM_FAULT_ERROR = 0x43

# gfp bits of user pages and page tables
cdef enum:
    GFP_HIGHUSER_MOVABLE = 0x100cca
    GFP_TRANSHUGE_LIGHT = 0x1c28ca    # not __GFP_RECLAIM
    GFP_PGTABLE_USER = 0x400dc0       # GFP_KERNEL | __GFP_ZERO | __GFP_ACCOUNT
    GFP_NOWAIT_NOWARN = 0x2800

# page->mapping of an anonymous page
cdef enum:
    PAGE_MAPPING_ANON = 1

# enum lru_list
cdef enum:
    LRU_INACTIVE_ANON = 0
    LRU_INACTIVE_FILE = 2
    LRU_UNEVICTABLE = 4
    NR_LRU_LISTS = 5
    LRU_FREEING = 1024                # pages that release_pages() frees at once

cdef enum:
    NR_MM_COUNTERS = 4
    TASK_RSS_EVENTS_THRESH = 64
    MMU_GATHER_BUNDLE = 8
    MOST_GATHERED = 10000
