"""What the events of a recording tell of tmpfs directories: entries that come and go, and the
nodes of the directory's maple tree that some of them ask for (simple_offset_add(),
simple_offset_remove(), fs/libfs.c).

A file that is made asks for a struct shmem_inode_info, then (security_inode_init_security()) gets
its place in the directory; a name that a system call was given ends where that call gives it back
(putname()). Which inode a removed name had is told by RCU, which frees inodes in the order in
which they went.
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np

from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.event import CONSTANTS
from mmtwin.recordings.stream import Events
from mmtwin.replay.maple_ahead import CONSTANTS as AHEAD

ALLOC, FREE = CONSTANTS["KIND_KMEM_CACHE_ALLOC"], CONSTANTS["KIND_KMEM_CACHE_FREE"]
KFREE = CONSTANTS["KIND_KFREE"]
INTERRUPT, BLOCKING = AHEAD["INTERRUPT"], AHEAD["BLOCKING"]
# The caches whose events tell of directories, and the functions that tell what an event is for.
CACHES = ("maple_node", "shmem_inode_cache", "names_cache", "dentry")
TASKS = "task_struct"
BEHIND = 256  # steps looked at
REMOVING_DIRECTORY = ("do_rmdir",)
REMOVING = ("do_unlinkat", *REMOVING_DIRECTORY)
MKDIR = "do_mkdirat"
RENAME = "do_renameat2"
LINK = "do_linkat"
DESTROY = "mtree_destroy"
SECURITY = "security_inode_init_security"


class Named(NamedTuple):
    """An event that names a maple node."""

    index: int  # type: ignore[assignment]
    taken: bool
    address: int


@dataclass(slots=True)
class Step:
    """A task changed a directory. `what`: the function that did; `inode`: address of the one that
    was made or that went, 0 unknown; `nodes`: the events of the directory's tree; `found`: the
    name was there.
    """

    index: int
    pid: int
    cpu: int
    what: str = ""
    inode: int = 0
    nodes: list[Named] = field(default_factory=list)
    found: bool = True


class DirEvents:
    """Reads them, block after block."""

    def __init__(self, annotated: Annotated) -> None:
        self.symbols = annotated.recording.symbols
        numbers = {name: number for number, name in enumerate(annotated.names)}
        self.cache = {name: numbers.get(name, -1) for name in CACHES}
        self.known = all(number >= 0 for number in self.cache.values())
        self.security = list(self.symbols.functions(SECURITY))
        self.open: dict[int, Step] = {}  # by pid: what a task is about
        self.tasks = numbers.get(TASKS, -1)
        self.parent: dict[int, int] = {}
        self.forked = 0
        self.folders: set[int] = set()  # inodes of directories
        self.links = 0  # names of files that have others
        self.gone: dict[int, deque[tuple[int, int]]] = defaultdict(deque)  # inodes, by CPU

    def _name_parents(self, events: Events) -> None:
        """Whose child each new task is: the last before it that asked for a struct task_struct."""
        pids, first = np.unique(events["pid"], return_index=True)
        forks = np.flatnonzero((events["kind"] == ALLOC) & (events["cache"] == self.tasks))
        by = [self.forked, *events["pid"][forks].tolist()]
        places = np.searchsorted(forks, first).tolist()
        for pid, place in zip(pids.tolist(), places, strict=True):
            self.parent.setdefault(pid, by[place])
        self.forked = by[-1]

    def read(self, events: Events, first: int) -> list[Step]:
        """The steps that end in some events, in their order; `first`: number of the first event.
        """
        steps: list[Step] = []
        self._name_parents(events)
        kinds, caches = events["kind"], events["cache"]
        chosen = ((kinds == ALLOC) | (kinds == FREE)) & np.isin(caches, [*self.cache.values()])
        for first_site, last_site, _name in self.security:
            sites = events["call_site"]
            chosen |= (kinds == KFREE) & (sites >= first_site) & (sites < last_site)
        rows = np.flatnonzero(chosen)
        part = events[rows]
        columns = (part[name].tolist() for name in (
            "kind", "cache", "pid", "cpu", "flags", "gfp", "address", "call_site"))  # fmt: skip
        for row, kind, cache, pid, cpu, flags, gfp, address, site in zip(
            rows.tolist(), *columns, strict=True
        ):
            index = first + row
            if kind == KFREE:
                if pid in self.open:
                    self.open[pid].what = self.open[pid].what or SECURITY
                continue
            if cache == self.cache["shmem_inode_cache"] and kind == FREE:
                self.gone[cpu].append((index, address))
            elif flags & INTERRUPT:
                continue
            elif cache == self.cache["maple_node"]:
                if kind == FREE and self.symbols.function(site) == DESTROY:
                    named = [Named(index, False, address)]
                    steps.append(Step(index, pid, cpu, DESTROY, nodes=named))
                elif pid in self.open and not gfp & BLOCKING:
                    self.open[pid].nodes.append(Named(index, kind == ALLOC, address))
            else:
                self._name_or_inode(steps, Step(index, pid, cpu), kind, cache, address, site)
        return steps

    def _name_or_inode(
        self, steps: list[Step], new: Step, kind: int, cache: int, address: int, site: int
    ) -> None:
        step = self.open.get(new.pid)
        if cache == self.cache["dentry"]:
            if kind == ALLOC and step is not None and not step.inode:
                step.found = False
        elif cache == self.cache["shmem_inode_cache"]:
            if step is not None and step.inode:
                self._close(steps, step, "")
            new.inode = address
            self.open[new.pid] = new
        elif kind == ALLOC:
            if step is not None and step.inode:
                self._close(steps, step, "")
                step = None
            if step is None:
                self.open[new.pid] = new
            else:
                step.nodes, step.found = [], True
        elif step is not None:
            self._close(steps, step, self.symbols.function(site))

    def _close(self, steps: list[Step], step: Step, function: str) -> None:
        del self.open[step.pid]
        made = step.inode and step.what == SECURITY
        if made or (function in (*REMOVING, RENAME, LINK) and not step.inode):
            step.what = function
            steps.append(step)
            self.links += function == LINK and not step.found
            if function == MKDIR:
                self.folders.add(step.inode)

    def inode_gone(self, step: Step, behind: list[Step]) -> int:
        """The address of the inode that went with a name; 0 if it has other names, or if RCU did
        not free it yet. `behind`: the removals after this one.
        """
        gone = self.gone[step.cpu]
        while gone and gone[0][0] < step.index:
            gone.popleft()
        if not gone:
            return 0
        if self.links and step.what not in REMOVING_DIRECTORY:
            kinds = [each.what in REMOVING_DIRECTORY for each in (step, *behind)]
            inodes = [address in self.folders for _index, address in islice(gone, len(kinds))]
            if agreement(kinds[1:], inodes) > agreement(kinds, inodes):
                self.links -= 1
                return 0
        address = gone.popleft()[1]
        self.folders.discard(address)
        return address

    def going(self, step: Step) -> list[int]:
        """The addresses of the inodes that RCU frees next."""
        return [address for index, address in self.gone[step.cpu] if index > step.index]


def agreement(kinds: list[bool], inodes: list[bool]) -> int:
    """How many removals in a row are of a directory where the inode that went was one."""
    count = 0
    for kind, inode in zip(kinds, inodes, strict=False):
        if kind != inode:
            break
        count += 1
    return count
