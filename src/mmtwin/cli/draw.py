"""Draws pictures (SVG)."""

# thing: (module of cli/, what is drawn)
THINGS: dict[str, tuple[str, str]] = {
    "slab": ("draw_slab", "a slab's bytes: objects, free list, padding, tail"),
}
EXAMPLES = """\
examples:
  mmtwin draw slab kmalloc-192 -o slab.svg

`mmtwin draw THING --help` shows a thing's options."""
