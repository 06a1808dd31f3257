"""What the kernel would have said: complaints of the twin as errors with the kernel's words."""

from collections.abc import Mapping
from typing import Any

from mmtwin.kernel.constants import load_constants

KINDS = load_constants("constants.pxd")
# COMPLAINT_* -> what the kernel prints (mm/slub.c, mm/slab_common.c, mm/page_alloc.c).
WORDS = {
    "DOUBLE_FREE": "kernel BUG at mm/slub.c: double free or corruption",
    "OBJECT_FREE": "Object already free",
    "INVALID_OBJECT": "Invalid object pointer",
    "NOT_SLAB": "page is neither a slab's nor a large kmalloc's",
    "WRONG_CACHE": "Wrong slab cache",
    "OBJECTS_REMAIN": "Objects remaining on __kmem_cache_shutdown()",
    "CORRUPT_FREELIST": "Freechain corrupt",
    "BAD_GFP": "Unexpected gfp. Fix your code!",
    "BAD_CACHE": "kmem_cache_create() failed with error -22",
    "OUT_OF_MEMORY": "SLUB: Unable to allocate memory on node",
    "BAD_ADDRESS": "unable to handle page fault: not an address of the direct map",
    "OVERWRITTEN": "red zone, poison or padding overwritten",
    "SLAB_STATE": "a slab's counters contradict its free list",
    "BAD_OPTION": "slub_debug option unknown",
    "BAD_PAGE": "Bad page state: freed while it is free",
    "BAD_ORDER": "a block whose pfn its order does not divide",
    "PAGE_ALLOC": "page allocation failure",
    "ORDER": "WARNING: at mm/page_alloc.c, __alloc_pages: order > MAX_ORDER; gfp",
    "STACK_OVERFLOW": "kernel stack overflow",
    "STACK_END": "corrupted stack end detected inside scheduler",
    "VMALLOC": "vmalloc error",
    "VFREE": "Trying to vfree() nonexistent vm area",
    "VMALLOC_ZERO": "vmalloc of 0 bytes",
    "VMAP": "vmap with flags that it must not have",
    "KVMALLOC": "kvmalloc of more than INT_MAX",
    "KMEMLEAK": "kmemleak",
    "KASAN": "BUG: KASAN",
}
NAMES = {value: name.removeprefix("COMPLAINT_") for name, value in KINDS.items()
         if name.startswith("COMPLAINT_")}


class Complaint(ValueError):
    """The kernel would have printed an error: `name`, `address`, and the words it uses.

    `report`: the whole of a report of several lines, else empty.
    """

    def __init__(self, complaint: Mapping[str, Any]) -> None:
        self.name = NAMES.get(complaint["kind"], str(complaint["kind"]))
        self.address: int = complaint["address"]
        self.detail: int = complaint["detail"]
        self.report: str = complaint.get("text", "")
        words = f"{WORDS.get(self.name, self.name)}: {self.address:#x}"
        super().__init__(self.report or words)
