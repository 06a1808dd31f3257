"""Zones at boot: their lists, zonelists, watermarks, reserves, and the sizes of the per-CPU page
lists.

All of it is arithmetic on the zones' sizes; machine/ calls it in the kernel's order, or sets the
same fields from what a recording shows. Works on the numpy views of `mm`, in both runs alike.
"""

from math import isqrt

from mmtwin.kernel.constants import (
    MIGRATE_PCPTYPES,
    PCPF_FREE_HIGH_BATCH,
    WMARK_HIGH,
    WMARK_LOW,
    WMARK_MIN,
    WMARK_PROMO,
    ZONE_DMA,
    ZONE_DMA32,
    ZONE_HIGHMEM,
    ZONE_MOVABLE,
    ZONE_NORMAL,
    ZONELIST_PLACES,
)
from mmtwin.kernel.policy import pageset_of

LOCAL_DISTANCE, REMOTE_DISTANCE = 10, 20
PENALTY_FOR_NODE_WITH_CPUS = 1
MAX_NUMNODES = 1024
MIN_PERCPU_PAGELIST_HIGH_FRACTION = 8
SWAP_CLUSTER_MAX = 32
# sysctl_lowmem_reserve_ratio
LOWMEM_RESERVE_RATIO = {ZONE_DMA: 256, ZONE_DMA32: 256, ZONE_NORMAL: 32}


def free_area_init(mm, node, zone_type, start_pfn, spanned, present, managed):
    """Makes a zone: its place, sizes in pages and empty free lists; its pages get its number.

    `zone_type`: ZONE_*. Returns the zone's number. Frees nothing: `managed` pages are free only
    when the machine frees them (`__free_pages_core`) or puts them on lists. free_area_init_core(),
    init_currently_empty_zone().
    """
    number = node * mm.nr_zone_types + zone_type
    zone = mm.view("zone")[number]
    zone["node"] = node
    zone["type"] = zone_type
    zone["start_pfn"] = start_pfn
    zone["spanned_pages"] = spanned
    zone["present_pages"] = present
    zone["managed_pages"] = managed
    heads = [mm.new_list_head() for _ in range(mm.nr_orders * mm.nr_migratetypes)]
    zone["free_list"] = heads[0]
    mm.view("page")["zone"][start_pfn : start_pfn + spanned] = number
    return number


def free_area_init_empty(mm):
    """Makes the zones that have no pages yet: call it after the others."""
    for node in range(mm.nr_nodes):
        for zone_type in range(mm.nr_zone_types):
            if mm.view("zone")[node * mm.nr_zone_types + zone_type]["free_list"] == 0:
                free_area_init(mm, node, zone_type, 0, 0, 0, 0)


def populated_zones(mm):
    """Numbers of the zones that have pages (populated_zone())."""
    return [int(number) for number in (mm.view("zone")["present_pages"] > 0).nonzero()[0]]


def nr_pcp_lists(mm):
    """Lists that a per_cpu_pages has: NR_PCP_LISTS of the version."""
    has = mm.view("has")[0]
    return MIGRATE_PCPTYPES * (has.pcp_max_order + 1) + has.pcp_thp_lists


def per_cpu_pages_init(mm):
    """Empty per-CPU lists for every zone and CPU, with the boot sizes (high 0, batch 1)."""
    lists = nr_pcp_lists(mm)
    for pcp in mm.view("pcp"):
        heads = [mm.new_list_head() for _ in range(lists)]
        pcp["lists"] = heads[0]
        pcp["nr_lists"] = lists
        pcp["batch"] = 1


def build_zonelists(mm, distances=None):
    """The order in which each node's requests try the zones; mobility grouping follows from the
    sizes.

    `distances[a][b]`: the NUMA distance of two nodes, 10 for a node and itself; 20 to others by
    default. build_zonelists(), find_next_best_node(), build_all_zonelists().
    """
    nodes = range(mm.nr_nodes)
    if distances is None:
        distances = [[LOCAL_DISTANCE if a == b else REMOTE_DISTANCE for b in nodes] for a in nodes]
    load = [0] * mm.nr_nodes
    for node in nodes:
        places = []
        for other in _node_order(mm, node, distances, load):
            first = other * mm.nr_zone_types
            zones = range(first + mm.nr_zone_types - 1, first - 1, -1)
            places += [zone for zone in zones if mm.view("zone")[zone]["present_pages"] > 0]
        start = node * ZONELIST_PLACES
        mm.view("zonelist")[start : start + len(places)] = places
        mm.view("zonelist")[start + len(places)] = -1
    pages = nr_free_zone_pages(mm, ZONE_MOVABLE)
    few = pages < (mm.nr_migratetypes << mm.pageblock_order)
    mm.page_group_by_mobility_disabled = 1 if few else 0


def _node_order(mm, local, distances, load):
    # nodes by distance; among equals the less loaded, then the next ones
    with_memory = [n for n in range(mm.nr_nodes) if _node_present(mm, n)]
    with_cpus = {int(node) for node in mm.view("cpu_node")}
    adds = mm.view("has")[0].node_load_adds
    online_load = mm.nr_nodes
    order, previous = [], local
    while len(order) < len(with_memory):
        if local in with_memory and local not in order:
            best = local
        else:
            rest = [n for n in with_memory if n not in order]
            factor = MAX_NUMNODES * (1 if adds else mm.nr_nodes)

            def cost(n, factor=factor):
                value = distances[local][n] + (n < local)
                value += PENALTY_FOR_NODE_WITH_CPUS if n in with_cpus else 0
                return value * factor + load[n]

            best = min(rest, key=cost)
        if distances[local][best] != distances[local][previous]:
            load[best] = load[best] + 1 if adds else online_load
        order.append(best)
        previous = best
        online_load -= 1
    return order


def _node_present(mm, node):
    first = node * mm.nr_zone_types
    return int(mm.view("zone")["present_pages"][first : first + mm.nr_zone_types].sum())


def nr_free_zone_pages(mm, highest):
    """Pages above the high watermarks of node 0's zones up to a zone type."""
    total = 0
    for place in mm.view("zonelist")[:ZONELIST_PLACES]:
        if place < 0:
            break
        zone = mm.view("zone")[int(place)]
        if zone["type"] <= highest:
            total += max(int(zone["managed_pages"]) - int(zone["watermark"][WMARK_HIGH]), 0)
    return total


def calculate_min_free_kbytes(mm):
    """Sets `mm.min_free_kbytes`: the square root of 16 * low memory in KiB, 128 to 262144."""
    lowmem_kbytes = nr_free_zone_pages(mm, ZONE_NORMAL) << (mm.page_shift - 10)
    mm.min_free_kbytes = min(max(isqrt(lowmem_kbytes * 16), 128), 262144)


def set_recommended_min_free_kbytes(mm):
    """Raises `mm.min_free_kbytes` as khugepaged does where huge pages are on."""
    zones = [z for z in populated_zones(mm) if mm.view("zone")[z]["type"] <= ZONE_NORMAL]
    recommended = len(zones) * (2 + MIGRATE_PCPTYPES * MIGRATE_PCPTYPES) << mm.pageblock_order
    recommended = min(recommended, nr_free_zone_pages(mm, ZONE_NORMAL) // 20)
    recommended <<= mm.page_shift - 10
    if recommended > mm.min_free_kbytes:
        mm.min_free_kbytes = recommended
    setup_per_zone_wmarks(mm)


def setup_per_zone_wmarks(mm):
    """Watermarks of every zone from `mm.min_free_kbytes`; boosts end, pcp sizes follow."""
    zones = mm.view("zone")
    pages_min = mm.min_free_kbytes >> (mm.page_shift - 10)
    capped = (
        {ZONE_HIGHMEM, ZONE_MOVABLE} if mm.view("has")[0].movable_not_lowmem else {ZONE_HIGHMEM}
    )
    lowmem = sum(int(z["managed_pages"]) for z in zones if z["type"] not in capped)
    for zone in zones:
        managed = int(zone["managed_pages"])
        share = pages_min * managed // lowmem if lowmem else 0
        least = share
        if zone["type"] in capped:
            least = min(max(managed // 1024, SWAP_CLUSTER_MAX), 128)
        factor = mm.watermark_scale_factor
        scaled = managed // 10000 * factor + managed % 10000 * factor // 10000
        gap = max(share >> 2, scaled)
        zone["watermark_boost"] = 0
        for mark in (WMARK_MIN, WMARK_LOW, WMARK_HIGH, WMARK_PROMO):
            zone["watermark"][mark] = least + mark * gap
    if mm.view("has")[0].pcp_high_from_watermark:
        setup_per_cpu_pageset(mm)


def setup_per_zone_lowmem_reserve(mm):
    """What a zone keeps from requests that could use higher ones: their pages by a ratio."""
    for node in range(mm.nr_nodes):
        first = node * mm.nr_zone_types
        zones = mm.view("zone")[first : first + mm.nr_zone_types]
        for zone_type in range(mm.nr_zone_types - 1):
            ratio = LOWMEM_RESERVE_RATIO.get(zone_type, 0)
            clear = not ratio or zones[zone_type]["managed_pages"] == 0
            above = 0
            for upper in range(zone_type + 1, mm.nr_zone_types):
                above += int(zones[upper]["managed_pages"])
                zones[zone_type]["lowmem_reserve"][upper] = 0 if clear else above // ratio


def totalreserve_pages(mm):
    """Pages no user can have: each zone's largest reserve and high watermark."""
    total = 0
    for zone in mm.view("zone"):
        reserve = int(zone["lowmem_reserve"].max()) + int(zone["watermark"][WMARK_HIGH])
        total += min(reserve, int(zone["managed_pages"]))
    return total


def init_per_zone_wmark_min(mm):
    """min_free_kbytes, watermarks and reserves, as they are set once at boot."""
    calculate_min_free_kbytes(mm)
    setup_per_zone_wmarks(mm)
    refresh_zone_stat_thresholds(mm)
    setup_per_zone_lowmem_reserve(mm)


def refresh_zone_stat_thresholds(mm):
    """Every zone's threshold of its counters, with all CPUs online."""
    for number in range(mm.nr_zones):
        mm.view("zone")[number]["stat_threshold"] = stat_threshold(mm, number, mm.nr_cpus)


def stat_threshold(mm, number, online_cpus):
    """calculate_normal_threshold() of a zone: how far a CPU's share of its counters may be off."""
    mem = int(mm.view("zone")[number]["managed_pages"]) >> (27 - mm.page_shift)
    return min(125, 2 * online_cpus.bit_length() * (1 + mem.bit_length()))


def zone_batchsize(mm, number):
    """Pages a per-CPU list takes at once: a 4096th of the zone, 2^n - 1, at most 256 KiB."""
    managed = int(mm.view("zone")[number]["managed_pages"])
    batch = max(min(managed >> 10, (1 << 20) >> mm.page_shift) // 4, 1)
    batch += batch // 2
    return (1 << (batch.bit_length() - 1)) - 1


def zone_highsize(mm, number, batch, cpu_online=0, high_fraction=0):
    """Pages a CPU's lists may hold: its share of the low watermark, or of the zone."""
    zone = mm.view("zone")[number]
    pages = (
        int(zone["managed_pages"]) // high_fraction
        if high_fraction
        else int(zone["watermark"][WMARK_LOW])
    )
    cpus = int((mm.view("cpu_node") == zone["node"]).sum()) + cpu_online
    return max(pages // (cpus or mm.nr_cpus), batch << 2)


def zone_set_pageset_high_and_batch(mm, number, cpu_online=0, fraction=0):
    """Sizes the per-CPU lists of a zone: high, batch, and high_min and high_max.

    `fraction`: vm.percpu_pagelist_high_fraction, all the CPUs' share of the zone; before
    74f44822097c (5.14) vm.percpu_pagelist_fraction, the share of each (pageset_set_high()).
    """
    has = mm.view("has")[0]
    batch = max(1, zone_batchsize(mm, number))
    pages = int(mm.view("zone")[number]["managed_pages"])
    if has.pcp_high_from_watermark:
        high_min = zone_highsize(mm, number, batch, cpu_online, fraction)
        most = fraction or MIN_PERCPU_PAGELIST_HIGH_FRACTION
        high_max = zone_highsize(mm, number, batch, cpu_online, most)
    elif fraction:
        high_min = high_max = pages // fraction
        batch = min(max(1, high_min // 4), 8 * mm.page_shift)
    else:
        high_min = high_max = 6 * zone_batchsize(mm, number)
    batch, high_min, high_max = pageset_of(mm, pages, batch, high_min, high_max)
    zone = mm.view("zone")[number]
    zone["pageset_batch"], zone["pageset_high_min"], zone["pageset_high_max"] = (
        batch,
        high_min,
        high_max,
    )
    for pcp in mm.view("pcp")[number * mm.nr_cpus : (number + 1) * mm.nr_cpus]:
        pcp["batch"] = batch
        if has.pcp_auto_tune:
            pcp["high_min"], pcp["high_max"] = high_min, high_max
        else:
            pcp["high"] = pcp["high_min"] = pcp["high_max"] = high_min


def setup_per_cpu_pageset(mm, cpu_online=0):
    """Sizes the per-CPU lists of every zone that has pages."""
    for number in populated_zones(mm):
        zone_set_pageset_high_and_batch(mm, number, cpu_online)


def setup_pcp_cacheinfo(mm, cpu, slice_bytes):
    """Notes whether a CPU's share of the data cache holds more than 3 batches."""
    for number in populated_zones(mm):
        pcp = mm.view("pcp")[number * mm.nr_cpus + cpu]
        if (slice_bytes >> mm.page_shift) > 3 * pcp["batch"]:
            pcp["flags"] |= PCPF_FREE_HIGH_BATCH
        else:
            pcp["flags"] &= ~PCPF_FREE_HIGH_BATCH
