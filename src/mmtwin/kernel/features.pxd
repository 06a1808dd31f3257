# What a kernel of a version and configuration has: the kernel floor asks these, never for a version number.
# Values, commits and releases: versions/features.py (one row for each field, same order of sections).
from mmtwin.kernel.structs cimport s32

cdef struct features_t:
    # page allocator
    s32 pcp_max_order             # highest order on per-CPU lists (0 before 5.14, then 3)
    # slub
    s32 cpu_partial_counts_slabs  # cpu partial lists are bounded by slabs, not objects
