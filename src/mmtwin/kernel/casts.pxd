# Typed pointers to the arrays that mm.py maps.
from mmtwin.kernel.features cimport features_t
from mmtwin.kernel.structs cimport (
    kmem_cache_cpu_t, kmem_cache_node_t, kmem_cache_t, page_t, pcp_t, s64, sheaf_t, step_t, u8,
    u32, u64, zone_t,
)

cdef inline page_t *as_pages(size_t address, size_t count) noexcept nogil:
    return <page_t *> address

cdef inline zone_t *as_zones(size_t address, size_t count) noexcept nogil:
    return <zone_t *> address

cdef inline pcp_t *as_pcps(size_t address, size_t count) noexcept nogil:
    return <pcp_t *> address

cdef inline kmem_cache_t *as_caches(size_t address, size_t count) noexcept nogil:
    return <kmem_cache_t *> address

cdef inline kmem_cache_cpu_t *as_cache_cpus(size_t address, size_t count) noexcept nogil:
    return <kmem_cache_cpu_t *> address

cdef inline kmem_cache_node_t *as_cache_nodes(size_t address, size_t count) noexcept nogil:
    return <kmem_cache_node_t *> address

cdef inline sheaf_t *as_sheaves(size_t address, size_t count) noexcept nogil:
    return <sheaf_t *> address

cdef inline step_t *as_steps(size_t address, size_t count) noexcept nogil:
    return <step_t *> address

cdef inline features_t *as_features(size_t address, size_t count) noexcept nogil:
    return <features_t *> address

cdef inline u64 *as_u64(size_t address, size_t count) noexcept nogil:
    return <u64 *> address

cdef inline s64 *as_s64(size_t address, size_t count) noexcept nogil:
    return <s64 *> address

cdef inline u32 *as_u32(size_t address, size_t count) noexcept nogil:
    return <u32 *> address

cdef inline u8 *as_u8(size_t address, size_t count) noexcept nogil:
    return <u8 *> address
