"""One page of a machine: what it is now, and its struct page as its kernel lays it out, read by
that use.
"""

from collections.abc import Mapping
from typing import Any

from mmtwin.explain.structures import own_structure, rows_of, size_text, view_of, views_of
from mmtwin.kernel.constants import (
    PG_buddy,
    PG_head,
    PG_hole,
    PG_pcp,
    PG_reserved,
    PG_slab,
    PG_tail,
)
from mmtwin.machine import Machine
from mmtwin.machine.owners import free_owner
from mmtwin.machine.slub_debug import page_flags_format, vmemmap
from mmtwin.machine.views import Page
from mmtwin.versions.c_layout import Structure
from mmtwin.versions.releases import has_since
from mmtwin.versions.struct_page import SINCE, structure

STRUCT_PAGE_BYTES = 64
MASK64 = (1 << 64) - 1
BUDDY_MAPCOUNT = "-129 (PAGE_BUDDY_MAPCOUNT_VALUE: it is free)"


def view_name(page: Page) -> str:
    """By which view of struct page a page's fields are read."""
    flags = page._field("flags")
    if flags & PG_slab:
        return "slab"
    if flags & PG_tail:
        return "tail"
    if flags & (PG_buddy | PG_pcp):
        return "buddy"
    return "table" if page.use == "page_table" else "cache"


def layout_of(machine: Machine, view: str) -> Structure:
    """struct page, or what overlays it, as the machine's kernel has it for a view."""
    facts = machine.profile
    assert facts is not None
    config = {"CONFIG_ARCH_WANT_HUGE_PMD_SHARE": "y", **facts.config}
    own = own_structure(view)
    if own and has_since(facts.version, SINCE[own]):
        return structure(own, facts.version, 8, config)
    whole = structure("page", facts.version, 8, config)
    return view_of(whole, view if view in views_of(whole) else "cache")


def values_of(machine: Machine, page: Page) -> dict[str, str]:
    """What the twin knows of a page's fields, by name."""
    mm = machine.mm
    facts = machine.profile
    assert facts is not None
    base = vmemmap(mm, facts)

    def pointer(pfn: int) -> str:
        if not mm.min_pfn <= pfn < mm.max_pfn:
            return "a list's head"
        return f"{base + pfn * STRUCT_PAGE_BYTES & MASK64:#x} (pfn {pfn:#x})"

    flags = page._field("flags")
    found = {
        "_refcount": str(page.refcount), "__page_refcount": str(page.refcount),
        "_mapcount": f"{page._field('mapcount') - 1}",
    }  # fmt: skip
    word = page_flags_format(facts)(mm, page.pfn)
    for name in ("flags", "__page_flags", "pt_flags"):
        found[name] = word
    if flags & PG_slab:
        found.update(slab_values(machine, page))
    elif flags & PG_tail:
        found["compound_head"] = f"{pointer(page.head)}, bit 0 set"
        if page.pfn == page.head + 1:
            order = page._mm.view("page")["order"][page.head]
            found.update(compound_order=str(order), compound_nr=str(1 << int(order)))
    elif flags & (PG_buddy | PG_pcp):
        place = f"next {pointer(page._field('next'))}, before {pointer(page._field('prev'))}"
        for name in ("lru", "buddy_list" if flags & PG_buddy else "pcp_list"):
            found[name] = place
        if flags & PG_buddy:
            found.update(private=f"{page.order}: the block's order", _mapcount=BUDDY_MAPCOUNT,
                         page_type="buddy")  # fmt: skip
        else:
            found["index"] = f"{page._field('migratetype')}: the list's migratetype"
    return found


def slab_values(machine: Machine, page: Page) -> dict[str, str]:
    """The fields of a slab."""
    slab = page.slab
    assert slab is not None
    cache = machine.cache(slab["cache"])
    address = int(cache.address)
    free = slab["freelist"]
    return {
        "slab_cache": cache.name + (f" ({address:#x})" if address else ""),
        "freelist": f"{free:#x}" if free else "NULL",
        "inuse": str(slab["inuse"]), "objects": str(slab["objects"]),
        "frozen": f"{slab['frozen']}" + (": a CPU's" if slab["frozen"] else ""),
    }  # fmt: skip


def what_it_is(machine: Machine, page: Page) -> str:
    """A page's use in words."""
    flags = page._field("flags")
    if flags & PG_hole:
        return "no memory is there"
    if flags & PG_slab:
        slab = page.slab
        assert slab is not None
        return f"the first page of a slab of {slab['cache']}"
    if flags & PG_tail:
        head = machine.page(page.head)
        of = f"a slab of {head.slab['cache']}" if head.slab else f"a block for {words(head.use)}"
        return f"page {page.pfn - page.head} of {of}, whose first is pfn {page.head:#x}"
    if flags & PG_reserved or page.use != "free":
        kind = "first page of a compound block, " if flags & PG_head else ""
        return kind + words(page.use)
    return free_owner(machine.mm, page.pfn).partition(": ")[2]


def words(use: str) -> str:
    """A use without underscores."""
    return use.replace("_", " ")


def explain_page(machine: Machine, pfn: int) -> dict[str, Any]:
    """Everything about a page in plain values. Raises ValueError if there is no such page."""
    page = machine.page(pfn)
    facts = machine.profile
    assert facts is not None
    view = view_name(page)
    layout = layout_of(machine, view)
    block = int(machine.mm.view("pageblock")[pfn >> int(machine.mm.pageblock_order)])
    values = values_of(machine, page)
    return {
        "pfn": pfn,
        "what": what_it_is(machine, page),
        "zone": page.zone,
        "node": page.node,
        "pageblock": facts.migratetypes[block] if block < len(facts.migratetypes) else str(block),
        "address": f"{page.address:#x}",
        "struct_page": f"{vmemmap(machine.mm, facts) + pfn * STRUCT_PAGE_BYTES & MASK64:#x}",
        "profile": facts.name,
        "view": view,
        "structure": f"{layout.kind} {layout.name}",
        "fields": fields_of(layout, values),
    }


def fields_of(layout: Structure, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """The members of a layout with what is known of them."""
    rows = rows_of(layout.kind, layout.members, 0, layout.size * 8, 0, None)
    found = []
    for offset, bits, _, text, note in rows:
        if bits < 0 or note == "hole" or text.endswith("{"):
            continue
        declaration = text.strip().rstrip(";")
        name = declaration.partition(":")[0].rpartition(" ")[2].lstrip("*").partition("[")[0]
        found.append({
            "offset": offset // 8, "size": size_text(bits), "declaration": declaration,
            "value": values.get(name, ""),
        })  # fmt: skip
    return found


def lines_of(found: Mapping[str, Any]) -> list[str]:
    """The explanation as lines of text."""
    lines = [
        f"pfn {found['pfn']:#x}: {found['what']}",
        f"zone {found['zone']}, node {found['node']}; its pageblock is {found['pageblock']}",
        f"address {found['address']}, struct page {found['struct_page']}",
        "", f"{found['structure']} of {found['profile']}, read as: {found['view']}",
        " offset  size",
    ]  # fmt: skip
    width = max(len(each["declaration"]) for each in found["fields"])
    lines += [
        f"{each['offset']:>7} {each['size']:>5}  {each['declaration']:<{width}}  {each['value']}"
        .rstrip()
        for each in found["fields"]
    ]  # fmt: skip
    return lines
