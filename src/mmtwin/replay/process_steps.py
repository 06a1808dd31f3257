"""What the twin's kernel does while it serves a process, held against the recording's own events:
page faults, rss_stat in order, searches for unmapped areas.
"""

from collections import defaultdict, deque
from itertools import islice, zip_longest
from typing import Any

from mmtwin.kernel.mm import MM
from mmtwin.kernel.trace import STEPS
from mmtwin.kernel.walk import translate
from mmtwin.recordings.process_events import Step
from mmtwin.replay.process_tally import Tally
from mmtwin.replay.processes import Process, Processes

RSS_STAT = STEPS["STEP_RSS_STAT"]
MEMBERS = ("file", "anonymous", "swap", "shmem")
PRESENT, WRITE, USER, FETCH = 1, 2, 4, 16
FAULT_FLAG_WRITE = 0x1
U64 = (1 << 64) - 1
Change = tuple[int, int]  # member, size in bytes
# zap_pte_range() adds up and begins again where the task is due to be rescheduled.
RESCHEDULED = "rss_stat: in two steps, as the task was due to be rescheduled"
PARTS = 8  # most that are taken for parts of one


class TwinSteps:
    """The queues of both sides, by task. `machine`: the twin's MM, whose trace ring is read."""

    def __init__(self, machine: MM, tally: Tally) -> None:
        self.machine = machine
        self.tally = tally
        machine.step_mask |= 1 << RSS_STAT
        self.seen = machine.next_step
        self.kernel: dict[int, deque[tuple[Change, int]]] = defaultdict(deque)
        self.twin: dict[int, deque[Change]] = defaultdict(deque)
        self.searches: dict[int, list[Step]] = {}
        self.last: dict[int, tuple[int, ...]] = {}  # the fault that was a task's last step
        self.repeated = 0
        self.index = 0  # of the event that the replay has come to
        self.silent = False  # rss_stat is not compared

    # ---- rss_stat

    def recorded(self, step: Step) -> None:
        """An rss_stat event of the recording."""
        self.kernel[step.pid].append(((step.args[2], step.args[3]), step.index))
        self._match(step.pid)

    def recorded_search(self, step: Step) -> None:
        """A vm_unmapped_area event of the recording: its call has not come back yet."""
        self.searches.setdefault(step.pid, []).append(step)

    def searched(self, pid: int, searches: list[tuple[Any, int]], total_vm: int) -> None:
        """The twin's searches for one call, against the kernel's. `total_vm`: pages of the address
        space when the call began.
        """
        theirs = [step.args for step in self.searches.pop(pid, ())]
        ours = [
            (found & U64, total_vm, info.topdown, info.length, info.low_limit, info.high_limit,
             info.align_mask, info.align_offset)
            for info, found in searches
        ]  # fmt: skip
        for mine, their in zip_longest(ours, theirs):
            example = f"#{self.index} {pid}: {shown(their)}, twin {shown(mine)}"
            self.tally.compare("searches", mine == their, "vm_unmapped_area: differs", example)

    def took(self, pid: int) -> None:
        """What the task asked is done on both sides: what is left over differs."""
        self.last.pop(pid, None)
        self.gather(pid)
        self._match(pid)
        self.flush(pid)

    def ended(self, pid: int) -> None:
        """The task is dead in the twin; the kernel may still be at it."""
        self.last.pop(pid, None)
        self.gather(pid)
        self._match(pid)

    def drop(self, pid: int, why: str) -> None:
        """What a task did that the twin cannot know of."""
        self.twin.pop(pid, None)
        for change, index in self.kernel.pop(pid, ()):
            self.tally.miss(f"rss_stat: {why}", f"#{index} {pid}: {told(change)}")

    def gather(self, pid: int) -> None:
        """Takes the twin's rss_stat events since the last call as the task's."""
        machine = self.machine
        if self.silent:
            self.seen = machine.next_step
        if machine.next_step == self.seen:
            return
        ring = machine.view("step")
        first = max(self.seen, machine.next_step - machine.ring_size)
        for number in range(first, machine.next_step):
            record = ring[number & (machine.ring_size - 1)]
            if int(record["kind"]) == RSS_STAT:
                self.twin[pid].append((int(record["args"][2]), int(record["args"][3])))
        self.seen = machine.next_step

    def _match(self, pid: int, last: bool = False) -> None:
        ours, theirs = self.twin.get(pid), self.kernel.get(pid)
        while ours and theirs:
            if ours[0] != theirs[0][0]:
                steps = rescheduled(ours, theirs)
                if not steps and not last:
                    return  # more of the kernel's may be to come
                parts = [theirs.popleft() for _ in range(steps)]
                done = finished(ours, [change for change, _index in parts])
                for change, index in parts:
                    if change in done:
                        self.tally.compare("rss_stat", True)
                    else:
                        self.tally.miss(RESCHEDULED, f"#{index} {pid}: {told(change)}")
            mine, (change, index) = ours.popleft(), theirs.popleft()
            example = f"#{index} {pid}: {told(change)}, twin {told(mine)}"
            name = "rss_stat: another size" if mine[0] == change[0] else "rss_stat: another kind"
            self.tally.compare("rss_stat", mine == change, name, example)

    def flush(self, pid: int) -> None:
        """What is left in a task's queues has no counterpart."""
        self._match(pid, last=True)
        for change in self.twin.pop(pid, ()):
            example = f"#{self.index} {pid}: {told(change)}"
            self.tally.compare("rss_stat", False, "rss_stat: only the twin's", example)
        for change, index in self.kernel.pop(pid, ()):
            example = f"#{index} {pid}: {told(change)}"
            self.tally.compare("rss_stat", False, "rss_stat: only the kernel's", example)

    def flush_all(self) -> None:
        """The recording is over."""
        for pid in list(self.twin) + list(self.kernel):
            self.flush(pid)

    # ---- faults

    def again(self, step: Step) -> bool:
        """Whether a fault is the one before it once more: copy_to_user() with page faults
        disabled, then again, and only the last is served.
        """
        return not step.args[1] & USER and self.last.get(step.pid) == step.args

    def fault(self, processes: Processes, process: Process, step: Step, why: str = "") -> None:
        """A page fault of the recording, in the twin: would it have faulted, and so? `why`: what
        was found out already, if it would not.
        """
        address, error_code = step.args
        if self.again(step):
            self.repeated += 1
            return
        self.last[step.pid] = step.args
        why = why or unexpected(process.mm, address, error_code)
        example = f"#{step.index} {step.pid} {process.comm}: {address:#x} error {error_code:#x}"
        self.tally.compare("faults", not why, f"faults: {why}", example)
        processes.fault(process.pid, address, error_code)
        self.gather(step.pid)
        self._match(step.pid)

    def served(self, processes: Processes, process: Process, step: Step) -> None:
        """The same of a fault that handle_mm_fault() served: where no event tells what the
        processor said.
        """
        address, flags, _registers = step.args
        why = needless(process.mm, address, flags)
        example = f"#{step.index} {step.pid} {process.comm}: {address:#x} flags {flags:#x}"
        self.tally.compare("faults", not why, f"faults: {why}", example)
        processes.access(process.pid, address, flags)
        self.gather(step.pid)
        self._match(step.pid)


def rescheduled(ours: deque[Change], theirs: deque[tuple[Change, int]]) -> int:
    """How many of the kernel's changes are parts of what the twin did at once: add_mm_rss_vec()
    of the members that it is to do next.
    """
    first = [change for change, _index in islice(theirs, PARTS + 1)]
    members = {member for member, _size in islice(ours, len(MEMBERS))}
    parts = first.index(ours[0]) if ours[0] in first else 0
    return parts if all(member in members for member, _size in first[:parts]) else 0


def finished(ours: deque[Change], parts: list[Change]) -> list[Change]:
    """What the twin is to do at once with its next change, and the kernel's first parts have done
    already: a part without a page of a member has no event of it (add_mm_rss_vec()). It is taken
    out of `ours`.
    """
    member, last = ours[0][0], dict(parts)
    done = []
    while parts and len(ours) > 1 and ours[1][0] > member and last.get(ours[1][0]) == ours[1][1]:
        done.append(ours[1])
        member = ours[1][0]
        del ours[1]
    return done


def shown(fields: tuple[int, ...] | None) -> str:
    """A search as a reader wants it."""
    return " ".join(f"{field:#x}" for field in fields) if fields else "none"


def told(change: Change) -> str:
    """A change as a reader wants it."""
    member, size = change
    name = MEMBERS[member] if 0 <= member < len(MEMBERS) else str(member)
    return f"{name} {size >> 10} kB"


def needless(mm: Any, address: int, flags: int) -> str:
    """Why the twin's processor would not have faulted; "" if it would. Where it does not mark
    entries young itself (arm64 before its version 8.1), an old one is a fault.
    """
    entry = translate(mm, address)
    if entry is None or not entry & mm.paging.young:
        return ""
    if not flags & FAULT_FLAG_WRITE:
        return "the twin has the page"
    paging = mm.paging
    writable = not entry & paging.readonly if paging.arm64 else entry & paging.write
    return "the twin's page can be written" if writable else ""


def unexpected(mm: Any, address: int, error_code: int) -> str:
    """Why the twin's page tables would not have made the processor fault so; "" if they would."""
    entry = translate(mm, address)
    if not error_code & PRESENT:
        return "" if entry is None else "the twin has the page"
    if entry is None:
        return "the twin does not have the page"
    if error_code & WRITE and entry & mm.paging.write:
        return "the twin's page can be written"
    return ""
