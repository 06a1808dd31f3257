"""Call sites that tell what an event is for, by a recording's symbols."""

import re

from mmtwin.recordings.annotate import Annotated
from mmtwin.replay.maple_ahead import CONSTANTS as MAPLE

# The caches whose events tell of maple trees.
MAPLE_CACHES = ("maple_node", "vm_area_struct", "mm_struct")
# What the functions tell that ask for maple nodes or give them back (lib/maple_tree.c), and those
# that copy areas (kernel/fork.c).
MAPLE_FUNCTIONS = {
    "mas_alloc_nodes": "WHAT_ALLOC",
    "mas_destroy": "WHAT_SPARE",
    "__mt_destroy": "WHAT_ROOT",
    "mt_destroy_walk": "WHAT_ROOT",
    "vm_area_dup": "WHAT_COPY",
    "vm_area_alloc": "WHAT_AREA",
    "mm_alloc": "WHAT_EXEC",
    "copy_process": "WHAT_MM",
    "dup_mm": "WHAT_MM",
}


def maple_ranges(annotated: Annotated) -> list[tuple[int, int, int]]:
    """[(first, last, WHAT_*)]: call sites that tell of maple trees, by the recording's symbols."""
    functions = annotated.recording.symbols.functions("|".join(MAPLE_FUNCTIONS))
    return [(first, last - 1, MAPLE[MAPLE_FUNCTIONS[name]]) for first, last, name in functions]


# Who allocates the array of a vmalloc's pages before the pages themselves.
VMALLOC_ARRAY = re.compile(r"__vmalloc_(node_range|area_node)(_noprof)?(\.\w+)*")


# Who allocates the struct vm_struct and the struct vmap_area of an area.
VMALLOC_AREA = re.compile(r"(__get_vm_area_node|alloc_vmap_area)(_noprof)?(\.\w+)*")


def area_sites(annotated: Annotated) -> list[int]:
    """Call sites of what an area of vmalloc needs beside its pages, by the recording's symbols."""
    sites = {int(site["call_site"]) for site in annotated.sites.records()}
    names = {site: annotated.recording.symbols.find(site) for site in sites}
    return sorted(
        site for site, found in names.items() if found and VMALLOC_AREA.fullmatch(found[0])
    )


def vmalloc_sites(annotated: Annotated) -> list[int]:
    """Call sites of the kmalloc of a vmalloc's array of pages, by the recording's symbols."""
    sites = {int(site["call_site"]) for site in annotated.sites.records()}
    names = {site: annotated.recording.symbols.find(site) for site in sites}
    return sorted(
        site for site, found in names.items() if found and VMALLOC_ARRAY.fullmatch(found[0])
    )
