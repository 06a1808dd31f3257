cimport cython

from mmtwin.kernel.constants cimport (
    MIGRATE_MOVABLE, MIGRATE_PCPTYPES, PG_head, PG_large_kmalloc, PG_partial, PG_pcp, PG_slab,
    PG_tail, USE_FREE, USE_UNKNOWN,
)
from mmtwin.kernel.lists cimport list_add, list_del
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mmzone cimport get_pfnblock_migratetype
from mmtwin.kernel.page_alloc cimport free_pages, free_pages_prepare
from mmtwin.kernel.page_alloc_buddy cimport __free_one_page, pcp_allowed_order
from mmtwin.kernel.page_alloc_pcp cimport free_pcp_page, order_to_pindex, take_off_pcp_list
from mmtwin.kernel.page_alloc_state cimport (
    add_pcp_block, free_block_of, pcp_that_holds, set_users, take_free_page,
)
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_cpu_p, cache_p, page_address, page_p, pcp_p, pfn_to_page,
    zone_of,
)
from mmtwin.kernel.slub_freelist cimport get_freepointer, set_freepointer
from mmtwin.kernel.slub_defs cimport TO_HEAD
from mmtwin.kernel.slub_partial cimport add_partial, remove_partial
from mmtwin.kernel.slub_resync cimport leave_barn_full, leave_cpu_partial
from mmtwin.kernel.slub_slab cimport dec_slabs_node, inc_slabs_node, leave_rcu_queue, new_slab
from mmtwin.kernel.structs cimport gfp_t, kmem_cache_t, pfn_t, s32, s64, u64, virt_t
from mmtwin.recordings.event cimport wrap64
from mmtwin.replay.fate cimport FATE_LIST, FATE_USED

cdef inline bint is_inside(MM mm, u64 pfn, s32 order) noexcept nogil:
    if order >= mm.nr_orders or pfn & ((<u64> 1 << order) - 1):
        return False
    return <u64> mm.min_pfn <= pfn <= <u64> (mm.max_pfn - (1 << order))

cdef bint page_is_free(MM mm, pfn_t pfn) noexcept nogil
@cython.locals(block=pfn_t)
cdef bint take_page(MM mm, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(page=page_p, place=s64)
cdef bint is_block(MM mm, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(head=pfn_t, place=s64)
cdef void vacate(MM mm, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(page=page_p, place=pfn_t, pages=s64)
cdef void break_up(MM mm, pfn_t head, pfn_t pfn, pfn_t end) noexcept nogil
@cython.locals(block=page_p)
cdef bint exchange_blocks(
    MM mm, pfn_t mine, pfn_t wanted, s32 order, s32 fate) noexcept nogil
@cython.locals(before=pfn_t, migratetype=s32, pcp=pcp_p, page=page_p)
cdef bint swap_blocks(MM mm, pfn_t mine, pfn_t wanted, s32 order) noexcept nogil
@cython.locals(migratetype=s32, pindex=s32)
cdef void put_away(MM mm, pfn_t pfn, s32 order, s32 fate) noexcept nogil
@cython.locals(block=pfn_t, page=page_p, head=pfn_t)
cdef void undo_take(MM mm, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(place=s64, page=page_p, other=page_p)
cdef void copy_use(MM mm, pfn_t mine, pfn_t wanted, s32 order) noexcept nogil
@cython.locals(page=page_p, order=s32)
cdef bint return_block(MM mm, pfn_t pfn) noexcept nogil
@cython.locals(number=s32)
cdef bint drain_page(MM mm, pfn_t pfn) noexcept nogil
@cython.locals(page=page_p, cpu=s32, c=cache_cpu_p)
cdef void unlink_slab(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(page=page_p, cache=s32)
cdef bint give_back_slab(MM mm, pfn_t pfn) noexcept nogil
@cython.locals(page=page_p, other=page_p, c=cache_cpu_p, s=cache_p, cpu=s32, cache=s32,
               order=s32, distance=u64)
cdef bint move_slab(MM mm, pfn_t pfn, pfn_t wanted, s32 fate) noexcept nogil
@cython.locals(order=s32)
cdef bint bring_slab(MM mm, pfn_t pfn, pfn_t wanted, s32 fate) noexcept nogil
@cython.locals(page=page_p, used=s64, s=cache_p, cpu=s32, c=cache_cpu_p, entry=virt_t, size=u64)
cdef bint slab_is_unused(MM mm, pfn_t pfn) noexcept nogil
@cython.locals(found=s64, number=s64, place=s64)
cdef s64 in_sheaves(MM mm, s32 cache, virt_t first, u64 size) noexcept nogil
@cython.locals(page=page_p, c=cache_cpu_p, cpu=s32, entry=pfn_t)
cdef void move_links(MM mm, s32 cache, pfn_t pfn, pfn_t wanted) noexcept nogil
@cython.locals(number=s64, kept=s64, place=s64, object=virt_t)
cdef void carry_sheaves(MM mm, s32 cache, virt_t first, u64 size, u64 distance) noexcept nogil
@cython.locals(entry=virt_t, following=virt_t, target=virt_t)
cdef virt_t move_chain(MM mm, kmem_cache_t *s, virt_t first, u64 distance) noexcept nogil
@cython.locals(order=s32)
cdef bint move_large(MM mm, pfn_t pfn, pfn_t wanted, s32 fate) noexcept nogil
@cython.locals(made=pfn_t)
cdef bint adopt_slab(MM mm, s32 cache, pfn_t pfn, s32 order, gfp_t gfp) noexcept nogil
