"""Draws pictures (SVG)."""

# thing: (module of cli/, what is drawn)
THINGS: dict[str, tuple[str, str]] = {
    "process": ("draw_process", "a process's virtual memory map, with what is resident"),
    "page-flags": ("draw_page_flags", "where page->flags keeps section, node, zone, flags"),
    "kmalloc": ("draw_kmalloc", "the code flow of a kmalloc(), the path taken marked"),
    "memory": ("draw_memory", "a map of physical memory, every page by its use"),
    "slab": ("draw_slab", "a slab's bytes: objects, free list, padding, tail"),
}
EXAMPLES = """\
examples:
  mmtwin draw page-flags -o layouts.svg
  mmtwin draw slab kmalloc-192 -o slab.svg
  mmtwin draw process --pid 1234 -o map.svg

`mmtwin draw THING --help` shows a thing's options."""
