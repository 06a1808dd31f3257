"""kvmalloc(): kmalloc() if it has a block as large, else vmalloc() (mm/util.c up to 6.14,
mm/slub.c in 6.18; releases between were not looked at).
"""

from mmtwin.kernel.constants import COMPLAINT_KVMALLOC
from mmtwin.kernel.mm import report
from mmtwin.kernel.slab_common import __kmalloc_node as kmalloc_node
from mmtwin.kernel.vmalloc import __vmalloc_node_range
from mmtwin.kernel.vmalloc_defs import (
    GFP_DIRECT_RECLAIM,
    GFP_KERNEL,
    GFP_NOFAIL,
    GFP_NORETRY,
    GFP_NOWARN,
    GFP_RETRY_MAYFAIL,
    INT_MAX,
    VM_ALLOW_HUGE_VMAP,
)


def kmalloc_gfp_adjust(mm, gfp, size):
    """The flags of the kmalloc() that kvmalloc() tries: above a page quietly, and without effort
    unless __GFP_RETRY_MAYFAIL asks for it.
    """
    if size <= 1 << mm.page_shift:
        return gfp
    gfp |= GFP_NOWARN
    if not gfp & GFP_RETRY_MAYFAIL:
        if mm.view("has")[0].kvmalloc_no_reclaim:
            gfp &= ~GFP_DIRECT_RECLAIM
        else:
            gfp |= GFP_NORETRY
    if mm.view("has")[0].kvmalloc_any_gfp:
        gfp &= ~GFP_NOFAIL  # 5.18: the vmalloc() sees to that
    return gfp


def kvmalloc_node(mm, size, gfp, node, caller):
    """Allocates `size` (u64) bytes: the address, 0 (NULL) if there is no memory; kvmalloc_node().

    vmalloc() is never tried for a page or less, nor for more than INT_MAX (a complaint unless
    __GFP_NOWARN), nor where `gfp` forbids it: before 5.18 anything less than GFP_KERNEL, until
    6.19 requests that must not wait. Kernel: a421ef303008, 46459154f997.
    """
    has = mm.view("has")[0]
    if not has.kvmalloc_any_gfp and gfp & GFP_KERNEL != GFP_KERNEL:
        return kmalloc_node(mm, size, gfp, node)
    object = kmalloc_node(mm, size, kmalloc_gfp_adjust(mm, gfp, size), node)
    if object or size <= 1 << mm.page_shift:
        return object
    may_wait = gfp & GFP_DIRECT_RECLAIM
    if not may_wait and not has.vmalloc_nonblocking:
        return 0
    if size > INT_MAX:
        if not gfp & GFP_NOWARN:
            report(mm, COMPLAINT_KVMALLOC, 0, f"WARNING: kvmalloc_node: size {size} > INT_MAX")
        return 0
    huge = VM_ALLOW_HUGE_VMAP if has.huge_vmalloc and may_wait else 0
    return __vmalloc_node_range(
        mm, size, 1, mm.vmalloc_start, mm.vmalloc_end, gfp, huge, node, caller
    )
