"""A machine in the state that /proc shows: for kernels whose RAM nobody read.

The state is that of the moment kpageflags was read. Free blocks are exact; their lists' order is
by address, per-CPU lists are empty unless the caller knows better (`pcp`), slabs are dealt to
caches so that slabinfo's counts hold (`SlabHints` make it exact where events tell).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmtwin.kernel.layout import Layout
from mmtwin.kernel.mm import MM
from mmtwin.machine.from_truth import build_from_truth
from mmtwin.machine.page_uses import set_uses
from mmtwin.machine.proc_pages import Flags, guess_pageblocks, lists_of_zone
from mmtwin.machine.proc_slab import SlabHints, slab_truth
from mmtwin.machine.texts import PageTypes, SlabText, ZoneText
from mmtwin.versions.profiles import Profile

# {(node, zone name): for each CPU {list index: pfns, head first}}
PcpLists = Mapping[tuple[int, str], Sequence[Mapping[str, Sequence[int]]]]


def proc_truth(
    profile: Profile,
    layout: Layout,
    zones: Sequence[ZoneText],
    pagetypes: PageTypes,
    kpageflags: Flags,
    slabs: Sequence[SlabText] = (),
    attributes: Mapping[str, Mapping[str, str]] | None = None,
    cma: Sequence[tuple[int, int]] = (),
    pcp: PcpLists | None = None,
    hints: SlabHints | None = None,
    heads: Sequence[tuple[int, int]] | None = None,
) -> dict[str, Any]:
    """What /proc tells, in a truth's form: the input of `build_from_truth`."""
    types = guess_pageblocks(profile, zones, kpageflags, pagetypes, cma)
    buddy = []
    for zone in zones:
        if not zone.numbers.get("spanned"):
            continue
        lists = (pcp or {}).get((zone.node, zone.name), ())
        sets = []
        for cpu in range(layout.nr_cpus):
            said = zone.pagesets[cpu] if cpu < len(zone.pagesets) else {"high": 0, "batch": 1}
            mine = lists[cpu] if cpu < len(lists) else {}
            sets.append({"high": said["high"], "batch": said["batch"], "lists": dict(mine)})
        free = lists_of_zone(profile, zone, kpageflags, types, pagetypes)
        buddy.append({"name": zone.name, "node": zone.node, "free": free, "pcp": sets})
    caches = slab_truth(
        profile, slabs, attributes or {}, kpageflags, layout.page_offset, hints or SlabHints(),
        layout.seed, heads,
    )
    return {"buddy": buddy, "pageblocks": types, "slab": caches}


def build_from_proc(
    profile: Profile,
    layout: Layout,
    zones: Sequence[ZoneText],
    pagetypes: PageTypes,
    kpageflags: Flags,
    slabs: Sequence[SlabText] = (),
    attributes: Mapping[str, Mapping[str, str]] | None = None,
    **known: Any,
) -> MM:
    """The machine that a snapshot's /proc shows, as MM.

    `zones`, `pagetypes`, `slabs`: parsed zoneinfo, pagetypeinfo, slabinfo; `kpageflags`: u64 by
    pfn; `attributes`: /sys/kernel/slab by cache; `known`: `cma` (ranges of pfns), `pcp` (lists of
    the CPUs), `hints` (SlabHints), `heads` (the slabs). Raises ValueError if the texts contradict
    each other.
    """
    truth = proc_truth(
        profile, layout, zones, pagetypes, kpageflags, slabs, attributes, **known
    )
    mm = build_from_truth(
        profile, zones, truth, attributes, layout, dict(enumerate(truth["pageblocks"]))
    )
    set_uses(mm, kpageflags)
    return mm
