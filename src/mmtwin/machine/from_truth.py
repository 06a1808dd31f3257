"""A machine in the state that a real kernel held: from a truth, read out of its RAM.

A truth is `{"buddy": [...], "pageblocks": [...], "slab": [...]}` as the lab writes it: free lists
and per-CPU lists in order, slabs with their free lists, keys and shuffled orders.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmtwin.kernel.layout import Layout
from mmtwin.kernel.mm import MM
from mmtwin.machine.blame import WRONG_SHAPES, in_words, part
from mmtwin.machine.layouts import find_page_offset, layout_of
from mmtwin.machine.texts import ZoneText
from mmtwin.machine.truth_pages import (
    add_free_lists,
    add_pcp_lists,
    known_pageblocks,
    set_pageblocks,
)
from mmtwin.machine.truth_slab import add_caches
from mmtwin.machine.zones import init_zones, zone_ranges
from mmtwin.versions.profiles import Profile


def truth_addresses(truth: Mapping[str, Any]) -> list[int]:
    """Direct-map addresses that a truth names, enough to find where RAM is mapped."""
    return [cache["addr"] for cache in truth.get("slab", ()) if cache.get("addr")]


def layout_from_truth(
    profile: Profile, zones: Sequence[ZoneText], truth: Mapping[str, Any], **settings: Any
) -> Layout:
    """A recorded machine's Layout: ranges by its zoneinfo, CPUs and addresses by the truth."""
    ranges = zone_ranges(zones)
    shift = profile.limits.page_shift
    start, end = min(a for a, _ in ranges) << shift, max(b for _, b in ranges) << shift
    offset = find_page_offset(profile, start, end, truth_addresses(truth))
    cpus = max(len(zone["pcp"]) for zone in truth["buddy"])
    nodes = 1 + max(zone.node for zone in zones)
    return layout_of(profile, ranges, cpus=cpus, nodes=nodes, page_offset=offset, **settings)


def build_from_truth(
    profile: Profile,
    zones: Sequence[ZoneText],
    truth: Mapping[str, Any],
    attributes: Mapping[str, Mapping[str, str]] | None = None,
    layout: Layout | None = None,
    pageblocks: Mapping[int, int | None] | None = None,
) -> MM:
    """The machine that a truth describes, as MM.

    `zones`: its zoneinfo (sizes, watermarks and reserves, which a truth lacks); `attributes`: its
    /sys/kernel/slab by cache (alignment, usercopy regions), if known; `layout`: else made from the
    profile, `zones` and the truth; `pageblocks`: types of pageblocks by number, else what the
    truth tells for sure. Raises ValueError if the parts contradict each other.
    """
    try:
        return _build(profile, zones, truth, attributes or {}, layout, pageblocks)
    except WRONG_SHAPES as error:  # recordings/ checks the shape, not what it means
        raise ValueError(f"a truth that cannot be: {in_words(error)}") from error


def _build(
    profile: Profile,
    zones: Sequence[ZoneText],
    truth: Mapping[str, Any],
    attributes: Mapping[str, Mapping[str, str]],
    layout: Layout | None,
    pageblocks: Mapping[int, int | None] | None,
) -> MM:
    layout = layout or layout_from_truth(profile, zones, truth)
    mm = MM(layout, profile)
    numbers = init_zones(mm, profile, zones)
    set_pageblocks(mm, known_pageblocks(mm, truth) if pageblocks is None else pageblocks)
    for zone in truth["buddy"]:
        key = (zone.get("node", 0), zone["name"])
        if key not in numbers:
            raise ValueError(f"the truth has a zone {zone['name']!r} that zoneinfo has not")
        with part(f"zone {zone['name']}"):
            add_free_lists(mm, numbers[key], zone["free"])
            for cpu, pcp in enumerate(zone["pcp"][: mm.nr_cpus]):
                add_pcp_lists(mm, numbers[key], cpu, pcp)
    add_caches(mm, profile, truth.get("slab", ()), attributes)
    return mm
