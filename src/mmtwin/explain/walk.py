"""A walk through one call of an allocator: the twin makes it, and what it did is put into the
kernel's call tree.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mmtwin.explain.walk_debug_facts import BAD_OBJECT, complaint_facts, said
from mmtwin.explain.walk_facts import facts_of, state_of
from mmtwin.explain.walk_tree import Node, config_of, fill, takes, tree_of
from mmtwin.machine import Complaint, Machine

BRANCH, LAST, BAR, BLANK = "├─ ", "└─ ", "│  ", "   "


@dataclass
class Walk:
    """One call: its tree, what it found, what it changed.

    `changes`: (what, before, after) of the state; `result`: what the call returned; `reports`:
    what the kernel would have printed of bad objects.
    """

    profile: str
    entry: str
    tree: list[Node]
    facts: dict[str, Any]
    changes: list[tuple[str, str, str]]
    steps: list[str]
    result: int
    reports: list[str] = field(default_factory=list)


def walk(machine: Machine, entry: str, **asked: Any) -> Walk:
    """Makes a call on a machine and follows it.

    `entry`: kmalloc, kmalloc_node, kmem_cache_alloc, kfree, alloc_pages, free_pages, vmalloc or
    kvmalloc; `asked`: size, gfp, constant, node, cache, address, order, pfn as the entry needs
    them. Raises ValueError for what no such call takes.
    """
    facts = machine.profile
    assert facts is not None
    started = asked | facts_of(machine, entry, asked)
    before = state_of(machine, started.get("cache"))
    told = len(machine.complaints)
    with machine.trace:
        result = call(machine, entry, asked)
    reports = [str(each) for each in machine.complaints[told:] if each.name in BAD_OBJECT]
    started |= complaint_facts(machine, reports, started)
    found = started | facts_of(machine, entry, asked, machine.trace.read(), result, started)
    tree = tree_of(entry, facts.version, config_of(facts))
    after = state_of(machine, started.get("cache"))
    changes = [
        (what, before.get(what, "none"), after.get(what, "none"))
        for what in dict.fromkeys([*before, *after]) if before.get(what) != after.get(what)
    ]  # fmt: skip
    return Walk(facts.name, entry, tree, found, changes, machine.trace.lines(), result, reports)


def call(machine: Machine, entry: str, asked: Mapping[str, Any]) -> int:
    """The call itself; what it returns: an address, or a pfn (-1 for none)."""
    if entry == "kmalloc":
        return machine.kmalloc(asked["size"], asked["gfp"])
    if entry == "kmalloc_node":
        return machine.kmalloc_node(asked["size"], asked["gfp"], asked["node"])
    if entry == "kmem_cache_alloc":
        return machine.kmem_cache_alloc(asked["cache"], asked["gfp"])
    if entry == "vmalloc":
        return machine.vmalloc(asked["size"])
    if entry == "kvmalloc":
        return machine.kvmalloc(asked["size"], asked["gfp"])
    if entry == "alloc_pages":
        page = machine.alloc_pages(asked["order"], asked["gfp"])
        return -1 if page is None else int(page)
    if entry == "free_pages":
        machine.free_pages(asked["pfn"], asked["order"])
        return 0
    with suppress(Complaint):  # the walk shows it
        machine.kfree(asked["address"])
    return 0


def taken(nodes: list[Node], facts: Mapping[str, Any]) -> Iterator[Node]:
    """The part of a tree that the call took, as nodes with their texts filled in."""
    for node in nodes:
        if takes(node, facts):
            name = fill(node.name, facts)
            text = fill(node.text, facts)
            yield Node(name, text, node.note, (), list(taken(node.children, facts)))


def marked(
    nodes: list[Node], facts: Mapping[str, Any], above: bool = True
) -> list[dict[str, Any]]:
    """The whole tree in plain values, each node with `taken`: for a picture."""
    found = []
    for node in nodes:
        goes = above and takes(node, facts)
        found.append({
            "name": fill(node.name, facts), "text": fill(node.text, facts), "note": node.note,
            "taken": goes, "children": marked(node.children, facts, goes),
        })  # fmt: skip
    return found


def tree_lines(nodes: list[Node], prefix: str = "", root: bool = True) -> Iterator[str]:
    """A tree as lines of text."""
    for place, node in enumerate(nodes):
        last = place == len(nodes) - 1
        joint = "" if root else LAST if last else BRANCH
        name = node.name if node.note else f"{node.name}()"
        yield f"{prefix}{joint}{name}" + (f"  {node.text}" if node.text else "")
        below = prefix if root else prefix + (BLANK if last else BAR)
        yield from tree_lines(node.children, below, False)


def lines_of(found: Walk) -> list[str]:
    """The walk as lines of text."""
    lines = [f"{found.profile}: {found.facts['call_text']}", ""]
    lines += tree_lines(list(taken(found.tree, found.facts)))
    lines += ["", f"returns {found.facts['result_text']}"]
    if found.changes:
        lines += ["", "what changed"]
        width = max(len(what) for what, _, _ in found.changes)
        lines += [f"  {what:<{width}}  {old} -> {new}" for what, old, new in found.changes]
    if found.reports:
        lines += ["", "what the kernel prints, without the dumps between"]
        lines += [f"  {line}" for each in found.reports for line in said(each)]
    return lines


def json_of(found: Walk) -> dict[str, Any]:
    """The walk in plain values."""
    return {
        "profile": found.profile,
        "call": found.facts["call_text"],
        "tree": [node_json(node) for node in taken(found.tree, found.facts)],
        "result": found.result,
        "changes": [
            dict(zip(("what", "before", "after"), each, strict=True)) for each in found.changes
        ],
        "steps": found.steps,
        **({"reports": found.reports} if found.reports else {}),
    }


def node_json(node: Node) -> dict[str, Any]:
    """A node in plain values."""
    kind = "note" if node.note else "function"
    return {
        kind: node.name,
        **({"text": node.text} if node.text else {}),
        **({"calls": [node_json(each) for each in node.children]} if node.children else {}),
    }
