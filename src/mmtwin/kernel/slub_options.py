"""What slub_debug= asks for, and what its reports need to know: a SlubDebug; kmem_cache_flags().

mm/slub.c: setup_slub_debug(), kmem_cache_flags(), the end of kmem_cache_open(). Plain Python.
"""

from mmtwin.kernel.slub_defs import SLAB_NO_USER_FLAGS, SLAB_NOLEAKTRACE, SLAB_STORE_USER

NOBODY = "start_kernel"  # who calls where no frame says so


class SlubDebug:
    """The options of slub_debug= and the state of its reports.

    `flags`: SLAB_* of every cache; `blocks`: (SLAB_*, names or `prefix*`) for the caches they
    name; `spares_orders`: `O`, caches whose slabs would need a higher order are left alone.
    `pointer`: how an address is printed; `slab_pointer`, `page_flags`: of a slab's pfn, as text;
    `uname`: as dump_stack() prints it; `taints`: letters of taint flags by place; `text_start`:
    the address before the first symbol's.
    """

    def __init__(
        self, flags, blocks, spares_orders, *, pointer, slab_pointer, page_flags, uname, taints,
        text_start,
    ):
        self.flags = flags
        self.blocks = blocks
        self.spares_orders = spares_orders
        self.pointer = pointer
        self.slab_pointer = slab_pointer
        self.page_flags = page_flags
        self.uname = uname
        self.taints = taints
        self.tainted = set()
        self.text_start = text_start
        self.errors = 0  # what the kernel's own unit test counts: slab_add_kunit_errors()
        self.traced = []  # TRACE lines of SLAB_TRACE caches
        self.symbols = {}
        self.names = {}
        self.stacks = {}
        self.depot = []

    def symbol_address(self, name):
        """An address for a function's name, the same each time."""
        if name not in self.symbols:
            address = self.text_start + 0x100 * (len(self.symbols) + 1)
            self.symbols[name] = address
            self.names[address] = name
        return self.symbols[name]

    def symbol(self, address):
        """The function at an address, as %pS prints it."""
        return self.names.get(address, f"0x{address:x}")

    def save_stack(self, frames):
        """stack_depot_save(): a handle, not 0, for functions, innermost first."""
        stack = tuple(frames)
        if stack not in self.stacks:
            self.depot.append(stack)
            self.stacks[stack] = len(self.depot)
        return self.stacks[stack]

    def stack(self, handle):
        """stack_depot_fetch(): the functions of a handle."""
        return self.depot[handle - 1] if 0 < handle <= len(self.depot) else ()

    def block_flags(self, name):
        """The SLAB_* of the first block that names a cache, None if none does.

        A name ends at its first `*`: what follows does not count.
        """
        for flags, patterns in self.blocks:
            for pattern in patterns:
                stem, star, _ = pattern.partition("*")
                if name.startswith(stem) if star else name == pattern:
                    return flags
        return None


def kmem_cache_flags(mm, flags, name):
    """kmem_cache_flags(): a cache's SLAB_* with those that slub_debug= sets on it."""
    if flags & SLAB_NO_USER_FLAGS:
        return flags
    if mm.slub_debug is None:
        return flags | mm.view("has")[0].slub_debug_flags
    own = mm.slub_debug.block_flags(name)
    if own is not None:
        return flags | own
    everywhere = mm.slub_debug.flags
    if flags & SLAB_NOLEAKTRACE:
        everywhere &= ~SLAB_STORE_USER
    return flags | everywhere


def current_task(mm):
    """(pid, comm) of the running task: the CPU's idle task on a machine without tasks."""
    if mm.tasks is None:
        return 0, f"swapper/{mm.cpu}"
    task = mm.tasks.current[mm.cpu]
    return task.pid, task.comm


def current_frames(mm):
    """The functions that the running task is in, innermost first."""
    return tuple(reversed(mm.frames)) or (NOBODY,)
