"""What a walk knows of its call: facts by name for the texts and conditions of data/walks.txt,
out of the machine before it, the twin's steps in it, and the machine after it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mmtwin.explain.walk_debug_facts import before_debug, debug_alloc_facts
from mmtwin.explain.walk_free_facts import (
    before_free_pages,
    free_page_facts,
    list_facts,
    listed_orders,
)
from mmtwin.kernel.constants import __GFP_KSWAPD_RECLAIM as KSWAPD
from mmtwin.machine import Machine
from mmtwin.units import counted
from mmtwin.versions.gfp import decode_gfp

Step = tuple[str, int, int, tuple[int, ...]]
KMALLOC_TYPES = {"kmalloc": "KMALLOC_NORMAL", "kmalloc-rcl": "KMALLOC_RECLAIM",
                 "dma-kmalloc": "KMALLOC_DMA", "kmalloc-cg": "KMALLOC_CGROUP"}  # fmt: skip
ZERO_SIZE_PTR = 16
TWIN_GFP = "5.10"  # whose bits the twin's are


def facts_of(
    machine: Machine, entry: str, asked: Mapping[str, Any], steps: Sequence[Step] | None = None,
    result: int = 0, before: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The facts of a call: without `steps` those that stand before it, else the others, too."""
    if steps is None:
        return before_call(machine, entry, asked)
    assert before is not None
    by_name: dict[str, list[tuple[int, ...]]] = {}
    for name, _, _, arguments in steps:
        by_name.setdefault(name, []).append(arguments)
    facts = dict(before)
    facts.update(page_facts(machine, by_name, facts))
    facts.update(free_page_facts(machine, by_name, facts))
    if entry in ("kfree", "free_pages"):
        facts.update(free_facts(machine, by_name, facts))
        facts["result_text"] = "nothing"
    else:
        if entry in ("vmalloc", "kvmalloc"):
            facts.update(area_facts(machine, by_name, facts, result))
        else:
            facts.update(slab_facts(machine, by_name, facts, result))
        failed = result < 0 if entry == "alloc_pages" else result == 0
        facts["failed"] = failed
        facts["address"] = f"{result & (1 << 64) - 1:#x}"
        facts["result_text"] = "NULL" if failed else (
            f"pfn {result:#x}" if entry == "alloc_pages" else
            "ZERO_SIZE_PTR (16)" if result == ZERO_SIZE_PTR else facts["address"]
        )  # fmt: skip
    return facts


# ---- before the call


def before_call(machine: Machine, entry: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What stands before the call."""
    facts: dict[str, Any] = {"node_asked": asked.get("node", -1) >= 0}
    if "gfp" in asked:
        facts["gfp"] = asked["gfp"]
    if entry == "kfree":
        facts.update(before_free(machine, asked["address"]))
    elif entry == "free_pages":
        facts.update(before_free_pages(machine, asked["pfn"], asked["order"]))
    elif entry == "alloc_pages":
        facts.update(page_order=asked["order"],
                     call_text=f"alloc_pages({asked['gfp']}, {asked['order']})")  # fmt: skip
    elif entry == "kmem_cache_alloc":
        facts.update(cache=asked["cache"], object_size=machine.cache(asked["cache"]).object_size,
                     call_text=f"kmem_cache_alloc({asked['cache']}, {asked['gfp']})",
                     **cpu_facts(machine, asked["cache"]))  # fmt: skip
    elif entry in ("vmalloc", "kvmalloc"):
        gfp = f", {asked['gfp']}" if entry == "kvmalloc" else ""
        facts["call_text"] = f"{entry}({asked['size']}{gfp})"
        facts["page_order"] = 0
    else:
        facts.update(before_kmalloc(machine, entry, asked))
    return facts


def before_kmalloc(machine: Machine, entry: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """kmalloc(): which cache, or how many pages."""
    profile = machine.profile
    assert profile is not None
    size, constant = asked["size"], asked["constant"]
    largest = 1 << profile.limits.kmalloc_shift_high
    order = max((size - 1).bit_length() - profile.limits.page_shift, 0) if size > 1 else 0
    facts = {
        "constant": constant, "runtime": not constant, "large": size > largest, "zero": size == 0,
        "kmalloc_large": size > largest,
        "cached": 0 < size <= largest, "max_cache": largest, "order": order,
        "pages_text": f"{1 << order} page" + ("s" if order else ""),
        "max_order": profile.limits.nr_orders - 1, "too_large": order >= profile.limits.nr_orders,
        "constant_text": "yes, the compiler chooses the branch" if constant else
                         "no, it is known at run time only",
        "kasan_text": f"{size} bytes are accessible" if machine.kasan else "CONFIG_KASAN is off",
        "kmemleak_text": "tracked" if profile.on("DEBUG_KMEMLEAK") else
                         "CONFIG_DEBUG_KMEMLEAK is off",
    }  # fmt: skip
    gfp, node = asked["gfp"], asked.get("node", -1)
    facts["call_text"] = (
        f"kmalloc_node({size}, {gfp}, {node})" if entry == "kmalloc_node"
        else f"kmalloc({size}, {gfp})"
    )  # fmt: skip
    if facts["cached"]:
        cache = machine.kmalloc_cache(size, gfp)
        prefix = cache.name.rpartition("-")[0]
        by_table = size <= 192
        facts.update(
            cache=cache.name, object_size=cache.object_size, index=kmalloc_index(machine, size),
            type_text=f"{KMALLOC_TYPES.get(prefix, prefix)}: {gfp}",
            slab_text=f"{'the table size_index' if by_table else 'fls()'} says {cache.name}",
            **cpu_facts(machine, cache.name),
        )
    return facts


def kmalloc_index(machine: Machine, size: int) -> int:
    """__kmalloc_index() of a size: 1 and 2 are 96 and 192 bytes."""
    smallest = min(c.object_size for c in machine.caches if c.name.startswith("kmalloc-"))
    if smallest <= 32 and 64 < size <= 96:
        return 1
    if smallest <= 64 and 128 < size <= 192:
        return 2
    return max((size - 1).bit_length(), (smallest - 1).bit_length())


def cpu_facts(machine: Machine, name: str) -> dict[str, Any]:
    """What the CPU has of a cache."""
    cache = machine.cache(name)
    state = cache.cpu_slab(machine.cpu)
    node = machine.mm.view("cache_node")[cache.number * machine.mm.nr_nodes]
    free = state["freelist"]
    record = machine.mm.view("cache_cpu")[cache.number * machine.mm.nr_cpus + machine.cpu]
    sizes = machine.mm.view("sheaf")["size"]
    main, spare = int(record["sheaf_main"]), int(record["sheaf_spare"])
    return {
        "tid_before": state["tid"],
        "had_slab": state["slab"] is not None,
        "slab_before": "none" if state["slab"] is None else f"pfn {state['slab']:#x}",
        "object_before": f"{free[0]:#x}" if free else "NULL",
        "partial_before": list(state["partial"]),
        "node_partial_before": int(node["nr_partial"]),
        "slab_order": cache.oo_order,
        "slab_objects": cache.oo_objects,
        "sheaf_before": int(sizes[main]) if main >= 0 else 0,
        "spare_before": int(sizes[spare]) if spare >= 0 else 0,
        **before_debug(machine, cache.number),
    }


def before_free(machine: Machine, address: int) -> dict[str, Any]:
    """kfree(): what the address is."""
    facts: dict[str, Any] = {"address": f"{address:#x}", "call_text": f"kfree({address:#x})",
                             "nothing": address <= ZERO_SIZE_PTR}  # fmt: skip
    if facts["nothing"]:
        return facts
    page = machine.page(machine.page(machine.virt_to_pfn(address)).head)
    facts.update(order=page.order, page_text=f"pfn {page.pfn:#x}", pfn=f"{page.pfn:#x}",
                 page_order=page.order)  # fmt: skip
    slab = page.slab
    facts.update(cached=slab is not None, large=slab is None)
    if slab is not None:
        facts.update(cache=slab["cache"], slab=f"pfn {page.pfn:#x}",
                     **cpu_facts(machine, slab["cache"]), **list_facts(machine, page.pfn))
        facts["page_text"] += f", a slab of {slab['cache']}"
    return facts


# ---- out of the steps


def slab_facts(
    machine: Machine, steps: Mapping[str, list[tuple[int, ...]]], facts: Mapping[str, Any],
    result: int,
) -> dict[str, Any]:  # fmt: skip
    """Which way SLUB took."""
    found: dict[str, Any] = {
        "fast": "slub_alloc_fastpath" in steps,
        "slow": "slub_alloc_slowpath" in steps,
        "refill": "slub_alloc_refill" in steps and "slub_cpu_partial_alloc" not in steps,
        "cpu_partial": "slub_cpu_partial_alloc" in steps,
        "node_partial": "slub_alloc_from_partial" in steps,
        "new_slab": "slub_alloc_slab" in steps,
        "from_sheaf": "slub_sheaf_alloc" in steps,
        "sheaf_asked": bool(steps.keys() & {"slub_sheaf_alloc", "slub_sheaf_refill"}),
        "sheaf_refill": {"slub_sheaf_alloc", "slub_sheaf_refill"} <= steps.keys(),
        "kept_more": "slub_cpu_partial_node" in steps,
        "mismatch": False,
    }
    name = facts.get("cache")
    if name is None:
        return found
    cache = machine.cache(name)
    state = cache.cpu_slab(machine.cpu)
    free = state["freelist"]
    mine = f"{result:#x}"
    found.update(
        object=mine, tid_after=state["tid"], next=f"{free[0]:#x}" if free else "NULL",
        slab="none" if not result else f"pfn {machine.page(machine.virt_to_pfn(result)).head:#x}",
        mismatch=facts["had_slab"] and "slub_deactivate" in steps,
    )
    replaced = (
        found["from_sheaf"] and facts["sheaf_before"] == 0 and not found["sheaf_refill"]
    )
    count = len(free) + 1
    partial = len(facts["partial_before"])
    found.update(
        pcs_text=f"the CPU's main sheaf held {facts['sheaf_before']} objects: {mine}"
        if found["from_sheaf"] else "the CPU's main sheaf is empty",
        sheaf_replaced=found["sheaf_asked"] and facts["sheaf_before"] == 0,
        sheaf_spare=replaced and facts["spare_before"] > 0,
        sheaf_barn=replaced and facts["spare_before"] == 0,
        sheaf_new=found["sheaf_refill"],
        sheaf_filled=steps["slub_sheaf_refill"][0][1] if found["sheaf_refill"] else 0,
        sheaf_text="none is full, so one is filled" if found["sheaf_refill"]
        else "another takes its place" if found["from_sheaf"]
        else "none is full, and none could be filled",
        **bulk_facts(steps, bool(facts["had_slab"])),
        slow_text="no free object at hand" if facts["object_before"] == "NULL" else "wrong node",
        refill_text=f"{counted(count, 'object')} freed to it meanwhile" if found["refill"] else
        "nothing was freed to it: the CPU gives the slab up",
        cpu_partial_text=counted(partial, "slab"), objects_text=counted(count, "object"),
        node_partial_text=counted(facts["node_partial_before"], "slab")
        + " on the node's partial list",
        kept_more_text=f"{len(steps.get('slub_cpu_partial_node', ()))} more for the CPU",
        new_slab_text="the page allocator is asked", oom_text="no page: a warning, NULL",
        wipe_text="its free pointer is wiped if memory is to be zeroed",
    )  # fmt: skip
    profile = machine.profile
    assert profile is not None
    zeroed = profile.features.get("init_on_alloc") or "__GFP_ZERO" in str(facts.get("gfp", ""))
    found["zero_text"] = "zeroed" if zeroed else "not zeroed"
    found.update(debug_alloc_facts(machine, steps, {**facts, **found}, result))
    return found


def bulk_facts(
    steps: Mapping[str, list[tuple[int, ...]]], had_slab: bool
) -> dict[str, Any]:
    """How a sheaf was filled: each object as by a call of its own (__kmem_cache_alloc_bulk)."""
    refill = steps.get("slub_sheaf_refill", [])
    cache = refill[0][0] if refill else -1

    def times(step: str) -> int:
        return sum(1 for values in steps.get(step, ()) if values[0] == cache)

    slow, new = times("slub_alloc_slowpath"), times("slub_alloc_slab")
    partial = times("slub_cpu_partial_alloc")
    return {
        "bulk_text": f"{counted(refill[0][1], 'object')}, one after the other" if refill else "",
        "bulk_slow_text": f"{counted(slow, 'time')}: the CPU's slab has none left",
        "bulk_new_text": f"{counted(new, 'new slab')}, each from the page allocator",
        "bulk_had_slab": had_slab,
        "bulk_asked": slow > partial,
    }


def area_facts(
    machine: Machine, steps: Mapping[str, list[tuple[int, ...]]], facts: Mapping[str, Any],
    result: int,
) -> dict[str, Any]:  # fmt: skip
    """What vmalloc() did, or that kvmalloc() had no need of it."""
    mapped = machine.vm_area(result) if result else None
    pages = -(-facts["size"] // (1 << int(machine.mm.page_shift)))
    profile = machine.profile
    assert profile is not None
    found: dict[str, Any] = {
        "got_area": mapped is not None, "vmalloced": mapped is not None or not result,
        "area_pages": counted(pages, "page"),
        "kmalloc_text": f"{len({address for address, *_ in steps.get('kmalloc', ())})} small"
        " kmallocs with the array of pages",
        "bulk_text": "in bulk, as many at once as the lists hold"
        if profile.features.get("vmalloc_bulk") else "one by one",
        "map_text": "entries of the kernel's page tables, with new tables where none is",
        "area_text": "no room, or no memory", "kmemleak_text": "tracked"
        if profile.on("DEBUG_KMEMLEAK") else "CONFIG_DEBUG_KMEMLEAK is off",
        "try_text": f"which gave {result:#x}" if result and mapped is None else
        "without much effort and without a warning",
    }  # fmt: skip
    if mapped is not None:
        guard = (mapped.stop - mapped.start >> int(machine.mm.page_shift)) - pages
        found["area_text"] = (
            f"{mapped.start:#x}-{mapped.stop:#x}: the lowest free range that fits"
            + (", with a guard page" if guard else "")
        )
    return found


def page_facts(
    machine: Machine, steps: Mapping[str, list[tuple[int, ...]]], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Which way the page allocator took."""
    allocated = steps.get("mm_page_alloc", [])
    got = bool(allocated) and allocated[0][0] >= 0
    splits = steps.get("buddy_split", [])
    found: dict[str, Any] = {
        "got_pages": got, "pcp": "pcp_alloc" in steps, "pcp_refill": "pcp_refill" in steps,
        "split": bool(splits), "fallback": "mm_page_alloc_extfrag" in steps,
        "alloc_slowpath": "alloc_slowpath" in steps,
        "busy": got and bool(machine.mm.pcp_locked) and "pcp_alloc" not in steps
        and allocated[0][1] in listed_orders(machine),
        "lock_text": "the lists' lock is held, by whom this call interrupted",
        "wakes_kswapd": any(each[1] & KSWAPD for each in steps.get("alloc_slowpath", ())),
        "too_large": int(facts.get("order", 0)) >= machine.mm.nr_orders,
        "largest_order": machine.mm.nr_orders - 1,
    }  # fmt: skip
    if allocated:
        pfn, order, gfp, _ = allocated[0][:4]
        found["page_order"] = order
        found["gfp_slab"] = decode_gfp(gfp, TWIN_GFP)
        if got:
            zone = machine.page(pfn).zone
            found.update(pfn=f"{pfn:#x}", zone=f"zone {zone}", zone_text=f"first zone: {zone}")
    found.setdefault("gfp_slab", facts.get("gfp", ""))
    found.setdefault("zone_text", "no zone has a page to give")
    # the first that has pages at all
    failed = sorted(steps.get("watermark_fail", []), key=lambda each: each[2] == 0)
    found["watermark_text"] = (
        f"{failed[0][3]} pages free, mark {failed[0][2]}: below it" if failed
        else "enough pages above the low watermark"
    )  # fmt: skip
    if found["pcp_refill"]:
        found["refill_pages"] = steps["pcp_refill"][0][3]
    if splits:
        counts = Counter(each[1] for each in splits)
        largest = max(counts)
        found["split_text"] = (
            f"{counted(len(splits), 'block')} split, the largest of order {largest}"
        )
        found["smallest_text"] = f"a block of order {splits[0][1]} is the first that fits"
    else:
        found["smallest_text"] = "a block of the order asked for"
    if found["fallback"]:
        _, _, order, own, other, claimed = steps["mm_page_alloc_extfrag"][0]
        kinds = machine.profile.migratetypes if machine.profile else []
        found["fallback_text"] = (
            f"no {kinds[own]} block is left: one of order {order} is taken from {kinds[other]}"
            + (", the pageblock changes its owner" if claimed else "")
        )
    found["init_text"] = "zeroed (init_on_alloc)" if (
        machine.profile and machine.profile.features.get("init_on_alloc")
    ) else "as it was"  # fmt: skip
    return found


def free_facts(
    machine: Machine, steps: Mapping[str, list[tuple[int, ...]]], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Which way the free took."""
    found: dict[str, Any] = {
        "free_sheaf": "slub_sheaf_free" in steps,
        "free_fast": "slub_free_fastpath" in steps,
        "free_slow": "slub_free_slowpath" in steps,
        "free_frozen": "slub_free_frozen" in steps,
        "free_cpu_partial": "slub_cpu_partial_free" in steps,
        "free_add_partial": "slub_free_add_partial" in steps,
        "free_remove_partial": "slub_free_remove_partial" in steps,
        "free_slab": "slub_free_slab" in steps,
        "free_slow_text": "its slab is not the CPU's" if machine.mm.view("has")[0].slub_cpu_slabs
        else "its slab lies on another node, or no sheaf takes it",
    }
    if "cache" in facts:
        found["tid_after"] = machine.cache(facts["cache"]).cpu_slab(machine.cpu)["tid"]
    return found


# ---- the state around it


def state_of(machine: Machine, name: str | None) -> dict[str, str]:
    """The state that a call may change, as texts by what they say: of the cache of a name, and of
    the zones.
    """
    found: dict[str, str] = {}
    mm = machine.mm
    for cache in [machine.cache(name)] if name else []:
        for cpu in range(int(mm.nr_cpus)):
            state = cache.cpu_slab(cpu)
            record = mm.view("cache_cpu")[cache.number * mm.nr_cpus + cpu]
            if state["slab"] is None and not state["partial"] and int(record["sheaf_main"]) < 0:
                continue
            where = f"{cache.name}, CPU {cpu}"
            if state["slab"] is not None:
                found[f"{where}: slab"] = f"pfn {state['slab']:#x}"
                found[f"{where}: free objects"] = str(len(state["freelist"]))
                found[f"{where}: tid"] = str(state["tid"])
            if state["partial"]:
                found[f"{where}: partial slabs"] = str(len(state["partial"]))
            if int(record["sheaf_main"]) >= 0:
                size = int(mm.view("sheaf")["size"][int(record["sheaf_main"])])
                found[f"{where}: objects in the main sheaf"] = str(size)
        for node in range(int(mm.nr_nodes)):
            record = mm.view("cache_node")[cache.number * mm.nr_nodes + node]
            found[f"{cache.name}, node {node}: slabs"] = str(int(record["nr_slabs"]))
            if int(record["nr_partial"]):
                found[f"{cache.name}, node {node}: partial slabs"] = str(int(record["nr_partial"]))
    types = {number: name for name, number in machine.profile.zones} if machine.profile else {}
    for number, zone in enumerate(mm.view("zone")):
        if not zone["present_pages"]:
            continue
        name = f"node {int(zone['node'])}, zone {types.get(int(zone['type']), zone['type'])}"
        found[f"{name}: free pages"] = str(int(zone["nr_free_pages"]))
        for cpu in range(int(mm.nr_cpus)):
            count = int(mm.view("pcp")[number * mm.nr_cpus + cpu]["count"])
            found[f"{name}: pages on CPU {cpu}'s lists"] = str(count)
    return found
