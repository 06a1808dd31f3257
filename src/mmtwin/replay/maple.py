"""Nodes of maple trees that no event names, inferred from those that some name.

A request for several nodes (mas_alloc_nodes(), lib/maple_tree.c) takes the first with
kmem_cache_alloc(), which an event tells, and the rest with kmem_cache_alloc_bulk(), which none
does; what is not used goes back in mas_destroy(): all but two of it with kmem_cache_free_bulk().
The leaves of a tree that ends go so too, before its root. How many nodes a request is for follows
from the height of the task's tree, how many were used is open. So a few guesses are carried along,
each with the free lists and trees that follow from it (maple_guess.py), and what the events tell
counts for or against them: RCU frees replaced nodes in the order in which they were replaced,
mas_destroy() and __mt_destroy() name nodes. Frees may lie ahead (maple_ahead.py); which object a
request returned counts only after it was predicted. The twin follows the best guess, through
SLUB's own bulk functions; where another becomes the best one, its free lists are written into the
twin.
"""

import cython

from mmtwin.replay.maple_ahead import CONSTANTS as AHEAD_CONSTANTS
from mmtwin.replay.maple_guess import CONSTANTS as GUESS_CONSTANTS
from mmtwin.replay.maple_nodes import CONSTANTS as NODES_CONSTANTS
from mmtwin.replay.maple_requests import Requests

if not cython.compiled:
    from mmtwin.kernel.ram import cache_cpu_of, cache_node_of, pfn_to_page
    from mmtwin.kernel.slub import __kmem_cache_alloc_bulk as alloc_bulk
    from mmtwin.kernel.slub import __kmem_cache_free_bulk as free_bulk
    from mmtwin.kernel.slub_resync import object_state
    from mmtwin.replay.maple_ahead import moment_at
    from mmtwin.replay.maple_drop import drop_before, drop_lists
    from mmtwin.replay.maple_guess import (
        bring_first,
        first_free,
        guess_at,
        leave_list,
        node_is_free,
        put_free,
        start_slab,
        take_node,
    )

    globals().update(GUESS_CONSTANTS)
    globals().update(AHEAD_CONSTANTS)
    globals().update(NODES_CONSTANTS)


class Maple(Requests):
    """The silent nodes of one replay; the arguments are those of Nodes."""

    def _guessed(self, number):
        """Goes to a request's moment; whether the best guess there goes on from what the twin has.
        """
        m = self.ahead.moment_of(number)
        if m < 0 or self.cache < 0:
            return False
        self._moment(m)
        g = guess_at(self.guesses, self.current[0])
        if not g.was_best or g.amended:
            self.stale = True
        return not self.stale and self.cache >= 0

    def allocated(self, number, gfp):
        """A node was given out: takes those that went with it."""
        if not self._guessed(number):
            return
        g = guess_at(self.guesses, self.current[0])
        count = g.nr_taken
        if count:
            self.mm.next_freelist_start = g.fresh
            if alloc_bulk(self.mm, self.cache, gfp, self.items, count) != count:
                self.stale = True
            self.mm.next_freelist_start = -1
            self.taken += count
        self.compare()

    def freeing(self, number):
        """A node is about to be freed: gives back those that go before it."""
        if not self._guessed(number):
            return
        g = guess_at(self.guesses, self.current[0])
        if not g.nr_given:
            return
        for i in range(g.nr_given):
            self.items[i] = self._address(g.given[i])
            if object_state(self.mm, self.cache, self.items[i]) != 1:
                self.stale = True
                return
        self.given += g.nr_given
        free_bulk(self.mm, self.cache, self.items, g.nr_given)

    def has_slab(self, pfn):
        """Whether the best guess has made a slab of this page."""
        if not self.slab_at[pfn]:
            return False
        return guess_at(self.guesses, self.current[0]).place[self.slab_at[pfn] - 1] != SLAB_ABSENT

    def page(self, number):
        """A page was taken for a slab, or a slab given back."""
        m = self.ahead.moment_of(number)
        if m < 0 or self.cache < 0:
            return
        self._moment(m)
        m = self._slab_number(self.ahead.moments[m].address)
        if m >= 0:
            self.made[m] = self._is_there(m)
        if guess_at(self.guesses, self.current[0]).amended:
            self.stale = True

    def compare(self):
        """Whether the twin is where the best guess says."""
        if self.cache < 0 or self.stale:
            return
        g = guess_at(self.guesses, self.current[0])
        c = cache_cpu_of(self.mm, self.cache, self.mm.cpu)
        n = cache_node_of(self.mm, self.cache, 0)
        if n.nr_partial != g.nr_node:
            self.stale = True
        elif self.shape.single:
            first = pfn_to_page(self.mm, n.partial).next
            if g.node_first != NO_NODE:
                head = self._address(g.head[g.node_first])
                self.stale = first != self.pages[g.node_first]
                self.stale |= pfn_to_page(self.mm, self.pages[g.node_first]).freelist != head
        elif g.cpu_free[self.mm.cpu] == NO_NODE:
            self.stale = c.freelist != 0
        elif c.freelist != self._address(g.cpu_free[self.mm.cpu]):
            self.stale = True
        elif g.cpu_partial[self.mm.cpu] == NO_NODE:
            self.stale = c.partial >= 0
        else:
            self.stale = c.partial != self.pages[g.cpu_partial[self.mm.cpu]]

    def _moment(self, m):
        """Carries every guess over one moment."""
        moment = moment_at(self.ahead.moments, m)
        self.cpu = moment.cpu if moment.cpu < self.nr_cpus else 0
        self._begin_moment()
        self.node = NO_NODE
        self.early = self.ahead.is_early(m)
        self.ahead.passed(m)
        parted = moment.what == WHAT_LATER and self._settle_before(m)
        if moment.what <= WHAT_ROOT:
            self.node = self._node(moment.address)
            if self.node == NO_NODE or self.cache < 0:
                return
            self.fate[self.node] = moment.next - 1
            self.exit = self.ahead.exit_after(m)
            if moment.what <= WHAT_NOWAIT:
                self._look_at_request(m)
        for i in range(self.nr_current):
            g = guess_at(self.guesses, self.current[i])
            if not parted:
                g.was_best = i == 0
                g.amended = 0
            g.nr_taken = 0
            g.nr_given = 0
            g.fresh = -1
            self._advance(self.current[i], m)
        if self.node != NO_NODE and self.loose[self.node]:
            self.loose[self.node] = 0
            if moment.what == WHAT_LATER:
                self.nr_loose -= 1
        self._select()

    def _begin_moment(self):
        """Nothing has come of the guesses yet."""
        self.branched = 0
        self.nr_coming = 0
        self.limit = MARGIN * MARGIN
        self.nr_costs = 0

    def _settle_before(self, m):
        """An interrupt that frees nodes may come within mas_destroy(), between its silent frees
        (mt_free_bulk()) and the one that an event names. Whether it may at this moment.
        """
        moment = moment_at(self.ahead.moments, m)
        before = moment_at(self.ahead.moments, m - 1 if m else 0)
        if moment.since < 0 or before.since == moment.since:
            return False
        m = self.ahead.after_interrupt(m)
        if m < 0 or self.ahead.moments[m].what != WHAT_SPARE:
            return False
        self.node = self._node(self.ahead.moments[m].address)
        if self.node == NO_NODE or self.cache < 0:
            return False
        self.exit = self.ahead.exit_after(m)
        self.ahead_of_spare = True
        for i in range(self.nr_current):
            g = guess_at(self.guesses, self.current[i])
            g.was_best = i == 0
            g.amended = 0
            self._emit(self.current[i])
            round = self._round_of(g)
            if round >= 0 and g.round_slots[round] > 2:
                other = self._branch(self.current[i], COST_LATE)
                if other >= 0:
                    g = guess_at(self.guesses, other)
                    g.amended = 1
                    g.nr_given = 0
                    self._settle(other, m, round)
        self.ahead_of_spare = False
        self._select()
        self._begin_moment()
        return True

    def _advance(self, i, m):
        what = self.ahead.moments[m].what
        g = guess_at(self.guesses, i)
        if g.late_request and g.late_from and self.ahead.moments[m].number >= g.late_from:
            self._take_late(i)
            if what <= WHAT_NOWAIT:
                self._look_at_request(m)
        if what <= WHAT_NOWAIT:
            if self.shape.single:
                self._other_slab(i, m)
            elif self.nr_cpus > 1:
                self._other_list(i, m)
            self._ask(i, m)
        elif what == WHAT_SPARE:
            self._spare(i, m)
        elif what == WHAT_LATER:
            self._later(i, m)
        elif what == WHAT_ROOT:
            self._root(i, m)
        else:
            if what >= WHAT_PAGE:
                self._page(i, m)
            self._emit(i)

    def _ask(self, i, m):
        """A request, in one guess."""
        if self.ahead.moments[m].what == WHAT_ALLOC:
            self._request(i, m)
        else:
            self._request_nowait(i, m)

    def _other_slab(self, i, m):
        """A request takes from another of the node's slabs than the guess has first: that one came
        before it, or those before it had become full. Nothing tells which.
        """
        g = guess_at(self.guesses, i)
        slab = self.node // self.shape.objects
        if g.place[slab] != SLAB_ON_NODE or g.node_first == slab:
            return
        g.cost += COST_MISS
        g.amended = 1
        other = self._branch(i, 0)
        bring_first(g, slab, False)
        if other >= 0:
            bring_first(guess_at(self.guesses, other), slab, True)
            self._ask(other, m)

    def _other_list(self, i, m):
        """A request takes a node that is free but not the first: where there are other CPUs those
        before it may have been taken unseen. On one CPU to think so was no help on recordings.
        """
        g = guess_at(self.guesses, i)
        if first_free(self.shape, g, self.cpu) == self.node:
            return
        if g.open[self.node // self.shape.objects] or not node_is_free(self.shape, g, self.node):
            return
        other = self._branch(i, COST_DROP)
        if other >= 0:
            drop_before(self.shape, guess_at(self.guesses, other), self.cpu, self.node)
            self._ask(other, m)

    def _later(self, i, m):
        """RCU frees a node that was replaced. Where an interrupt does so, the free whose event
        came right before may come behind it: kmem_cache_free() writes its event first.
        """
        before = moment_at(self.ahead.moments, m - 1 if m else 0)
        if before.cut and (before.what == WHAT_SPARE or before.what == WHAT_ROOT):
            node = self._node(before.address)
            other = self._branch(i, COST_LATE) if node != NO_NODE else -1
            if other >= 0:
                g = guess_at(self.guesses, other)
                if take_node(self.shape, g, node):
                    g.late = node
                    g.amended = 1
                    self._later_free(other, m)
                else:
                    self.busy[other] = 0
        self._later_free(i, m)

    def _later_free(self, i, m):
        g = guess_at(self.guesses, i)
        moment = moment_at(self.ahead.moments, m)
        c = moment.cpu & (GUESS_CPUS - 1)
        if g.later[c] <= moment.later:
            if not self.loose[self.node]:
                g.cost += COST_MISS
            self._forget(g, self.node)
            g.later[c] = moment.later + 1
        self._free(g)
        if moment.ends:
            if g.late != NO_NODE:
                put_free(self.shape, g, self.cpu, g.late, g.late, 1)
                g.late = NO_NODE
                g.amended = 1
            if g.late_request and not g.late_from:
                self._take_late(i)
        self._emit(i)

    def _page(self, i, m):
        """A page was taken for silent nodes, or a slab went."""
        g = guess_at(self.guesses, i)
        slab = self._slab_number(self.ahead.moments[m].address)
        if slab < 0:
            return
        if self.ahead.moments[m].what == WHAT_PAGE:
            if g.place[slab] == SLAB_ABSENT:
                g.cost += COST_MISS
                g.amended = 1
                drop_lists(self.shape, g, self.cpu, self.nr_cpus > 1)
                start_slab(self.shape, g, self.cpu, slab, 0)
        elif g.place[slab] != SLAB_ABSENT:
            g.cost += COST_MISS
            g.amended = 1
            if g.place[slab] >= CPU_SLAB:
                g.cpu_free[g.place[slab] - CPU_SLAB] = NO_NODE
                g.cpu_slab[g.place[slab] - CPU_SLAB] = NO_NODE
            else:
                leave_list(g, slab)
            g.place[slab] = SLAB_ABSENT
            g.head[slab] = NO_NODE
            g.free[slab] = 0
            g.bits[slab] = 0
