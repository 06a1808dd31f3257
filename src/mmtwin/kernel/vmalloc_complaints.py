"""What vmalloc() prints when it fails (warn_alloc() of mm/vmalloc.c), in mm.complaints."""

from mmtwin.kernel.constants import COMPLAINT_VMALLOC
from mmtwin.kernel.mm import report
from mmtwin.kernel.vmalloc_defs import GFP_NOWARN


def warn_alloc(mm, gfp, text):
    """warn_alloc(): a complaint, unless __GFP_NOWARN."""
    if not gfp & GFP_NOWARN:
        report(mm, COMPLAINT_VMALLOC, 0, text)


def warn_range(mm, gfp, size, text):
    """warn_alloc() of __vmalloc_node_range(): before 5.13 it does not say what failed."""
    if mm.view("has")[0].vmalloc_says_why:
        warn_alloc(mm, gfp, f"vmalloc error: {text}")
    else:
        warn_alloc(mm, gfp, f"vmalloc: allocation failure: {size} bytes")


def warn_pages(mm, gfp, text):
    """warn_alloc() of __vmalloc_area_node(), which adds __GFP_NOWARN to its own flags before 5.17
    and from 5.18 to 6.2: its complaints are never seen there.
    """
    if mm.view("has")[0].vmalloc_says_why >= 2:
        warn_alloc(mm, gfp, f"vmalloc error: {text}")


def warn_no_pages(mm, gfp, vm, size):
    """What the kernel says where pages ran out; `size`: the bytes wanted."""
    says = mm.view("has")[0].vmalloc_says_why
    if says < 4:
        size = len(vm.pfns) << mm.page_shift
    if says < 3:
        text = f"size {size}, page order {vm.page_order}, failed to allocate pages"
        warn_pages(mm, gfp, text)
    elif not vm.page_order:  # else it is tried with single pages
        warn_pages(mm, gfp, f"size {size}, failed to allocate pages")
