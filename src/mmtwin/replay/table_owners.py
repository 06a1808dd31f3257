"""Whose page tables are whose, from what forks, execs and exits allocate and free.

Where a table's memory waits for RCU but NR_PAGETABLE is changed at once (arm64 before 6.14:
pgtable_pte_page_dtor() in __pte_free_tlb()), a process that ended has
tables which count no more and which no event has freed yet. So each address space has a list of
its tables. Pids are given one after the other: the child of a fork is known before it runs.
"""

import cython
import numpy as np

if not cython.compiled:
    from importlib.resources import files

    from mmtwin.kernel.casts import as_s64, as_u64
    from mmtwin.kernel.constants import parse_constants

    CONSTANTS = parse_constants(files(__package__).joinpath("table_owners.pxd").read_text())
    globals().update(CONSTANTS)


def mark_counted(table, counted, yes, no):
    """Marks of pages, `yes` where they are `counted` page tables; others that said so get `no`.
    How many say `yes` then.
    """
    count = min(len(counted), len(table))
    table[:count][counted[:count]] = yes
    table[:count][~counted[:count] & (table[:count] == yes)] = no
    return int(np.count_nonzero(table == yes))


class TableOwners:
    """Lists of page tables by address space; `nr_pages`: pfns of the machine."""

    def __init__(self, nr_pages):
        pfns = max(nr_pages, 1)
        arrays = {
            name: np.zeros(count, dtype=np.int64)
            for name, count in (
                ("after", pfns), ("before", pfns), ("head", SPACES), ("users", SPACES),
                ("space", PIDS), ("previous", PIDS), ("building", PIDS), ("forking", PIDS),
                ("shared", PIDS),
            )
        }  # fmt: skip
        objects, owner = np.zeros(PIDS, dtype=np.uint64), np.zeros(SPACES, dtype=np.uint64)
        self._buffers = {**arrays, "object": objects, "mm": owner}
        self.after = as_s64(arrays["after"].ctypes.data, pfns)
        self.before = as_s64(arrays["before"].ctypes.data, pfns)
        self.head = as_s64(arrays["head"].ctypes.data, SPACES)
        self.users = as_s64(arrays["users"].ctypes.data, SPACES)
        self.space = as_s64(arrays["space"].ctypes.data, PIDS)
        self.previous = as_s64(arrays["previous"].ctypes.data, PIDS)
        self.building = as_s64(arrays["building"].ctypes.data, PIDS)
        self.forking = as_s64(arrays["forking"].ctypes.data, PIDS)
        self.shared = as_s64(arrays["shared"].ctypes.data, PIDS)
        self.object = as_u64(objects.ctypes.data, PIDS)
        self.mm = as_u64(owner.ctypes.data, SPACES)
        self.newest = 0
        self.pids = self.first_pid = 0

    def task_made(self, pid):
        """A task_struct: a fork begins, of a thread until handlers of its own are allocated."""
        place = pid & (PIDS - 1)
        self.forking[place] = FORK_THREAD
        self.building[place] = 0

    def own_handlers(self, pid):
        """A sighand_struct: the fork is one of a process."""
        if self.forking[pid & (PIDS - 1)] == FORK_THREAD:
            self.forking[pid & (PIDS - 1)] = FORK_PROCESS

    def mm_made(self, pid, object):
        """An mm_struct: dup_mm() of a fork, or mm_alloc() of an execve()."""
        place = pid & (PIDS - 1)
        if self.forking[place]:
            self.building[place] = self._new_space()
            self.mm[self.building[place]] = object
            return
        self.object[place] = object
        self.previous[place] = self.space[place]
        self.shared[place] = self.users[self.space[place]] > 0
        if self.shared[place]:
            self.users[self.space[place]] -= 1
        self.space[place] = self._new_space()
        self.mm[self.space[place]] = object

    def mm_freed(self, pid, object):
        """An mm_struct is gone: of an execve() that failed, if it is the task's newest; of one
        that succeeded, if it is the task's one before (exec_mmap()): the first of the tables that
        went with it, 0 for none.
        """
        place = pid & (PIDS - 1)
        space = self.previous[place]
        if object != 0 and space and self.mm[space] == object:
            self.previous[place] = 0
            return self.head[space]
        if object != 0 and self.object[place] == object and self.previous[place]:
            self.space[place] = self.previous[place]
            self.users[self.space[place]] += self.shared[place]
            self.previous[place] = 0
        return 0

    def pid_made(self, pid):
        """alloc_pid(): the child's number is the next one, and its address space is known."""
        place = pid & (PIDS - 1)
        self.pids += 1
        self._learn(pid)
        child = self.pids + self.first_pid & (PIDS - 1)
        if self.building[place]:
            self.space[child] = self.building[place]
        else:
            self.space[child] = self.space[place]
            if self.forking[place] == FORK_PROCESS:  # vfork(): until its execve()
                self.users[self.space[place]] += 1
        self.previous[child] = self.object[child] = self.forking[child] = 0
        self.forking[place] = self.building[place] = 0

    def table_made(self, pid, pfn):
        """A page became a page table of the task's address space, or of its child's."""
        place = pid & (PIDS - 1)
        self._learn(pid)
        self.table_gone(pfn)
        space = self.space[place]
        if self.forking[place]:
            space = self.building[place]
        if space == 0:
            return
        self.after[pfn] = self.head[space]
        self.before[pfn] = -space
        if self.head[space]:
            self.before[self.head[space]] = pfn
        self.head[space] = pfn

    def table_gone(self, pfn):
        """A page is no table any more."""
        if self.before[pfn] == 0:
            return
        if self.before[pfn] < 0:
            self.head[-self.before[pfn]] = self.after[pfn]
        else:
            self.after[self.before[pfn]] = self.after[pfn]
        if self.after[pfn]:
            self.before[self.after[pfn]] = self.before[pfn]
        self.after[pfn] = self.before[pfn] = 0

    def exited(self, pid):
        """A task gave its files back: exit_mm() came before. The first of the tables that died
        with it, 0 for none.
        """
        place = pid & (PIDS - 1)
        space = self.space[place]
        self.space[place] = 0
        if space == 0:
            return 0
        if self.users[space] > 0:
            self.users[space] -= 1
            return 0
        return self.head[space]

    def next_table(self, pfn):
        """The table behind another one in its list, 0 for none."""
        return self.after[pfn]

    def _learn(self, pid):
        if pid > self.pids + self.first_pid:
            self.first_pid = pid - self.pids

    def _new_space(self):
        self.newest += 1
        if self.newest & (SPACES - 1) == 0:
            self.newest += 1
        place = self.newest & (SPACES - 1)
        while self.head[place]:  # of an address space long ago
            self.table_gone(self.head[place])
        self.users[place] = 0
        return place
