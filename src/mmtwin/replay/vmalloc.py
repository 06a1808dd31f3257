"""vmalloc in a replay: every area's address predicted, and what each snapshot's vmallocinfo shows.

`VmallocReplay` runs the twin's vmalloc space (kernel/vmap_space.py) beside the engine, from the
first event on. Where the kernel traces vmalloc (6.2 and later) every request is known, and the
address that the twin chooses is compared at once. Elsewhere requests follow from the slab objects
that the kernel takes for them: sizes from the array of pages, and of areas without one (ioremap,
vmap) from the first snapshot that shows them; addresses are compared at the snapshots.
"""

import re
from types import SimpleNamespace
from typing import Any

from mmtwin.kernel.vmap_area import VmapArea
from mmtwin.kernel.vmap_resync import give_back, take_range
from mmtwin.kernel.vmap_space import Vmap
from mmtwin.machine.recorded import static_text
from mmtwin.procfs import vmallocinfo
from mmtwin.procfs.vmallocinfo import VmallocArea
from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.stream import Events
from mmtwin.replay.vmalloc_events import ASKED, Step, VmallocEvents
from mmtwin.replay.vmalloc_requests import POINTER, Requests, Row, Use
from mmtwin.versions.address_space import address_space
from mmtwin.versions.profiles import Profile

LEAST_VM_STRUCT = 64  # bytes; the arrays that go with it are smaller
CPU_IDS = re.compile(r"nr_cpu_ids:(\d+)")
PER_CPU = re.compile(r"percpu: Embedded \d+ pages/cpu .* u(\d+)")
PER_CPU_ATOM = re.compile(r"pcpu-alloc: .* alloc=(\d+)\*(\d+)")


class VmallocReplay:
    """One recording's vmalloc space, fed with its events in order.

    `predicted`, `exact`: addresses of areas, how many the twin chose as the kernel did.
    """

    def __init__(self, annotated: Annotated, profile: Profile, free_running: bool) -> None:
        recording = annotated.recording
        self.recording = recording
        self.resync = not free_running
        self.events = VmallocEvents(annotated)
        self.space = address_space(
            profile.version, profile.arch, profile.page_size, profile.config,
            annotated.page_offset,
        )  # fmt: skip
        self.page_shift = annotated.page_shift
        self.page_size = 1 << self.page_shift
        dmesg = static_text(recording, "dmesg")
        self.per_cpu = per_cpu_range(dmesg)
        ids = CPU_IDS.search(dmesg)
        cpus = int(ids[1]) if ids else recording.machine.cpus
        has = SimpleNamespace(**profile.features)
        self.map = Vmap(
            self.space.vmalloc_start, self.space.vmalloc_end, self.page_shift, cpus, has
        )
        self.unseen = self._first_rows()  # of the first snapshot, not taken by a request yet
        self.first_rows = len(self.unseen)
        self._register_early()
        self.requests = Requests(
            self.map, self.space, profile.features["thread_size"] + self.page_size,
            profile.features["thread_align"], self.unseen,
        )  # fmt: skip
        self.map.init_free_space()
        self.predicted = self.exact = 0
        self.waiting: dict[int, list[VmapArea]] = {}  # by pid: areas whose array may come
        self.by_object: dict[int, VmapArea] = {}
        self.stack_next: set[int] = set()  # pids that just allocated a task_struct
        self.seen: set[Row] = set()  # areas that a snapshot has shown
        self.learning = not self.events.traced  # until the first snapshot
        self.learnt = ""  # the snapshot from which areas were learnt
        self.began = False  # a request was met
        self.lost = False  # what came before the first event is not known: wait for a snapshot

    @property
    def usable(self) -> bool:
        """Whether the recording tells enough."""
        return self.events.usable and (self.events.traced or bool(self.first_rows))

    def figures(self) -> dict[str, int]:
        """`predicted` and `exact`."""
        return {"predicted": self.predicted, "exact": self.exact}

    def _first_rows(self) -> dict[Row, VmallocArea]:
        for name in sorted(self.recording.snapshots, key=self._moment):
            rows = self.rows(name)
            if rows:
                return {row: area for row, area in rows.items() if not area.bare}
        return {}

    def _register_early(self) -> None:
        """arm64's kernel image lies in vmalloc space since before vmalloc_init(): its parts are
        mapped, and of physical addresses (vm_area_add_early()).
        """
        for (start, end), area in list(self.unseen.items()):
            if area.phys is not None and "vmap" in area.flags:
                busy = VmapArea(start, end)
                busy.vm = Use()
                self.map.node_of(start).busy.insert(busy)
                del self.unseen[start, end]

    def _moment(self, name: str) -> int:
        try:
            return self.recording.marker(f"SNAPB {name}/vmallocinfo").index
        except KeyError:
            return self.recording.nr_events

    def rows(self, name: str) -> dict[Row, VmallocArea]:
        """The kernel's areas at a snapshot; {} where it is missing or hides addresses."""
        snapshot = self.recording.snapshots.get(name)
        if snapshot is None or "vmallocinfo" not in snapshot:
            return {}
        areas = snapshot.parsed("vmallocinfo", vmallocinfo.parse)
        found = {}
        for area in areas:
            if area.addresses is None or area.addresses[0] < 1 << 63:
                return {}
            found[area.addresses] = area
        return found

    # ---- events

    def feed(self, events: Events, first: int) -> None:
        """The next events, of which the first has the number `first`."""
        self.events.feed(events, first)

    def settle(self, stop: int) -> None:
        """Carries out what was fed, up to the event of a number."""
        steps = self.events.take(stop)
        for place, step in enumerate(steps):
            self.map.cpu = step.cpu
            if step.what == "struct" and not self.events.traced:
                self._request(step, steps, place)
            elif step.what == "free_vmap_area_noflush":
                self._free(self.map.find((step.fields or {})["va_start"]))
            elif step.what == "free":
                self._free(self.by_object.get(step.address))
            elif step.what == "purge_vmap_area_lazy" or (
                step.what == "purge" and self.map.nr_lazy
            ):
                self.map.purge(full=False)
            elif step.what == "alloc_vmap_area":
                self._traced(step)
            elif step.what == "array":
                self._array(step)
            elif step.what == "per_cpu" and self.per_cpu and step.size >= LEAST_VM_STRUCT:
                area = self.map.alloc_from_top(*self.per_cpu)
                if area is not None:
                    area.vm = Use()
            if step.what == "task":
                self.stack_next.add(step.pid)
            elif step.what in ASKED:
                self.stack_next.discard(step.pid)

    def _free(self, area: VmapArea | None) -> None:
        if area is None:
            return
        if area.vm is not None:
            self.by_object.pop(area.vm.object, None)
        self.map.find_unlink(area.start)
        self.map.free_noflush(area)

    def _traced(self, step: Step) -> None:
        """alloc_vmap_area: the twin chooses, then is set right."""
        fields = step.fields or {}
        if fields["failed"] or self.lost:
            return
        began, self.began = self.began, True
        size, wanted = fields["size"], fields["addr"]
        area = self.map.alloc(size, fields["align"], fields["vstart"], fields["vend"])
        if area is not None and area.start != wanted and not began:
            self.lost = True  # the recording does not begin with the machine
            give_back(self.map, area)
            return
        self.predicted += 1
        if area is not None and area.start == wanted:
            self.exact += 1
        elif self.resync:
            if area is not None:
                give_back(self.map, area)
            area = take_range(self.map, wanted, wanted + size)
        if area is not None:
            area.vm = Use()
            self.waiting.setdefault(step.pid, []).append(area)

    def _array(self, step: Step) -> None:
        """An array of pages: the task's newest area gets its pages. If these are an array too,
        the area before it does.
        """
        pages, newest = step.size // POINTER, True
        for area in reversed(self.waiting.pop(step.pid, [])):
            own = self._pages_of(area)
            bytes_ = own * POINTER
            nested = bytes_ > self.page_size and -(-bytes_ // self.page_size) == pages
            if not (own == pages if newest else nested):
                return
            assert area.vm is not None
            area.vm.pages = own
            pages, newest = own, False

    def _pages_of(self, area: VmapArea) -> int:
        return (int(area.size) >> self.page_shift) - 1  # the last is the guard page

    def _request(self, step: Step, steps: list[Step], place: int) -> None:
        """A vm_struct was allocated: which area it is for follows from what comes next."""
        stack = step.pid in self.stack_next
        size, align, start, end = self.requests.what_for(steps, place, stack)
        area = self.map.alloc(size, align, start, end)
        if area is None:
            return
        area.vm = Use(object=step.address)
        self.by_object[step.address] = area
        self.waiting.setdefault(step.pid, []).append(area)
        self.unseen.pop((area.start, area.end), None)

    # ---- comparisons

    def compare(self, name: str, index: int) -> tuple[int, list[str]] | None:
        """The twin's areas before event `index` against a snapshot's vmallocinfo: how many rows
        either has, and the first addresses of those that are not the same (addresses, pages).
        None where there is none to compare with.
        """
        self.settle(index)
        kernel = self.rows(name) if name != self.learnt else {}
        if not kernel or self.lost:
            if kernel:
                self._adopt(kernel)
                self._know(kernel)
                self.lost = False
            return None
        twin: dict[Row, Any] = {
            (area.start, area.end): area.vm.pages if area.vm else None for area in self.map.busy()
        }
        lazy = {(area.start, area.end) for area in self.map.lazy()}
        differing = sorted(
            f"{row[0]:#x}" for row in kernel.keys() | twin.keys() | lazy
            if row not in kernel or not self._same(row, kernel[row], twin, lazy)
        )
        self._count_new(set(kernel), twin.keys() | lazy)
        if self.learning:
            self._adopt(kernel)
            self.learning, self.learnt = False, name
            self.unseen.clear()
        self._know(kernel)
        return len(kernel.keys() | twin.keys() | lazy), differing

    @staticmethod
    def _same(row: Row, area: VmallocArea, twin: dict[Row, Any], lazy: set[Row]) -> bool:
        if area.bare:
            return row in lazy
        return row in twin and twin[row] == area.pages

    def _know(self, kernel: dict[Row, VmallocArea]) -> None:
        """Areas are the ones that a snapshot shows."""
        for area in self.map.busy():
            row = kernel.get((area.start, area.end))
            if area.vm and row is not None and not row.bare and row.pages == area.vm.pages:
                area.vm.row = row

    def _count_new(self, rows: set[Row], twin: set[Row]) -> None:
        """Without events of their own, addresses can be compared where a snapshot shows them for
        the first time, of areas in use or given up; what the first one shows was learnt from it.
        """
        if not self.events.traced and not self.learning:
            self.predicted += len(rows - self.seen)
            self.exact += len((rows - self.seen) & twin)
        self.seen |= rows

    # ---- setting right

    def _adopt(self, kernel: dict[Row, VmallocArea]) -> None:
        """Takes a snapshot's areas over, as far as the twin's are not the same."""
        for area in list(self.map.busy()):
            row = area.start, area.end
            if row not in kernel or kernel[row].bare:
                self.by_object.pop(area.vm.object if area.vm else 0, None)
                give_back(self.map, area)
        lazy = {row for row, area in kernel.items() if area.bare}
        if lazy != {(area.start, area.end) for area in self.map.lazy()}:
            self.map.purge(full=True)
            for row in sorted(lazy):
                if taken := take_range(self.map, *row):
                    self.map.find_unlink(taken.start)
                    self.map.free_noflush(taken)
        for row, shown in kernel.items():
            area = self.map.find(row[0])
            if not shown.bare and area is None:
                area = take_range(self.map, *row)
                if area is not None:
                    area.vm = Use()
            if not shown.bare and area is not None:
                area.vm.pages = shown.pages


def per_cpu_range(dmesg: str) -> tuple[int, int] | None:
    """(size, alignment) in bytes of what a chunk of per-CPU memory takes of vmalloc space, by the
    boot messages; None where they do not say it or there are several groups of CPUs.
    """
    unit, atom = PER_CPU.search(dmesg), PER_CPU_ATOM.search(dmesg)
    if not unit or not atom or not int(atom[2]):
        return None
    size = int(atom[1]) * int(atom[2])
    return size, int(atom[2])
