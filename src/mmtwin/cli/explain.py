"""Explains what a number, a structure or a call means, for the right kernel."""

# thing: (module of cli/, what is explained)
THINGS = {
    "gfp": ("explain_gfp", "a GFP mask: its flags, its names as a kernel prints them, its effect"),
    "page-flags": ("explain_page_flags", "a page->flags word, a page dump, a kpageflags entry"),
    "page": ("explain_page", "a page of a machine: its use, its struct page read by that"),
    "struct": ("explain_struct", "a structure's layout: struct page of any release, or by BTF"),
    "kmalloc": ("explain_kmalloc", "one kmalloc(), step by step, as the twin makes it"),
    "kfree": ("explain_kfree", "one kfree(), step by step"),
    "kmem_cache_alloc": ("explain_cache_alloc", "one kmem_cache_alloc(), step by step"),
    "alloc_pages": ("explain_alloc_pages", "one alloc_pages(), step by step"),
    "free_pages": ("explain_free_pages", "one __free_pages(), step by step"),
    "page-fault": ("explain_page_fault", "one page fault of a process, step by step"),
    "vmalloc": ("explain_vmalloc", "one vmalloc(), step by step"),
    "kvmalloc": ("explain_kvmalloc", "one kvmalloc(), step by step"),
    "prefetch": ("explain_prefetch", "the cache misses that SLUB's prefetch saves in a replay"),
    "prfm": ("explain_prfm", "a prefetch operation of arm64, and how prefetch() is written"),
    "page-size": ("explain_page_size", "page sizes, and what struct page costs for any RAM"),
    "limits": ("explain_limits", "orders, kmalloc's limits, THREAD_SIZE by release and page size"),
    "cache": ("explain_cache", "why a slab cache's size, order and objects are what they are"),
}
EXAMPLES = """\
examples:
  mmtwin explain gfp 0xcc0                       every reading of a mask, by release
  mmtwin explain page-flags 0x17ffffc0010200     flags, node, zone; or a whole page dump
  mmtwin explain struct page --view tail --kernel 5.13
  mmtwin explain kmalloc 100 --state warm        the fast path of SLUB
  mmtwin explain struct kmem_cache               as this machine's kernel has it

`mmtwin explain THING --help` shows a thing's options."""
