cimport cython

from mmtwin.kernel.casts cimport as_s64, as_u32
from mmtwin.kernel.constants cimport ALLOC_FROM_PCP, PG_pcp
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.page_alloc_buddy cimport mod_free_pages
from mmtwin.kernel.page_alloc_freelist cimport prep_new_page, set_kswapd_hopeless
from mmtwin.kernel.page_alloc_state cimport take_free_page
from mmtwin.kernel.ram cimport page_address, pfn_to_page, zone_at
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u32, u64, virt_t
from mmtwin.recordings.event cimport event_t, wrap64
from mmtwin.replay.counts cimport *
from mmtwin.replay.fate cimport (
    FATE_BUDDY, FATE_LIST, FATE_UNKNOWN, FATE_USED, FATE_WINDOW, Mentions, take_used,
)
from mmtwin.replay.objects cimport Objects
from mmtwin.replay.queues cimport (
    NR_QUEUES, QUEUE_TWIN_SLAB, QUEUE_TWIN_ZONE, as_queues, empty, get_last, queue_at,
    queue_t, rename, replace,
)
from mmtwin.replay.resync cimport (
    exchange_blocks, give_back_slab, is_block, page_is_free, put_away, slab_is_unused,
    swap_blocks, vacate,
)

ctypedef queue_t *queue_p

cdef enum:
    MOST_WRONG = 64               # blocks set right after one demand

cdef class Mend:
    cdef readonly MM mm
    cdef readonly Objects objects
    cdef readonly Mentions mentions
    cdef s64 *count
    cdef queue_t *queues
    cdef s64 *wrong               # (the twin's pfn, the kernel's, order) of each wrong block
    cdef s64 nr_wrong
    cdef s64 *extra               # blocks that only the twin took
    cdef s64 nr_extra
    cdef bint filled              # only the kernel filled a list for the last demand
    cdef s64 seen                 # steps of the twin that were compared
    cdef pfn_t last_page
    cdef public bint resync
    cdef dict _buffers
    cdef event_t *events          # that run() was given, how many of them
    cdef s64 available
    cdef s64 demand               # number of the event of the object's demand being carried out
    cdef s64 now                  # number of the event at which that is done
    cdef s64 looked               # number of the event from which _take_used() looks again
    cdef u32 turn                 # how often it looked
    cdef u32 *mention             # by pfn: in which turn it was last said something of
    cdef pfn_t used               # a block found in use, some of which is free in the twin, or -1
    cdef s32 used_order
    cdef pfn_t refused            # the block refused last, or -1
    cdef bint orderly             # whether the order of every list is known

    @cython.locals(fate=s32)
    cdef s32 _fate(self, pfn_t pfn) noexcept nogil
    @cython.locals(fate=s32)
    cdef s32 _fate_of_refused(self, pfn_t pfn, s32 order) noexcept nogil
    cdef void _take_used(self) noexcept nogil
    cdef void _take_rest(self) noexcept nogil
    @cython.locals(entry=pfn_t, before=pfn_t, _=s32)
    cdef void _leave_list(self, pfn_t pfn) noexcept nogil
    @cython.locals(upper=s32, lower=s32)
    cdef void _judge_boost(self, pfn_t mine, pfn_t wanted) noexcept nogil
    cdef bint _elsewhere(self, pfn_t mine, pfn_t wanted) noexcept nogil
    @cython.locals(mine=pfn_t, fate=s32, other=bint)
    cdef void _set_page_right(self, event_t *event, pfn_t predicted, gfp_t gfp) noexcept nogil
    @cython.locals(place=s64, mine=pfn_t, wanted=pfn_t, order=s32, cpu=s32)
    cdef void _set_zone_right(self) noexcept nogil
    @cython.locals(later=s64, late=queue_p)
    cdef bint _swap(self, s64 place, pfn_t mine, pfn_t wanted, s32 order) noexcept nogil
    @cython.locals(place=s64, mine=pfn_t, size=u64, offset=u64)
    cdef virt_t _after_exchanges(self, virt_t address) noexcept nogil
    @cython.locals(queue=queue_p, mine=pfn_t, order=s32)
    cdef void _undo_slabs(self, s32 cpu) noexcept nogil

cdef inline queue_t *queue_of(Mend mend, s32 cpu, s32 number) noexcept nogil:
    return queue_at(mend.queues, (cpu if cpu < mend.mm.nr_cpus else 0) * NR_QUEUES + number)
