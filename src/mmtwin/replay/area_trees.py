"""The maple trees of processes' areas as far as events tell of them, where stores ask for the
nodes that their kind needs (mas_prealloc_calc(), lib/maple_tree.c, since 6.12): one, mostly.

A tree is a leaf, or a root above leaves. That a leaf was split no event tells: a request for three
nodes, all of which are used, looks like one for one. It shows later: nodes come back unused, as
only stores into a higher tree leave some over; RCU frees replaced nodes, in their order; or the
root that goes in the end is not the node that came in last. What the events leave open (which
store had a leaf split, what a store into a higher tree was) is chosen on the recordings at hand.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

import numpy as np

from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.event import CONSTANTS
from mmtwin.recordings.stream import Events
from mmtwin.replay.demand_nodes import Nodes
from mmtwin.replay.demand_streams import Asked, Seen
from mmtwin.replay.maple_ahead import CONSTANTS as AHEAD

ALLOC, FREE = CONSTANTS["KIND_KMEM_CACHE_ALLOC"], CONSTANTS["KIND_KMEM_CACHE_FREE"]
INTERRUPT, BLOCKING = AHEAD["INTERRUPT"], AHEAD["BLOCKING"]
CACHES = ("maple_node", "mm_struct", "vm_area_struct")
DUP, EXIT, NEW_MM, SPARE = "__mt_dup", "exit_mmap", "mm_alloc", "mas_destroy"
ROOT = ("__mt_destroy", "mt_destroy_walk")
FIRST_HANDLE = 1 << 41  # of nodes that are no addresses of the twin's
# Areas that a leaf has no room for, if five gaps lie between them: how many do no event tells.
FULL_AREAS = 12
NEAR = 2048  # events of these caches looked at


@dataclass(eq=False, slots=True)
class Node:
    """A node of a tree. `address`, `index`: of the event that named it, 0 and -1 if none did;
    `number`: for the script, -1 not yet.
    """

    address: int = 0
    index: int = -1
    number: int = -1


@dataclass(eq=False, slots=True)
class Tree:
    """A tree; without leaves its root is one. `areas`: how many; `splits`: stores that may have
    split it, each with the number of areas and the node that an event named.
    """

    root: Node | None = None
    leaves: list[Node] = field(default_factory=list)
    areas: int = 0
    splits: list[tuple[int, Node]] = field(default_factory=list)


@dataclass(slots=True)
class Told:
    """An event of a task. `what`: the cache, and whether an object was taken (+) or went (-);
    `waits`: for memory; `last`: of a tree that goes, whether its process's areas went before.
    """

    index: int
    pid: int
    cpu: int
    what: str
    address: int
    function: str
    waits: bool
    last: bool = False


class AreaTrees:
    """The trees of one recording's processes. `parent`: of tasks, by number; `first`: number of
    the first event to be carried out.
    """

    def __init__(
        self, annotated: Annotated, nodes: Nodes, parent: dict[int, int], first: int
    ) -> None:
        self.symbols = annotated.recording.symbols
        numbers = {name: number for number, name in enumerate(annotated.names)}
        self.cache = [numbers.get(name, -1) for name in CACHES]
        self.nodes = nodes
        self.parent = parent
        self.first = first
        self.block = 0
        self.handle = FIRST_HANDLE
        self.trees: dict[int, Tree] = {}
        self.old: dict[int, Tree] = {}
        self.copies: dict[int, deque[Tree]] = defaultdict(deque)
        # What RCU frees, by CPU; every free of a node, and whether it ends a tree of no process.
        self.later: dict[int, deque[tuple[int, int]]] = defaultdict(deque)
        self.frees: dict[int, deque[tuple[int, bool]]] = defaultdict(deque)
        self.made: Counter[int] = Counter()  # areas of tasks since their last store
        self.exiting: dict[int, bool] = {}

    def advance(self, events: Events, first: int, block: int, claimed: set[int]) -> None:
        """Follows the trees through some events, of which `claimed` are of other trees. `first`:
        number of the first one, `block`: of the first that is not carried out yet.
        """
        self.block = block
        told = self._read(events, first, claimed)
        for place, event in enumerate(told):
            self._follow(event, told, place)

    def _read(self, events: Events, first: int, claimed: set[int]) -> list[Told]:
        kinds, caches = events["kind"], events["cache"]
        chosen = ((kinds == ALLOC) | (kinds == FREE)) & np.isin(caches, self.cache)
        rows = np.flatnonzero(chosen)
        part = events[rows]
        columns = (part[name].tolist() for name in (
            "kind", "cache", "pid", "cpu", "flags", "address", "call_site", "gfp"))  # fmt: skip
        told: list[Told] = []
        for row, kind, cache, pid, cpu, flags, address, site, gfp in zip(
            rows.tolist(), *columns, strict=True
        ):
            index, function = first + row, self.symbols.function(site)
            if index in claimed:
                continue
            if cache == self.cache[0] and kind == FREE:
                ends = function in ROOT
                last = self.exiting.get(pid, False)
                self.frees[address].append((index, ends and not last))
                if not ends and function != SPARE:
                    self.later[cpu].append((index, address))
                    continue
            if flags & INTERRUPT:
                continue
            what = CACHES[self.cache.index(cache)] + ("+" if kind == ALLOC else "-")
            if what == "vm_area_struct-":
                self.exiting[pid] = function == EXIT
            waits = bool(gfp & BLOCKING)
            event = Told(index, pid, cpu, what, address, function, waits)
            event.last = self.exiting.get(pid, False)
            told.append(event)
        return told

    def _follow(self, event: Told, told: list[Told], place: int) -> None:
        pid = event.pid
        if event.what == "vm_area_struct+":
            self.made[pid] += 1
        elif event.what == "mm_struct+" and event.function == NEW_MM:
            tree = self._tree_of(pid)
            if tree is not None:
                self.old[pid] = tree
            self.trees[pid] = Tree()
        elif event.what == "maple_node+":
            if event.function == DUP:
                self._fork(event, told, place)
            else:
                self._store(event, self._spares(event, told, place))
        elif event.what == "maple_node-" and event.function in ROOT and event.last:
            self._end(event)

    def _tree_of(self, pid: int) -> Tree | None:
        """A task's tree: a new one's is the oldest copy of its parent's that nobody has."""
        if pid not in self.trees:
            copies = self.copies[self.parent.get(pid, 0)]
            if not copies:
                return None
            self.trees[pid] = copies.popleft()
        return self.trees[pid]

    def _spares(self, event: Told, told: list[Told], place: int) -> list[Told]:
        """The frees of what a store did not use."""
        found: list[Told] = []
        for each in told[place + 1 : place + NEAR]:
            if each.pid == event.pid:
                if each.what != "maple_node-" or each.function != SPARE:
                    break
                found.append(each)
        return found

    # ---- stores

    def _store(self, event: Told, spares: list[Told]) -> None:
        """A store into a task's tree asks for nodes."""
        if self._is_detached(event):
            return
        tree = self._tree_of(event.pid)
        areas = self.made.pop(event.pid, 0)
        if tree is None:
            return
        tree.areas += areas if areas or event.waits else -1
        node = Node(event.address, event.index)
        if tree.root is None:
            tree.root = node
            return
        following = self._next(event)
        if len(spares) == 2:
            if not tree.leaves:
                self._split_before(tree)
            if tree.leaves:
                self._join(event, tree, node, spares)
            return
        leaf = self._replaced(tree, following)
        if leaf >= 0:
            tree.leaves[leaf] = node
            self._skip(event.cpu, 1)
            return
        if tree.root.address in following:
            self._skip(event.cpu, following.index(tree.root.address) + 1)
        elif not tree.root.address:
            self._skip(event.cpu, 1)
        tree.root = node
        if areas:
            tree.splits.append((tree.areas, node))

    def _is_detached(self, event: Told) -> bool:
        """Whether a node is of a tree of areas that are unmapped: it goes with that."""
        frees = self.frees[event.address]
        while frees and frees[0][0] < event.index:
            frees.popleft()
        return bool(frees) and frees[0][1]

    def _next(self, event: Told) -> list[int]:
        """What RCU frees next of what goes from now on, on an event's CPU."""
        later = self.later[event.cpu]
        while later and later[0][0] < event.index:
            later.popleft()
        return [later[i][1] for i in range(min(4, len(later)))]

    def _skip(self, cpu: int, count: int) -> None:
        later = self.later[cpu]
        for _ in range(min(count, len(later))):
            later.popleft()

    def _replaced(self, tree: Tree, following: list[int]) -> int:
        """Which leaf a store replaces, by what RCU frees next; -1 for none."""
        for place, leaf in enumerate(tree.leaves):
            if leaf.address and following and leaf.address == following[0]:
                return place
        for place, leaf in enumerate(tree.leaves):
            if not leaf.address:
                return place
        return -1

    def _split_before(self, tree: Tree) -> None:
        """A tree has more than the leaf that it was taken for: the first store that gave it too
        many areas had it split, or that gave it most. Of three nodes taken, one in hand and two in
        its slots, the left leaf got the second of these, the right one that in hand, and the root
        the first (mas_split(), mas_pop_node()).
        """
        if not tree.splits or tree.root is None:
            return
        most = max(areas for areas, _node in tree.splits)
        full = [split for split in tree.splits if split[0] >= min(most, FULL_AREAS)]
        node = full[0][1]
        first, second = (Node(number=self._new()) for _ in range(2))
        self._record(node, [first.number, second.number])
        tree.leaves = [second, tree.root]
        tree.root = first
        tree.splits = []

    def _join(self, event: Told, tree: Tree, node: Node, spares: list[Told]) -> None:
        """A leaf has too few areas left (mas_rebalance()): of the three nodes that are asked for
        one is used, for all leaves, and two come back by name.
        """
        slots = [self._new() for _ in range(2)]
        self._record(node, slots)
        self._skip(event.cpu, 1 + len(tree.leaves))
        self._give(spares[0], node.number, [])
        self._give(spares[1], slots[0], [])
        tree.root, tree.leaves, tree.splits = Node(number=slots[1]), [], []

    # ---- trees that come and go

    def _fork(self, event: Told, told: list[Told], place: int) -> None:
        """A tree is copied: its root first, then what is below that at once (mas_dup_build())."""
        tree = self._tree_of(event.pid)
        copies = self._copies(event, told, place)
        count = len(tree.leaves) if tree else 0
        if tree and count == 0 and self._may_be_split(tree, copies):
            count = 2
        root = Node(event.address, event.index)
        copy = Tree(root, [Node(number=self._new()) for _ in range(count)])
        copy.areas = copies
        if count:
            self._record(root, [leaf.number for leaf in copy.leaves])
        self.copies[event.pid].append(copy)

    def _may_be_split(self, tree: Tree, copies: int) -> bool:
        """Whether a tree that is copied has leaves, though nothing told of it yet."""
        return min(copies, max((areas for areas, _ in tree.splits), default=0)) > FULL_AREAS - 2

    def _copies(self, event: Told, told: list[Told], place: int) -> int:
        """How many areas a fork copies."""
        copies = 0
        for each in told[place + 1 : place + NEAR]:
            if each.pid == event.pid:
                if each.what != "vm_area_struct+":
                    break
                copies += 1
        return copies

    def _end(self, event: Told) -> None:
        """A process's tree goes: its leaves before its root (mt_destroy_walk())."""
        tree = self.old.pop(event.pid, None)
        if tree is None:
            tree = self._tree_of(event.pid)
            self.trees.pop(event.pid, None)
        if tree is None or tree.root is None:
            return
        if not tree.leaves and tree.root.address and tree.root.address != event.address:
            self._split_before(tree)
        if tree.leaves:
            for leaf in tree.leaves:
                if leaf.number < 0:
                    self._record(leaf, [])
            self._give(event, tree.root.number, [leaf.number for leaf in tree.leaves])

    # ---- what is told of nodes

    def _new(self) -> int:
        self.handle += 1
        number = self.nodes.new(self.handle)
        del self.nodes.at[self.handle]
        return number

    def _record(self, node: Node, silent: list[int]) -> None:
        """The event that names a node, and those that were taken with it."""
        if node.number < 0:
            node.number = self._new()
        if node.index < max(self.block, self.first):
            self.nodes.where[node.number] = node.address  # carried out already
            return
        asked = Asked(node.index, self.nodes.key(True, 0), node.number, silent)
        self.nodes.named(asked, Seen(node.index, asked.key, node.address), self.first)

    def _give(self, event: Told, number: int, silent: list[int]) -> None:
        asked = Asked(event.index, self.nodes.key(False, 0), number, silent)
        self.nodes.named(asked, Seen(event.index, asked.key, event.address), self.first)
        self.nodes.ended.extend((event.index, each) for each in (number, *silent) if each >= 0)
