"""Where the nodes of maple trees come from (mas_alloc_nodes(), lib/maple_tree.c).

A store asks for all nodes that it may need: the first from kmem_cache_alloc(), the others in bulk;
what it does not use goes back, in bulk but for the first. The nodes in hand hold each other: up to
30 in the slots of one. Since 6.18 several come in a prefilled sheaf.
"""

import cython
import numpy as np

from mmtwin.kernel.sched import call_rcu, tasks_of
from mmtwin.kernel.slub import kmem_cache_alloc, kmem_cache_free
from mmtwin.kernel.slub_pcs import (
    alloc_from_sheaf,
    kfree_rcu_sheaf,
    kmem_cache_prefill_sheaf,
    kmem_cache_return_sheaf,
)
from mmtwin.kernel.thread_stack import find_cache

if not cython.compiled:
    from mmtwin.kernel.casts import as_u64
    from mmtwin.kernel.slub import __kmem_cache_alloc_bulk as take_bulk
    from mmtwin.kernel.slub import __kmem_cache_free_bulk as give_bulk
    from mmtwin.kernel.trace import (
        STEP_MAPLE_ALLOC,
        STEP_MAPLE_ALLOC_BULK,
        STEP_MAPLE_FREE,
        STEP_MAPLE_FREE_BULK,
        STEP_MAPLE_FREE_RCU,
        STEP_MAPLE_FREE_RCU_BULK,
        step,
        step_on,
    )

    MAPLE_ALLOC_SLOTS = 30

GFP_NOWAIT = 0x2800  # with __GFP_NOWARN: in the midst of a store


class MapleAlloc:
    """The nodes that stores have in hand (mas->alloc), and what was taken and given back.

    `machine`: the MM; without a slab cache maple_node it only counts.
    """

    def __init__(self, machine):
        self.machine = machine
        self.cache = -1
        if "maple_node" in machine.cache_names:
            tasks_of(machine)
            self.cache = find_cache(machine, "maple_node")
        self.allocated = self.freed = self.bulks = 0
        self.total = self.head = self.serial = 0
        self.held = {}
        self.sheaf = -1
        self._buffer = np.zeros(MAPLE_ALLOC_SLOTS + 2, dtype=np.uint64)
        self._items = as_u64(self._buffer.ctypes.data, len(self._buffer))

    def alloc_one(self, gfp):
        """kmem_cache_alloc() of a node: its address, 0 for none."""
        self.allocated += 1
        if self.cache < 0:
            self.serial += 1
            return self.serial
        node = kmem_cache_alloc(self.machine, self.cache, gfp)
        self._items[0] = node
        step(self.machine, STEP_MAPLE_ALLOC, self._items[0], gfp)
        return node

    def alloc_bulk(self, gfp, count):
        """kmem_cache_alloc_bulk() of nodes: their addresses."""
        self.bulks += 1
        self.allocated += count
        if self.cache < 0:
            self.serial += count
            return list(range(self.serial - count + 1, self.serial + 1))
        if take_bulk(self.machine, self.cache, gfp, self._items, count) != count:
            self.allocated -= count
            return []
        if step_on(self.machine, STEP_MAPLE_ALLOC_BULK):
            for i in range(count):
                step(self.machine, STEP_MAPLE_ALLOC_BULK, self._items[i], gfp)
        return [self._items[i] for i in range(count)]

    def free_one(self, node):
        """kmem_cache_free() of a node."""
        self.freed += 1
        if self.cache >= 0:
            self._items[0] = node
            step(self.machine, STEP_MAPLE_FREE, self._items[0])
            kmem_cache_free(self.machine, self.cache, node)

    def free_bulk(self, nodes):
        """kmem_cache_free_bulk() of nodes."""
        self.freed += len(nodes)
        if self.cache >= 0:
            for i, node in enumerate(nodes):
                self._items[i] = node
                step(self.machine, STEP_MAPLE_FREE_BULK, self._items[i])
            give_bulk(self.machine, self.cache, self._items, len(nodes))

    def free_rcu(self, node):
        """A node that readers may still see: freed after a grace period (ma_free_rcu())."""
        self.freed += 1
        if self.cache < 0:
            return
        if self.machine.has.sheaves and kfree_rcu_sheaf(self.machine, self.cache, node):
            return
        self._items[0] = node
        step(self.machine, STEP_MAPLE_FREE_RCU, self._items[0])
        call_rcu(self.machine, free_now, self, [], node)

    def free_subtree(self, bulks, node, rcu):
        """A tree or a part of one: `bulks`, lists of nodes, one for each inner node from the
        leaves up, then its root; after a grace period where `rcu` (mt_destroy_walk(),
        mt_free_walk()).
        """
        self.freed += 1 + sum(len(nodes) for nodes in bulks)
        if self.cache < 0:
            return
        if rcu:
            for each in (one for nodes in bulks for one in nodes):
                self._items[0] = each
                step(self.machine, STEP_MAPLE_FREE_RCU_BULK, self._items[0])
            self._items[0] = node
            step(self.machine, STEP_MAPLE_FREE_RCU, self._items[0])
            call_rcu(self.machine, free_now, self, bulks, node)
        else:
            free_now(self.machine, self, bulks, node)

    def request(self, count, gfp):
        """Has so many nodes in hand (mas_node_count_gfp()); whether there was memory."""
        if self.machine.has.maple_sheaves:
            return self._request_sheaf(count, gfp)
        count -= self.total
        if count <= 0:
            return True
        if not self.head or len(self.held[self.head]) == MAPLE_ALLOC_SLOTS:
            node = self.alloc_one(gfp)
            if not node:
                return False
            self.held[node] = [self.head] if self.head else []
            self.head = node
            self.total += 1
            count -= 1
        node = self.head
        while count:
            slots = self.held.setdefault(node, [])
            room = MAPLE_ALLOC_SLOTS - len(slots)
            more = self.alloc_bulk(gfp, room if room < count else count)
            if not more:
                return False
            slots.extend(more)
            self.total += len(more)
            count -= len(more)
            node = slots[0]  # holds the next ones
        return True

    def _request_sheaf(self, count, gfp):
        # since 6.18: one node, or a sheaf of many
        if count <= self.total:
            return True
        if count == 1:
            self.head = self.alloc_one(gfp)
            self.total = 1 if self.head else 0
            return self.total == 1
        self.destroy()
        self.bulks += 1
        self.allocated += count
        self.total = count
        if self.cache >= 0:
            self.sheaf = kmem_cache_prefill_sheaf(self.machine, self.cache, gfp, count)
            if self.sheaf < 0:
                self.allocated -= count
                self.total = 0
        return self.total == count

    def set_aside(self):
        """The nodes in hand are another state's meanwhile (MA_STATE): what take_back() takes."""
        hand = self.total, self.head, self.held
        self.total = self.head = 0
        self.held = {}
        return hand

    def take_back(self, hand):
        """What set_aside() gave is in hand again."""
        self.total, self.head, self.held = hand

    def pop(self):
        """One of the nodes in hand (mas_pop_node()): its address; all they were: asks for one."""
        if not self.total and not self.request(1, GFP_NOWAIT):
            return 0
        self.total -= 1
        node = self.head
        if self.machine.has.maple_sheaves:
            self.head = 0
            if node:
                return node
            if self.sheaf >= 0:
                return alloc_from_sheaf(self.machine, self.sheaf)
            self.serial += 1
            return self.serial
        slots = self.held[node]
        if len(slots) > 1:
            return slots.pop()
        del self.held[node]
        self.head = slots[0] if slots else 0
        if self.head:
            self.held.setdefault(self.head, [])
        return node

    def push(self, node):
        """A node that no reader sees is in hand again (mas_push_node())."""
        if self.machine.has.maple_sheaves:
            self.free_rcu(node)
            return
        self.total += 1
        if self.head and len(self.held[self.head]) < MAPLE_ALLOC_SLOTS:
            self.held[self.head].append(node)
            return
        self.held[node] = [self.head] if self.head else []
        self.head = node

    def destroy(self):
        """What a store did not use goes back (mas_destroy())."""
        if self.machine.has.maple_sheaves:
            if self.head:
                self.free_one(self.head)
                self.total -= 1
            self.freed += self.total
            if self.sheaf >= 0:
                kmem_cache_return_sheaf(self.machine, self.cache, GFP_NOWAIT, self.sheaf)
                self.sheaf = -1
        while self.head and self.total and not self.machine.has.maple_sheaves:
            node = self.head
            slots = self.held.pop(node, [])
            self.head = slots[0] if slots else 0
            if len(slots) > 1:
                self.free_bulk(slots[1:])
            self.free_one(node)
            self.total -= len(slots) if len(slots) > 1 else 1
        self.total = self.head = 0
        self.held = {}


def free_now(mm, alloc, bulks, node):
    """The nodes of a tree go back, the leaves in bulk: see MapleAlloc.free_subtree()."""
    count = alloc.freed
    for nodes in bulks:
        alloc.free_bulk(nodes)
    alloc.free_one(node)
    alloc.freed = count
