# What a replay counts: places in Engine.count. counts.py reads the same lines.
cdef enum:
    COUNT_EVENTS = 0
    # fidelity: how many responses the twin predicted, and how many were the kernel's
    COUNT_ZONE_PREDICTED = 1
    COUNT_ZONE_EXACT = 2
    COUNT_PCP_PREDICTED = 3
    COUNT_PCP_EXACT = 4
    COUNT_OBJECTS_PREDICTED = 5
    COUNT_OBJECTS_EXACT = 6
    COUNT_OBJECTS_SAME_SLAB = 7
    COUNT_BYTES_PREDICTED = 8
    COUNT_BYTES_EXACT = 9
    COUNT_DRAIN_PREDICTED = 10
    COUNT_DRAIN_EXACT = 11
    COUNT_SLAB_FREE_PREDICTED = 12
    COUNT_SLAB_FREE_EXACT = 13
    COUNT_SILENT_PAGES = 14           # pages of vmalloc, taken as their cause implies
    COUNT_SILENT_PAGES_EXACT = 15     # of these, freed later as the pages they were taken to be
    COUNT_MIGRATED = 16               # pages that compaction took, as the pages freed imply
    # unexplained events, by kind
    UNEXPLAINED_FIRST = 24
    UNEXPLAINED_SILENT_OBJECT_ALLOC = 24  # a free of an object whose allocation no event named
    UNEXPLAINED_SILENT_OBJECT_FREE = 25   # an object given out again whose free no event named
    UNEXPLAINED_SILENT_SLAB = 26      # a slab taken for objects that no event names
    UNEXPLAINED_SILENT_PAGE_ALLOC = 27    # a free of a page that was free
    UNEXPLAINED_SILENT_PAGE_FREE = 28     # a page given out that was in use
    UNEXPLAINED_EXTERNAL_DRAIN = 29   # a per-CPU list drained by nobody the events name
    UNEXPLAINED_DRAIN_MISSED = 30     # the twin drained a page, the kernel did not
    UNEXPLAINED_ZONE_MISSED = 31      # the kernel took a block from its free lists, the twin none
    UNEXPLAINED_ZONE_EXTRA = 32       # the other way round
    UNEXPLAINED_UNKNOWN_CACHE = 33    # an object of a cache that nothing names
    UNEXPLAINED_UNKNOWN_OBJECT = 34   # a free of an object in a page the twin has not as a slab
    UNEXPLAINED_SLAB_KEPT = 35        # the kernel gave a slab back, the twin did not
    UNEXPLAINED_SLAB_GIVEN_BACK = 36  # the other way round
    UNEXPLAINED_FAILED_ALLOC = 37     # the twin found no memory where the kernel did
    UNEXPLAINED_FAILED_DEMAND = 38    # the kernel's own failed allocation
    UNEXPLAINED_UNREACHABLE = 39      # the kernel's answer could not be taken over into the twin
    UNEXPLAINED_OUTSIDE = 40          # an address or pfn outside the machine
    UNEXPLAINED_NOT_COMPACTED = 41    # pages that compaction took in the twin only
    UNEXPLAINED_LAST = 41
    COUNT_PLACES = 48
