"""What a walk knows of pages that a call gave back: facts for the texts and conditions of
data/walks.txt, as walk_facts.py has those of allocations.
"""

from collections.abc import Mapping
from typing import Any

from mmtwin.kernel.page_alloc_pcp import order_to_pindex
from mmtwin.machine import Machine
from mmtwin.units import counted

Steps = Mapping[str, list[tuple[int, ...]]]
PCP_TYPES = 3  # MIGRATE_PCPTYPES
MOVABLE = "Movable"


def before_free_pages(machine: Machine, pfn: int, order: int) -> dict[str, Any]:
    """What stands before the block of a pfn is freed."""
    return {"page_order": order, "call_text": f"__free_pages(pfn {pfn:#x}, {order})"} | list_facts(
        machine, pfn
    )


def list_facts(machine: Machine, pfn: int) -> dict[str, Any]:
    """The CPU's lists of a page's zone."""
    lists = machine.mm.view("pcp")[number_of(machine, pfn)]
    return {"list_pages": int(lists["count"]), "list_high": int(lists["high"])}


def number_of(machine: Machine, pfn: int) -> int:
    """Where the CPU's lists of a page's zone stand among all."""
    zone = int(machine.mm.view("page")["zone"][pfn])
    return zone * int(machine.mm.nr_cpus) + machine.cpu


def free_page_facts(
    machine: Machine, steps: Steps, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Which way the first block took that was given back, if one was."""
    if "mm_page_free" not in steps:
        return {}
    mm = machine.mm
    pfn, order = steps["mm_page_free"][0][:2]
    kind = block_type(machine, pfn)
    listed = order in listed_orders(machine)
    on_list = "pcp_free" in steps
    isolated = listed and kind == mm.migrate_isolate
    drained = sum(1 << each[1] for each in steps.get("mm_page_pcpu_drain", ()))
    merges = steps.get("buddy_merge", [])
    found: dict[str, Any] = {
        "freed_pfn": f"{pfn:#x}", "freed_order": order, "listed": listed, "on_list": on_list,
        "isolated": isolated, "busy": listed and not on_list and not isolated,
        "drained": drained > 0,
        "listed_text": f"order {order}: the CPU's lists hold {orders_text(machine)}",
        "prepare_text": "is it fit to be freed? then it forgets its use",
        "block_text": block_text(machine, kind),
        "lock_text": "the lists' lock is free" if on_list else
        "the lists' lock is held, by whom this call interrupted",
        "merge_text": f"merges with free buddies: a block of order {max(m[1] for m in merges)}"
        if merges else "no buddy is free: it stays a block of its own",
        "drained_text": f"{counted(drained, 'page')} of the lists go back to the free lists",
    }  # fmt: skip
    found.update(commit_facts(machine, steps, {**facts, **found}))
    return found


def commit_facts(machine: Machine, steps: Steps, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The list that the block joined."""
    if not facts["on_list"]:
        return {"commit_text": "not onto the list", "index_text": "", "high_text": ""}
    _, order, kind = steps["pcp_free"][0][:3]
    name = type_name(machine, kind)
    pages = facts.get("list_pages", 0) + (1 << order)
    high = facts.get("list_high", 0)
    enough = "so many that some go back" if facts["drained"] else "as yet there is room"
    return {
        "commit_text": f"first of the CPU's list of {name} blocks of order {order}",
        "index_text": f"list {order_to_pindex(machine.mm, kind, order)}: order {order}, {name}",
        "high_text": f"{counted(pages, 'page')} on the lists, {high} may be: {enough}",
    }


def block_type(machine: Machine, pfn: int) -> int:
    """The migratetype of a page's pageblock."""
    return int(machine.mm.view("pageblock")[pfn >> machine.mm.pageblock_order])


def type_name(machine: Machine, kind: int) -> str:
    """A migratetype as /proc/pagetypeinfo names it."""
    return machine.profile.migratetypes[kind] if machine.profile else str(kind)


def block_text(machine: Machine, kind: int) -> str:
    """What the type of its pageblock means for a freed page."""
    name = type_name(machine, kind)
    if kind < PCP_TYPES:
        return f"its pageblock is {name}"
    if kind == machine.mm.migrate_isolate:
        return f"its pageblock is {name}: somebody wants it free, the lists must not keep it"
    return f"its pageblock is {name}: on the lists it counts as {MOVABLE}"


def listed_orders(machine: Machine) -> list[int]:
    """The orders whose blocks lie on per-CPU lists: pcp_allowed_order()."""
    has = machine.mm.view("has")[0]
    small = list(range(int(has.pcp_max_order) + 1))
    return [*small, int(machine.mm.pageblock_order)] if has.pcp_thp_lists else small


def orders_text(machine: Machine) -> str:
    """Which orders lie on per-CPU lists."""
    largest = int(machine.mm.view("has")[0].pcp_max_order)
    text = f"orders up to {largest}" if largest else "order 0 only"
    return " and ".join([text, *map(str, listed_orders(machine)[largest + 1:])])
