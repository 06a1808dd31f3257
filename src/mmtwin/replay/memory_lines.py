"""KernelStack, PageTables and VmallocUsed of a recording's meminfo, held against what the events'
causes say: see kernel_memory.py.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mmtwin.procfs import meminfo, vmallocinfo
from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.recording import Recording
from mmtwin.replay.counter_events import NEEDED, folds
from mmtwin.replay.kernel_memory import CONSTANTS, KernelMemory
from mmtwin.versions.gfp import encode_gfp
from mmtwin.versions.profiles import Profile
from mmtwin.versions.releases import has_since

KPF_PGTABLE = 26
# pgds are page tables that count since their constructor does (pagetable_pgd_ctor()).
PGD_COUNTED_SINCE = "6.14"
# Tables of arm64 are counted out before the grace period that their memory waits for; since 6.14
# __tlb_remove_table() does so behind it.
COUNTED_UNTIL_FREED_SINCE = "6.14"
PID_FUNCTIONS = "alloc_pid"
EXIT_FUNCTIONS = "do_exit|exit_files|put_files_struct|exit_fs"
# Upper page tables count since 55d2a0bd5ead; those right below the top one did not before.
PUD_COUNTED_SINCE = "6.8"
# NR_PAGETABLE became a node's counter (f0c0c115fb81), whose changes do not overstep.
TABLES_BY_NODE_SINCE = "5.11"
# account_kernel_stack() counts page by page since 27faca83a7e9.
STACK_BY_PAGE_SINCE = "5.13"
# vmalloc's pages became a node's counter too, NR_VMALLOC: mod_lruvec_page_state() in mm/vmalloc.c.
VMALLOC_BY_NODE_SINCE = "7.1"
THRESHOLD = re.compile(r"vm stats threshold: (\d+)")
MANAGED = re.compile(r"managed +[1-9]")
MOST_ZONES = 4  # DMA, DMA32, Normal, Movable
CLOCKS_WITHOUT_TIME = ("counter", "x86-tsc", "uptime")
NS_IN_SECOND = 1_000_000_000
WHAT = {
    "task_struct": "WHAT_TASK",
    "sighand_cache": "WHAT_SIGHAND",
    "mm_struct": "WHAT_MM",
    "anon_vma": "WHAT_FAULT",
    "anon_vma_chain": "WHAT_FAULT",
    "files_cache": "WHAT_FILES",
    "page->ptl": "WHAT_LOCK",
    "cred_jar": "WHAT_CRED",
    "cred": "WHAT_CRED",
    "pid": "WHAT_CRED",  # the same cache, where they are of one size
    "sched_process_exit": "WHAT_EXIT",
}
LINES = ("KernelStack", "PageTables", "VmallocUsed")
COUNTERS = ("COUNTER_STACKS", "COUNTER_TABLES", "COUNTER_VMALLOC")  # of LINES
Figures = dict[str, dict[str, int]]


class MemoryLines:
    """The lines of one replay: `sites` are those of vmalloc's arrays of pages, `snapshot` is the
    one that the replay begins with.
    """

    def __init__(
        self, recording: Recording, annotated: Annotated, profile: Profile, sites: list[int]
    ) -> None:
        self.recording = recording
        self.page_kb = recording.machine.page_size >> 10
        self.vmalloc_late = has_since(profile.version, VMALLOC_BY_NODE_SINCE)
        self.stack_kb = profile.features["thread_size"] >> 10
        numbers = {name: number for number, name in enumerate(annotated.names)}
        what = {numbers[n]: CONSTANTS[w] for n, w in WHAT.items() if n in numbers}
        self.memory = KernelMemory(
            what, len(annotated.names), sites, annotated.nr_pages, recording.machine.cpus,
            self._tables(profile), profile.features,
            recording.counts.get("sched_process_exit", 0) > 0, self._lag(profile),
        )  # fmt: skip
        found = folds(recording)
        self.folds = found or []  # still to come: before which event a CPU adds up, which one
        self.memory.late.told = found is not None
        self.begun: set[str] = set()
        self.pages_told = recording.counts.get("mm_page_alloc", 0) > 0
        self.tasks_counted = False  # by the objects of task_struct
        # pages that the newest meminfo said, and how many the twin had then
        self.told: tuple[int | None, int] = None, 0

    def _tables(self, profile: Profile) -> dict[str, Any]:
        """Which page tables count, and how they are told."""
        version = profile.version
        gfp, comp, zero = (
            encode_gfp(text, version, profile.config)
            for text in ("GFP_KERNEL|__GFP_ZERO|__GFP_ACCOUNT", "__GFP_COMP", "__GFP_ZERO")
        )
        early = profile.arch == "arm64" and not has_since(version, COUNTED_UNTIL_FREED_SINCE)
        return {
            "gfp": gfp,
            "comp": comp,
            "zero": zero,
            "levels": 3 if has_since(version, PUD_COUNTED_SINCE) else 2,
            "top": has_since(version, PGD_COUNTED_SINCE),
            "owned": early,
            "pid_sites": self._ranges(PID_FUNCTIONS),
            "exit_sites": self._ranges(EXIT_FUNCTIONS),
        }

    def _ranges(self, names: str) -> list[int]:
        """First address and address behind the last of each function of these names."""
        functions = self.recording.symbols.functions(names)
        return [at for first, last, _name in functions for at in (first, last)]

    def _lag(self, profile: Profile) -> dict[str, Any]:
        """How the recorded kernel's CPUs add up late; its zoneinfo tells the threshold."""
        thresholds = [0]
        for snapshot in self.recording.snapshots.values():
            if "zoneinfo" in snapshot:
                thresholds += map(int, THRESHOLD.findall(snapshot.text("zoneinfo")))
        by_page = has_since(profile.version, STACK_BY_PAGE_SINCE)
        pages = max(profile.features["thread_size"] // profile.page_size, 1)
        counts_time = self.recording.machine.clock not in CLOCKS_WITHOUT_TIME
        by_node = has_since(profile.version, TABLES_BY_NODE_SINCE)
        return {
            "threshold": max(thresholds),
            "lists": (1, 1 if by_node else self._populated_zones(), 1),
            "tick": NS_IN_SECOND if counts_time else 0,
            "overstep": 0 if by_node else 1,
            "stack_parts": pages if by_page else 1,
            "vmalloc": self.vmalloc_late,
        }

    def _populated_zones(self) -> int:
        """Zones with pages; each has a threshold and diffs of its own on every CPU."""
        texts = [s.text("zoneinfo") for s in self.recording.snapshots.values() if "zoneinfo" in s]
        return max((len(MANAGED.findall(text)) for text in texts), default=MOST_ZONES)

    def add(self, address: int, start: int, stop: int, first: int) -> None:
        """Takes in events of a block; number 0 of the block is number `first` of the recording."""
        while self.folds and self.folds[0][0] < first + stop:
            index, cpu = self.folds.pop(0)
            self.memory.add(address, start, max(index - first, start))
            start = max(index - first, start)
            self.memory.late.fold(cpu)
        self.memory.add(address, start, stop)

    def at_truth(self, truth: Mapping[str, Any]) -> None:
        """The first truth tells how many task_structs are in use: all but the dead have stacks."""
        if "KernelStack" in self.begun:
            return
        self.begun.add("KernelStack")
        self.tasks_counted = True
        live = [cache["live"] for cache in truth["slab"] if cache["name"] == "task_struct"]
        self.memory.know_tasks(sum(live) - self.memory.dead)

    def act_at(
        self, word: str, file: str, name: str, figures: Callable[[str], dict[str, Any]]
    ) -> Callable[[], None] | None:
        """What to do at a marker of a snapshot: the first one with a file is where a line that
        nothing else tells begins, later ones are compared.
        """
        if file == "kpageflags" and word == "SNAPB":
            return lambda: self._pages(name, figures)
        if file == "vmallocinfo" and word == "SNAPB":
            return lambda: self._areas(name)
        if file == "meminfo" and word in ("SNAPB", "SNAPE"):
            return lambda: self._compare(name, figures)
        return None

    def _pages(self, name: str, figures: Callable[[str], dict[str, Any]]) -> None:
        flags = self.recording.snapshots[name].array("kpageflags")
        counted = flags >> np.uint64(KPF_PGTABLE) & np.uint64(1) != 0
        if "PageTables" in self.begun:
            same = {"kernel": int(np.count_nonzero(counted)), "twin": self.memory.page_tables}
            figures(name)["page_tables"] = same
            return
        if not self.pages_told:
            return
        self.begun.add("PageTables")
        told, before = self.told
        since = self.memory.page_tables - before
        self.memory.know_tables(counted, told + since if told is not None else None)

    def _areas(self, name: str) -> None:
        """vmallocinfo says how many pages there are, and so what meminfo does not show yet."""
        if not self.vmalloc_late or "VmallocUsed" not in self.begun or "areas" in self.begun:
            return
        self.begun.add("areas")
        areas = self.recording.snapshots[name].parsed("vmallocinfo", vmallocinfo.parse)
        pages = sum(area.pages or 0 for area in areas)
        self.memory.know_vmalloc(self.memory.shown_counters()[2], pages)

    def values(self) -> dict[str, int]:
        """The lines as the twin has them, in kB."""
        stacks, tables, areas = self.memory.shown_counters()
        return {
            "KernelStack": stacks,
            "PageTables": tables * self.page_kb,
            "VmallocUsed": areas * self.page_kb,
        }

    def bounds(self) -> dict[str, tuple[int, int]]:
        """Least and most that each line may be in kB, whenever CPUs added up."""
        late, pages = self.memory.late, self.memory.vmalloc_pages
        (least, most), tables, areas = (late.bounds(CONSTANTS[name]) for name in COUNTERS)
        if not self.vmalloc_late:
            areas = pages, pages
        if not self.tasks_counted:  # meminfo told how many tasks there were, as late as this one
            slack = late.limit * self.recording.machine.cpus
            least, most = least - slack, most + slack
        in_kb = [(low * self.page_kb, high * self.page_kb) for low, high in (tables, areas)]
        return dict(zip(LINES, [(least, most), *in_kb], strict=True))

    def _compare(self, name: str, figures: Callable[[str], dict[str, Any]]) -> None:
        kernel = self.recording.snapshots[name].parsed("meminfo", meminfo.parse)
        twin, bounds = self.values(), self.bounds()
        lines: Figures = figures(name).setdefault("meminfo", {})
        for line in LINES:
            if line not in kernel:
                continue
            theirs = kernel[line].value
            if line in self.begun:
                better(lines, line, theirs, twin[line], bounds[line])
            elif line == "KernelStack":
                self.memory.know_tasks(theirs // self.stack_kb)
            elif line == "VmallocUsed":
                told = theirs // self.page_kb
                behind = self.memory.vmalloc_pages - self.memory.shown_counters()[2]
                self.memory.know_vmalloc(told, told + behind)
        if "PageTables" in kernel:
            self.told = kernel["PageTables"].value // self.page_kb, self.memory.page_tables
        if not lines:
            figures(name).pop("meminfo")
        self.begun.update(line for line in LINES if line in kernel and line != "PageTables")

    def counters(self) -> dict[str, Any]:
        """Whether events tell when CPUs add up their counters, and which are missing for that."""
        told = bool(self.memory.late.told)
        return {"told": told, "missing": [] if told else list(NEEDED)}

    def stacks(self) -> dict[str, int]:
        """Forks whose stack was predicted to be new or one that the CPU kept."""
        memory = self.memory
        return {"predicted": int(memory.stacks_predicted), "exact": int(memory.stacks_exact)}


def better(lines: Figures, line: str, kernel: int, twin: int, bounds: tuple[int, int]) -> None:
    """Keeps what agrees, at the beginning or at the end of the file's reading; else what lies
    within the bounds.
    """
    least, most = bounds
    found = {"kernel": kernel, "twin": twin, "least": least, "most": most}
    kept = lines.get(line)
    if kept is None or _closeness(found) > _closeness(kept):
        lines[line] = found


def _closeness(line: dict[str, int]) -> tuple[bool, bool]:
    kernel = line["kernel"]
    return kernel == line["twin"], line["least"] <= kernel <= line["most"]
