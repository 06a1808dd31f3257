"""Holds the call trees of data/walks.txt against kernel sources, and writes what was found.

    python tests/explain/walk_sources.py x86_64-6.1=DIR [arm64-5.13=DIR ...]

DIR is a kernel's source tree, unpacked; of a release between two at hand give both. A caller and
its callee count if the callee is called in the caller's body, in any of FILES. Two callees of one
caller are in order if the first is called before the second there: in the text, or as an argument
of the second. Those found go into fixtures/walk_edges.json and walk_order.json, which CI compares
the trees with; the others are printed, and the status is 1. EXCEPTIONS, JUMPS and LAST are
looked at by hand.
"""

import json
import re
import sys
from collections.abc import Collection, Iterator
from itertools import combinations
from pathlib import Path

from mmtwin.explain.walk_tree import Node, config_of, edges, tree_of
from mmtwin.versions.profiles import profile

HERE = Path(__file__).parent
FILES = (
    "mm/slub.c", "mm/slab_common.c", "mm/slab.h", "include/linux/slab.h", "mm/page_alloc.c",
    "include/linux/slub_def.h", "include/linux/gfp.h", "mm/mempolicy.c", "mm/internal.h",
    "mm/page_alloc.h", "mm/vmalloc.c", "include/linux/vmalloc.h", "mm/util.c",
    "include/linux/mm.h", "mm/memory.c", "arch/x86/mm/fault.c", "arch/arm64/mm/fault.c",
    "include/linux/memcontrol.h",
)  # fmt: skip
ENTRIES = (
    "kmalloc", "kmalloc_node", "kmem_cache_alloc", "kfree", "alloc_pages", "vmalloc", "kvmalloc",
    "page_fault", "free_pages",
)  # fmt: skip
NOISE = re.compile(r"/\*.*?\*/|//[^\n]*|__alloc_size\([^)]*\)", re.S)
MACRO = re.compile(r"^#define\s+(\w+)((?:[^\n\\]|\\.|\\\n)*)", re.M)
# a line that begins a function, up to the brace in the first column that ends it
FUNCTION = re.compile(
    r"^(?![#\s}/])([^;={}]*?)\b(\w+)\s*\([^;{}]*\)[^;{}]*\n?\{\n(.*?)^\}", re.M | re.S
)
# In no source at hand: of 5.13 only those of 5.12 and 5.14 (84172f4bb752, 5.13, renamed
# __alloc_pages_nodemask; d7f946d0faf9, 5.14, merged alloc_pages_current into alloc_pages).
EXCEPTIONS = {"arm64-5.13": {
    "alloc_pages_current __alloc_pages",
    # b67177ecd956 (5.13) maps with vmap_pages_range; 12b9f873a500 (5.14) allocates in a function
    "__vmalloc_area_node alloc_pages_node vmap_pages_range",
}}  # fmt: skip
CALL = r"\b{}(_noprof)?\s*\("
# Where the text's order is not that of the calls: a goto back, or one branch or the other.
JUMPS = {
    "___slab_alloc slub_percpu_partial get_freelist",  # goto redo with the slab taken off the list
    "___slab_alloc deactivate_slab get_freelist",  # goto deactivate_slab, later goto redo
    # goto new_slab: the slab is bad
    "___slab_alloc alloc_debug_processing new_slab_objects",
    "___slab_alloc alloc_debug_processing slab_out_of_memory",
    "__kmem_cache_alloc_bulk get_freepointer maybe_wipe_obj_freeptr",  # one or the other first
    "do_wp_page wp_page_reuse wp_page_copy",  # one or the other; the text has reuse twice
}

# Called in two places, each on a way of its own: what the trees have last is the text's last.
LAST = {
    "___slab_alloc deactivate_slab",  # of the wrong node; of a debug cache
    "___slab_alloc set_track",  # of a listed slab; of a new one
    "free_unref_page free_one_page",  # of an isolated pageblock; without the lists' lock
    "__free_frozen_pages free_one_page",
}


def bodies(tree: Path) -> dict[str, str]:
    """{function or macro: its body}; of one that is defined twice both."""
    found: dict[str, str] = {}
    for name in FILES:
        path = tree / name
        text = NOISE.sub(" ", path.read_text(errors="replace")) if path.exists() else ""
        text = re.sub(r"^#(if|else|endif|elif|ifdef|ifndef)[^\n]*\n", "", text, flags=re.M)
        for match in MACRO.finditer(text):
            found[match[1]] = found.get(match[1], "") + match[2]
        for match in FUNCTION.finditer(text):
            found[match[2]] = found.get(match[2], "") + match[3]
    return found


def children(node: Node) -> list[Node]:
    """The functions that a function calls, in order."""
    found: list[Node] = []
    for each in node.children:
        found += children(each) if each.note else [each]
    return found


def pairs(nodes: Collection[Node]) -> set[tuple[str, str, str]]:
    """(caller, callee, one that it calls later) of every function in a tree."""
    found = set()
    for node in nodes:
        below = children(node)
        if not node.note:
            found |= {(node.name, first.name, later.name)
                      for first, later in combinations(below, 2) if first.name != later.name}
        found |= pairs(below)
    return found


def calls(body: str, name: str) -> list[tuple[int, int]]:
    """(where a call of a function begins, where its arguments end) in a body."""
    found = []
    for match in re.finditer(CALL.format(name), body):
        end, depth = match.end(), 1
        while depth and end < len(body):
            depth += {"(": 1, ")": -1}.get(body[end], 0)
            end += 1
        found.append((match.start(), end))
    return found


def in_order(body: str, first: str, later: str, last: bool = False) -> bool:
    """Whether a body calls one function before another; `last`: before its last call of that."""
    ones, others = calls(body, first), calls(body, later)
    if not ones or not others:
        return False
    before = ones[0] < others[-1 if last else 0]
    return before or any(start < ones[0][0] < end for start, end in others)


def missing(name: str, tree: Path, known: set[str], order: set[str]) -> Iterator[tuple[str, str]]:
    """(profile, what its source lacks) of its trees; what it has goes into `known` and `order`."""
    facts = profile(name)
    source = bodies(tree)
    for entry in ENTRIES:
        nodes = tree_of(entry, facts.version, config_of(facts))
        for above, below in sorted(edges(nodes)):
            if not above:
                continue
            edge = f"{above} {below}"
            if calls(source.get(above, ""), below):
                known.add(edge)
            elif edge not in known | EXCEPTIONS.get(name, set()):
                yield name, edge
        for above, first, later in sorted(pairs(nodes)):
            pair = f"{above} {first} {later}"
            last = f"{above} {later}" in LAST
            if pair in JUMPS or in_order(source.get(above, ""), first, later, last):
                order.add(pair)
            elif pair not in order | EXCEPTIONS.get(name, set()):
                yield name, pair


def main(arguments: list[str]) -> int:
    """Checks every NAME=DIR; the exit status."""
    places = [HERE / "fixtures" / f"walk_{each}.json" for each in ("edges", "order")]
    texts = [json.loads(path.read_text()) if path.exists() else {} for path in places]
    lacking: set[tuple[str, str]] = set()
    founds: dict[str, tuple[set[str], set[str]]] = {}
    for argument in arguments:
        name, _, folder = argument.partition("=")
        excepted = EXCEPTIONS.get(name, set())
        both = founds.setdefault(name, (
            {each for each in excepted if each.count(" ") == 1},
            {each for each in excepted if each.count(" ") == 2},
        ))  # fmt: skip
        lacking |= set(missing(name, Path(folder), *both))
        for text, found in zip(texts, both, strict=True):
            text[name] = sorted(found)
    for path, text in zip(places, texts, strict=True):
        path.write_text(json.dumps(text, indent=0) + "\n")
    lacking = {each for each in lacking if each[1] not in set.union(*founds[each[0]])}
    for name, what in sorted(lacking):
        above, first, *later = what.split()
        text = f"{first}() before {later[0]}()" if later else f"{first}()"
        print(f"{name}: {above}() does not call {text}")
    return bool(lacking)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
