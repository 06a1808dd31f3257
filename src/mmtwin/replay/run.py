"""A replay from end to end: the machine at its start, the events, the comparisons at their
markers, the figures.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from mmtwin.kernel.mm import MM
from mmtwin.machine.recorded import profile_of, twin_gfp_of
from mmtwin.procfs import buddyinfo, slabinfo
from mmtwin.procfs.compare import Comparison, compare_buddyinfo, compare_slabinfo
from mmtwin.recordings.annotate import Annotated, Block
from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.recording import Recording
from mmtwin.recordings.stream import Events
from mmtwin.replay.call_sites import MAPLE_CACHES, vmalloc_sites
from mmtwin.replay.engine import Engine
from mmtwin.replay.errors import ReplayError
from mmtwin.replay.follow import Follower
from mmtwin.replay.geometry import compare_geometry
from mmtwin.replay.maple import Maple
from mmtwin.replay.maple_script import Script
from mmtwin.replay.memory_lines import MemoryLines
from mmtwin.replay.node_source import ToldNodes, Trust, inferred_nodes, sheaf_nodes
from mmtwin.replay.process_demands import ProcessDemands, has_processes
from mmtwin.replay.result import ReplayResult
from mmtwin.replay.starts import choose_start, first_event, machine_at_start
from mmtwin.replay.statistics import Statistics
from mmtwin.replay.timers import set_timer
from mmtwin.replay.truth import Tally, compare_truth
from mmtwin.replay.vmalloc import VmallocReplay
from mmtwin.replay.write_sites import kernfs_sites, settings_of, write_sites

PIECE = 1 << 14
Progress = Callable[[int, int], None]
Stop = tuple[int, Callable[[], None]]
MODES = ("predict", "follow")


class Replay:
    """One replay of a recording. `run()` carries it out once; see `replay()` for the arguments."""

    def __init__(
        self,
        recording: Recording,
        mode: str = "predict",
        start: str = "auto",
        free_running: bool = False,
        statistics: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.began = time.perf_counter()
        self.compared = self.ahead = 0.0
        self.recording = recording
        self.mode = mode
        self.free_running = free_running
        self.progress = progress
        self.profile = profile_of(recording)
        self.annotated = Annotated(recording)
        self.start, self.snapshot = choose_start(recording, start)
        self.mm = self._machine()
        self.mm.contents = 0  # no event tells what is in an object
        self.first = first_event(self.annotated, self.start, self.snapshot)
        # From the first event on, the order of no list is known: nothing to predict by.
        self.predicting = mode == "predict" and self.start != "empty"
        self.demands = self._demands()
        self.script: Script | None = None
        self.told: ToldNodes | None = None
        self.engine = self._engine()
        self.trust = Trust(self.engine, self.script) if self.script else None
        self.follower = self._follower()
        sites = vmalloc_sites(self.annotated)
        self.lines = MemoryLines(recording, self.annotated, self.profile, sites)
        vmalloc = VmallocReplay(self.annotated, self.profile, free_running)
        self.vmalloc = vmalloc if vmalloc.usable else None
        self.statistics: Statistics | None = None
        if statistics:
            self.statistics = Statistics(self.state, self.engine, self.annotated)
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.differing: dict[str, list[str]] = {}

    # ---- the start

    def _machine(self) -> MM:
        return machine_at_start(self.annotated, self.profile, self.start, self.snapshot)

    def _cache_numbers(self) -> list[int]:
        """The twin's cache by number in the recording's names, -1 for none."""
        numbers = {name: number for number, name in enumerate(self.mm.cache_names)}
        return [numbers.get(name, -1) for name in self.annotated.names] or [-1]

    def _engine(self) -> Engine:
        cache_of = self._cache_numbers()
        bits = twin_gfp_of(self.recording)
        large = 2 << self.mm.page_shift
        sites = vmalloc_sites(self.annotated)
        ordered = self.start == "truth"
        engine = Engine(
            self.mm, cache_of, bits, large, not self.free_running, sites, ordered, self._maple(),
            write_sites(self.annotated), settings_of(self.recording, self.mm, self.snapshot),
            kernfs_sites(self.annotated),
        )  # fmt: skip
        engine.objects.reserve(1 << 16)
        set_timer(engine, self.recording, self.profile)
        return engine

    def _demands(self) -> ProcessDemands | None:
        """The recording's processes, where it tells of them: they foresee their demands."""
        if not self.predicting or self.free_running or not has_processes(self.recording):
            return None
        return ProcessDemands(self.annotated, self.first)

    def _maple(self) -> Maple | None:
        """What knows or infers the maple nodes that no event names, where there are such and the
        lists are known.
        """
        features = self.profile.features
        if self.free_running or self.start != "truth":
            return None
        if MAPLE_CACHES[0] not in self.mm.cache_names:
            return None
        if features["maple_bulk"]:
            if not self.demands or not self.demands.nodes.known:
                return inferred_nodes(self.mm, self.annotated)
        elif features["maple_sheaves"]:
            return sheaf_nodes(self.mm, self.annotated)
        elif features["maple_store_type"] and self.predicting:
            self.told = ToldNodes(self.annotated, self.mm, self.first)
        else:
            return None
        self.script = Script(self.mm, self.mm.cache_names.index(MAPLE_CACHES[0]))
        return self.script

    def _follower(self) -> Follower | None:
        """What rebuilds the kernel's state beside the prediction, where the start's lists have no
        known order.
        """
        if self.start == "truth" and self.mode == "predict":
            return None
        mm = self._machine()
        mm.contents = 0
        return Follower(mm, self._cache_numbers(), twin_gfp_of(self.recording))

    @property
    def state(self) -> MM:
        """The machine that snapshots are compared with: rebuilt where that can be, else predicted.
        """
        return self.follower.mm if self.follower else self.mm

    # ---- the events

    def run(self) -> ReplayResult:
        """Replays the whole recording."""
        stops = self._stops()
        total = self.recording.nr_events
        began = time.perf_counter()
        consumed = 0
        self.compared = self.ahead = 0.0
        for block in self.blocks():
            done = 0
            while stops and stops[0][0] < block.first + block.ready:
                index, act = stops.pop(0)
                consumed += self.carry_out(block, done, index - block.first)
                done = max(done, index - block.first)
                self._act(act)
            consumed += self.carry_out(block, done, block.ready)
            if self.progress:
                self.progress(block.first + block.ready, total)
        for _index, act in stops:
            self._act(act)
        seconds = {
            "setup_seconds": began - self.began,
            "seconds": time.perf_counter() - began - self.compared - self.ahead,
            "compare_seconds": self.compared,
            **({"process_seconds": self.ahead} if self.demands else {}),
        }
        return self._result(consumed, seconds)

    def blocks(self) -> Iterator[Block]:
        """The recording's blocks: a block's demands by processes are foreseen before it, and held
        against it when it was carried out.
        """
        for block in self.annotated.blocks():
            self._foresee(block)
            yield block
            if self.demands:
                self.demands.compare(block)

    def _foresee(self, block: Block) -> None:
        """The processes go ahead of the block's events, their time kept apart."""
        if self.told and self.script:
            self.told.advance(block, self.script)
        if self.demands:
            began = time.perf_counter()
            try:
                self.demands.advance(block, None if self.told else self.script)
            except (ValueError, RecordingError):
                self.demands = None  # it tells too little of them: the kernel side goes on alone
            self.ahead += time.perf_counter() - began

    def _act(self, act: Callable[[], None]) -> None:
        """A comparison, its time kept apart: it does not depend on the number of events."""
        began = time.perf_counter()
        act()
        self.compared += time.perf_counter() - began

    def carry_out(self, block: Block, start: int, stop: int) -> int:
        """Carries out events `start` to `stop` of a block, how many of them; what lies before the
        start's state is only looked at.
        """
        before = min(max(self.first - block.first, start), stop)
        if self.statistics:
            self.statistics.add_events(block.events[start:stop])
        for first, last in pieces(start, before):
            self.engine.objects.reserve(last - first)
            self.engine.recall(block.events.ctypes.data, first, last)
            if self.statistics:
                self.engine.observe(block.events.ctypes.data, first, last, len(block.events))
            self._feed(block, first, last)
        for first, last in pieces(before, stop):
            self.engine.objects.reserve(last - first)
            self._carry_out(block.events, first, last)
            self._feed(block, first, last)
        return max(stop - before, 0)

    def _carry_out(self, events: Events, start: int, stop: int) -> None:
        address = events.ctypes.data
        if self.follower:
            self.follower.run(address, start, stop, len(events))
        if self.predicting:
            self.engine.run(address, start, stop, len(events))
            if self.trust:
                self._judge(self.trust)
        else:
            self.engine.observe(address, start, stop, len(events))

    def _judge(self, trust: Trust) -> None:
        """Trees are followed no more where they foresee too little."""
        if self.told and trust.is_lost():
            self.engine.maple = Maple(self.mm)
            self.script = self.trust = None
        elif not self.told and (self.demands is None or trust.is_lost()):
            self.engine.maple = inferred_nodes(self.mm, self.annotated) or self.engine.maple
            self.script = self.trust = None

    def _feed(self, block: Block, start: int, stop: int) -> None:
        self.lines.add(block.events.ctypes.data, start, stop, block.first)
        if self.vmalloc:
            self.vmalloc.feed(block.events[start:stop], block.first + start)

    def _stops(self) -> list[Stop]:
        """What to do at which event, in order."""
        stops: list[Stop] = []
        for index, _time, text in self.recording.markers:
            acts = [self._vmalloc_at(text, index)]
            if index >= self.first:
                acts.append(self._act_at(text))
            stops += [(index, act) for act in acts if act]
        for name, index in self.annotated.truth_index.items():
            if index >= self.first:
                stops.append((index, partial(self._compare_truth, name)))
        if self.statistics:
            stops += [(index, self.statistics.sample) for index in self._sample_points()]
        return sorted(stops, key=lambda stop: stop[0])

    def _sample_points(self) -> Iterator[int]:
        """Where the fragmentation is looked at: about a hundred times."""
        total = self.recording.nr_events
        step = max((total - self.first) // 100, 1)
        yield from range(self.first, total, step)

    def _act_at(self, text: str) -> Callable[[], None] | None:
        """What to compare at a marker."""
        word, _, rest = text.partition(" ")
        name, _, file = rest.partition("/")
        snapshot = self.recording.snapshots.get(name)
        if snapshot is None or (file and file not in snapshot):  # a snapshot may have lost files
            return None
        if word in ("SNAPB", "SNAPE") and file == "slabinfo":
            return lambda: self._compare_slabinfo(name)
        if word in ("SNAPB", "SNAPE") and file == "buddyinfo":
            return lambda: self._compare_buddyinfo(name)
        return self.lines.act_at(word, file, name, self._snapshot)

    def _vmalloc_at(self, text: str, index: int) -> Callable[[], None] | None:
        """What to compare of vmalloc, which is followed from the first event on."""
        word, _, rest = text.partition(" ")
        name, _, file = rest.partition("/")
        known = self.vmalloc is not None and name in self.recording.snapshots
        if known and word in ("SNAPB", "SNAPE") and file == "vmallocinfo":
            return lambda: self._compare_vmallocinfo(name, index)
        return None

    def vmalloc_stops(self, stop: int) -> list[Stop]:
        """The comparisons of vmalloc before an event, from which more is learnt."""
        stops = ((m.index, self._vmalloc_at(m.text, m.index)) for m in self.recording.markers)
        return sorted((at, act) for at, act in stops if act and at < stop)

    # ---- comparisons

    def _snapshot(self, name: str) -> dict[str, Any]:
        return self.snapshots.setdefault(name, {"name": name})

    def _compare_truth(self, name: str) -> None:
        truth = self.recording.snapshots[name].truth
        assert truth is not None
        self.lines.at_truth(truth)
        found = compare_truth(self.state, truth)
        figures = self._snapshot(name)
        for kind, total, same in (
            ("free_lists", "lists", "identical"),
            ("pcp_lists", "lists", "identical"),
            ("slab_lists", "caches", "identical"),
            ("live_objects", "caches", "exact"),
        ):
            tally: Tally = getattr(found, kind)
            figures[kind] = {total: tally.total, same: tally.same}
            self.differing[f"{name} {kind}"] = tally.differing

    def _compare_slabinfo(self, name: str) -> None:
        kernel = self.recording.snapshots[name].parsed("slabinfo", slabinfo.parse)
        twin = slabinfo.show(self.state)
        self._keep_better(name, "slabinfo", "caches", compare_slabinfo(kernel, twin))
        self._snapshot(name)["slabs"] = {
            "kernel": sum(row.num_slabs for row in kernel),
            "twin": sum(row.num_slabs for row in twin),
        }

    def _compare_buddyinfo(self, name: str) -> None:
        kernel = self.recording.snapshots[name].parsed("buddyinfo", buddyinfo.parse)
        found = compare_buddyinfo(kernel, buddyinfo.show(self.state))
        self._keep_better(name, "buddyinfo", "rows", found)

    def _compare_vmallocinfo(self, name: str, index: int) -> None:
        assert self.vmalloc is not None
        found = self.vmalloc.compare(name, index)
        if found is None:
            return
        key = f"{name} vmallocinfo"
        rows, differing = found
        if key not in self.differing or len(differing) < len(self.differing[key]):
            self.differing[key] = differing
            areas = {"areas": rows, "exact": rows - len(differing)}
            self._snapshot(name)["vmallocinfo"] = areas

    def _keep_better(self, name: str, kind: str, rows: str, found: Comparison) -> None:
        """A row is exact if it was so at either end of the file's reading."""
        figures = self._snapshot(name)
        key = f"{name} {kind}"
        differing = {difference.row for difference in found.differences}
        if key in self.differing:
            differing &= set(self.differing[key])
        self.differing[key] = sorted(differing)
        figures[kind] = {rows: found.rows, "exact": found.rows - min(len(differing), found.rows)}

    # ---- the figures

    def _result(self, consumed: int, seconds: dict[str, float]) -> ReplayResult:
        counts = self.engine.counts()
        if not self.predicting and self.follower:
            counts = self.follower.counts()
        misses = self.engine.cache_misses()
        machine = self.recording.machine
        return ReplayResult(
            recording={
                "name": self.recording.path.name,
                "kernel": machine.release,
                "arch": machine.arch,
                "page_size": machine.page_size,
                "cpus": machine.cpus,
                "memory": machine.mem_bytes,
                "events": self.recording.nr_events,
                "lost": sum(self.recording.lost.values()),
            },
            replay={
                "mode": self.mode,
                "profile": self.profile.name,
                "start": self.start,
                "free_running": self.free_running,
                "snapshots": "followed" if self.follower else "predicted",
            },
            counts={str(place): int(count) for place, count in enumerate(counts) if count},
            consumed=consumed,
            misses={
                self.mm.cache_names[number]: int(misses[number])
                for number in misses.nonzero()[0]
            },
            geometry=compare_geometry(self.recording, self.profile),
            stacks=self.lines.stacks(),
            counters=self.lines.counters(),
            vmalloc=self.vmalloc.figures() if self.vmalloc else None,
            processes=self.demands.figures() if self.demands else None,
            snapshots=list(self.snapshots.values()),
            seconds=seconds,
            mm=self.mm,
            statistics=self.statistics.to_dict() if self.statistics else None,
            differing={key: names for key, names in self.differing.items() if names},
        )


def pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Events `start` to `stop` in pieces. The table of live objects must have room for each piece,
    and is the quicker the smaller it is.
    """
    for first in range(start, stop, PIECE):
        yield first, min(first + PIECE, stop)


def replay(
    recording: Any = None,
    mode: str = "predict",
    profile: Any = None,
    start: str = "auto",
    free_running: bool = False,
    statistics: bool = True,
    progress: Progress | None = None,
) -> ReplayResult:
    """Replays a recording and compares the twin with the kernel.

    `recording`: a Recording or a path, None for the one that comes with mmtwin. `mode`: "predict"
    takes only the demands, "follow" takes the kernel's responses too. `profile` must be None:
    another one is a what-if. `start`: the state to begin with: "truth", "snapshots"
    (what /proc tells), "empty" (from the first event), or "auto", the best there is.
    `free_running`: misses are not set right. `progress(done, total)` in events. Raises ReplayError
    or RecordingError.
    """
    from mmtwin.recordings import default_recording_path, open_recording

    if mode not in MODES:
        raise ReplayError(f"no mode {mode!r}; choose from {', '.join(MODES)}")
    if profile is not None:
        raise ReplayError("on another profile nothing can be compared: use what_if(profile=...)")
    opened = not isinstance(recording, Recording)
    if opened:
        recording = open_recording(recording or default_recording_path())
    try:
        return Replay(recording, mode, start, free_running, statistics, progress).run()
    finally:
        if opened:
            recording.close()

