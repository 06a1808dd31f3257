"""Walks: each branch of SLUB by a documented command, golden; functions as the sources have them.

    python tests/explain/test_walk.py        writes the goldens anew: look at the difference
    python tests/explain/walk_sources.py     holds the call trees against kernel sources
"""

import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from walk_sources import pairs

from mmtwin.cli.main import main
from mmtwin.explain.fault_cases import CASES, machine_for, walk_fault
from mmtwin.explain.walk import Walk, taken, walk
from mmtwin.explain.walk_facts import facts_of
from mmtwin.explain.walk_tree import (
    Node,
    config_of,
    edges,
    entries,
    fact_names,
    is_static,
    takes,
    tree_of,
)
from mmtwin.machine import Machine
from mmtwin.machine.situations import SITUATIONS
from mmtwin.versions.profiles import debian_config, profile
from mmtwin.versions.releases import has_since

HERE = Path(__file__).parent
PROFILES = (
    "x86_64-5.10", "arm64-5.13", "x86_64-6.1", "x86_64-6.12", "x86_64-6.18", "x86_64-7.3",
)  # fmt: skip
ENTRIES = (
    "kmalloc", "kmalloc_node", "kmem_cache_alloc", "kfree", "alloc_pages", "vmalloc", "kvmalloc",
    "page_fault", "free_pages",
)  # fmt: skip
OTHERS = (
    "explain kmalloc 0", "explain kmalloc 0 --runtime", "explain kmalloc 20000",
    "explain kmalloc 20000 --runtime", "explain kmalloc 100 --runtime",
    "explain kmalloc 99999999 --runtime", "explain kfree 100", "explain kfree 0",
    "explain kfree 20000", "explain kfree 100 --remote", "explain kfree 100 --remote --full",
    "explain kfree 100 --last", "explain kfree 100 --full --set SLUB_CPU_PARTIAL=n",
    "explain kfree 100 --state other-node --node 1",
    "explain kfree 100 --state other-node --node 1 --full",
    "explain kfree 100 --state other-node --node 1 --last",
    "explain kmalloc 0 --node 0", "explain kmalloc 20000 --node 0",
    "explain vmalloc 100000", "explain vmalloc 0", "explain kvmalloc 100",
    "explain kvmalloc 9000000", "explain kmem_cache_alloc dentry",
    "explain alloc_pages 0", "explain alloc_pages 5", "explain alloc_pages 9",
    "explain alloc_pages 99", "explain alloc_pages 0 --state low-memory",
    "explain alloc_pages 0 --state no-memory", "explain kfree 100 --twice",
    "explain free_pages 0", "explain free_pages 5", "explain free_pages 0 --full",
    "explain free_pages 0 --block isolate", "explain free_pages 0 --block highatomic",
)  # fmt: skip
LOCKED = ("explain free_pages 0 --locked", "explain alloc_pages 0 --locked")  # since 6.0
DEBUG = tuple(
    f"explain {call} --append slub_debug=FZPU"
    for call in (
        "kmalloc 100", "kmalloc 100 --state warm", "kmalloc 100 --state overwritten",
        "kmalloc 100 --state one-left", "kfree 100", "kfree 100 --full", "kfree 100 --last",
        "kfree 100 --overrun", "kfree 100 --twice", "kfree 100 --twice --state warm",
    )
)  # fmt: skip
CHECKED = ("overwritten", "one-left")  # states of debug caches
SHEAVES = ("spare-sheaf", "barn")
RECORDING = "x86_64-6.1"  # that comes with mmtwin
OF_RECORDING = tuple(
    f"explain {call} --state '{RECORDING}@{mark}'"
    for call, mark in (
        ("kmalloc 64", "SNAP start"), ("kmalloc 64", "phase files"), ("kfree 64", "SNAP start"),
        ("kmem_cache_alloc dentry", "SNAP start"), ("alloc_pages 0", "SNAP start"),
    )
)  # fmt: skip


def commands(name: str) -> list[str]:
    """The commands whose output is golden, for one profile or the recording."""
    if name == "recording":
        return list(OF_RECORDING)
    found = []
    if name == "x86_64-6.18":  # of its kmalloc caches none has sheaves, maple_node has
        states = (
            "fresh", "warm", "empty", "cpu-partial", "node-partial", "node-partials",
            "spare-sheaf", "barn", "no-memory",
        )  # fmt: skip
        found += [f"explain kmem_cache_alloc maple_node --state {state}" for state in states]
        found.append("explain kfree maple_node")
    for state in SITUATIONS:
        if state in CHECKED or (state in SHEAVES and name != "x86_64-7.3"):
            continue  # of its kmalloc caches each has sheaves
        node = " --node 1" if state == "other-node" else ""
        found.append(f"explain kmalloc 100 --state {state}{node}")
    found += OTHERS + DEBUG
    if has_since(profile(name).version, "6.0"):
        found += LOCKED
    # of 64 MiB none are left for objects of a second node, full lists, a reserve of a hundredth
    sizes = (
        "1G" if "--block" in each or ("--full" in each and "free_pages" in each)
        else "256M" if "kfree" in each and "--node" in each else "64M" for each in found
    )  # fmt: skip
    return [
        f"{each} --profile {name} --memory {size}"
        for each, size in zip(found, sizes, strict=True)
    ]


def outputs(name: str) -> Iterator[str]:
    """Each command and what it prints."""
    for command in commands(name):
        text = StringIO()
        with redirect_stdout(text):
            assert main(shlex.split(command)) == 0, command
        yield f"$ mmtwin {command}\n{text.getvalue()}"


Branch = tuple[str, str, tuple[str, ...]]  # caller, function or note, conditions


def branches(
    nodes: list[Node], facts: Mapping[str, Any], above: str = "", goes: bool = True
) -> Iterator[tuple[Branch, bool]]:
    """Every branch of a tree, and whether a call with these facts takes it."""
    for node in nodes:
        there = goes and takes(node, facts)
        yield (above, node.name, node.conditions), there
        yield from branches(node.children, facts, above if node.note else node.name, there)


def untaken(walks: list[Walk]) -> list[Branch]:
    """The branches of the trees of these walks that none of them takes."""
    found: dict[Branch, bool] = {}
    for each in walks:
        for branch, there in branches(each.tree, each.facts):
            found[branch] = found.get(branch, False) or there
    return [branch for branch, there in found.items() if not there]


@pytest.mark.parametrize("name", [*PROFILES, "recording"])
def test_goldens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command prints what is golden, and of a release they take every branch there is."""
    walks = []

    def kept(*given: Any, **asked: Any) -> Walk:
        walks.append(walk(*given, **asked))
        return walks[-1]

    monkeypatch.setattr("mmtwin.explain.walk.walk", kept)
    golden = (HERE / "goldens" / f"{name}.txt").read_text()
    parts = re.split(r"(?m)^(?=\$ mmtwin )", golden)[1:]
    for part, mine in zip(parts, outputs(name), strict=True):
        assert mine.rstrip() == part.rstrip()
    if name != "recording":
        assert untaken(walks) == []


@pytest.mark.parametrize("name", PROFILES)
def test_functions_and_callers_are_those_of_the_sources(name: str) -> None:
    known = json.loads((HERE / "fixtures" / "walk_edges.json").read_text())[name]
    facts = profile(name)
    for entry in ENTRIES:
        mine = {f"{above} {below}" for above, below in edges(
            tree_of(entry, facts.version, config_of(facts))) if above}  # fmt: skip
        assert mine <= set(known), sorted(mine - set(known))


@pytest.mark.parametrize("name", PROFILES)
def test_functions_are_called_in_the_order_of_the_sources(name: str) -> None:
    known = set(json.loads((HERE / "fixtures" / "walk_order.json").read_text())[name])
    facts = profile(name)
    for entry in ENTRIES:
        mine = {" ".join(each) for each in pairs(
            tree_of(entry, facts.version, config_of(facts)))}  # fmt: skip
        assert mine <= known, sorted(mine - known)


def test_every_fact_is_known() -> None:
    """What the trees ask for, some call gives."""
    given: set[str] = set()
    for name in PROFILES:
        machine = Machine.boot(name, memory="64M")
        cache = machine.kmalloc_cache(100).name
        for entry, asked in (
            ("kmalloc", {"size": 100, "gfp": "GFP_KERNEL", "constant": True}),
            ("kmalloc", {"size": 100, "gfp": "GFP_KERNEL", "constant": True}),
            ("kmalloc", {"size": 20000, "gfp": "GFP_KERNEL", "constant": False}),
            ("kmem_cache_alloc", {"cache": cache, "gfp": "GFP_KERNEL"}),
            ("kfree", {"address": machine.kmalloc(100)}),
            ("alloc_pages", {"order": 9, "gfp": "GFP_KERNEL"}),
            ("free_pages", {"pfn": int(machine.alloc_pages(0) or 0), "order": 0}),
            ("vmalloc", {"size": 9000}),
            ("kvmalloc", {"size": 9000, "gfp": "GFP_KERNEL"}),
        ):
            given |= set(walk(machine, entry, **asked).facts)
        given |= set(walk_fault(machine, "write").facts)
    assert fact_names() - given == set()
    conditions = {c for lines in entries().values() for line in lines for c in line.conditions}
    assert {c for c in conditions if c.startswith(("CONFIG", "!CONFIG"))} <= {
        c for c in conditions if is_static(c)
    }


def test_values_are_those_of_the_trace() -> None:
    machine = Machine.boot("x86_64-6.1", memory="64M")
    machine.kmalloc(100)
    found = walk(machine, "kmalloc", size=100, gfp="GFP_KERNEL", constant=True)
    step = next(line for line in found.steps if line.startswith("slub_alloc_fastpath"))
    values = dict(word.split("=") for word in step.split()[1:])
    assert values["object"] == found.facts["object"] == f"{found.result:#x}"
    assert values["next_object"] == found.facts["next"]
    assert int(values["tid"]) == found.facts["tid_after"]
    assert ("kmalloc-128, CPU 0: free objects", "31", "30") in found.changes


def test_facts_before_a_call_change_nothing() -> None:
    machine = Machine.boot("arm64-5.13", memory="64M")
    before = machine.checksum()
    facts_of(machine, "kmalloc", {"size": 100, "gfp": "GFP_KERNEL", "constant": True})
    assert machine.checksum() == before


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "kmalloc", "100", "--memory", "64M", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["walk"]
    assert found["tree"][0]["function"] == "kmalloc"
    assert found["steps"][-1].startswith("kmalloc ptr=")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["kmalloc", "-1"], "-1 bytes"),
        (["kmalloc", "100", "GFP_KERNAL"], "GFP_KERNAL"),
        (["kmalloc", "100", "--state", "hot"], "no state and no file 'hot'"),
        (["kmalloc", "20000", "--state", "warm"], "no cache serves 20000 bytes"),
        (["kmalloc", "100", "--node", "3"], "--node 3"),
        (["kmalloc", "100", "--profile", "x86_64-6.2"], "no profile"),
        (["kmem_cache_alloc", "nonsense"], "nonsense"),
        (["alloc_pages", "-1"], "order -1"),
        (["alloc_pages", "0", "--locked"], "no lock before 6.0"),
        (["free_pages", "-1"], "order -1"),
        (["free_pages", "99"], "no block of order 99"),
        (["free_pages", "0", "--locked", "--profile", "x86_64-5.10"], "no lock before 6.0"),
        (["free_pages", "0", "--block", "cma"], "'cma'"),
        (["free_pages", "0", "--block", "highatomic", "--profile", "x86_64-7.3"], "more memory"),
        (["kmalloc", "100", "--state", "overwritten"], "has no checks: --append slub_debug"),
        (["kfree", "100", "--overrun"], "has no checks: --append slub_debug"),
        (["kfree", "20000", "--overrun"], "nothing behind it"),
        (["kfree", "100", "--overrun", "--twice"], "--twice"),
        (["vmalloc", "9000", "--state", f"{RECORDING}@DUMP end"], "is not known at that instant"),
        (["kfree", "-5"], "-5 bytes"),
    ],
)
def test_bad_input(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if "running uncompiled" not in line]
    assert message in lines[0]
    assert len(lines) <= 2


# functions that each kind of fault goes through, in every release
FAULTS = {
    "write": {"do_anonymous_page"}, "read": {"do_anonymous_page"}, "zero-write": {"wp_page_copy"},
    "cow": {"do_wp_page", "wp_page_copy"}, "reuse": {"wp_page_reuse"},
    "text": {"do_read_fault", "do_fault_around"}, "data": {"do_cow_fault"},
    "missed": {"do_read_fault", "__do_fault"}, "shared": {"do_shared_fault", "__do_fault"},
    "huge": {"create_huge_pmd"}, "stack": {"do_anonymous_page"}, "nothing": set(),
    "forbidden": set(),
}  # fmt: skip


@pytest.mark.parametrize("name", PROFILES)
def test_page_faults(name: str) -> None:
    assert set(FAULTS) == set(CASES)
    walks = []
    for kind, functions in FAULTS.items():
        found = walk_fault(machine_for(kind, name), kind)
        walks.append(found)
        names = {
            below for _, below in edges(list(taken(found.tree, found.facts))) if below
        }  # fmt: skip
        assert functions <= names, kind
        assert ("handle_mm_fault" in names) == (kind not in ("nothing", "forbidden"))
        rss = {what: (old, new) for what, old, new in found.changes}.get("rss")
        grows = kind not in ("read", "cow", "reuse", "nothing", "forbidden")
        assert (rss is not None) == grows, kind
    assert untaken(walks) == []


def test_an_entry_that_is_none() -> None:
    with pytest.raises(ValueError, match="no call tree 'kmallox'"):
        tree_of("kmallox", "6.1", debian_config("6.1", "x86_64", 4096))


if __name__ == "__main__":
    for each in (*PROFILES, "recording"):
        (HERE / "goldens" / f"{each}.txt").write_text("\n".join(outputs(each)))
        print(each, file=sys.stderr)
