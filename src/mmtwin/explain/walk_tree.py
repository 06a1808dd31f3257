"""The call trees of data/walks.txt: those of one kernel, and the part that one call took."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from mmtwin.package_files import files
from mmtwin.versions.releases import has_since

if TYPE_CHECKING:
    from mmtwin.versions.profiles import Profile

LINE = re.compile(
    r"(?P<indent> *)(?P<kind>~|- |> )?(?P<name>[^|#]*?)\s*"
    r"(\|(?P<conditions>[^#]*))?(#(?P<text>.*))?"
)
FACT = re.compile(r"\{(\w+)\}")
DEEPEST = 30  # entries within entries


@dataclass(frozen=True)
class Line:
    """A line of the file."""

    indent: int
    kind: str
    name: str
    conditions: tuple[str, ...]
    text: str


@dataclass
class Node:
    """A function of the kernel, or a note: what is decided there (`note`).

    `conditions`: facts of a call under which it is taken; `children`: what it calls.
    """

    name: str
    text: str
    note: bool
    conditions: tuple[str, ...]
    children: list["Node"] = field(default_factory=list)


@cache
def entries() -> dict[str, list[Line]]:
    """The file's entries by name."""
    found: dict[str, list[Line]] = {}
    mine: list[Line] = []
    for raw in files("mmtwin").joinpath("data/walks.txt").read_text().splitlines():
        if raw.startswith("[") and raw.endswith("]"):
            mine = found.setdefault(raw[1:-1], [])
        elif raw.strip() and not raw.startswith("#"):
            match = LINE.fullmatch(raw)
            assert match is not None
            name = match["name"].strip()
            text, conditions = match["text"] or "", match["conditions"] or ""
            mine.append(Line(len(match["indent"]) // 2, (match["kind"] or "").strip(), name,
                             tuple(conditions.split()), text.strip()))  # fmt: skip
    return found


def is_static(condition: str) -> bool:
    """Whether a condition is about the kernel, not about the call."""
    bare = condition.removeprefix("!")
    return bare.startswith((">=", "<", "CONFIG_"))


def holds(condition: str, version: str, config: Mapping[str, str]) -> bool:
    """Whether a condition about the kernel holds."""
    bare = condition.removeprefix("!")
    negated = bare != condition
    if bare.startswith(">="):
        return has_since(version, bare[2:]) != negated
    if bare.startswith("<"):
        return has_since(version, bare[1:]) == negated
    return (config.get(bare, "n") not in ("n", "")) != negated


def config_of(profile: "Profile") -> dict[str, str]:
    """The switches that conditions ask for: a profile's, with its architecture's."""
    return {**profile.config, "CONFIG_ARM64": "y" if profile.arch == "arm64" else "n"}


def tree_of(
    entry: str, version: str, config: Mapping[str, str], depth: int = 0
) -> list[Node]:
    """What a kernel of a release and configuration does for an entry.

    Raises ValueError for an entry that the file does not have.
    """
    if entry not in entries() or depth > DEEPEST:
        raise ValueError(f"no call tree {entry!r}; there are {', '.join(entries())}")
    roots: list[Node] = []
    # (indent, list that callees go to), innermost last; None drops them
    stack: list[tuple[int, list[Node] | None]] = [(-1, roots)]
    for line in entries()[entry]:
        while stack[-1][0] >= line.indent:
            stack.pop()
        into = stack[-1][1]
        static = [each for each in line.conditions if is_static(each)]
        facts = tuple(each for each in line.conditions if not is_static(each))
        there = all(holds(each, version, config) for each in static)
        if into is None or (not there and line.kind != "~"):
            stack.append((line.indent, None))
        elif line.kind == ">":
            for node in tree_of(line.name, version, config, depth + 1) if there else ():
                node.conditions += facts
                into.append(node)
        elif not there:
            stack.append((line.indent, into))
        else:
            node = Node(line.name, line.text, line.kind == "-", facts)
            into.append(node)
            stack.append((line.indent, node.children))
    return roots


def takes(node: Node, facts: Mapping[str, object]) -> bool:
    """Whether a call with these facts takes a node, if it takes the function above it."""
    return all(
        bool(facts.get(each.removeprefix("!"))) != each.startswith("!") for each in node.conditions
    )


def fill(text: str, facts: Mapping[str, object]) -> str:
    """A text with the call's facts in it."""
    return FACT.sub(lambda match: str(facts.get(match[1], "?")), text)


def fact_names() -> set[str]:
    """Every fact that the file asks for, as a condition or in a text."""
    found = set()
    for lines in entries().values():
        for line in lines:
            found.update(FACT.findall(line.text + line.name))
            found.update(
                each.removeprefix("!") for each in line.conditions if not is_static(each)
            )
    return found


def edges(nodes: Collection[Node], above: str = "") -> set[tuple[str, str]]:
    """(caller, function) of every function in a tree; the caller of the first is empty."""
    found = set()
    for node in nodes:
        if node.note:
            found |= edges(node.children, above)
        else:
            found.add((above, node.name))
            found |= edges(node.children, node.name)
    return found
