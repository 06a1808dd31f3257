"""Nodes of maple trees where these come from sheaves (6.18 and later).

Every node that is taken has an event; that it is given back has none: a node that a store replaced
goes through kfree_rcu() (ma_free_rcu()), the leaves of a tree that ends through
kmem_cache_free_bulk() (mt_destroy_walk()). Both follow from the trees (maple_shapes.py). A store
that needs several nodes prefills a sheaf for them (mas_alloc_nodes(), lib/maple_tree.c) and gives
it back (mas_destroy()). Where the kernel gives out another node than the twin, each is in the
other's place: in a sheaf, or in a tree that the twin took for changed in another leaf.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.replay.maple import Maple
from mmtwin.replay.maple_ahead import STRUCTS
from mmtwin.replay.maple_shapes import CONSTANTS as SHAPES
from mmtwin.replay.maple_shapes import Shapes

TEXT = files(__package__).joinpath("maple_sheaves.pxd").read_text()
OWN = parse_constants(TEXT)
# What calls of these functions tell; of mm/, fs/ and kernel/ too.
FUNCTIONS = {
    "mas_preallocate": "SITE_ONE", "mas_nomem": "SITE_ONE", "mas_alloc_nodes": "SITE_ONE",
    "mas_store_gfp": "SITE_STORE", "__mt_dup": "SITE_COPY", "mas_dup_alloc": "SITE_CHILDREN",
    "mas_alloc_cyclic": "SITE_ENTRY", "mas_erase": "SITE_ERASE", "__mt_destroy": "SITE_ROOT",
    "mm_alloc": "SITE_EXEC", "shmem_alloc_inode": "SITE_INODE", "rcu_do_batch": "SITE_RCU",
    "mas_wr_split": "SITE_TOP", "mas_new_ma_node": "SITE_SPLIT", "mas_push_data": "SITE_SHARE",
    "mas_spanning_rebalance|mas_wr_rebalance|mas_wr_spanning_store": "SITE_SHARE",
    r"(mas|mast|dst|mt)_\w+": "SITE_MANY",
}  # fmt: skip

if not cython.compiled:
    from mmtwin.kernel.casts import as_u64
    from mmtwin.kernel.constants import PG_slab
    from mmtwin.kernel.ram import cache_at, cache_cpu_of, pfn_to_page
    from mmtwin.kernel.slub import __kmem_cache_free_bulk as free_bulk
    from mmtwin.kernel.slub_pcs import (
        alloc_from_sheaf,
        kfree_rcu_sheaf,
        kmem_cache_prefill_sheaf,
        kmem_cache_return_sheaf,
        rcu_free_sheaves,
    )
    from mmtwin.kernel.slub_resync import object_state
    from mmtwin.kernel.slub_sheaf import sheaf_at
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import as_events, event_at
    from mmtwin.replay.maple_ahead import as_ranges
    from mmtwin.replay.maple_shapes import tree_at

    globals().update(EVENT_CONSTANTS)
    globals().update(SHAPES)
    globals().update(OWN)


def sheaf_ranges(symbols):
    """[(first, last, SITE_*)]: call sites that tell of trees, by a recording's symbols."""
    found = {}
    for pattern, site in FUNCTIONS.items():
        for first, last, name in symbols.functions(rf"({pattern})(\.\w+)*"):
            found.setdefault((first, last), OWN[site])
    return sorted((first, last, site) for (first, last), site in found.items())


class SheafNodes(Maple):
    """`cache`: maple_node's number in the twin; `names`: numbers of maple_node, vm_area_struct
    and mm_struct in the recording; `ranges`: of sheaf_ranges(); `live`: addresses of the nodes in
    use; `grace`: ns that a grace period takes.
    """

    def __init__(self, mm, cache, names, ranges, live, grace):
        Maple.__init__(self, mm)
        self.grace = grace
        self.cache = cache
        self.scripted = True
        self.name, self.areas, self.mms = names
        self.shapes = Shapes()
        table = np.zeros(len(ranges) + 1, dtype=np.dtype(STRUCTS["range_t"]))
        for place, row in enumerate(ranges):
            table[place] = row
        self.buffers["ranges"] = table
        self.ranges = as_ranges(table.ctypes.data, len(table))
        self.nr_ranges = len(ranges)
        nodes = self.buffers["nodes"] = np.zeros(OWN["MOST_NODES"], dtype=np.uint64)
        self.nodes = as_u64(nodes.ctypes.data, len(nodes))
        strays = self.buffers["strays"] = np.array([*live, 0], dtype=np.uint64)
        self.strays = as_u64(strays.ctypes.data, len(strays))
        self.nr_strays = len(live)
        self.held = self.copying = -1
        self.held_pid = self.wanted = self.has = 0
        since = self.buffers["since"] = np.zeros(OWN["MOST_WAITING"] + 1, dtype=np.uint64)
        self.since = as_u64(since.ctypes.data, len(since))
        self.queued = self.time = self.kind = self.how = 0
        self.available = self.first = 0
        self.swapped = 0

    def _site(self, call_site):
        for i in range(self.nr_ranges):
            if self.ranges[i].first <= call_site < self.ranges[i].last:
                return self.ranges[i].what
        return SITE_NONE

    def _site_of(self, event):
        """What an event tells that asks for a node."""
        if event.kind != KIND_KMEM_CACHE_ALLOC or event.cache != self.name:
            return SITE_NONE
        return self._site(event.call_site)

    def look(self, address, start, available):
        """Takes over a block of events."""
        self.events = as_events(address, available)
        self.available = available

    def has_slab(self, pfn):
        """Nodes' slabs are like others."""
        return False

    def page(self, number):
        """A page was taken for a slab: as for others."""

    def compare(self):
        """Nothing is guessed."""

    def adopt(self):
        """Nothing is guessed."""
        self.stale = False

    def prefilled(self, number):
        """Whether event `number` is of a node out of a sheaf that its task prefilled."""
        event = event_at(self.events, number)
        site = self._site_of(event)
        if site == SITE_STORE:
            return self.held >= 0 and self.held_pid == event.pid
        return self._is_many(site)

    def _is_many(self, site):
        return site == SITE_CHILDREN or site == SITE_MANY or SITE_TOP <= site <= SITE_SHARE

    def _count_nodes(self, number):
        """How many nodes the task takes from event `number` on, one right after the other."""
        event = event_at(self.events, number)
        count = 1
        for i in range(number + 1, self.available):
            other = event_at(self.events, i)
            if other.pid != event.pid or other.flags & INTERRUPT:
                continue
            site = self._site_of(other)
            if site != SITE_STORE and not self._is_many(site):
                break
            count += 1
            event = other
        self.how = self._how(self._site_of(event))
        return count if count < MOST_NODES else MOST_NODES

    def _how(self, site):
        """How a store changes its tree, by its last node's call site."""
        if site == SITE_TOP:
            return HOW_TOP
        if site == SITE_SPLIT:
            return HOW_SPLIT
        return HOW_SHARE if site == SITE_SHARE else HOW_UNKNOWN

    def _asked_for(self, number):
        """How many nodes the task asks for: it may need two of each level and a root
        (mas_prealloc_calc(); mas_wr_walk() from a leaf on sees no node above it that has room).
        """
        event = event_at(self.events, number)
        count = self.wanted
        if self._site_of(event) != SITE_CHILDREN:
            self._look_behind(number)
            t = self._tree(event.pid, self.kind)
            if t >= 0 and 2 * self.shapes.height(t) + 1 > count:
                count = 2 * self.shapes.height(t) + 1
        return count

    def take(self, number, gfp):
        """A node out of a prefilled sheaf, 0 if it is none of these."""
        if not self.prefilled(number):
            return 0
        event = event_at(self.events, number)
        if self.held >= 0 and self.held_pid != event.pid:
            return 0
        if self.held < 0:
            self.wanted = self._count_nodes(number)
            self.has = 0
            self.held_pid = event.pid
            count = self._asked_for(number)
            self.held = kmem_cache_prefill_sheaf(self.mm, self.cache, gfp, count)
            if self.held < 0:
                return 0
        return alloc_from_sheaf(self.mm, self.held)

    def sheaf(self):
        """The prefilled sheaf that the last node came from."""
        return self.held

    def allocated(self, number, gfp):
        """A node was given out: what its tree no longer needs is freed."""
        event = event_at(self.events, number)
        self.time = event.time
        site = self._site_of(event)
        if self.held >= 0 and self.held_pid == event.pid:
            self.nodes[self.has] = event.address
            self.has += 1
            if self.has == self.wanted:
                self._several(number, site)
                kmem_cache_return_sheaf(self.mm, self.cache, gfp, self.held)
                self.held = -1
        elif site != SITE_NONE:
            self._one(number, site)
        self.deferred = self.queued > 0

    def _is_program(self, number):
        """Whether a node is the first of a new program's tree: its task's struct mm_struct was
        just allocated.
        """
        event = event_at(self.events, number)
        for i in range(1, FAR if number >= FAR else number):
            other = event_at(self.events, number - i)
            if other.pid != event.pid or other.flags & INTERRUPT:
                continue
            if other.cache == self.name and other.kind == KIND_KMEM_CACHE_ALLOC:
                return False
            if other.cache == self.mms and other.kind == KIND_KMEM_CACHE_ALLOC:
                return self._site(other.call_site) == SITE_EXEC
        return False

    def _is_apart(self, number):
        """Whether a node is the root of the areas that a munmap() takes out (mas_detach): it ends
        with that, though its task went on to change its own tree.
        """
        event = event_at(self.events, number)
        later = False
        stop = number + FAR if number + FAR < self.available else self.available
        for i in range(number + 1, stop):
            other = event_at(self.events, i)
            if other.pid != event.pid or other.flags & INTERRUPT:
                continue
            if other.cache == self.name and other.kind == KIND_KMEM_CACHE_ALLOC:
                later = True
            elif other.kind == KIND_KFREE and self._site(other.call_site) == SITE_ROOT:
                return later and other.address == event.address
        return False

    def _look_behind(self, number):
        """Which kind of tree a request is for: of a task's areas, if one of them was allocated or
        freed shortly before, else of a directory; which gets an entry if an inode was.
        """
        event = event_at(self.events, number)
        self.kind = KIND_ENTRIES
        seen = 0
        for i in range(1, NEARBY if number >= NEARBY else number):
            other = event_at(self.events, number - i)
            if other.pid != event.pid or other.flags & INTERRUPT or other.cache == self.name:
                continue
            if KIND_KMALLOC <= other.kind <= KIND_KMEM_CACHE_FREE:
                if other.cache == self.areas:
                    self.kind = KIND_AREAS
                    return
                if self._site(other.call_site) == SITE_INODE:
                    return
                seen += 1
                if seen == 8:
                    break
        self.how = HOW_ERASE

    def _tree(self, pid, kind):
        """A task's tree, -1 unknown. Of directories, the one that grew last."""
        if kind == KIND_ENTRIES:
            return self.shapes.directory_of(self.wanted, self.how)
        t = self.shapes.tree_of(pid, kind)
        return t if t >= 0 else self.shapes.adopt_tree(pid)

    def _one(self, number, site):
        """A request for one node."""
        event = event_at(self.events, number)
        if site == SITE_COPY:
            self.copying = self.shapes.new_tree(KIND_AREAS, -1, event.address)
        elif site == SITE_ENTRY:
            self.shapes.new_tree(KIND_ENTRIES, 0, event.address)
        elif site == SITE_STORE and self._is_apart(number):
            self.shapes.new_tree(KIND_APART, event.pid, event.address)
        elif site == SITE_ONE and self._is_program(number):
            self.shapes.new_tree(KIND_AREAS, event.pid, event.address)
        elif site == SITE_ONE or site == SITE_STORE:
            t = self._tree(event.pid, KIND_AREAS)
            if t >= 0:
                self.shapes.replace_leaf(t, event.address)
                self._free_later()
            else:
                self.shapes.new_tree(KIND_AREAS, event.pid, event.address)
                self._free_stray()

    def _several(self, number, site):
        """A request for several nodes."""
        event = event_at(self.events, number)
        if site == SITE_CHILDREN:
            if self.copying >= 0:
                self.shapes.add_children(self.copying, self.nodes, self.has)
            return
        t = self._tree(event.pid, self.kind)
        if t >= 0:
            self.shapes.change(t, self.nodes, self.has, self.how)
            self._free_later()
            return
        self._free_stray()
        if self.how == HOW_UNKNOWN or self.how == HOW_SHARE:
            self._free_stray()  # a leaf and the node above it
        t = self.shapes.new_tree(self.kind, event.pid, 0)
        self.shapes.change(t, self.nodes, self.has, self.how)

    def _free_later(self):
        """What a store replaced is freed after a grace period."""
        for i in range(self.shapes.nr_gone):
            self._free_one_later(self.shapes.gone[i])

    def _free_one_later(self, node):
        if object_state(self.mm, self.cache, node) != 1:
            return
        self.given += 1
        c = cache_cpu_of(self.mm, self.cache, self.mm.cpu)
        kfree_rcu_sheaf(self.mm, self.cache, node)
        if c.sheaf_rcu >= 0:
            return
        if self.queued == MOST_WAITING:
            rcu_free_sheaves(self.mm, 1)
            self.queued -= 1
        self.since[self.queued] = self.time  # it became full
        self.queued += 1

    def _free_stray(self):
        """A node of a tree that is not known is replaced: one of those in use at the start."""
        while self.nr_strays:
            self.nr_strays -= 1
            stray = self.strays[self.nr_strays]
            if object_state(self.mm, self.cache, stray) == 1:
                self._free_one_later(stray)
                return

    def freeing(self, number):
        """A tree's root is about to be freed: its leaves go before it, in bulk."""
        event = event_at(self.events, number)
        t = self.shapes.tree_with_root(event.address)
        if t < 0 and object_state(self.mm, self.cache, event.address) == 0:
            t = self._tree_in_place(event)
        if t < 0:
            return
        self.shapes.end_tree(t)
        count = 0
        for i in range(self.shapes.nr_gone):
            if object_state(self.mm, self.cache, self.shapes.gone[i]) == 1:
                self.shapes.gone[count] = self.shapes.gone[i]
                count += 1
        if count:
            free_bulk(self.mm, self.cache, self.shapes.gone, count)
            self.given += count

    def goes_on(self, event):
        """Whether RCU frees what waited for a grace period (rcu_do_batch()): a batch frees what
        waits a grace period or longer. Where a grace period ends no event tells, but that it has
        where a slab is given back: the barn was full.
        """
        if event.flags & INTERRUPT == 0 or not self.queued:
            return -1
        if self._is_flush(event):
            return 0
        if event.time < self.since[0] + self.grace or self._site(event.call_site) != SITE_RCU:
            return -1
        return 0

    def _is_flush(self, event):
        """Whether an interrupt gives back a slab of nodes."""
        if event.kind != KIND_MM_PAGE_FREE or event.address >= self.mm.max_pfn:
            return False
        page = pfn_to_page(self.mm, event.address)
        return page.flags & PG_slab != 0 and page.cache == self.cache

    def go_on(self, event):
        """Frees the sheaves whose grace period is over. Whether others wait."""
        count = 1 if self._is_flush(event) else 0
        while count < self.queued and event.time >= self.since[count] + self.grace:
            count += 1
        rcu_free_sheaves(self.mm, count)
        self.queued -= count
        for i in range(self.queued):
            self.since[i] = self.since[i + count]
        return self.queued > 0

    def _tree_in_place(self, event):
        """The kernel frees a root that was taken to be free: it is that of its task's tree, which
        the twin has wrong. That tree's place, -1 if there is none.
        """
        t = self.shapes.tree_of(event.pid, KIND_AREAS)
        if t < 0:
            return -1
        root = tree_at(self.shapes.trees, t).root
        for i in range(self.mm.next_sheaf):
            sheaf = sheaf_at(self.mm, i)
            if sheaf.cache != self.cache:
                continue
            for k in range(sheaf.size):
                if sheaf.objects[k] == event.address:
                    if object_state(self.mm, self.cache, root) == 1:
                        sheaf.objects[k] = root
                    return t
        return -1

    def _exchange_sheaves(self, number, predicted):
        """The kernel's node is the first of another sheaf: that one was put into the barn earlier,
        or later, than in the twin, and each is where the other was. Not if the twin's own is not
        the first of a sheaf.
        """
        c = cache_cpu_of(self.mm, self.cache, self.mm.cpu)
        mine = self.held if self.held >= 0 else c.sheaf_main
        if mine < 0 or mine == number:
            return False
        sheaf = sheaf_at(self.mm, mine)
        other = sheaf_at(self.mm, number)
        if sheaf.size != cache_at(self.mm, self.cache).sheaf_capacity - 1:
            return False
        sheaf.objects[sheaf.size] = predicted
        sheaf.size += 1
        count = sheaf.size if sheaf.size > other.size else other.size
        for k in range(count):
            node = sheaf.objects[k]
            sheaf.objects[k] = other.objects[k]
            other.objects[k] = node
        count = sheaf.size
        sheaf.size = other.size - 1
        other.size = count
        return True

    def missed(self, predicted, address):
        """The kernel gave out another node: each is where the other was. Whether that could be."""
        if not predicted or object_state(self.mm, self.cache, address) < 0:
            return False
        for i in range(self.mm.next_sheaf):
            sheaf = sheaf_at(self.mm, i)
            if sheaf.cache != self.cache:
                continue
            for k in range(sheaf.size):
                if sheaf.objects[k] == address:
                    self.swapped += 1
                    if k < sheaf.size - 1 or not self._exchange_sheaves(i, predicted):
                        sheaf.objects[k] = predicted
                    return True
        if object_state(self.mm, self.cache, address) != 1:
            return False
        self.shapes.exchange(address, predicted)
        for i in range(self.nr_strays):
            if self.strays[i] == address:
                self.strays[i] = predicted
        self.swapped += 1
        return True
