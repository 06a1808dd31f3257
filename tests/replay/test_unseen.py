"""What no event says: pages that go back as blocks, and frees of an interrupt that pass the lists
by.
"""

import numpy as np

from mmtwin.kernel.page_alloc import free_contig_range
from mmtwin.machine import Machine
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay.counts import COUNTS, UNEXPLAINED
from mmtwin.replay.engine import Engine

SITE = 0xFFFFFFFF81234567
SOFTIRQ = 0x10
KINDS = {
    "kmalloc": "DEMAND", "kfree": "DEMAND", "mm_page_alloc": "DEMAND", "mm_page_free": "DEMAND",
    "mm_page_alloc_zone_locked": "RESPONSE", "mm_page_pcpu_drain": "RESPONSE",
}  # fmt: skip


def traced(k, call, *arguments):
    """What a call on a machine returns, and its steps as events."""
    with k.trace:
        result = call(*arguments)
    steps = [step for step in k.trace.read() if step[0] in KINDS]
    events = np.zeros(len(steps), dtype=EVENT)
    events["cache"] = -1
    for event, (name, cpu, _depth, args) in zip(events, steps, strict=True):
        event["kind"] = CONSTANTS["KIND_" + name.upper()]
        event["role"] = CONSTANTS["ROLE_" + KINDS[name]]
        event["cpu"], event["address"] = cpu, args[0] & (1 << 64) - 1
        event["pid"] = 7  # not idle: that adds up the counters
        if name == "kmalloc":
            event["bytes_req"], event["bytes_alloc"], event["gfp"] = args[1:4]
            event["call_site"] = SITE
        elif name != "kfree":
            event["order"] = args[1]
        if name == "mm_page_alloc":
            event["gfp"] = args[2]
    for number in range(len(steps) - 1):
        if steps[number][0] == "mm_page_alloc_zone_locked":
            events[number]["ahead"] = steps[number + 1][0] == "mm_page_alloc"
    return result, events


def replayed(other, parts):
    events = np.concatenate(parts)
    bits = [1 << bit for bit in range(32)]
    engine = Engine(other.mm, [0], bits, 8192, bulk_sites=[SITE])
    engine.run(events.ctypes.data, 0, len(events), len(events))
    return engine.counts()


def two(profile):
    machines = [Machine.boot(profile, memory="128M", seed=3) for _ in range(2)]
    for k in machines:  # the array's cache has its slab, so that no page is taken for it
        k.kfree(k.kmalloc(32))
        k.mm.sheaves_unbacked = 1
    return machines


def exact(counts):
    for name in ("ZONE", "PCP", "OBJECTS", "DRAIN"):
        assert counts[COUNTS[f"COUNT_{name}_EXACT"]] == counts[COUNTS[f"COUNT_{name}_PREDICTED"]]
    assert not any(counts[place] for place in UNEXPLAINED.values())


def test_pages_of_an_area_go_back_as_blocks():
    k, other = two("x86_64-7.3")
    page, taken = traced(k, k.alloc_pages, 2)
    array, named = traced(k, k.kmalloc, 32)
    _, pages = traced(k, free_contig_range, k.mm, page.pfn, 4)
    _, freed = traced(k, k.kfree, array)
    again, more = traced(k, k.alloc_pages, 2)
    assert again.pfn == page.pfn
    assert len(pages) == 4
    exact(replayed(other, [taken, named, pages, freed, more]))
    assert other.mm.view("pcp")["count"].tolist() == k.mm.view("pcp")["count"].tolist()
    assert other.validate() == []


def test_frees_of_an_interrupt_that_found_the_lists_locked_are_seen_by_what_becomes_of_the_pages():
    k, other = two("x86_64-7.3")
    parts, pages = [], []
    for _ in range(40):
        pfn, events = traced(k, k.alloc_pages, 0)
        pages.append(pfn)
        parts.append(events)
    k.mm.pcp_locked = 1
    for pfn in pages[1:7]:
        events = traced(k, k.free_pages, pfn)[1]
        events["flags"], events["preempt"] = SOFTIRQ, 2
        parts.append(events)
    k.mm.pcp_locked = 0
    # until the lists are filled with these pages again
    parts += [traced(k, k.alloc_pages, 0)[1] for _ in range(100)]
    exact(replayed(other, parts))
    assert other.mm.view("pcp")["count"].tolist() == k.mm.view("pcp")["count"].tolist()
    assert other.validate() == []
