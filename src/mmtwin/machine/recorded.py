"""A recorded machine: its profile, its zones and its state at a snapshot.

`recording` is what `mmtwin.recordings.open_recording` gives: `.machine` (release, arch, page_size,
cpus, cmdline, config), `.snapshots`, `.static(name)`, `.sys_kernel_slab`. This floor lies below
recordings/, so it takes the object as it is.
"""

import re
from collections.abc import Iterable
from typing import Any

from mmtwin.kernel.layout import Layout
from mmtwin.kernel.mm import MM
from mmtwin.kernel.mmzone_init import setup_pcp_cacheinfo
from mmtwin.machine.blame import WITHOUT, DamagedError, blamed
from mmtwin.machine.from_proc import PcpLists, build_from_proc
from mmtwin.machine.from_truth import build_from_truth, truth_addresses
from mmtwin.machine.history import History
from mmtwin.machine.layouts import find_page_offset, layout_of
from mmtwin.machine.page_uses import set_uses
from mmtwin.machine.proc_pages import Flags, guess_pageblocks
from mmtwin.machine.proc_slab import slab_heads
from mmtwin.machine.texts import (
    ZoneText,
    parse_cmdline,
    parse_pagetypeinfo,
    parse_release,
    parse_slabinfo,
    parse_zoneinfo,
)
from mmtwin.machine.truth_pages import PCP_TYPES, known_pageblocks, set_pageblocks
from mmtwin.machine.zones import zone_ranges
from mmtwin.versions.gfp import to_twin_gfp
from mmtwin.versions.profiles import Profile, debian_config
from mmtwin.versions.releases import nearest_release, release_line

CMA_AREA = re.compile(r"cma: Reserved (\d+) MiB at (0x[0-9a-f]+)")
# MIDR_EL1 (arch/arm64/include/asm/cputype.h) of Cortex-A35, -A53, -A57, -A72 and -A73.
CORES_8_0 = {("0x41", part) for part in ("0xd04", "0xd03", "0xd07", "0xd08", "0xd09")}
MOST_STEPS = 1 << 15
PAGE_SUFFIX = {4096: "", 16384: "-16k", 65536: "-64k"}


def static_text(recording: Any, name: str) -> str:
    """A text that holds for the whole recording; "" if it is missing."""
    try:
        return str(recording.static(name))
    except KeyError:
        return ""


def marks_no_entries(cpuinfo: str) -> bool:
    """Whether a core of an arm64 machine marks no entries young itself: those of version 8.0."""
    fields = dict.fromkeys(("CPU implementer", "CPU part"), "")
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
        if name.startswith("CPU part") and (fields["CPU implementer"], value.strip()) in CORES_8_0:
            return True
    return False


def cache_slices(cpuinfo: str) -> list[int]:
    """Each CPU's share of its last cache in bytes (cpu_cacheinfo.per_cpu_data_slice_size), by
    x86's "cache size" and "siblings"; none where the lines are missing.
    """
    sizes = [int(size) << 10 for size in re.findall(r"(?m)^cache size\s*: (\d{1,9}) KB$", cpuinfo)]
    shared = [int(cpus) for cpus in re.findall(r"(?m)^siblings\s*: (\d{1,5})$", cpuinfo)]
    return [size // max(cpus, 1) for size, cpus in zip(sizes, shared, strict=False)]


def set_cache_slices(recording: Any, mm: MM) -> None:
    """Lets the per-CPU lists know how large the CPUs' caches are
    (setup_pcp_cacheinfo(), since 6.7).
    """
    if mm.view("has")[0].pcp_auto_tune:
        slices = cache_slices(static_text(recording, "cpuinfo"))
        for cpu, size in enumerate(slices[: mm.nr_cpus]):
            setup_pcp_cacheinfo(mm, cpu, size)


def profile_of(recording: Any) -> Profile:
    """The profile of a recorded machine: its own release, configuration and command line.

    A recording without a configuration (a text trace) takes that of Debian's kernel. Raises
    ValueError if the recording does not say its kernel or architecture.
    """
    machine = recording.machine
    if not machine.arch or not machine.release:
        raise ValueError(
            f"{recording.path} does not say what kernel it was made on: tell it with "
            "mmtwin import --kernel"
        )
    with blamed(f"{recording.path}: its version"):
        version = parse_release(static_text(recording, "version") or machine.release)
    config = {name: value for name, value in machine.config.items() if value not in ("n", "")}
    if not config:
        config = debian_config(nearest_release(version), machine.arch, machine.page_size)
    if marks_no_entries(static_text(recording, "cpuinfo")):
        config.pop("CONFIG_ARM64_HW_AFDBM", None)  # cpu_has_hw_af()
    suffix = PAGE_SUFFIX.get(machine.page_size)
    if suffix is None:
        raise ValueError(f"{recording.path}: no kernel has pages of {machine.page_size} bytes")
    name = f"{machine.arch}{suffix}-{release_line(version)}"
    cmdline = parse_cmdline(machine.cmdline)
    return Profile(name, version, machine.arch, machine.page_size, config, cmdline)


def zones_at(recording: Any, name: str | None = None) -> list[ZoneText]:
    """The zoneinfo of a snapshot, of any one if `name` is None; ValueError if none has it."""
    names = [name] if name else list(recording.snapshots)
    for each in names:
        snapshot = recording.snapshots.get(each)
        if snapshot is not None and "zoneinfo" in snapshot:
            return list(snapshot.parsed("zoneinfo", parse_zoneinfo))
    raise ValueError(f"{recording.path} has no zoneinfo{f' at {name}' if name else ''}")


def layout_of_recording(
    recording: Any,
    addresses: Iterable[int] = (),
    profile: Profile | None = None,
    page_offset: int | None = None,
    **settings: Any,
) -> Layout:
    """The Layout of a recorded machine.

    `addresses`: some addresses of objects that its events name: with them the direct map is found
    even where the kernel moved it (KASLR); a truth names enough of them itself. `page_offset`: the
    address of pfn 0, where the caller knows it.
    """
    profile = profile or profile_of(recording)
    zones = zones_at(recording)
    ranges = zone_ranges(zones)
    shift = profile.limits.page_shift
    seen = list(addresses)
    for snapshot in recording.snapshots.values():
        if not seen and snapshot.has_truth:
            seen = truth_addresses(snapshot.truth)
    start, end = min(a for a, _ in ranges) << shift, max(b for _, b in ranges) << shift
    offset = page_offset
    if offset is None:
        offset = find_page_offset(profile, start, end, seen)
    nodes = 1 + max(zone.node for zone in zones)
    settings.setdefault("ring_size", steps_at_once(zones))
    return layout_of(
        profile, ranges, cpus=recording.machine.cpus, nodes=nodes, page_offset=offset, **settings
    )


def steps_at_once(zones: list[ZoneText]) -> int:
    """A size for the ring of steps: one free can give back all that a CPU keeps of a zone
    (nr_pcp_free(), f26b3fa04611, 5.18), each page a step.
    """
    highest = max((pages.get("high", 0) for zone in zones for pages in zone.pagesets), default=0)
    size = 4096
    while size < highest + 1024 and size < MOST_STEPS:
        size *= 2
    return size


def own_attributes(recording: Any) -> dict[str, dict[str, str]]:
    """/sys/kernel/slab by name: a cache that others share has a folder that its name links to."""
    caches: dict[str, dict[str, str]] = recording.sys_kernel_slab
    found = {name: caches.get(values.get("@link", name), {}) for name, values in caches.items()}
    return {name: values for name, values in found.items() if "@link" not in values}


def machine_at_truth(
    recording: Any, name: str, layout: Layout | None = None, profile: Profile | None = None
) -> MM:
    """The state at the marker `DUMP name`, from the truth that the recording holds of it.

    Raises ValueError if it holds none.
    """
    snapshot = recording.snapshots.get(name)
    if snapshot is None or not snapshot.has_truth:
        raise ValueError(f"{recording.path} holds no truth of {name!r}")
    profile = profile or profile_of(recording)
    layout = layout or layout_of_recording(recording, profile=profile)
    zones = zones_at(recording, name if "zoneinfo" in snapshot else None)
    with blamed(snapshot.truth_place, WITHOUT):
        mm = build_from_truth(profile, zones, snapshot.truth, own_attributes(recording), layout)
        known = known_pageblocks(mm, snapshot.truth)
    if "kpageflags" in snapshot and "pagetypeinfo" in snapshot:
        pagetypes = snapshot.parsed("pagetypeinfo", parse_pagetypeinfo)
        flags = page_flags_at(snapshot, zones)
        with blamed(of_snapshot(recording, name)):
            types = guess_pageblocks(
                profile, zones, flags, pagetypes, cma_areas(recording), known
            )
            set_pageblocks(mm, dict(enumerate(types)))
            set_uses(mm, flags)
    set_cache_slices(recording, mm)
    return mm


def of_snapshot(recording: Any, name: str) -> str:
    """A snapshot's files, as errors about all of them name them."""
    return f"{recording.path}: zoneinfo, pagetypeinfo, kpageflags and slabinfo of {name!r}"


def page_flags_at(snapshot: Any, zones: list[ZoneText]) -> Flags:
    """kpageflags of a snapshot. Raises DamagedError if it ends before the last zone does."""
    flags: Flags = snapshot.array("kpageflags")
    last = max(end for _, end in zone_ranges(zones))
    if len(flags) < last:
        raise DamagedError(
            f"{snapshot.place('kpageflags')}: {len(flags)} pages of {last}, which zoneinfo shows"
        )
    return flags


def cma_areas(recording: Any) -> list[tuple[int, int]]:
    """(first pfn, pfn behind the last) of the CMA areas that dmesg names."""
    shift = (recording.machine.page_size - 1).bit_length()
    areas = []
    for size, start in CMA_AREA.findall(static_text(recording, "dmesg")):
        first = int(start, 16) >> shift
        areas.append((first, first + (int(size) << 20 >> shift)))
    return areas


def machine_at_proc(
    recording: Any,
    name: str,
    layout: Layout | None = None,
    profile: Profile | None = None,
    history: History | None = None,
) -> MM:
    """The state when `name`'s kpageflags was read, from /proc alone.

    `history`, if given, has seen the events from `SNAPB NAME/kpageflags` on and fills in what
    /proc leaves open: which pages lay on per-CPU lists, whose a slab was, which objects were in
    use. Raises ValueError if the snapshot lacks zoneinfo, pagetypeinfo or kpageflags.
    """
    snapshot = recording.snapshots.get(name)
    needed = ("zoneinfo", "pagetypeinfo", "kpageflags")
    missing = [file for file in needed if snapshot is None or file not in snapshot]
    if missing:
        raise ValueError(f"{recording.path} has no {', '.join(missing)} at {name!r}")
    assert snapshot is not None
    profile = profile or profile_of(recording)
    layout = layout or layout_of_recording(recording, profile=profile)
    slabs = snapshot.parsed("slabinfo", parse_slabinfo) if "slabinfo" in snapshot else []
    zones = zones_at(recording, name)
    flags = page_flags_at(snapshot, zones)
    pagetypes = snapshot.parsed("pagetypeinfo", parse_pagetypeinfo)
    known: dict[str, Any] = {}
    with blamed(of_snapshot(recording, name)):
        if history is not None:
            known["hints"] = history.hints(slab_heads(flags))
            known["pcp"] = pcp_lists_of(history, profile, zones, flags, layout.nr_cpus)
        return build_from_proc(
            profile, layout, zones, pagetypes, flags, slabs, own_attributes(recording),
            cma=cma_areas(recording), **known,
        )  # fmt: skip


def pcp_lists_of(
    history: History, profile: Profile, zones: list[ZoneText], flags: Flags, cpus: int
) -> PcpLists:
    """The per-CPU lists that a history tells, by zone and CPU: list index -> pfns, head first."""
    small = profile.features["pcp_max_order"]
    lists: dict[tuple[int, str], list[dict[str, list[int]]]] = {}
    spans = [(zone, zone.numbers["start_pfn"]) for zone in zones if zone.numbers.get("spanned")]
    for pfn, order, migratetype, cpu in history.pcp_blocks(flags):
        for zone, start in spans:
            inside = start <= pfn < start + zone.numbers["spanned"]
            if inside and order <= small and 0 <= migratetype < PCP_TYPES and cpu < cpus:
                mine = lists.setdefault((zone.node, zone.name), [{} for _ in range(cpus)])
                index = str(PCP_TYPES * order + migratetype)
                mine[cpu].setdefault(index, []).append(pfn)
    return lists


def machine_at_boot(
    recording: Any, history: History, layout: Layout | None = None,
    profile: Profile | None = None,
) -> MM:
    """The state before the first event, made from what the events tell of it.

    `history` has seen the events up to the first snapshot's `SNAPB NAME/kpageflags`. What was
    allocated before tracing stays in use: pages as the kernel's own, slabs full but for the
    objects that events later take. Raises ValueError if no snapshot has zoneinfo, pagetypeinfo
    and kpageflags.
    """
    profile = profile or profile_of(recording)
    layout = layout or layout_of_recording(recording, profile=profile)
    snapshot = first_snapshot(recording)
    zones = boot_zones(zones_at(recording, snapshot.name))
    flags = page_flags_at(snapshot, zones)
    lines = snapshot.parsed("slabinfo", parse_slabinfo) if "slabinfo" in snapshot else []
    pagetypes = snapshot.parsed("pagetypeinfo", parse_pagetypeinfo)
    with blamed(of_snapshot(recording, snapshot.name)):
        heads = history.boot_slabs(flags)
        return build_from_proc(
            profile, layout, zones, pagetypes, history.boot_flags(flags),
            history.boot_lines(lines, flags), own_attributes(recording),
            cma=cma_areas(recording), hints=history.hints(heads), heads=heads,
        )  # fmt: skip


def first_snapshot(recording: Any) -> Any:
    """The snapshot that a state can be made from; "start" if there is one of that name."""
    names = sorted(recording.snapshots, key=lambda name: name != "start")
    for name in names:
        snapshot = recording.snapshots[name]
        if all(file in snapshot for file in ("zoneinfo", "pagetypeinfo", "kpageflags")):
            return snapshot
    raise ValueError(f"{recording.path} has no snapshot with zoneinfo, pagetypeinfo, kpageflags")


def boot_zones(zones: list[ZoneText]) -> list[ZoneText]:
    """Zones as trace_init() finds them: per-CPU lists still have their boot sizes."""
    for zone in zones:
        for said in zone.pagesets:
            said.update(high=0, batch=1)
    return zones


def twin_gfp_of(recording: Any) -> list[int]:
    """What each bit of the recording's gfp numbers is in the twin; see `to_twin_gfp`."""
    profile = profile_of(recording)
    return to_twin_gfp(profile.version, profile.config)
