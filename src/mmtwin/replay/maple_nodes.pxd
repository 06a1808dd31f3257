cimport cython

from mmtwin.kernel.casts cimport as_s64, as_u8, as_u64
from mmtwin.kernel.constants cimport PG_partial, PG_slab
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.page_alloc cimport free_pages
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_cpu_p, cache_p, page_address, page_p, pfn_to_page,
    virt_to_pfn,
)
from mmtwin.kernel.slub_defs cimport TO_TAIL
from mmtwin.kernel.slub_freelist cimport get_freepointer, kmem_cache_debug, set_freepointer
from mmtwin.kernel.slub_partial cimport add_partial, remove_partial
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u8, u16, u64, virt_t
from mmtwin.recordings.sites cimport as_s32
from mmtwin.replay.maple_ahead cimport WHAT_LATER, Ahead
from mmtwin.replay.maple_alike cimport hash_of
from mmtwin.replay.maple_guess cimport (
    GUESS_OBJECTS, GUESS_ROUNDS, GUESS_SLABS, GUESS_CPUS, GUESS_SLOTS, NO_NODE,
    SLAB_ABSENT, SLAB_FULL,
    SLAB_ON_NODE, CPU_PARTIAL, CPU_SLAB, as_guesses, as_shape, bit_of, copy_guess, guess_at,
    node_is_free, guess_p, guess_t, shape_t,
)
from mmtwin.replay.maple_source cimport Source
from mmtwin.replay.resync cimport adopt_slab, vacate

ctypedef u16 *nodes_p

cdef enum:
    GUESSES = 512                 # room for guesses and what they lead to
    ALIKE = 2048                  # places in a table of those kept, a power of two
    BEAM = 20                     # guesses carried along
    ROOM = 30                     # more than that, for some are alike
    # Of a debug cache every slab is on the node's list: which of them is the first tells more.
    BEAM_SINGLE = 24
    ROOM_SINGLE = 36
    MARGIN = 2500                 # a guess so much worse than the best is dropped
    SCAN = 24                     # moments of a task looked at
    NEAR = 400                    # events between a request and the page it takes
    # What a thing that should not be costs, in thousandths: no kernel rules, chosen on the
    # recordings at hand.
    COST_MISS = 1000
    COST_SPARE_USED = 3000        # a node used that comes back unused
    COST_NOT_FREED = 3000         # a node replaced that RCU does not free
    COST_OUT_OF_ORDER = 2000      # RCU frees it too early
    COST_SKIPPED = 1000           # RCU frees another one before
    COST_SPLIT = 200
    COST_REBALANCE = 500
    COST_SHRINK = 300
    COST_UNUSED = 300             # nothing used though that could be
    COST_AREA_UNUSED = 1500       # nothing used for a new area
    COST_NODE = 300               # a node used though only bounds change
    COST_LATE = 200               # an interrupt came before what the last event tells of was done
    COST_HABIT = 700              # or not used as it was before
    COST_DROP = 1000              # nodes of a CPU's lists were taken unseen
    COST_UNLIKELY = 2000
    COST_FORK_REBALANCE = 600
    # kinds of requests, in guess_t.round_fork
    ROUND_PLAIN = 0
    ROUND_FORK = 1
    ROUND_ALL_BUT_ONE = 2
    GFP_NODES = 0xcc0             # GFP_KERNEL
    MAPLE_SLOTS = 15              # entries of a leaf, MAPLE_RANGE64_SLOTS - 1
    MAPLE_CAPACITY = 14           # MAPLE_RANGE64_SLOTS - 2
    # Areas of a leaf that is almost full (mas_wr_modify(), 6.1), if four gaps lie between them:
    # how many do no event tells, four is chosen on recordings.
    FULL_AREAS = 11
    MAPLE_FANOUT = 8              # MAPLE_ARANGE64_SLOTS - 2

cdef inline u16 *nodes_at(u16 *nodes, s64 place) noexcept nogil:
    return &nodes[place]

cdef inline u16 *as_nodes(size_t address, size_t count) noexcept nogil:
    return <u16 *> address

cdef class Nodes(Source):
    cdef MM mm
    cdef readonly s32 cache       # maple_node's number in the twin, -1: nothing to do
    cdef Ahead ahead
    cdef guess_t *guesses
    cdef shape_t *shape
    cdef s32 *fate                # the next free of each node, a moment, -1
    cdef s32 *loose               # a node in use from the start, of a tree not known
    cdef s64 *pages               # of slabs, by number
    cdef s32 *slab_at             # numbers of slabs + 1, by pfn
    cdef s32 *current             # guesses carried along, best first
    cdef s32 *coming              # those of the next moment
    cdef s32 *made                # slabs that the twin had
    cdef s32 *used                # nodes in the order in which a request is used up
    cdef u8 *busy                 # guesses in use, by number
    cdef s64 *hashes              # of those kept, by place
    cdef s64 *alike               # their places, by hash
    cdef s64 selections
    cdef u16 *used_up             # scratch
    cdef u16 *rest                # scratch
    cdef u64 *items
    cdef s32 nr_current
    cdef s32 nr_coming
    cdef s32 branched
    cdef s64 limit                # a guess that costs more is hopeless
    cdef s64 *costs               # of the best of those that go on
    cdef s32 nr_costs
    cdef s32 beam
    cdef s32 room
    cdef s32 nr_cpus
    cdef s32 nr_loose
    # of the moment being carried out
    cdef s32 cpu
    cdef s32 node
    cdef s32 bottom               # the first of the silent nodes, where a free names it; NO_NODE
    cdef s32 kind                 # ROUND_*
    cdef bint early               # a request is carried out ahead of an interrupt's frees
    cdef bint settled             # a free tells that not all nodes were used
    cdef s64 exit
    cdef s64 near                 # page moments begin here
    cdef readonly bint scripted   # Script: nothing is guessed
    cdef bint deferred            # nodes are still to be taken: an interrupt came first
    cdef public bint stale        # the twin differs from the best guess
    cdef bint ahead_of_spare      # a request is settled before the free that an event names
    cdef readonly s64 taken       # nodes taken silently
    cdef readonly s64 given       # and given back so
    cdef readonly s64 amended     # times that the twin was set right by the best guess
    cdef readonly dict buffers

    cpdef void off(self)
    @cython.locals(slab=s32, s=cache_p, page=page_p, pfn=pfn_t, g=guess_p, known=bint)
    cpdef void begin(self)
    @cython.locals(slab=s32, cpu=s32, pfn=pfn_t, c=cache_cpu_p, g=guess_p, last=s32)
    cdef void _begin_lists(self, list slabs)
    @cython.locals(node=s32, last=s32, head=s32, entry=virt_t, s=cache_p)
    cdef s32 _read_chain(self, guess_t *g, virt_t entry) noexcept nogil
    @cython.locals(slab=s32, node=s32, i=s32)
    cpdef void look(self, size_t address, s64 start, s64 available)
    @cython.locals(pfn=pfn_t, slab=s32, i=s32, k=s64)
    cdef s32 _slab_number(self, pfn_t pfn) noexcept nogil
    @cython.locals(i=s64, m=s64)
    cdef void _refresh(self, s32 slab) noexcept nogil
    @cython.locals(pfn=pfn_t, slab=s32, s=cache_p, place=s64)
    cdef s32 _node(self, u64 address) noexcept nogil
    @cython.locals(s=cache_p, place=s64, pfn=pfn_t)
    cdef u64 _address(self, s32 node) noexcept nogil
    @cython.locals(i=s32)
    cdef s32 _branch(self, s32 i, s64 cost) noexcept nogil
    @cython.locals(cost=s64, k=s32)
    cdef void _emit(self, s32 i) noexcept nogil
    @cython.locals(
        i=s32, k=s32, place=s32, best=s64, mine=s64, kept=s32, lowest=s64, g=guess_p
    )
    cdef void _select(self) noexcept nogil
    @cython.locals(g=guess_p, hash=s64, place=s64, k=s32)
    cdef s32 _alike(self, s32 i, s32 kept) noexcept nogil
    @cython.locals(g=guess_p, k=s32)
    cdef void _start_over(self) noexcept nogil
    cdef s64 _when(self, s32 node) noexcept nogil
    @cython.locals(g=guess_p, slab=s32, page=page_p, c=cache_cpu_p, cpu=s32, entry=s32, order=s32)
    cdef void adopt(self) noexcept nogil
    @cython.locals(c=cache_cpu_p, pfn=pfn_t, order=s32)
    cdef void _end_unknown(self, guess_t *g, s32 cpu) noexcept nogil
    @cython.locals(c=cache_cpu_p, count=s32, entry=s32, slabs=s32, page=page_p, _=s32)
    cdef void _write_partial(self, guess_t *g, s32 cpu) noexcept nogil
    @cython.locals(page=page_p)
    cdef bint _is_there(self, s32 slab) noexcept nogil
    @cython.locals(s=cache_p, first=virt_t, node=virt_t, before=virt_t, entry=s32)
    cdef virt_t _write_chain(self, guess_t *g, s32 head) noexcept nogil
