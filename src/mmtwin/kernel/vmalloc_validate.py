"""Checks of vmalloc's state: what must hold between any two calls."""

from itertools import pairwise

from mmtwin.kernel.constants import USE_FREE
from mmtwin.kernel.vmalloc_defs import VM_MAP_PUT_PAGES, VM_NO_GUARD
from mmtwin.kernel.vmap_area import MASK64
from mmtwin.kernel.vmap_block import block_problems


def validate(mm):
    """What is wrong with vmalloc's state, as sentences; [] if all holds or it was never used."""
    state = mm.vmalloc
    if state is None:
        return []
    return [*space_problems(state), *area_problems(mm, state), *block_problems(state)]


def space_problems(state):
    """Addresses: every one belongs to one range, trees and counters are right."""
    problems = [*tree_problems(state.free, "free")]
    ranges = [(area.start, area.end, "free") for area in state.free]
    for number, node in enumerate(state.nodes):
        problems += tree_problems(node.busy, f"busy of node {number}")
        if node.merges is not None:
            problems += tree_problems(node.lazy, f"lazy of node {number}")
        ranges += [(area.start, area.end, "busy") for area in node.busy]
        ranges += [(area.start, area.end, "lazy") for area in node.lazy]
        for pages, pool in node.pool.items():
            ranges += [(area.start, area.end, "pool") for area in pool]
            if any(area.size >> state.page_shift != pages for area in pool):
                problems.append(f"vmap node {number}: a pool holds areas of another size")
        problems += [
            f"{area} is busy in node {number}, which is not its address's"
            for area in node.busy if state.node_of(area.start) is not node
        ]
    lazy = sum(area.size for area in state.lazy()) >> state.page_shift
    if lazy != state.nr_lazy:
        problems.append(f"{state.nr_lazy} lazy pages are counted, {lazy} are there")
    ranges.sort()
    place = 1
    for start, end, kind in ranges:
        if start != place:
            problems.append(f"{kind} range at {start:#x}: {place:#x} was due")
        if start >= end:
            problems.append(f"{kind} range at {start:#x} is empty")
        place = end
    if place != MASK64:
        problems.append(f"the last range ends at {place:#x}")
    return problems


def tree_problems(areas, name):
    """A tree of areas against its list: order, colours, largest sizes."""
    problems = []
    found = []

    def height(node, parent):
        if node is None:
            return 1
        if node.parent is not parent:
            problems.append(f"{name}: {node} has a wrong parent")
        if node.red and parent is not None and parent.red:
            problems.append(f"{name}: {node} and its parent are red")
        left = height(node.left, node)
        found.append(node)
        right = height(node.right, node)
        if left != right:
            problems.append(f"{name}: {node} has more black nodes on one side")
        if areas.augment is not None:
            below = [child.largest for child in (node.left, node.right) if child is not None]
            if node.largest != max([*below, node.size]):
                problems.append(f"{name}: {node} has a wrong largest size")
        return left + (not node.red)

    if areas.tree.root is not None and areas.tree.root.red:
        problems.append(f"{name}: the root is red")
    height(areas.tree.root, None)
    listed = list(areas)
    if found != listed or len(listed) != areas.count:
        problems.append(f"{name}: tree and list differ")
    if any(a.end > b.start for a, b in pairwise(listed)):
        problems.append(f"{name}: areas overlap")
    return problems


def area_problems(mm, state):
    """What lies behind the areas: their pages are in use, mapped where they should be, counted."""
    problems, pages, seen = [], 0, set()
    users = mm.view("page")["users"]
    for area in state.busy():
        vm = area.vm
        if vm is None:
            continue
        if vm.address != area.start or vm.address + vm.size != area.end:
            problems.append(f"{area} is not where its vm_struct says")
        guard = 0 if vm.flags & VM_NO_GUARD else state.page_size
        if not vm.flags & VM_MAP_PUT_PAGES:
            pages += len(vm.pfns)
        if vm.pfns and len(vm.pfns) << mm.page_shift != vm.size - guard:
            problems.append(f"{area} has {len(vm.pfns)} pages for {vm.size} bytes")
        mapped = state.tables.translations(vm.address, vm.address + vm.size - guard)
        for place, pfn in enumerate(vm.pfns):
            address = vm.address + (place << mm.page_shift)
            if users[pfn] == USE_FREE:
                problems.append(f"page {pfn:#x} of {area} is free")
            if mapped[place : place + 1] != [pfn]:
                problems.append(f"{address:#x} is not mapped to page {pfn:#x}")
            if pfn in seen and not vm.flags & VM_MAP_PUT_PAGES:
                problems.append(f"page {pfn:#x} is in two areas")
            seen.add(pfn)
        if guard and state.tables.translate(area.end - guard) >= 0:
            problems.append(f"the guard page of {area} is mapped")
    for area in state.lazy():
        if state.tables.mapped(area.start, area.end):
            problems.append(f"{area} was freed and is still mapped")
    pages += state.nr_lost
    if pages != state.nr_pages:
        problems.append(f"{state.nr_pages} pages are counted, the areas have {pages}")
    return problems
