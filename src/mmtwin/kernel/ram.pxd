# Addresses and the bytes of RAM. Inline in compiled code; ram.py says the same for the uncompiled
# run.
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.structs cimport (
    kmem_cache_cpu_t, kmem_cache_node_t, kmem_cache_t, page_t, pcp_t, pfn_t, s32, u64, virt_t,
    zone_t,
)

ctypedef page_t *page_p
ctypedef zone_t *zone_p
ctypedef pcp_t *pcp_p
ctypedef kmem_cache_t *cache_p
ctypedef kmem_cache_cpu_t *cache_cpu_p
ctypedef kmem_cache_node_t *cache_node_p

cdef inline page_t *pfn_to_page(MM mm, pfn_t pfn) noexcept nogil:
    return &mm.page[pfn]

cdef inline zone_t *zone_of(MM mm, pfn_t pfn) noexcept nogil:
    return &mm.zone[mm.page[pfn].zone]

cdef inline zone_t *zone_at(MM mm, s32 number) noexcept nogil:
    return &mm.zone[number]

cdef inline pcp_t *pcp_of(MM mm, s32 zone, s32 cpu) noexcept nogil:
    return &mm.pcp[zone * mm.nr_cpus + cpu]

cdef inline kmem_cache_t *cache_at(MM mm, s32 cache) noexcept nogil:
    return &mm.cache[cache]

cdef inline kmem_cache_cpu_t *cache_cpu_of(MM mm, s32 cache, s32 cpu) noexcept nogil:
    return &mm.cache_cpu[cache * mm.nr_cpus + cpu]

cdef inline kmem_cache_node_t *cache_node_of(MM mm, s32 cache, s32 node) noexcept nogil:
    return &mm.cache_node[cache * mm.nr_nodes + node]

cdef inline virt_t page_address(MM mm, pfn_t pfn) noexcept nogil:
    return mm.page_offset + (<u64> pfn << mm.page_shift)

cdef inline pfn_t virt_to_pfn(MM mm, virt_t address) noexcept nogil:
    return <pfn_t> ((address - mm.page_offset) >> mm.page_shift)

cdef inline pfn_t virt_to_head_pfn(MM mm, virt_t address) noexcept nogil:
    cdef pfn_t pfn = virt_to_pfn(mm, address)
    return mm.page[pfn].compound_head if mm.page[pfn].flags & 8 else pfn

cdef inline bint is_ram(MM mm, virt_t address) noexcept nogil:
    return (address - mm.page_offset) >> mm.page_shift < <u64> mm.max_pfn

cdef inline u64 load64(MM mm, virt_t address) noexcept nogil:
    return mm.ram[(address - mm.page_offset) >> 3]

cdef inline void store64(MM mm, virt_t address, u64 value) noexcept nogil:
    mm.ram[(address - mm.page_offset) >> 3] = value

cdef extern from *:
    u64 swab64 "__builtin_bswap64"(u64 value) noexcept nogil

cdef extern from "string.h":
    void *memset(void *to, int value, size_t size) noexcept nogil

cdef inline void clear_pages(MM mm, pfn_t pfn, s32 pages) noexcept nogil:
    memset(&mm.ram[(<u64> pfn << mm.page_shift) >> 3], 0, <u64> pages << mm.page_shift)
