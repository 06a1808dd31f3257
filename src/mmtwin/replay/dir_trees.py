"""The maple trees of tmpfs directories (struct offset_ctx, fs/libfs.c, since 6.10), followed from
the events of a recording.

The entries of a directory have numbers: 2, 3 and so on. The tree that finds them by number is
written without RCU: what a store replaces is in hand again at once, and goes back when it ends.
Which directory an entry comes into no event tells; but only one whose node is full asks for nodes,
and how many of these come back shows how high its tree is. So each directory is kept as a tree of
the twin's own (maple_store.py), and an entry goes where the task's last one went, if that fits.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from mmtwin.kernel.maple_split import LEAF_SLOTS
from mmtwin.kernel.maple_store import MapleStore
from mmtwin.recordings.annotate import Annotated, Block
from mmtwin.replay.demand_nodes import Nodes
from mmtwin.replay.demand_streams import Asked, Seen
from mmtwin.replay.dir_events import (
    BEHIND,
    DESTROY,
    LINK,
    MKDIR,
    REMOVING,
    RENAME,
    DirEvents,
    Step,
)

FIRST_OFFSET = 2  # DIR_OFFSET_MIN
FIRST_HANDLE = 1 << 40  # nodes of directories: no addresses of the twin's
MOST_MOVED = 16
FAR = 6  # entries: a directory that the task is not known to use


class Hand:
    """The nodes that one store has in hand (mas->alloc), as kernel/maple_alloc.py keeps them."""

    def __init__(self) -> None:
        self.next = FIRST_HANDLE
        self.begin()

    def begin(self) -> None:
        """Another store begins."""
        self.taken: list[int] = []
        self.given: list[tuple[list[int], int]] = []  # some in bulk, then one by name
        self.slots: list[int] = []
        self.own = 0

    def request(self, count: int, _gfp: int) -> bool:
        """mas_alloc_nodes()"""
        count -= len(self.slots) + (self.own != 0)
        if count > 0:
            self.taken = list(range(self.next, self.next + count))
            self.next += count
            self.own, *self.slots = self.taken
        return True

    def pop(self) -> int:
        """mas_pop_node()"""
        if len(self.slots) > 1:
            return self.slots.pop()
        node = self.own
        self.own = self.slots.pop() if self.slots else 0
        return node

    def push(self, node: int) -> None:
        """mas_push_node()"""
        if self.own:
            self.slots.append(node)
        else:
            self.own = node

    def destroy(self) -> None:
        """mas_destroy()"""
        while self.own:
            self.given.append((self.slots[1:], self.own))
            self.own = self.slots[0] if self.slots else 0
            self.slots = []

    def free_subtree(self, bulks: list[list[int]], node: int, _rcu: bool) -> None:
        """mt_destroy_walk()"""
        for nodes in bulks[:-1]:
            self.given.append((nodes, 0))
        self.given.append((bulks[-1] if bulks else [], node))


@dataclass(eq=False, slots=True)
class Directory:
    """One directory. `used`: when an entry came in last; `renamed`: how many entries were, about
    one of so many (`stride`) from the first on; `inodes`: by number; `gone`: it was removed.
    """

    tree: MapleStore
    next: int = FIRST_OFFSET
    used: int = 0
    renamed: int = 0
    stride: float = 1.0
    inodes: dict[int, "Inode"] = field(default_factory=dict)
    gone: bool = False

    def needs(self) -> int:
        """How many nodes the next entry asks for."""
        return self._count(self.next, "e")

    def room(self) -> int:
        """How many entries may come before one asks for nodes."""
        node = self.tree.root
        while node is not None and not node.leaf:
            node = node.slot[node.end]
        return 0 if node is None else LEAF_SLOTS - len(node.slot)

    def leaf_end(self, offset: int) -> int:
        """The first entry from one on that is the last of its leaf; -1 for none."""
        node = self.tree.leaf_of(offset)
        while node is not None and node.max < self.next:
            if node.slot[node.end] is not None:
                return int(node.max)
            node = self.tree.leaf_of(node.max + 1)
        return -1

    def needs_to_erase(self, offset: int) -> int:
        """How many nodes it asks for that an entry goes."""
        return self._count(offset, None)

    def _count(self, offset: int, entry: str | None) -> int:
        kind = self.tree.store_type(offset, offset, entry)
        return int(self.tree.nodes_for(kind))


@dataclass(eq=False, slots=True)
class Inode:
    """A file. `told`: what the events showed leaves no other directory for it."""

    address: int
    parent: Directory | None = None
    offset: int = 0
    what: str = ""
    told: bool = False
    children: Directory | None = None


class DirTrees:
    """The directories of one recording; `nodes`: gives their nodes numbers."""

    def __init__(self, annotated: Annotated, machine: Any, nodes: Nodes, first: int) -> None:
        self.events = DirEvents(annotated)
        self.machine = machine
        self.nodes = nodes
        self.first = first
        self.hand = Hand()
        self.fed = 0
        self.steps: deque[Step] = deque()  # of the block
        self.inodes: dict[int, Inode] = {}
        self.directories: list[Directory] = []
        self.empty: list[Inode] = []  # may be directories without entries, the newest last
        self.last: dict[tuple[int, str], Directory] = {}
        self.first_of: dict[tuple[int, str], Directory] = {}
        self.made_by: dict[int, Counter[Directory]] = defaultdict(Counter)
        self.recent: deque[Inode] = deque(maxlen=256)
        self.roots: dict[int, Directory] = {}  # by the address of a root that is a leaf
        self.time = 0
        self.claimed: set[int] = set()

    def advance(self, block: Block) -> None:
        """Follows the directories to the end of what is known of the events."""
        events = block.events[self.fed - block.first :]
        self.claimed = {index for index in self.claimed if index >= block.first}
        steps = sorted(self.events.read(events, self.fed), key=lambda step: step.index)
        self.steps = deque(steps)
        self.fed += len(events)
        while self.steps:
            step = self.steps.popleft()
            self.claimed.update(named.index for named in step.nodes)
            if step.what == RENAME:
                self._rename(step)
            elif step.what == DESTROY:
                self._destroy(step)
            elif step.what not in REMOVING:
                self._insert(step)
            elif step.found:
                rest = islice(self.steps, BEHIND)
                behind = [each for each in rest if each.what in REMOVING and each.found]
                step.inode = self.events.inode_gone(step, behind)
                self._remove(step)

    # ---- entries that come

    def _insert(self, step: Step) -> None:
        inode = Inode(step.inode, what=step.what)
        if step.inode:
            self.inodes[step.inode] = inode
        taken = [named for named in step.nodes if named.taken]
        given = [named for named in step.nodes if not named.taken]
        if not taken:
            found = self._place(step)
        elif not given:
            found = self._empty_one(step)
        else:
            found = self._full_one(step, [named.address for named in given])
        if found is not None:
            inode.told = bool(taken)
            self._add(found, inode)
            self._tell(step, found)
            self._note(step, found)
        if inode.what in ("", MKDIR) and step.inode:
            self.empty.append(inode)
        self.recent.append(inode)

    def _kind(self, step: Step) -> str:
        return MKDIR if step.what == MKDIR else ""

    def _note(self, step: Step, found: Directory) -> None:
        kind, pid = self._kind(step), step.pid
        if (pid, kind) not in self.last:
            self.first_of[self.events.parent.get(pid, 0), kind] = found
        self.last[pid, kind] = found
        self.made_by[pid][found] += 1

    def _candidates(self, step: Step) -> Iterator[Directory]:
        """Where an entry may come in, the likeliest first."""
        yield from self._hints(step)
        yield from self._by_use()

    def _by_use(self) -> list[Directory]:
        return sorted(self.directories, key=lambda each: -each.used)

    def _hints(self, step: Step) -> list[Directory]:
        """Where the task's last entry came in, or the first one of its parent's last child that
        made such, or most of its parent's.
        """
        kind, pid = self._kind(step), step.pid
        if (pid, kind) in self.last:
            found = [self.last[pid, kind]]
        else:
            pid = self.events.parent.get(pid, 0)
            found = [self.first_of[pid, kind]] if (pid, kind) in self.first_of else []
            while pid and not self.made_by[pid]:
                pid = self.events.parent.get(pid, 0)
            found += [each for each, _count in self.made_by[pid].most_common()]
        return [each for each in found if not each.gone]

    def _place(self, step: Step) -> Directory | None:
        """The directory of an entry that needs no node."""
        for each in self._candidates(step):
            if each.tree.root is not None and not each.needs():
                return each
        return None

    def _empty_one(self, step: Step) -> Directory:
        """The directory of an entry that is its first."""
        while self.empty:
            inode = self.empty.pop()
            if inode.children is None:
                inode.children = self._new()
                return inode.children
        for each in self._by_use():
            if each.tree.root is None:
                return each
        return self._new()

    def _new(self) -> Directory:
        tree = MapleStore(self.machine, alloc_range=True, in_rcu=False)
        tree.alloc = self.hand  # type: ignore[assignment]
        found = Directory(tree)
        self.directories.append(found)
        return found

    def _full_one(self, step: Step, given: list[int]) -> Directory | None:
        """The directory of an entry that a leaf has no room for."""
        if len(given) == 1 and given[0] in self.roots:
            found = self.roots[given[0]]
        else:
            high = len(given) > 1
            hints = self._hints(step)
            fits = [each for each in self._candidates(step) if (each.tree.height > 1) == high
                    and each.tree.root is not None]
            if not fits:
                return None
            found = min(fits, key=lambda each: each.room() + (0 if each in hints else FAR))
        self._fill(found, step)
        return found if found.needs() > 1 else None

    def _fill(self, found: Directory, step: Step) -> None:
        """Entries that were taken to be elsewhere are in this directory: it is full."""
        kind = self._kind(step)
        moved: list[Inode] = []
        for inode in reversed(self.recent):
            if len(moved) == found.room():
                break
            alike = (inode.what == MKDIR) == (kind == MKDIR)
            if alike and not inode.told and inode.parent not in (found, None):
                self._take_out(inode)
                moved.append(inode)
        while found.needs() <= 1 and (moved or found.room()):
            self._add(found, moved.pop() if moved else Inode(0))

    def _take_out(self, inode: Inode) -> None:
        """An entry was never in the directory that it was taken to be in."""
        parent = inode.parent
        assert parent is not None
        parent.inodes.pop(inode.offset, None)
        if inode.offset == parent.next - 1 and not parent.needs_to_erase(inode.offset):
            parent.tree.store_gfp(inode.offset, inode.offset, None)
            parent.next -= 1

    def _add(self, found: Directory, inode: Inode) -> None:
        inode.parent, inode.offset = found, found.next
        found.inodes[found.next] = inode
        self.hand.begin()
        found.tree.store_gfp(found.next, found.next, inode)
        found.next += 1
        self.time += 1
        found.used = self.time

    # ---- entries that go

    def _remove(self, step: Step) -> None:
        inode = self.inodes.pop(step.inode, None)
        if not step.inode:
            inode = self._link_beside(step)
        if inode is None:
            return
        if inode in self.empty:
            self.empty.remove(inode)
        if inode.children is not None:
            inode.children.gone = True
            self.directories.remove(inode.children)
        found = inode.parent
        if found is None or found.inodes.pop(inode.offset, None) is None:
            return
        emptied = self.roots.get(step.nodes[1].address) if len(step.nodes) == 3 else None
        if emptied is not None and emptied is not found:
            emptied.tree.root, emptied.tree.height = None, 0  # it was this one's last
        self._erase(step, found, inode.offset)

    def _link_beside(self, step: Step) -> Inode | None:
        """The last other name of a file in the directory that the next inode goes from."""
        for address in self.events.going(step)[:1]:
            beside = self.inodes.get(address)
            if beside is not None and beside.parent is not None:
                links = [each for each in beside.parent.inodes.values() if each.what == LINK]
                return links[-1] if links else None
        return None

    def _rename(self, step: Step) -> None:
        """An entry goes and comes in anew, in the same directory as far as is known: which one no
        event tells. Only where a leaf would end in a gap nodes are needed for that it goes: the
        first such is taken to be it.
        """
        starts = [place for place, named in enumerate(step.nodes) if named.taken]
        groups = [step.nodes[i:j] for i, j in zip(starts, [*starts[1:], None], strict=False)]
        found = next(iter(self._hints(step)), None)
        if found is not None and len(groups) > (found.needs() > 0):
            offset = found.leaf_end(FIRST_OFFSET + int(found.renamed * found.stride))
            if offset >= 0:
                if found.renamed:
                    found.stride = (offset - FIRST_OFFSET) / found.renamed
                self._erase(replace(step, nodes=groups.pop(0)), found, offset)
        if found is not None:
            found.renamed += 1
        step.nodes = groups[0] if groups else []
        self._insert(step)

    def _destroy(self, step: Step) -> None:
        """A file system goes: of its root what is left, after the entries' inodes."""
        inodes = map(self.inodes.get, self.events.going(step))
        found = next((inode.parent for inode in inodes if inode and inode.parent), None)
        if found is not None and found.tree.root is not None:
            self.hand.begin()
            found.tree.destroy()
            self._tell(step, found)

    def _erase(self, step: Step, found: Directory, offset: int) -> None:
        self.hand.begin()
        found.tree.store_gfp(offset, offset, None)
        found.used = self.time
        self._tell(step, found)

    # ---- nodes

    def _tell(self, step: Step, found: Directory) -> None:
        """Which nodes go with those that the events name."""
        hand = self.hand
        taken = [named for named in step.nodes if named.taken]
        given = [named for named in step.nodes if not named.taken]
        told = [each for each in hand.given if each[1]]
        if len(taken) != bool(hand.taken) or len(given) != len(told):
            return  # it was another directory, or another entry
        self.nodes.now = step.index
        numbers = [self.nodes.new(node) for node in hand.taken]
        if taken:
            asked = Asked(taken[0].index, self.nodes.key(True, 0), numbers[0], numbers[1:])
            self.nodes.named(asked, Seen(taken[0].index, asked.key, taken[0].address), self.first)
        if len(numbers) == 1:
            self.roots[taken[0].address] = found
        silent: list[int] = []
        places = iter(given)
        for bulk, node in hand.given:
            silent += [self.nodes.end(each) for each in bulk]
            if node:
                named = next(places)
                asked = Asked(named.index, self.nodes.key(False, 0), self.nodes.end(node), silent)
                seen = Seen(named.index, asked.key, named.address)
                self.nodes.named(asked, seen, self.first)
                silent = []
