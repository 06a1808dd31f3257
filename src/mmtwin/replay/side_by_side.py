"""What-if: a recording's demands on two machines, the recorded one's twin and a changed one.

Only demands drive them (demands.py); nothing is compared with what the kernel answered, and
nothing is set right. So what differs in the figures comes of the change.
"""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from mmtwin.kernel.mm import MM
from mmtwin.kernel.policy import FAILED
from mmtwin.machine.recorded import profile_of, twin_gfp_of
from mmtwin.recordings.annotate import roots_of_aliases
from mmtwin.recordings.callers import caches_of
from mmtwin.recordings.recording import Recording
from mmtwin.replay.against import comparison, last_snapshot, shown_by_twin
from mmtwin.replay.call_sites import area_sites, vmalloc_sites
from mmtwin.replay.changes import Changes, apply, changes_of
from mmtwin.replay.demand_book import CONSTANTS as DEMANDS
from mmtwin.replay.demands import DemandReader
from mmtwin.replay.errors import ReplayError
from mmtwin.replay.run import Progress
from mmtwin.replay.start_state import (
    GFP_KERNEL,
    LivePages,
    StartState,
    live_pages,
    names_of,
    slab_objects,
    state_of,
)
from mmtwin.replay.twins import SAMPLES, Twin, boot_twin, caches_by_name
from mmtwin.versions.gfp import encode_gfp
from mmtwin.versions.profiles import Profile
from mmtwin.versions.releases import release_line

STARTS = ("auto", "live", "empty", "recorded")
FOR_TABLE = ("GFP_KERNEL|__GFP_ZERO|__GFP_ACCOUNT", "__GFP_COMP")
SHEAF_SITES = r"__alloc_empty_sheaf(_noprof)?|alloc_empty_sheaf(_noprof)?"
MASK64 = (1 << 64) - 1
# What a kmalloc's gfp has more for each type of cache (kmalloc_type()), in the twin's bits.
KMALLOC_GFP = (
    ("kmalloc-cg-", GFP_KERNEL | 0x400000), ("kmalloc-rcl-", GFP_KERNEL | 0x10),
    ("dma-kmalloc-", GFP_KERNEL | 0x1),
)  # fmt: skip


class WhatIf:
    """One what-if. `run()` carries it out once; see `what_if()` for the arguments."""

    def __init__(
        self, recording: Recording, profile: str | Profile | None, start: str,
        policy: Mapping[str, Any] | None, progress: Progress | None,
        settings: Mapping[str, Any], against: Recording | None = None,
    ) -> None:  # fmt: skip
        if start not in STARTS:
            raise ReplayError(f"no start {start!r}; choose from {', '.join(STARTS)}")
        self.recording = recording
        self.against = against
        self.last = recording.nr_events
        if against:
            last_snapshot(against)
            self.last = recording.marker(f"SNAPB {last_snapshot(recording).name}/slabinfo").index
            if not profile and not settings and not policy:
                profile, settings = profile_of(against), memory_of(against, recording)
        self.progress = progress
        self.state = state_of(recording)
        self.annotated = self.state.annotated
        self.changes = changes_of(self.state.profile, profile, settings)
        self.policy = policy or {}
        if self.policy:
            self.changes.texts.append(f"policy: {', '.join(sorted(self.policy))}")
        self.start = self._start(start)
        self.first = 0 if self.start == "empty" else self.state.first
        self.own_stacks = self.start != "recorded"
        self.reader = self._reader()
        self.twins = self._twins()
        self.times: list[int] = []
        self.redemanded: dict[str, int] = {}

    def _start(self, start: str) -> str:
        """The kind of start; ReplayError where it cannot be."""
        if start == "auto":
            return "empty" if self.state.known is None else "live"
        if start != "empty" and self.state.known is None:
            raise ReplayError(f"{self.recording.path} holds no state to begin with; use empty")
        same = self.changes.profile == self.state.profile and self.changes.in_place
        if start == "recorded" and (self.policy or not same):
            raise ReplayError(
                "the recorded state can go on only where caches and pages stay as they are; "
                "use the start live"
            )
        return start

    def _reader(self) -> DemandReader:
        """What turns the events into demands; the names of all caches get their numbers."""
        for name in names_of(self.state.known) if self.state.known else ():
            self.annotated.number_of(name)
        self.routes = self._routes()
        self.sites: dict[int, int] = {}
        state, recording, annotated = self.state, self.recording, self.annotated
        numbers = {name: number for number, name in enumerate(annotated.names)}
        has, version = state.profile.features, state.profile.version
        gfp, comp = (encode_gfp(text, version, state.profile.config) for text in FOR_TABLE)
        hidden = []
        if has["sheaves"] and self.start != "recorded":
            hidden = [
                int(site["call_site"]) for site in annotated.sites.records()
                if self._is_sheaf_site(int(site["call_site"]))
            ]
        shift = annotated.page_shift
        facts = {
            "nr_pages": annotated.nr_pages, "page_offset": annotated.page_offset,
            "page_shift": shift, "large": 2 << shift, "gfp_bits": twin_gfp_of(recording),
            "sizes": self._sizes(), "bulk_sites": vmalloc_sites(annotated),
            "bulk_unseen": bool(has["vmalloc_bulk"]), "table_gfp": gfp, "table_spare_gfp": comp,
            "task_cache": numbers.get("task_struct", -1),
            "cred_cache": numbers.get("cred_jar", -1),
            "stack_bytes": has["thread_size"], "area_sites": area_sites(annotated),
            "keeps_stacks": bool(has["vmap_stack"]),
        }  # fmt: skip
        return DemandReader(facts, self.own_stacks, hidden, self.routes)

    def _routes(self) -> dict[int, int]:
        """With slub_nomerge, the caches that call sites ask for by their functions, where several
        share one on the recorded machine.
        """
        routes: dict[int, int] = {}
        known = self.state.known
        if known is None or not self.changes.splits:
            return routes
        roots = roots_of_aliases(self.recording, set(known.cache_names))
        for site in self.annotated.sites.records():
            found = self.recording.symbols.find(int(site["call_site"]))
            if site["cache"] < 0 or not found:
                continue
            root = self.annotated.names[int(site["cache"])]
            names = [name for name in caches_of(found[0]) if roots.get(name) == root]
            if len(names) == 1:
                routes[int(site["call_site"])] = self.annotated.number_of(names[0])
        return routes

    def _is_sheaf_site(self, site: int) -> bool:
        found = self.recording.symbols.find(site)
        return bool(found and re.fullmatch(SHEAF_SITES, found[0]))

    def _sizes(self) -> list[int]:
        """Bytes from object to object by number of a name, 0 where nothing tells."""
        if self.state.known is None:
            return [0] * len(self.annotated.names)
        known, numbers = self.state.known, names_of(self.state.known)
        sizes = known.view("cache")["size"]
        return [int(sizes[numbers[n]]) if n in numbers else 0 for n in self.annotated.names]

    def _twins(self) -> tuple[Twin, Twin]:
        machine, state = self.recording.machine, self.state
        memory = machine.mem_bytes or self.annotated.nr_pages << self.annotated.page_shift
        same = Changes(state.profile)
        made = []
        for name, changes in (("recorded", same), ("changed", self.changes)):
            policy = self.policy if name == "changed" else {}
            if self.start == "recorded":
                mm = StartState(self.recording).known
                assert mm is not None
                apply(mm, changes)
                mm.sheaves_unbacked = 1
            else:
                line = same_structures(changes.profile, state.profile)
                mm = boot_twin(changes, memory, machine.cpus, state.known, line, policy)
            cache_of = caches_by_name(mm, self.annotated.names, state.known)
            twin = Twin(name, mm, cache_of, self.annotated.page_shift, self.own_stacks)
            made.append(twin)
        return made[0], made[1]

    # ---- the start

    def _carry_out(self) -> None:
        demands = self.reader.take()
        for twin in self.twins:
            twin.runner.reserve(self.reader.size())
            twin.runner.carry_out(demands)

    def _begin(self) -> None:
        """What lives at the start is demanded, by address; with the start recorded both machines
        have it already.
        """
        known = self.state.known
        if self.start == "empty" or known is None:
            return
        records = self.reader.known_objects()
        asked = dict(zip(records["address"].tolist(), records["bytes_req"].tolist(), strict=True))
        self.sites = {a: self.reader.site_of(a) for a in (asked if self.routes else ())}
        self.reader.forget()
        room = DEMANDS["DEMAND_ROOM"] - DEMANDS["DEMAND_SPARE"]
        tally = dict.fromkeys(
            ("objects", "of_unknown_size", "large", "pages", "stack_pages", "free_objects"), 0
        )
        places: list[int] = []
        free: list[int] = []
        for address, what, alive in self._there(known, tally):
            if isinstance(what, LivePages) and not what.large:
                self.reader.adopt_pages(what.pfn, what.order, what.gfp, what.use)
                tally["pages"] += 1 << what.order
                places.append(what.pfn)
            else:
                self._adopt(known, address, what, asked, tally, alive)
                places.append(address)
                free += () if alive else (address,)
            if self.reader.nr_demands > room:
                self._demand_again(places)
        for address in free:
            self.reader.give_back_object(address)
            if self.reader.nr_demands > room:
                self._demand_again(places)
        self._demand_again(places)
        self.redemanded = tally
        for twin in self.twins:
            twin.runner.begin()

    def _there(
        self, known: MM, tally: dict[str, int]
    ) -> list[tuple[int, int | LivePages, bool]]:
        """(address, number of its cache or its pages, whether it lives) of all that is there, by
        address. Objects that lie free in slabs are asked for too, and given back when all has been
        demanded, so that slabs are as full as they were; not where the recorded state goes on.

        Where stacks are demanded with their tasks, as many pages as they have are left out: the
        highest single ones that nobody is known to use; and as many vmap_areas.
        """
        base, shift = int(known.page_offset), int(known.page_shift)
        found: list[tuple[int, int | LivePages, bool]] = [
            row for row in slab_objects(known) if row[2] or self.start != "recorded"
        ]
        pages = list(live_pages(known))
        if self.own_stacks:
            has, numbers = self.state.profile.features, names_of(known)
            task, size = numbers.get("task_struct", -1), has["thread_size"]
            tasks = sum(number == task and alive for _, number, alive in found)
            area = numbers.get("vmap_area", -1) if has["vmap_stack"] else -1
            areas = [row for row in found if row[1] == area and row[2]]
            without = set(areas[max(len(areas) - tasks, 0) :])
            found = [(a, what, alive and (a, what, alive) not in without)
                     for a, what, alive in found]
            single = [p for p in pages if p.order == 0 and p.gfp == GFP_KERNEL and not p.large]
            left_out = {p.pfn for p in single[len(single) - (tasks * size >> shift) :]}
            tally["stack_pages"] = len(left_out)
            pages = [p for p in pages if p.pfn not in left_out]
        found += [(base + (p.pfn << shift) & MASK64, p, True) for p in pages]
        return sorted(found, key=lambda row: row[0])

    def _adopt(
        self, known: MM, address: int, what: int | LivePages, asked: dict[int, int],
        tally: dict[str, int], alive: bool,
    ) -> None:  # fmt: skip
        """One object; of a kmalloc before the first event nobody knows how much was asked."""
        if isinstance(what, LivePages):
            size = 1 << what.order + int(known.page_shift)
            self.reader.adopt_object(
                address, -1, asked.get(address, size), True, False, GFP_KERNEL
            )
            tally["large"] += 1
            return
        name = known.cache_names[what]
        size = int(known.view("cache")["object_size"][what])
        kmalloc = name.startswith(("kmalloc-", "dma-kmalloc-"))
        number = self.annotated.number_of(name)
        number = self.routes.get(self.sites.get(address, 0), number)
        gfp = next((gfp for kind, gfp in KMALLOC_GFP if name.startswith(kind)), GFP_KERNEL)
        self.reader.adopt_object(
            address, number, asked.get(address) or size, kmalloc,
            alive and name == "task_struct", gfp,
        )  # fmt: skip
        tally["objects" if alive else "free_objects"] += 1
        tally["of_unknown_size"] += alive and kmalloc and address not in asked

    def _demand_again(self, places: list[int]) -> None:
        """Demands that were made of what lives; `places`: where the recorded machine has it."""
        if self.start != "recorded":
            self._carry_out()
        else:
            demands, where = self.reader.take(), np.array(places, dtype=np.uint64)
            for twin in self.twins:
                twin.runner.reserve(self.reader.size())
                twin.runner.hold(demands, where)
        places.clear()

    # ---- the events

    def run(self) -> dict[str, Any]:
        """Carries it out; the figures as docs/json.md has them."""
        total = self.last
        step = max((total - self.first) // SAMPLES, 1)
        following = self.first
        begun = self.start == "empty"
        for block in self.annotated.blocks():
            address, available = block.events.ctypes.data, len(block.events)
            start = 0
            if not begun:
                stop = min(max(self.first - block.first, 0), block.ready)
                self.reader.look(address, 0, stop, available)
                start = stop
                if block.first + block.ready > self.first:
                    self._begin()
                    begun = True
            end = min(block.ready, total - block.first)
            while start < end:
                stop = min(max(following - block.first, start + 1), end)
                while start < stop:
                    start = self.reader.read(address, start, stop, available)
                    self._carry_out()
                if block.first + start >= following:
                    self._sample(int(block.events["time"][start - 1]))
                    following += step
            if self.progress:
                self.progress(min(block.first + block.ready, total), total)
            if block.first + block.ready >= total:
                break
        if FAILED in self.twins[1].mm.policy:
            raise ReplayError(self.twins[1].mm.policy[FAILED])
        return self._figures()

    def _sample(self, time: int) -> None:
        self.times.append(time)
        for twin in self.twins:
            twin.sample(time)

    def _compared(self) -> dict[str, Any]:
        """The prediction held against the other recording, if one was given."""
        if self.against is None:
            return {}
        recorded, changed = (shown_by_twin(twin.mm) for twin in self.twins)
        return {"against": comparison(self.recording, self.against, (recorded, changed))}

    def _figures(self) -> dict[str, Any]:
        counts = self.reader.counts()
        machine = self.recording.machine
        first = self.times[0] if self.times else 0
        return {
            "recording": {
                "name": self.recording.path.name, "kernel": machine.release,
                "arch": machine.arch, "page_size": machine.page_size, "cpus": machine.cpus,
                "memory": machine.mem_bytes, "events": self.recording.nr_events,
            },
            "changes": self.changes.texts,
            "start": {
                "kind": self.start, "event": self.first, "redemanded": self.redemanded,
            },
            "demands": {
                name.removeprefix("DEMANDS_").lower(): int(counts[place])
                for name, place in DEMANDS.items()
                if name.startswith("DEMANDS_") and name != "DEMANDS_PLACES"
            },
            "machines": [twin.figures() for twin in self.twins],
            **self._compared(),
            "course": {
                "seconds": [max(time - first, 0) / 1e9 for time in self.times],
                **{
                    twin.name: {
                        key: [sample[key] for sample in twin.samples]
                        for key in (twin.samples[0] if twin.samples else ())
                        if key != "time"
                    }
                    for twin in self.twins
                },
            },
        }  # fmt: skip


def same_structures(profile: Profile, other: Profile) -> bool:
    """Whether structures are as large: of one release and architecture."""
    lines = release_line(profile.version), release_line(other.version)
    return lines[0] == lines[1] and profile.arch == other.arch


def memory_of(recording: Recording, other: Recording) -> dict[str, Any]:
    """The setting of a recorded machine's memory, where it is not the other one's."""
    memory = recording.machine.mem_bytes
    return {"memory": str(memory)} if memory and memory != other.machine.mem_bytes else {}


def what_if(
    recording: Any = None,
    profile: str | Profile | None = None,
    start: str = "auto",
    policy: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    against: Any = None,
    **config: Any,
) -> dict[str, Any]:
    """What a recording's demands would have cost on a changed machine, beside the recorded one's
    twin: the figures that `mmtwin what-if --json` prints (docs/what-if.md).

    `recording`: a Recording or a path, None for the one that comes with mmtwin. `profile`: the
    changed machine's, a name or a Profile; None for the recorded one. `config`: what else is
    changed (`slub_min_order=0`, `page_size="16K"`, `struct={"dentry": "+16"}`). `policy`:
    {slot: callable} of the changed machine. `start`: "live" boots both machines empty and demands
    again what lived at the recording's first state, "empty" begins with the first event,
    "recorded" goes on from that state itself; "auto" is live where there is a state.
    `against`: a recording of another kernel with the same workload, which the prediction is held
    against at its last snapshot; with nothing else said, the changed machine is that kernel's.
    `progress(done, total)` in events. Raises ReplayError or RecordingError.
    """
    from mmtwin.recordings import default_recording_path, open_recording

    with ExitStack() as opened:

        def at(place: Any) -> Recording:
            if isinstance(place, Recording):
                return place
            return opened.enter_context(open_recording(place))

        held = None if against is None else at(against)
        recording = at(recording or default_recording_path())
        return WhatIf(recording, profile, start, policy, progress, config, held).run()
