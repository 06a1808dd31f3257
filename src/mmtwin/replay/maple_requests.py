"""Requests for maple nodes (mas_alloc_nodes()): what each takes beside the one that its event
names (see maple.py).
"""

import cython

from mmtwin.replay.maple_ahead import CONSTANTS as AHEAD_CONSTANTS
from mmtwin.replay.maple_guess import CONSTANTS as GUESS_CONSTANTS
from mmtwin.replay.maple_nodes import CONSTANTS as NODES_CONSTANTS
from mmtwin.replay.maple_trees import Trees

if not cython.compiled:
    from mmtwin.replay.maple_ahead import moment_at
    from mmtwin.replay.maple_drop import drop_lists
    from mmtwin.replay.maple_guess import (
        empty_node,
        first_free,
        give_cpu_slab,
        guess_at,
        pop_free,
        put_free,
        raise_node,
        runs_out,
        start_slab,
        take_node,
        turn_slab,
    )
    from mmtwin.replay.maple_nodes import nodes_at

    globals().update(GUESS_CONSTANTS)
    globals().update(AHEAD_CONSTANTS)
    globals().update(NODES_CONSTANTS)


class Requests(Trees):
    """What requests take, in each guess."""

    def _look_at_request(self, m):
        """What later frees tell of a request: if all its nodes were used; its first silent one."""
        moment = moment_at(self.ahead.moments, m)
        self.kind = ROUND_PLAIN
        self.bottom = NO_NODE
        self.settled = False
        if moment.detached:
            return
        spare = moment.next - 1
        if spare >= 0 and self.ahead.moments[spare].what == WHAT_SPARE:
            self.settled = True
            later = self.ahead.moments[spare].follows - 1
            if later >= 0 and self.ahead.moments[later].what == WHAT_SPARE:
                self.bottom = self._node(self.ahead.moments[later].address)
            return
        # Its own node was used: then the first silent one comes back alone, or none does.
        later = moment.follows - 1
        for k in range(SCAN):
            if later < 0 or self.ahead.moments[later].what == WHAT_ROOT:
                return
            if self.ahead.moments[later].what == WHAT_SPARE:
                self.settled = True
                self.kind = ROUND_ALL_BUT_ONE
                self.bottom = self._node(self.ahead.moments[later].address)
                return
            what = self.ahead.moments[later].what
            if what != WHAT_COPY and what != WHAT_AREA_FREE:
                return
            later = self.ahead.moments[later].follows - 1

    def _take_first(self, g):
        """The node that the event names is taken, whatever the guess expected."""
        slab = self.node // self.shape.objects
        first = first_free(self.shape, g, self.cpu)
        if first != self.node and first != NO_NODE and turn_slab(self.shape, g, first, self.node):
            g.amended = 1
            first = self.node
        if first == self.node:
            g.open[slab] = 0
            pop_free(self.shape, g, self.cpu)
            return
        if g.place[slab] == SLAB_ABSENT:
            rank = self.shape.rank[self.node - slab * self.shape.objects]
            if first != NO_NODE:
                drop_lists(self.shape, g, self.cpu, self.nr_cpus > 1)
                g.cost += COST_MISS
                g.amended = 1
            start_slab(self.shape, g, self.cpu, slab, rank)
            g.open[slab] = 0
            take_node(self.shape, g, self.node)
            return
        g.cost += COST_MISS
        g.amended = 1
        give_cpu_slab(self.shape, g, self.cpu, slab)
        if not take_node(self.shape, g, self.node):
            g.cost += COST_MISS

    def _in_a_tree(self, i, m):
        """Takes the first node of a request; whether it is for a task's tree, else all is done."""
        self._take_first(guess_at(self.guesses, i))
        if not moment_at(self.ahead.moments, m).detached:
            return True
        self._emit(i)
        return False

    def _request(self, i, m):
        """mas_preallocate() or mas_expected_entries(): a request that may sleep."""
        g = guess_at(self.guesses, i)
        moment = moment_at(self.ahead.moments, m)
        if not self._in_a_tree(i, m):
            return
        if moment.child >= 0:
            self._take_others(i, m, self._nodes_of_fork(m) - 1)
            return
        if not self.settled:
            self._new_tree(g, moment.pid, self.node)  # the first node of an empty tree
            self._emit(i)
            return
        t = self._tree_of(g, moment.pid)
        if self.kind == ROUND_ALL_BUT_ONE:
            self._has_one_leaf(g, t)
        height = 2 if t >= 0 and g.tree_leaves[t] else 1
        other = -1
        if t < 0 and self.kind == ROUND_PLAIN:
            other = self._branch(i, COST_SPLIT // 2)
        self._take_others(i, m, 3 * height)
        if other >= 0:
            self._take_others(other, m, 6)

    def _take_others(self, i, m, count):
        """The silent nodes of a request, and the guess goes on. Where an interrupt frees nodes
        right behind the event of the first, they may be taken behind it, or when the CPU's list
        had run out: __kmem_cache_alloc_bulk() lets interrupts in only there. Where another task
        runs then, or the interrupt came before that event, they are.
        """
        g = guess_at(self.guesses, i)
        moment = moment_at(self.ahead.moments, m)
        if not g.late_request and (self.early or moment.yields == YIELDS):
            self._take_later(g, m, count)
            self._emit(i)
            return
        other = -1
        within = -1
        if (moment.cut or moment.yields) and not g.late_request:
            other = self._branch(i, COST_LATE)
            if moment.cut and self.shape.single:
                self._take_in_parts(i, m, count)
            elif moment.cut and runs_out(g, self.cpu, count):
                within = self._branch(i, COST_LATE)
        self._take_round(i, m, count)
        self._emit(i)
        if other >= 0:
            self._take_later(guess_at(self.guesses, other), m, count)
            self._emit(other)
        if within >= 0:
            g = guess_at(self.guesses, within)
            self._take_later(g, m, count)
            g.late_under = g.cpu_free[self.cpu]
            g.late_from = 0
            self._emit(within)

    def _take_in_parts(self, i, m, count):
        """An interrupt comes within a request's silent nodes, behind any of them: each is a way of
        its own through ___slab_alloc() where the CPU has no list (debug caches).
        """
        for first in range(1, count):
            other = self._branch(i, COST_LATE)
            if other < 0:
                return
            self._take_round(other, m, first)
            g = guess_at(self.guesses, other)
            self._take_later(g, m, count - first)
            g.late_from = 0
            g.late_parts = 1
            self._emit(other)

    def _take_later(self, g, m, count):
        """Notes that a request's silent nodes are taken when its task goes on, or where the frees
        of the interrupt end that comes right behind its event.
        """
        moment = moment_at(self.ahead.moments, m)
        g.late_request = m + 1
        g.late_count = count
        g.late_from = 0
        if moment.yields and moment.follows:
            g.late_from = self.ahead.moments[moment.follows - 1].number
        elif self.early or moment.yields:
            g.late_from = moment.number + 1

    def _take_round(self, i, m, count):
        t = self._take_silently(i, m, count)
        moment = moment_at(self.ahead.moments, m)
        if moment.child >= 0:
            g = guess_at(self.guesses, i)
            g.round_fork[t] = ROUND_FORK + 4 * self.ahead.copies(m)
            g.round_pid[t] = moment.child  # the tree is the child's

    def _take_late(self, i):
        """The silent nodes of a request that an interrupt or another task came into."""
        g = guess_at(self.guesses, i)
        m = g.late_request - 1
        node = self.node
        self.node = self._node(self.ahead.moments[m].address)
        self._look_at_request(m)
        if g.late_under != NO_NODE:
            raise_node(g, self.cpu, g.late_under)
            g.late_under = NO_NODE
        if g.late_parts:
            self._take_rest(g)
        else:
            self._take_round(i, m, g.late_count)
        self.node = node
        g.late_request = 0
        g.late_from = 0
        g.nr_taken = 0
        g.amended = 1

    def _take_rest(self, g):
        """The rest of a request that an interrupt came into."""
        g.late_parts = 0
        for k in range(g.round_end):
            if g.round_first[k] == self.node:
                self._fill_round(g, k, g.round_slots[k] + g.late_count)
                return

    def _request_nowait(self, i, m):
        """mas_node_count() in the midst of a store: one node, or what a split needs."""
        g = guess_at(self.guesses, i)
        moment = moment_at(self.ahead.moments, m)
        if not self._in_a_tree(i, m):
            return
        t = self._tree_of(g, moment.pid)
        if self.settled and self.kind == ROUND_PLAIN:
            self._take_others(i, m, 4 if t >= 0 and g.tree_leaves[t] else 2)
            return
        other = -1
        if t >= 0 and not g.tree_leaves[t]:
            other = self._branch(i, COST_SHRINK)
        self.used[0] = self.node
        self._use(i, m, -1, 1, 1, t, self._cost_of_use(g, self.node))
        if other >= 0:
            round = self._take_silently(other, m, 2)
            g = guess_at(self.guesses, other)
            if round < 0 or g.round_slots[round] < 2:
                self.busy[other] = 0
                return
            self.used[0] = g.slot[round * GUESS_SLOTS + 1]
            self.used[1] = self.node
            self.used[2] = g.slot[round * GUESS_SLOTS]
            g.round_first[round] = NO_NODE
            cost = 0
            for k in range(3):
                cost += self._cost_of_use(g, self.used[k])
            self._use(other, m, -1, 3, 3, t, cost)

    def _take_silently(self, i, m, count):
        """kmem_cache_alloc_bulk(): the nodes behind a request's first. Returns its record."""
        g = guess_at(self.guesses, i)
        round = -1
        for k in range(GUESS_ROUNDS):
            if g.round_first[k] == NO_NODE:
                round = k
                break
        if round < 0:
            round = 0  # the rest of the oldest is lost
        if round >= g.round_end:
            g.round_end = round + 1
        g.round_first[round] = self.node
        g.round_pid[round] = self.ahead.moments[m].pid
        moment = moment_at(self.ahead.moments, m)
        g.round_fork[round] = self.kind + 4 * moment.purpose + 16 * (moment.areas + 1)
        g.round_slots[round] = 0
        if self.nr_cpus > 1 and g.node_first != NO_NODE and self._makes_slab(m):
            empty_node(g, 0 if self.cpu else 1)  # any other CPU: which one is not known
            g.amended = 1
        self._fill_round(g, round, count)
        n = g.round_slots[round]
        if self.bottom != NO_NODE and n:
            self._expect_bottom(g, round)
        for k in range(n):
            g.taken[k] = g.slot[round * GUESS_SLOTS + k]
        g.nr_taken = n
        return round

    def _fill_round(self, g, round, count):
        """Takes nodes until a request has so many silent ones, or there are no more."""
        n = g.round_slots[round]
        while n < count and n < GUESS_SLOTS:
            node = pop_free(self.shape, g, self.cpu)
            if node == NO_NODE:
                if not self._new_slab(g, n == 0):
                    break
                continue
            g.slot[round * GUESS_SLOTS + n] = node
            n += 1
        g.round_slots[round] = n

    def _makes_slab(self, m):
        """Whether the kernel makes a slab within a request: then get_partial() found none on the
        node.
        """
        number = self.ahead.moments[m].number
        pid = self.ahead.moments[m].pid
        for k in range(m + 1, self.ahead.nr_moments):
            after = moment_at(self.ahead.moments, k)
            if after.pid == pid or after.number > number + NEAR:
                return after.pid == pid and after.what == WHAT_PAGE
        return False

    def _new_slab(self, g, first):
        """A slab for silent nodes, at the page that was taken about now; whether there is one."""
        number = self.ahead.moments[self.ahead.now].number
        m = self.near
        while m < self.ahead.nr_moments:
            if self.ahead.moments[m].number > number + NEAR:
                return False
            if self.ahead.moments[m].number < number - NEAR:
                self.near = m
            elif self.ahead.moments[m].what == WHAT_PAGE and self.ahead.moments[m].number > number:
                slab = self._slab_number(self.ahead.moments[m].address)
                if slab < 0:
                    return False
                if g.place[slab] == SLAB_ABSENT:
                    start = 0
                    base = slab * self.shape.objects
                    if first and base <= self.bottom < base + self.shape.objects:
                        start = self.shape.rank[self.bottom - base]
                    start_slab(self.shape, g, self.cpu, slab, start)
                    g.fresh = start
                    return True
            m += 1
        return False

    def _expect_bottom(self, g, round):
        """The first silent node is the one that a free names."""
        n = g.round_slots[round]
        slots = nodes_at(g.slot, round * GUESS_SLOTS)
        mine = slots[0]
        if mine == self.bottom:
            g.open[mine // self.shape.objects] = 0
            return
        g.amended = 1
        if turn_slab(self.shape, g, mine, self.bottom):
            return
        g.cost += COST_MISS
        if take_node(self.shape, g, self.bottom):
            put_free(self.shape, g, self.cpu, mine, mine, 1)
            slots[0] = self.bottom
            return
        for k in range(n):
            if slots[k] == self.bottom:
                slots[0] = self.bottom
                slots[k] = mine
                return

    def _nodes_of_fork(self, m):
        """mas_expected_entries(): leaves, nodes above them, and three to work with."""
        copies = self.ahead.copies(m)
        count = (2 * copies + MAPLE_CAPACITY) // MAPLE_CAPACITY
        return count + (count + MAPLE_FANOUT - 1) // MAPLE_FANOUT + 3
