"""Whose memory an address of the direct map is: what a stray write hits."""

from typing import Any

from mmtwin.kernel.constants import USE_FREE, PG_buddy, PG_hole, PG_pcp, PG_slab, PG_tail
from mmtwin.kernel.mm import MM
from mmtwin.kernel.slub_state import live_objects
from mmtwin.kernel.vmalloc import vmalloc_of
from mmtwin.machine.views import USES

MASK64 = (1 << 64) - 1


Live = dict[int, set[int]]


def owner_of(mm: MM, address: int, live: Live | None = None) -> str:
    """Whose the byte at an address is, in words: a task's stack, an object and whether it is in
    use, a free block, what else its page is for. `live`: objects in use by cache, as far as known.
    """
    if mm.vmalloc_start <= address < mm.vmalloc_end:
        return area_owner(mm, address)
    pfn = int((address - mm.page_offset & MASK64) >> mm.page_shift)
    if not mm.min_pfn <= pfn < mm.max_pfn or mm.view("page")["flags"][pfn] & PG_hole:
        return "no RAM"
    task = stack_owner(mm, address)
    if task is not None:
        return f"the stack of task {task.pid} ({task.comm})"
    page = mm.view("page")
    head = int(page["compound_head"][pfn]) if page["flags"][pfn] & PG_tail else pfn
    if page["flags"][head] & PG_slab:
        return object_owner(mm, head, address, {} if live is None else live)
    if page["users"][pfn] == USE_FREE:
        return free_owner(mm, pfn)
    return f"page {pfn:#x}: {USES[int(page['users'][pfn])]}"


def stack_owner(mm: MM, address: int) -> Any:
    """The task whose stack an address is on, or None."""
    for task in mm.tasks.tasks.values() if mm.tasks else ():
        stack = task.stack
        if stack and stack.low <= address < stack.low + stack.size:
            return task
    return None


def area_owner(mm: MM, address: int) -> str:
    """What is mapped at an address of vmalloc space."""
    task = stack_owner(mm, address)
    if task is not None:
        return f"the stack of task {task.pid} ({task.comm})"
    area = vmalloc_of(mm).find(address)
    if area is None or area.vm is None:
        return "nothing mapped"
    return f"vmalloc area {area.vm.address:#x} of {area.vm.caller or 'an unknown caller'}"


def object_owner(mm: MM, head: int, address: int, live: Live) -> str:
    """An object of a slab."""
    number = int(mm.view("page")["cache"][head])
    cache = mm.view("cache")[number]
    base = int(mm.page_offset + (head << mm.page_shift)) & MASK64
    first = base + int(cache["red_left_pad"])
    name = mm.cache_names[number]
    index = (address - first) // int(cache["size"])
    if not 0 <= index < int(mm.view("page")["objects"][head]):
        return f"padding of a slab of {name}"
    object_ = first + index * int(cache["size"])
    if number not in live:
        live[number] = {int(each) for each in live_objects(mm, number)}
    return f"{name}: object {object_:#x}, {'in use' if object_ in live[number] else 'free'}"


def free_owner(mm: MM, pfn: int) -> str:
    """A free page: the block that it belongs to, and the kind of list that holds it."""
    page = mm.view("page")
    for order in range(mm.nr_orders):
        head = pfn & ~((1 << order) - 1)
        flags = int(page["flags"][head])
        if flags & (PG_buddy | PG_pcp) and int(page["order"][head]) >= order:
            where = "a free list" if flags & PG_buddy else "a CPU's list"
            of_order = int(page["order"][head])
            return f"page {pfn:#x}: on {where}, block {head:#x} of order {of_order}"
    return f"page {pfn:#x}: free"


def owners(mm: MM, low: int, high: int) -> list[str]:
    """Whose the bytes from `low` to `high` are, each named once, the lowest first."""
    live: Live = {}
    found: dict[str, None] = {}
    address = low
    while address < high:
        owner = owner_of(mm, address, live)
        found.setdefault(owner)
        inside = ": object " in owner or owner.startswith("padding")
        address += 8 if inside else (1 << int(mm.page_shift)) - address % (1 << int(mm.page_shift))
    return list(found)
