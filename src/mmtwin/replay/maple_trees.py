"""What a request for maple nodes may have used, and what it costs to think so (see maple.py)."""

import cython

from mmtwin.replay.maple_ahead import CONSTANTS as AHEAD_CONSTANTS
from mmtwin.replay.maple_guess import CONSTANTS as GUESS_CONSTANTS
from mmtwin.replay.maple_nodes import CONSTANTS as NODES_CONSTANTS
from mmtwin.replay.maple_nodes import Nodes

if not cython.compiled:
    from mmtwin.replay.maple_guess import (
        guess_at,
        node_is_free,
        put_bulk,
        put_free,
        take_node,
    )
    from mmtwin.replay.maple_nodes import nodes_at

    globals().update(GUESS_CONSTANTS)
    globals().update(AHEAD_CONSTANTS)
    globals().update(NODES_CONSTANTS)


class Trees(Nodes):
    """Guesses at trees, on top of those at free nodes."""

    def _tree_of(self, g, pid):
        """The newest tree of a task, -1 if none is known."""
        best = -1
        for t in range(g.tree_end):
            if g.tree_order[t] and g.tree_pid[t] == pid:
                if best < 0 or g.tree_order[t] > g.tree_order[best]:
                    best = t
        return best

    def _new_tree(self, g, pid, root):
        """A tree of a task, in place of the oldest if there are many."""
        best = 0
        for t in range(g.tree_end + 1 if g.tree_end < GUESS_TREES else GUESS_TREES):
            if t == g.tree_end:
                g.tree_order[t] = 0
                g.tree_end += 1
                best = t
                break
            if g.tree_order[t] < g.tree_order[best]:
                best = t
            if not g.tree_order[best]:
                break
        g.nr_trees += 1
        g.tree_order[best] = g.nr_trees
        g.tree_pid[best] = pid
        g.tree_root[best] = root
        g.tree_leaves[best] = 0
        g.tree_habit[best] = HABIT_UNKNOWN
        return best

    def _has_one_leaf(self, g, t):
        """A request all of whose nodes but one were used tells that its tree has one leaf:
        mas_preallocate() asks for 1 + 3 * height, of which mas_split() uses 1 + 2 * height at most
        (6.1). Where the guess has more, it missed that they were joined.
        """
        if t >= 0 and g.tree_leaves[t]:
            g.cost += COST_SHRINK
            g.tree_leaves[t] = 0
            g.tree_root[t] = NO_NODE

    def _replace(self, g, node, m):
        """A node of a tree is replaced: RCU frees such nodes in this order."""
        if node == NO_NODE:
            return
        f = self.fate[node]
        if f < 0:
            return
        if self.ahead.moments[f].what != WHAT_LATER:
            g.cost += COST_NOT_FREED
            return
        c = self.ahead.moments[f].cpu & (GUESS_CPUS - 1)
        later = self.ahead.moments[f].later
        if later < g.later[c]:
            g.cost += COST_OUT_OF_ORDER
            return
        g.cost += self._skipped(c, g.later[c], later)
        g.later[c] = later + 1

    def _skipped(self, cpu, first, last):
        """What it costs that RCU frees nodes between two which no guess has seen replaced."""
        cost = 0
        if first < self.ahead.freed[cpu]:
            first = self.ahead.freed[cpu]
        if not self.nr_loose or last - first > SCAN * 4:
            return COST_SKIPPED * (last - first if last - first < 5 else 5)
        f = self.ahead.now
        while f < self.ahead.nr_moments and cost < 5 * COST_SKIPPED:
            if self.ahead.moments[f].what == WHAT_LATER and self.ahead.moments[f].cpu == cpu:
                k = self.ahead.moments[f].later
                if k >= last:
                    break
                node = self._node(self.ahead.moments[f].address)
                if k >= first and (node == NO_NODE or not self.loose[node]):
                    cost += COST_SKIPPED
            f += 1
        return cost

    def _cost_of_use(self, g, node):
        """What it costs that a node was used: none comes back unused while its tree lives."""
        f = self.fate[node]
        if f < 0 or g.open[node // self.shape.objects]:
            return 0
        if self.ahead.moments[f].what == WHAT_SPARE and f < self.exit:
            return COST_SPARE_USED
        return 0

    def _settle(self, i, m, round):
        """mas_destroy(): what is left of a request goes back; how many were used is open."""
        g = guess_at(self.guesses, i)
        n = g.round_slots[round]
        slots = nodes_at(g.slot, round * GUESS_SLOTS)
        k = 0
        while n - 1 - k > 0:
            self.used[k] = slots[n - 1 - k]
            k += 1
        self.used[k] = g.round_first[round]
        if n:
            self.used[k + 1] = slots[0]
        low = 0
        high = n - 1 if n < 6 else 5
        if g.round_fork[round] & 3 == ROUND_ALL_BUT_ONE:
            low = high = n
        if high < low:
            high = low
        t = self._tree_of(g, self.ahead.moments[m].pid)
        cost = 0 if low == high else self._unusual(g, t, round, HABIT_NODE)
        for u in range(1, high + 1):
            cost += self._cost_of_use(g, self.used[u - 1])
            if u >= low:
                self._use(i, m, round, u, 1 if low == high else 0, t, cost)
        if low:
            self.busy[i] = 0
        else:
            if high:
                f = self.fate[self.used[0]]
                g.cost += self._unusual(g, t, round, HABIT_IN_PLACE)
                if f < 0 or self.ahead.moments[f].what != WHAT_SPARE:
                    if g.round_fork[round] >> 2 & 3 == FOR_UNMAP:
                        g.cost += COST_UNUSED
            if g.cost > self.limit:
                self.busy[i] = 0
            else:
                self._finish(i, round, 0, 0)

    def _unusual(self, g, t, round, habit):
        """What it costs to think that a store took a node, or none. One for a new area does; where
        only bounds change, a leaf that is almost full is replaced each time (mas_wr_modify()),
        another one is written in place.
        """
        purpose = g.round_fork[round] >> 2 & 3
        if purpose == FOR_AREA:
            return COST_AREA_UNUSED if habit == HABIT_IN_PLACE else 0
        if purpose != FOR_BOUNDS:
            return 0
        areas = (g.round_fork[round] >> 4) - 1
        usual = HABIT_UNKNOWN
        if t >= 0:
            usual = g.tree_habit[t]
            if usual == HABIT_UNKNOWN and not g.tree_leaves[t] and areas >= 0:
                usual = HABIT_NODE if areas >= FULL_AREAS else HABIT_IN_PLACE
                if areas < GUESS_AREAS and g.habit[areas]:
                    usual = g.habit[areas]
        if usual:
            return 0 if usual == habit else COST_HABIT
        return COST_NODE if habit == HABIT_NODE else 0

    def _learn(self, g, round, u):
        """What a store into a task's tree took, for those to come."""
        t = self._tree_of(g, g.round_pid[round])
        if t < 0:
            return
        g.tree_habit[t] = HABIT_UNKNOWN
        if g.round_fork[round] >> 2 & 3 == FOR_BOUNDS and u < 2:
            g.tree_habit[t] = HABIT_NODE if u else HABIT_IN_PLACE
            areas = (g.round_fork[round] >> 4) - 1
            if not g.tree_leaves[t] and 0 <= areas < GUESS_AREAS:
                g.habit[areas] = g.tree_habit[t]

    def _use(self, i, m, round, u, count, t, cost):
        """The guesses in which a request used `u` nodes, one or more: used[0] and on.

        `count`: that is known; `t`: the task's tree, -1; `cost`: what it costs that just these
        were used.
        """
        if t < 0:
            c = self._branch(i, cost + COST_REBALANCE * (u - 1))
            if c >= 0:
                if u == 1 or u == 3:
                    g = guess_at(self.guesses, c)
                    t = self._new_tree(g, self.ahead.moments[m].pid, self.used[u - 1])
                    for k in range(u - 1):
                        g.leaf[t * GUESS_LEAVES + k] = self.used[k]
                    g.tree_leaves[t] = u - 1
                self._finish(c, round, u, count)
        elif guess_at(self.guesses, i).tree_leaves[t]:
            self._use_in_tree(i, m, round, u, count, t, cost)
        else:
            self._use_in_leaf(i, m, round, u, count, t, cost)
        if round < 0:
            self.busy[i] = 0

    def _use_in_leaf(self, i, m, round, u, count, t, cost):
        """A tree of one leaf: it is replaced, or split."""
        if u != 1 and u != 3 and not count:
            return
        c = self._branch(i, cost)
        if c < 0:
            return
        g = guess_at(self.guesses, c)
        if u == 1:
            self._replace(g, g.tree_root[t], m)
            g.tree_root[t] = self.used[0]
        elif u == 3:
            g.cost += COST_SPLIT
            self._replace(g, g.tree_root[t], m)
            g.tree_root[t] = self.used[2]
            g.leaf[t * GUESS_LEAVES] = self.used[0]
            g.leaf[t * GUESS_LEAVES + 1] = self.used[1]
            g.tree_leaves[t] = 2
        else:
            g.cost += COST_UNLIKELY
        self._finish(c, round, u, count)

    def _use_in_tree(self, i, m, round, u, count, t, cost):
        """A tree of a root and leaves: a leaf is replaced, split, or joined with the next."""
        if u > 3 and not count:
            return
        n = guess_at(self.guesses, i).tree_leaves[t]
        if u == 1 and n == 2:
            c = self._branch(i, cost + COST_SHRINK)
            if c >= 0:
                g = guess_at(self.guesses, c)
                self._replace_all(g, t, 0, 2, m)
                g.tree_root[t] = self.used[0]
                g.tree_leaves[t] = 0
                self._finish(c, round, u, count)
        c = self._branch(i, cost)
        if c < 0:
            return
        g = guess_at(self.guesses, c)
        leaves = nodes_at(g.leaf, t * GUESS_LEAVES)
        q = self._next_leaf(g, t)
        if u == 1:
            self._replace(g, leaves[q], m)
            leaves[q] = self.used[0]
        elif u == 3:
            g.cost += COST_SPLIT
            self._replace_all(g, t, q, 1, m)
            g.tree_root[t] = self.used[2]
            k = n if n < GUESS_LEAVES - 1 else GUESS_LEAVES - 1
            g.tree_leaves[t] = k + 1
            while k > q + 1:
                leaves[k] = leaves[k - 1]
                k -= 1
            leaves[q] = self.used[0]
            if q + 1 < GUESS_LEAVES:
                leaves[q + 1] = self.used[1]
        elif u == 2 and n > 2:
            g.cost += COST_REBALANCE
            if q == n - 1:
                q -= 1
            self._replace_all(g, t, q, 2, m)
            g.tree_root[t] = self.used[1]
            leaves[q] = self.used[0]
            for k in range(q + 1, n - 1):
                leaves[k] = leaves[k + 1]
            g.tree_leaves[t] = n - 1
        else:
            g.cost += COST_UNLIKELY
        self._finish(c, round, u, count)

    def _next_leaf(self, g, t):
        """The leaf that RCU frees first."""
        leaves = nodes_at(g.leaf, t * GUESS_LEAVES)
        q = 0
        n = g.tree_leaves[t]
        for k in range(1, n):
            if self._when(leaves[k]) < self._when(leaves[q]):
                q = k
        return q

    def _replace_all(self, g, t, leaf, leaves, m):
        """Some leaves and the root are replaced, in the order in which RCU frees them."""
        count = leaves + 1
        done = 0
        while count:
            best = -1
            for k in range(leaves + 1):
                if done >> k & 1:
                    continue
                if best < 0 or self._when(self._part(g, t, leaf, k, leaves)) < self._when(
                    self._part(g, t, leaf, best, leaves)
                ):
                    best = k
            done |= 1 << best
            self._replace(g, self._part(g, t, leaf, best, leaves), m)
            count -= 1

    def _part(self, g, t, leaf, k, leaves):
        """One of some leaves, or behind them the root."""
        return g.leaf[t * GUESS_LEAVES + leaf + k] if k < leaves else g.tree_root[t]

    def _finish(self, c, round, u, count):
        """What was not used goes back; the guess goes on."""
        g = guess_at(self.guesses, c)
        if round >= 0:
            n = g.round_slots[round]
            slots = nodes_at(g.slot, round * GUESS_SLOTS)
            self._learn(g, round, u)
            if n - u > 1:
                self._give(g, nodes_at(slots, 1), n - u - 1)
            if not self.ahead_of_spare:
                self._free(g)
            g.round_first[round] = NO_NODE
        self._emit(c)

    def _give(self, g, nodes, count):
        """kmem_cache_free_bulk() of those of the nodes that are in use."""
        for k in range(count):
            if nodes[k] == NO_NODE or g.nr_given >= GUESS_SLOTS:
                continue
            if node_is_free(self.shape, g, nodes[k]):
                continue
            twice = False
            for i in range(g.nr_given):
                if g.given[i] == nodes[k]:
                    twice = True
            if not twice:
                g.given[g.nr_given] = nodes[k]
                self.used_up[g.nr_given] = nodes[k]
                g.nr_given += 1
        put_bulk(self.shape, g, self.cpu, self.used_up, g.nr_given)

    def _settle_fork(self, i, m, round):
        """dup_mmap() used one node for the child's tree, or three or four; a split gives its old
        leaf back.
        """
        g = guess_at(self.guesses, i)
        n = g.round_slots[round]
        for k in range(n):
            self.used[k] = g.slot[round * GUESS_SLOTS + n - 1 - k]
        for way in range(4):
            # nodes popped, whether the first of them went back
            popped = 1 if way == 0 else (4 if way >= 2 else 3)
            skip = 1 if way == 2 else 0
            copies = g.round_fork[round] >> 2
            if popped >= n or (copies > MAPLE_SLOTS if popped == 1 else 2 * copies < MAPLE_SLOTS):
                continue
            cost = 0
            if way == 1:
                cost = COST_SPLIT
            elif way == 2:
                cost = COST_SPLIT // 2
            elif way == 3:
                cost = COST_FORK_REBALANCE
            for k in range(skip, popped):
                f = self.fate[self.used[k]]
                if f >= 0 and self.ahead.moments[f].what == WHAT_SPARE and f < m + SCAN:
                    cost += COST_MISS
            c = self._branch(i, cost)
            if c < 0:
                continue
            g = guess_at(self.guesses, c)
            t = self._new_tree(g, g.round_pid[round], self.used[popped - 1])
            for k in range(skip, popped - 1):
                g.leaf[t * GUESS_LEAVES + k - skip] = self.used[k]
            g.tree_leaves[t] = popped - 1 - skip
            for k in range(1, n - popped):
                self.rest[k - 1] = g.slot[round * GUESS_SLOTS + k]
            k = n - popped - 1
            if skip:
                self.rest[k] = self.used[0]
                k += 1
            self._give(g, self.rest, k)
            self._free(g)
            g.round_first[round] = NO_NODE
            self._emit(c)
        self.busy[i] = 0

    def _free(self, g):
        """The node of an event goes back."""
        if node_is_free(self.shape, g, self.node):
            g.cost += COST_MISS
            g.amended = 1
            take_node(self.shape, g, self.node)
        put_free(self.shape, g, self.cpu, self.node, self.node, 1)

    def _forget(self, g, node):
        """A node is in no tree any more, though no guess saw it replaced."""
        for t in range(g.tree_end):
            if not g.tree_order[t]:
                continue
            if g.tree_root[t] == node:
                g.tree_root[t] = NO_NODE
            for k in range(g.tree_leaves[t]):
                if g.leaf[t * GUESS_LEAVES + k] == node:
                    g.leaf[t * GUESS_LEAVES + k] = NO_NODE

    def _root(self, i, m):
        """__mt_destroy(): the leaves of a tree, then its root."""
        g = guess_at(self.guesses, i)
        if not self.ahead.moments[m].detached:
            found = -1
            for t in range(g.tree_end):
                if g.tree_order[t] and g.tree_root[t] == self.node:
                    found = t
            if found < 0:
                found = self._tree_of(g, self.ahead.moments[m].pid)
                if found >= 0 or not self.loose[self.node]:
                    g.cost += COST_MISS // 2
            elif g.tree_leaves[found]:
                self._give(g, nodes_at(g.leaf, found * GUESS_LEAVES), g.tree_leaves[found])
            if found >= 0:
                g.tree_order[found] = 0
        self._free(g)
        self._emit(i)

    def _spare(self, i, m):
        """mas_destroy()"""
        g = guess_at(self.guesses, i)
        round = self._round_of(g)
        if round < 0:
            self._free(g)
            self._emit(i)
        elif g.round_fork[round] & 3 == ROUND_FORK:
            self._settle_fork(i, m, round)
        else:
            self._settle(i, m, round)

    def _round_of(self, g):
        """The request that ends with the free of this moment's node, -1 for none."""
        for round in range(g.round_end):
            if g.round_first[round] == NO_NODE:
                continue
            if g.round_fork[round] & 3 == ROUND_ALL_BUT_ONE:
                if g.round_slots[round] and g.slot[round * GUESS_SLOTS] == self.node:
                    return round
            elif g.round_first[round] == self.node:
                return round
        return -1
