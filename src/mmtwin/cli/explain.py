"""Explains what a number, a structure or a call means, for the right kernel."""

# thing: (module of cli/, what is explained)
THINGS = {
    "struct": ("explain_struct", "a structure's layout: struct page of any release, or by BTF"),
    "cache": ("explain_cache", "why a slab cache's size, order and objects are what they are"),
}
EXAMPLES = """\
examples:
  mmtwin explain struct page --view tail --kernel 5.13
  mmtwin explain struct kmem_cache               as this machine's kernel has it

`mmtwin explain THING --help` shows a thing's options."""
