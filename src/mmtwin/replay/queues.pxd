cimport cython

from mmtwin.kernel.structs cimport s32, s64

cdef enum:
    QUEUE_PLACES = 32768              # a power of two
    QUEUE_KERNEL_ZONE = 0             # blocks the kernel took from its free lists
    QUEUE_TWIN_DRAIN = 1              # pages the twin drained from per-CPU lists
    QUEUE_TWIN_SLAB = 2               # pages the twin took for slabs
    QUEUE_TWIN_SLAB_FREE = 3          # slabs the twin gave back
    QUEUE_TWIN_ZONE = 4               # taken by the twin for silent pages, before the kernel's
    NR_QUEUES = 5

# A queue of pfns.
cdef struct queue_t:
    s64 first
    s64 last
    s64 items[32768]

cdef inline queue_t *as_queues(size_t address, size_t count) noexcept nogil:
    return <queue_t *> address

cdef inline queue_t *queue_at(queue_t *queues, s32 number) noexcept nogil:
    return &queues[number]

cdef inline void put(queue_t *queue, s64 item) noexcept nogil:
    if queue.first == queue.last:
        queue.first = queue.last = 0  # the same few cache lines again
    queue.items[queue.last & (QUEUE_PLACES - 1)] = item
    queue.last += 1
    if queue.last - queue.first > QUEUE_PLACES:
        queue.first += 1

cdef inline s64 get(queue_t *queue) noexcept nogil:
    if queue.first == queue.last:
        return -1
    queue.first += 1
    return queue.items[(queue.first - 1) & (QUEUE_PLACES - 1)]

cdef inline s64 get_last(queue_t *queue) noexcept nogil:
    if queue.first == queue.last:
        return -1
    queue.last -= 1
    return queue.items[queue.last & (QUEUE_PLACES - 1)]

cdef inline s64 waiting(queue_t *queue) noexcept nogil:
    return queue.last - queue.first

cdef inline s64 item_at(queue_t *queue, s64 nth) noexcept nogil:
    return queue.items[(queue.first + nth) & (QUEUE_PLACES - 1)]

cdef inline bint first_is(queue_t *queue, s64 item) noexcept nogil:
    return queue.first != queue.last and queue.items[queue.first & (QUEUE_PLACES - 1)] == item

cdef inline bint empty(queue_t *queue) noexcept nogil:
    return queue.first == queue.last

@cython.locals(number=s64)
cdef bint replace(queue_t *queue, s64 item, s64 other) noexcept nogil
@cython.locals(number=s64, skipped=s64)
cdef s64 skip_to(queue_t *queue, s64 item) noexcept nogil
@cython.locals(number=s64, place=s64)
cdef void rename(queue_t *queue, s64 first, s64 count, s64 distance) noexcept nogil
