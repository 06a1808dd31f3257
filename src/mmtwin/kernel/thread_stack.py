"""Kernel stacks: where a task's stack comes from, where it goes, its bytes (kernel/fork.c).

Mapped virtually (CONFIG_VMAP_STACK), a stack takes single pages from anywhere, and each CPU keeps
two freed ones. Else it is one block of pages of the direct map, which must be free in a row.
"""

import numpy as np

from mmtwin.kernel.constants import CHECK_KASAN, USE_STACK
from mmtwin.kernel.page_alloc import alloc_pages, free_pages
from mmtwin.kernel.slub import kmem_cache_alloc_node, kmem_cache_free
from mmtwin.kernel.slub_cache import kmem_cache_create
from mmtwin.kernel.vmalloc import __vmalloc_node_range, area_pages, vfree

GFP_KERNEL = 0xCC0
GFP_KERNEL_ZERO = GFP_KERNEL | 0x100
THREADINFO_GFP = GFP_KERNEL_ZERO | 0x400000  # GFP_KERNEL_ACCOUNT | __GFP_ZERO
NR_CACHED_STACKS = 2
MASK64 = (1 << 64) - 1


class Stack:
    """A kernel stack: addresses `low` to `low` + `size`, the pages that hold it in order.

    `area`: whether vmalloc mapped it; `cache`: number of the thread_stack cache it is from, or -1.
    """

    def __init__(self, low, size, pages, area=False, cache=-1):
        self.low = low
        self.size = size
        self.pages = pages
        self.area = area
        self.cache = cache


def find_cache(mm, *names):
    """The number of the first of these caches that the machine has, under its own name or as an
    alias. Raises LookupError if it has none.
    """
    known = mm.tasks.caches
    if names not in known:
        alive = mm.view("cache")["alive"]
        for number, name in enumerate(mm.cache_names):
            if alive[number] and {name, *mm.cache_aliases.get(number, ())} & set(names):
                known[names] = number
                break
        else:
            raise LookupError(f"the machine has no slab cache {names[0]}")
    return known[names]


def thread_stack_cache_init(mm):
    """Creates the cache thread_stack where a stack is neither mapped nor a page or more."""
    has = mm.view("has")[0]
    if not has.vmap_stack and has.thread_size < 1 << mm.page_shift:
        size = has.thread_size
        kmem_cache_create(mm, "thread_stack", size, size, 0, usersize=size)


def alloc_thread_stack_node(mm, task, node):
    """A stack for a task: one that the CPU keeps, or a new one; whether there is one.

    Virtually mapped (CONFIG_VMAP_STACK) it takes single pages from anywhere; else it is one block
    of pages, which must be free in a row. Where pages are larger than stacks and not mapped one
    by one, it is an object of the cache thread_stack.
    """
    has = mm.view("has")[0]
    size = has.thread_size
    if has.vmap_stack:
        task.stack = take_cached_stack(mm) or vmap_stack(mm, size, has.thread_align, node)
    elif size >= 1 << mm.page_shift:
        order = (size >> mm.page_shift).bit_length() - 1
        pfn = alloc_pages(mm, THREADINFO_GFP, order, node)
        if pfn >= 0:
            low = mm.page_offset + (pfn << mm.page_shift) & MASK64
            task.stack = Stack(low, size, range(pfn, pfn + (1 << order)))
            mm.view("page")["users"][pfn : pfn + (1 << order)] = USE_STACK
    else:
        cache = find_cache(mm, "thread_stack")
        low = kmem_cache_alloc_node(mm, cache, THREADINFO_GFP, node)
        if low:
            pfn = (low - mm.page_offset & MASK64) >> mm.page_shift
            task.stack = Stack(low, size, [pfn], cache=cache)
    return task.stack is not None


def vmap_stack(mm, size, align, node):
    """A new stack in the vmalloc area, or None: charged to the task's memory cgroup by whoever
    takes it, so it is asked for without __GFP_ACCOUNT.
    """
    low = __vmalloc_node_range(
        mm, size, align, mm.vmalloc_start, mm.vmalloc_end, GFP_KERNEL_ZERO, 0, node,
        "kernel_clone",
    )  # fmt: skip
    return Stack(low, size, area_pages(mm, low), area=True) if low else None


def take_cached_stack(mm):
    """A stack that this CPU kept, its old bytes cleared; None if it kept none."""
    places = mm.tasks.cached_stacks[mm.cpu]
    for place, stack in enumerate(places):
        if stack is not None:
            places[place] = None
            if mm.checkers & CHECK_KASAN:
                mm.kasan.unpoison_stack(stack.low, stack.size)
            if mm.contents:
                write_stack(mm, stack, stack.low, bytes(stack.size))
            return stack
    return None


def keep_thread_stack(mm, stack):
    """try_release_thread_stack_to_cache(): the CPU keeps a stack if it has a place."""
    places = mm.tasks.cached_stacks[mm.cpu]
    for place, there in enumerate(places):
        if there is None:
            places[place] = stack
            return True
    return False


def free_thread_stack(mm, stack):
    """A stack that nobody runs on: kept by the CPU, or given back.

    At once before e540bf3162e8 (5.18), then after a grace period, when a place to keep a mapped
    one may have become empty.
    """
    if stack.area and keep_thread_stack(mm, stack):
        return
    if mm.view("has")[0].stack_freed_by_rcu:
        mm.tasks.rcu.append((thread_stack_free_rcu, stack))
    else:
        give_back_stack(mm, stack)


def thread_stack_free_rcu(mm, stack):
    """The grace period of free_thread_stack() is over."""
    if not (stack.area and keep_thread_stack(mm, stack)):
        give_back_stack(mm, stack)


def give_back_stack(mm, stack):
    """vfree(), __free_pages() or kmem_cache_free() of a stack."""
    if stack.area:
        vfree(mm, stack.low)
    elif stack.cache >= 0:
        kmem_cache_free(mm, stack.cache, stack.low)
    else:
        free_pages(mm, stack.pages[0], len(stack.pages).bit_length() - 1)


def free_vm_stack_cache(mm, cpu):
    """A CPU goes: the stacks that it kept go back."""
    places = mm.tasks.cached_stacks[cpu]
    for place, stack in enumerate(places):
        if stack is not None:
            places[place] = None
            give_back_stack(mm, stack)


def stack_place(mm, stack, address):
    """Where in RAM a byte of a stack is: an index of `ram` seen as bytes."""
    offset = address - stack.low
    if not stack.area:
        return stack.low - mm.page_offset + offset & MASK64
    pfn = stack.pages[offset >> mm.page_shift]
    return (pfn << mm.page_shift) + (offset & (1 << mm.page_shift) - 1)


def stack_parts(mm, stack, address, size):
    """[(index in RAM, bytes)] of a range on a stack, page by page."""
    parts = []
    while size > 0:
        room = (1 << mm.page_shift) - (address & (1 << mm.page_shift) - 1)
        parts.append((stack_place(mm, stack, address), min(size, room)))
        address += min(size, room)
        size -= min(size, room)
    return parts


def write_stack(mm, stack, address, data):
    """Writes bytes on a stack."""
    ram = mm.view("ram").view(np.uint8)
    done = 0
    for place, size in stack_parts(mm, stack, address, len(data)):
        ram[place : place + size] = np.frombuffer(data, np.uint8, size, done)
        done += size


def read_stack(mm, stack, address, size):
    """Bytes of a stack."""
    ram = mm.view("ram").view(np.uint8)
    parts = stack_parts(mm, stack, address, size)
    return b"".join(ram[place : place + length].tobytes() for place, length in parts)


def kernel_stack_kb(mm, node):
    """NR_KERNEL_STACK_KB of a node: account_kernel_stack() of every task that is counted."""
    if mm.tasks is None:
        return 0
    nodes = mm.view("zone")["node"]
    zone_of = mm.view("page")["zone"]
    counted = 0
    for task in mm.tasks.tasks.values():
        if task.accounted and task.stack is not None:
            share = task.stack.size // len(task.stack.pages) >> 10
            counted += share * sum(int(nodes[zone_of[pfn]]) == node for pfn in task.stack.pages)
    return counted
