"""What a walk knows of slub_debug's checks: facts for the texts and conditions of data/walks.txt,
as walk_facts.py has the others.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmtwin.kernel.slub_defs import DEFS
from mmtwin.machine import Machine

Steps = Mapping[str, list[tuple[int, ...]]]
# complaints about objects and slabs, not about memory that there is not
BAD_OBJECT = (
    "DOUBLE_FREE", "OBJECT_FREE", "INVALID_OBJECT", "OVERWRITTEN", "SLAB_STATE",
    "CORRUPT_FREELIST",
)  # fmt: skip
# what was found: 6.15 says it in a line of its own (ed5ec2e95259), others behind the taints
FOUND = re.compile(r"^\[(.+?)\]|^BUG .*?\): (.+)|: ([^:]+): 0x", re.M)
SAID = re.compile(r"^(?:\[.*|BUG .*|FIX .*|kernel BUG .*)$", re.M)
ALL_USED = "Marking all objects used"
TOO_FEW = "allocated objects but"  # a slab with fewer objects in use than are freed (6.1)


def before_debug(machine: Machine, cache: int) -> dict[str, Any]:
    """Whether a cache's objects are checked, and how."""
    mm = machine.mm
    flags = int(mm.view("cache")["flags"][cache])
    node = cache * mm.nr_nodes + int(mm.view("cpu_node")[mm.cpu])
    head = int(mm.view("cache_node")["partial"][node])
    debug = bool(mm.slub_bytes and flags & DEFS["SLAB_DEBUG_FLAGS"])
    poisoned = "poisoned with 0x6b" if flags & DEFS["SLAB_POISON"] else "not poisoned"
    zones = bool(flags & DEFS["SLAB_RED_ZONE"])
    return {
        "debug": debug,
        "single": debug and bool(mm.view("has")[0].debug_alloc_single),
        "checked": debug and bool(flags & DEFS["SLAB_CONSISTENCY_CHECKS"]),
        "tracked": debug and bool(flags & DEFS["SLAB_STORE_USER"]),
        "taken_text": "its red zones become 0xcc" if zones else "it has no red zones",
        "listed_before": int(mm.view("page")["next"][head]),
        "freed_text": poisoned + (", its red zones become 0xbb" if zones else ""),
    }


def complaint_facts(
    machine: Machine, reports: Sequence[str], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What the kernel found wrong in the call, if it did."""
    found = FOUND.search(reports[0]) if reports else None
    fixed = [line for each in reports for line in said(each) if line.startswith("FIX ")]
    text = next(filter(None, found.groups()), "") if found else ""
    debug = bool(facts.get("debug"))
    lost = any(ALL_USED in each for each in reports)
    twice = "already free" in text
    return {
        "lost": lost,
        "refused": debug and bool(reports) and not lost,
        "caught": bool(reports) and not debug,
        "twice": twice,
        "too_few": TOO_FEW in text,
        "found_text": text,
        "fixed_text": fixed[-1].partition(": ")[2] if fixed else "",
        "on_freelist_text": f"it is: {text}" if twice else "it is not",
        "check_text": text if reports else "red zones, poison and padding are as they should be",
    }


def said(report: str) -> Iterator[str]:
    """The lines of a report that say what is wrong and what is done about it."""
    for match in SAID.finditer(report):
        yield match[0].rstrip()


def debug_alloc_facts(
    machine: Machine, steps: Steps, facts: Mapping[str, Any], result: int
) -> dict[str, Any]:
    """From which slab an object came where each is taken alone: of debug caches since 6.1, of all
    since 7.0.
    """
    mm = machine.mm
    from_list = steps.get("slub_alloc_from_partial", [])
    slab = machine.page(machine.virt_to_pfn(result)).head if result else -1
    listed = first_listed(steps, slab, facts)
    found: dict[str, Any] = {
        "listed_slab": f"pfn {listed:#x}" if listed >= 0 else "none",
        "single_listed": False, "filled": False,
    }  # fmt: skip
    single = facts["single"] or not mm.view("has")[0].slub_cpu_slabs
    if not single or from_list:
        return found
    page = mm.view("page")
    found["node_partial"] = facts["slow"] and bool(result) and not facts["new_slab"]
    found["single_listed"] = facts["debug"] and (found["node_partial"] or facts["lost"])
    found["filled"] = slab >= 0 and int(page["inuse"][slab]) == int(page["objects"][slab])
    return found


def first_listed(steps: Steps, slab: int, facts: Mapping[str, Any]) -> int:
    """The pfn of the slab that was first on the node's list, -1 if none was taken."""
    if "slub_alloc_from_partial" in steps:
        return steps["slub_alloc_from_partial"][0][1]
    if facts["lost"]:
        return int(facts["listed_before"])
    return -1 if facts["new_slab"] else slab
