cimport cython

from mmtwin.kernel.casts cimport as_u64
from mmtwin.kernel.constants cimport PG_slab
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.ram cimport cache_at, cache_cpu_of, cache_cpu_p, page_p, pfn_to_page
from mmtwin.kernel.slub cimport __kmem_cache_free_bulk as free_bulk
from mmtwin.kernel.slub_pcs cimport (
    alloc_from_sheaf, kfree_rcu_sheaf, kmem_cache_prefill_sheaf, kmem_cache_return_sheaf,
    rcu_free_sheaves,
)
from mmtwin.kernel.slub_resync cimport object_state
from mmtwin.kernel.slub_sheaf cimport sheaf_at, sheaf_p
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u8, u64, virt_t
from mmtwin.recordings.event cimport (
    KIND_KFREE, KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC, KIND_KMEM_CACHE_FREE, KIND_MM_PAGE_FREE,
    as_events, event_at,
    event_t,
)
from mmtwin.replay.maple cimport Maple
from mmtwin.replay.maple_ahead cimport as_ranges, range_t
from mmtwin.replay.maple_shapes cimport (
    GONE, HOW_ERASE, HOW_SHARE, HOW_SPLIT, HOW_TOP, HOW_UNKNOWN, KIND_APART,
    KIND_AREAS, KIND_ENTRIES, Shapes, tree_at,
)

ctypedef event_t *event_p

# What a call site tells of a tree.
cdef enum:
    SITE_NONE = 0
    SITE_ONE = 1                  # a request for one node
    SITE_STORE = 2                # mas_store_gfp(): that, or one of several
    SITE_COPY = 3                 # __mt_dup(): the root of a copy
    SITE_CHILDREN = 4             # mas_dup_alloc(): nodes below it
    SITE_ENTRY = 5                # mas_alloc_cyclic(): a directory gets an entry
    SITE_ERASE = 6                # mas_erase()
    SITE_MANY = 7                 # one of a prefilled sheaf
    SITE_TOP = 8                  # the last of them: up to the root (7.3)
    SITE_SPLIT = 9                # of a leaf that is split (6.18)
    SITE_SHARE = 10               # of leaves that share out their entries
    SITE_INODE = 11               # of a file in a directory of tmpfs
    SITE_ROOT = 12                # __mt_destroy(): a tree's root is freed
    SITE_EXEC = 13                # mm_alloc(): a new program's struct mm_struct
    SITE_RCU = 14                 # rcu_do_batch()

cdef enum:
    INTERRUPT = 0x18              # event.flags: hard or soft interrupt
    MOST_WAITING = 16             # sheaves
    MOST_NODES = 32               # of one request
    FAR = 4096                    # and for what becomes of its tree
    NEARBY = 64                   # events that are looked through for what a request is for
    SITES = 64                    # functions

cdef class SheafNodes(Maple):
    cdef Shapes shapes
    cdef event_t *events
    cdef s64 available
    cdef s64 first                # of the block's events, which can be looked at
    cdef range_t *ranges
    cdef s64 nr_ranges
    cdef s32 name                 # numbers of caches in the recording
    cdef s32 areas
    cdef s32 mms
    cdef s64 held                 # the sheaf that a task has prefilled, -1
    cdef s64 held_pid
    cdef s32 kind                 # of the tree that it is for
    cdef s32 how                  # HOW_*
    cdef s64 wanted               # nodes that it takes from it, and has
    cdef s64 has
    cdef u64 *nodes
    cdef s64 copying              # the tree being copied, -1
    cdef s64 queued               # sheaves that wait for a grace period
    cdef u64 *since               # when each became full
    cdef u64 grace                # ns that a grace period takes
    cdef u64 time                 # of the event being carried out
    cdef u64 *strays              # nodes in use at the start, of no tree that is known
    cdef s64 nr_strays
    cdef readonly s64 swapped     # nodes that the kernel gave out in place of another one

    @cython.locals(i=s64)
    cdef s32 _site(self, u64 call_site) noexcept nogil
    cdef s32 _site_of(self, event_t *event) noexcept nogil
    cpdef void look(self, size_t address, s64 start, s64 available)
    cdef bint has_slab(self, pfn_t pfn) noexcept nogil
    cdef void page(self, s64 number) noexcept nogil
    cdef void compare(self) noexcept nogil
    cdef void adopt(self) noexcept nogil
    @cython.locals(event=event_p)
    cdef bint prefilled(self, s64 number) noexcept nogil
    cdef bint _is_many(self, s32 site) noexcept nogil
    cdef s32 _how(self, s32 site) noexcept nogil
    @cython.locals(event=event_p, other=event_p, i=s64, count=s64, site=s32)
    cdef s64 _count_nodes(self, s64 number) noexcept nogil
    @cython.locals(event=event_p, count=s64, t=s64)
    cdef s64 _asked_for(self, s64 number) noexcept nogil
    cdef s64 sheaf(self) noexcept nogil
    @cython.locals(event=event_p, count=s64)
    cdef virt_t take(self, s64 number, gfp_t gfp) noexcept nogil
    @cython.locals(event=event_p, site=s32)
    cdef void allocated(self, s64 number, gfp_t gfp) noexcept nogil
    @cython.locals(event=event_p, other=event_p, i=s64)
    cdef bint _is_program(self, s64 number) noexcept nogil
    @cython.locals(event=event_p, other=event_p, i=s64, stop=s64, later=bint)
    cdef bint _is_apart(self, s64 number) noexcept nogil
    @cython.locals(event=event_p, other=event_p, i=s64, seen=s64)
    cdef void _look_behind(self, s64 number) noexcept nogil
    @cython.locals(t=s64)
    cdef s64 _tree(self, s64 pid, s32 kind) noexcept nogil
    @cython.locals(event=event_p, t=s64)
    cdef void _one(self, s64 number, s32 site) noexcept nogil
    @cython.locals(event=event_p, t=s64, kind=s32, count=s64)
    cdef void _several(self, s64 number, s32 site) noexcept nogil
    @cython.locals(i=s64)
    cdef void _free_later(self) noexcept nogil
    @cython.locals(stray=u64)
    cdef void _free_stray(self) noexcept nogil
    @cython.locals(c=cache_cpu_p)
    cdef void _free_one_later(self, u64 node) noexcept nogil
    @cython.locals(event=event_p, t=s64, i=s64, count=s64)
    cdef void freeing(self, s64 number) noexcept nogil
    cdef s64 goes_on(self, event_t *event) noexcept nogil
    @cython.locals(page=page_p)
    cdef bint _is_flush(self, event_t *event) noexcept nogil
    @cython.locals(count=s64, i=s64)
    cdef bint go_on(self, event_t *event) noexcept nogil
    @cython.locals(t=s64, i=s64, k=s64, root=u64, sheaf=sheaf_p)
    cdef s64 _tree_in_place(self, event_t *event) noexcept nogil
    @cython.locals(
        c=cache_cpu_p, mine=s64, sheaf=sheaf_p, other=sheaf_p, count=s64, k=s64, node=u64,
    )
    cdef bint _exchange_sheaves(self, s64 number, u64 predicted) noexcept nogil
    @cython.locals(i=s64, k=s64, sheaf=sheaf_p)
    cdef bint missed(self, u64 predicted, u64 address) noexcept nogil
