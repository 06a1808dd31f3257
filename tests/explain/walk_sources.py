"""Holds the call trees of data/walks.txt against kernel sources, and writes what was found.

    python tests/explain/walk_sources.py x86_64-6.1=DIR [arm64-5.13=DIR ...]

DIR is a kernel's source tree, unpacked; of a release between two at hand give both. A caller and
its callee count if the callee's name stands in the caller's body, in any of FILES. Those found go
into fixtures/walk_edges.json, which CI compares the trees with; the others are printed, and the
status is 1. EXCEPTIONS are looked at by hand.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mmtwin.explain.walk_tree import config_of, edges, tree_of
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
    "page_fault",
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
}}  # fmt: skip
SUFFIX = "(_noprof)?"


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


def missing(name: str, tree: Path, known: set[str]) -> Iterator[tuple[str, str]]:
    """(profile, edge) of its trees' edges that its source lacks; those it has go into `known`."""
    facts = profile(name)
    source = bodies(tree)
    for entry in ENTRIES:
        for above, below in sorted(edges(tree_of(entry, facts.version, config_of(facts)))):
            if not above:
                continue
            edge = f"{above} {below}"
            if re.search(rf"\b{below}{SUFFIX}\b", source.get(above, "")):
                known.add(edge)
            elif edge not in known | EXCEPTIONS.get(name, set()):
                yield name, edge


def main(arguments: list[str]) -> int:
    """Checks every NAME=DIR; the exit status."""
    path = HERE / "fixtures" / "walk_edges.json"
    all_known = json.loads(path.read_text()) if path.exists() else {}
    lacking: set[tuple[str, str]] = set()
    founds: dict[str, set[str]] = {}
    for argument in arguments:
        name, _, folder = argument.partition("=")
        known = founds.setdefault(name, set(EXCEPTIONS.get(name, ())))
        lacking |= set(missing(name, Path(folder), known))
        all_known[name] = sorted(known)
    path.write_text(json.dumps(all_known, indent=0) + "\n")
    lacking = {each for each in lacking if each[1] not in founds[each[0]]}
    for name, edge in sorted(lacking):
        print("{}: {}() does not call {}()".format(name, *edge.split()))
    return bool(lacking)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
