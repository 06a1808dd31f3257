"""The functions that lead to each tracepoint, as /proc/PID/stack would name them.

What is always inlined has no frame of its own: free_pages_prepare(), __rmqueue() and what it
calls, rmqueue(). Names differ by release.
"""

ENTRIES = (
    "__alloc_pages_nodemask", "__alloc_pages", "__alloc_pages_noprof",
    "__alloc_frozen_pages_noprof",
)  # fmt: skip
REFILLS = ((), ("rmqueue_bulk",), ("__rmqueue_pcplist",))
FREES = (
    ("__free_pages", "free_unref_page"), ("__free_pages", "free_frozen_pages"),
    ("__free_pages", "___free_pages", "__free_frozen_pages"),
)  # fmt: skip
TAGGED = 2  # from this entry on allocation tags have renamed allocating functions (6.10)


def tracepoint_paths(mm):
    """{tracepoint: the functions from the one that a caller names to the one that it is in}."""
    has = mm.view("has")[0]
    entry = ENTRIES[has.alloc_pages_entry]
    tagged = "_noprof" if has.alloc_pages_entry >= TAGGED else ""
    refill = (entry, "get_page_from_freelist", *REFILLS[has.pcp_refill_function])
    free = FREES[has.free_pages_entry]
    unmap = ("vfree",) if has.vunmap_own_words else ("vfree", "__vunmap")
    unmap = (*unmap, "remove_vm_area", "free_vmap_area_noflush")
    purge = ("drain_vmap_area_work",) if has.vmap_purge_work else unmap
    return {
        "mm_page_alloc": (entry,),
        "mm_page_alloc_zone_locked": refill,
        "mm_page_alloc_extfrag": refill,
        "mm_page_free": free,
        "mm_page_free_batched": (
            "free_unref_folios" if has.free_unref_folios else "free_unref_page_list",
        ),
        "mm_page_pcpu_drain": (*free, "free_pcppages_bulk"),
        "kmalloc": (f"__kmalloc{tagged}",),
        "kfree": ("kfree",),
        "kmem_cache_alloc": (f"kmem_cache_alloc{tagged}",),
        "kmem_cache_free": ("kmem_cache_free",),
        "alloc_vmap_area": (
            f"__vmalloc_node_range{tagged}", "__get_vm_area_node", "alloc_vmap_area"
        ),
        "free_vmap_area_noflush": unmap,
        "purge_vmap_area_lazy": (*purge, "__purge_vmap_area_lazy"),
    }
