"""Kernel stacks, page tables and vmalloc's pages by their cause: KernelStack, PageTables and
VmallocUsed of /proc/meminfo, followed through the events.

A task_struct allocated is a fork: its stack comes from the two that its CPU keeps, or from
vmalloc. sched_process_exit, or without it the release of the signal handlers, ends it. The array
of a vmalloc's pages says how many they are, its free that they went. A page of GFP_PGTABLE_USER is
a page table: of those that one fault or one area takes the last is the lowest level. Where the
clock tells virtual time, a pause between two tables tells that another fault took the second one.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.kernel.structs import parse_structs
from mmtwin.replay.table_owners import mark_counted

TEXT = files(__package__).joinpath("kernel_memory.pxd").read_text()
RUN = parse_structs(TEXT)["run_t"]
CONSTANTS = parse_constants(TEXT)

if not cython.compiled:
    from mmtwin.kernel.casts import as_s64, as_u8, as_u64
    from mmtwin.recordings.event import (
        KIND_KFREE,
        KIND_KMALLOC,
        KIND_KMEM_CACHE_ALLOC,
        KIND_KMEM_CACHE_FREE,
        KIND_MM_PAGE_ALLOC,
        KIND_MM_PAGE_ALLOC_ZONE_LOCKED,
        KIND_MM_PAGE_FREE,
        KIND_OTHER,
        as_events,
        block_is_within,
        event_at,
    )
    from mmtwin.replay.late_counters import LateCounters, undisturbed
    from mmtwin.replay.table_owners import TableOwners

    globals().update(CONSTANTS)

    def as_runs(address, count):
        """The records at an address."""
        return (RUN * count).from_address(address)

    def says_nothing(memory, event):
        """Whether an event is what most are: on the only CPU an object or page that tells nothing
        comes or goes, in the midst of nothing. Then its time is noted."""
        if not memory.plain or event.pid == 0 or event.cpu or tells(memory, event):
            return False
        if event.kind == KIND_MM_PAGE_FREE:
            return undisturbed(memory.late, 0, event.time)
        run = run_at(memory.runs, event.pid & (RUNS - 1))
        task = not event.flags & INTERRUPT
        if task and (run.pid != event.pid or run.tables or run.new_mm):
            return False
        if not undisturbed(memory.late, 0, event.time):
            return False
        memory._passed(event) if task else memory._interlude(event)
        return True

    def tells(memory, event):
        """Whether an event tells anything by itself, whoever it is of."""
        if event.kind == KIND_KMEM_CACHE_ALLOC or event.kind == KIND_KMEM_CACHE_FREE:
            return memory._what(event) not in (0, WHAT_FAULT)
        if event.kind == KIND_MM_PAGE_FREE:
            return event.address < memory.nr_pages and memory.table[event.address] != 0
        if event.kind == KIND_MM_PAGE_ALLOC:
            return event.gfp & ~memory.comp_gfp == memory.pgtable_gfp
        if event.kind == KIND_KFREE:
            return memory.mark[mark_place(event.address)] != 0
        if event.kind == KIND_KMALLOC:
            return memory.site_mark[event.call_site & (SITE_MARKS - 1)] != 0
        return True

    def mark_place(address):
        """A place in a small table: unmarked, no array has had an address like this."""
        return (address >> 3 ^ address >> 15) & (MARKS - 1)

    def run_at(runs, place):
        """One record of an array."""
        return runs[place]


class KernelMemory:
    """What the kernel keeps for itself, counted from the first event on; a base may be set later.

    `what`: {number in the recording's names: WHAT_*}; `nr_names`: how many; `sites`: call sites
    of the arrays of vmalloc's pages; `tables`: `gfp`, GFP_PGTABLE_USER as recorded, `comp`,
    __GFP_COMP, which later kernels add to it (pagetable_alloc()), `zero`, __GFP_ZERO, `levels`,
    how many levels of page tables NR_PAGETABLE counts, from the lowest, `top`, whether it counts
    pgds too, `owned`, whether they stop counting when their process ends, `pid_sites` and
    `exit_sites`, address ranges of functions (first, behind the last, ...); `has`: features of
    the recorded kernel by name; `exits`: whether sched_process_exit was recorded; `lag`: how CPUs
    add up late: threshold, tick, overstep, stack_parts, `vmalloc`: whether its pages too.
    """

    def __init__(
        self, what, nr_names, sites, nr_pages, nr_cpus, tables, has, exits, lag,
    ):  # fmt: skip
        names = np.zeros(max(nr_names, 1), dtype=np.uint8)
        for number, meaning in what.items():
            names[number] = meaning
        site = np.array(sorted(sites) or [0], dtype=np.uint64)
        table = np.zeros(max(nr_pages, 1), dtype=np.uint8)
        area, area_pages = np.zeros(AREAS, dtype=np.uint64), np.zeros(AREAS, dtype=np.int64)
        mark, site_mark = np.zeros(MARKS, dtype=np.uint8), np.zeros(SITE_MARKS, dtype=np.uint8)
        site_mark[site & np.uint64(SITE_MARKS - 1)] = len(sites) > 0
        runs = np.zeros(RUNS, dtype=np.dtype(RUN))
        cached, died = np.zeros(max(nr_cpus, 1), np.int64), np.zeros(DEATHS, np.int64)
        self._buffers = {
            "what": names, "site": site, "table": table, "area": area, "area_pages": area_pages,
            "runs": runs, "cached": cached, "died": died, "mark": mark,
            "site_mark": site_mark,
        }  # fmt: skip
        self.what = as_u8(names.ctypes.data, len(names))
        self.site = as_u64(site.ctypes.data, len(site))
        self.table = as_u8(table.ctypes.data, len(table))
        self.area = as_u64(area.ctypes.data, AREAS)
        self.mark = as_u8(mark.ctypes.data, MARKS)
        self.site_mark = as_u8(site_mark.ctypes.data, SITE_MARKS)
        self.area_pages = as_s64(area_pages.ctypes.data, AREAS)
        self.runs = as_runs(runs.ctypes.data, RUNS)
        self.cached = as_s64(cached.ctypes.data, len(cached))
        self.died = as_s64(died.ctypes.data, DEATHS)
        self.nr_names, self.nr_sites = nr_names, len(sites)
        self.nr_pages, self.nr_cpus = nr_pages, nr_cpus
        self.pgtable_gfp, self.owned = tables["gfp"], tables["owned"]
        self.comp_gfp, self.zero_gfp = tables["comp"], tables["zero"]
        # Where a spinlock is larger than a word (ALLOC_SPLIT_PTLOCKS), the constructors of the
        # tables that count, and no others, allocate one: ptlock_alloc().
        self.locks = WHAT_LOCK in what.values()
        self.counted_levels = 0 if self.locks else tables["levels"]
        self.counts_top = tables["top"]
        self.owners = TableOwners(nr_pages)
        ranges = np.array(tables["pid_sites"] + tables["exit_sites"] or [0], dtype=np.uint64)
        self._buffers["ranges"] = ranges
        self.ranges = as_u64(ranges.ctypes.data, len(ranges))
        self.nr_pid_ranges = len(tables["pid_sites"]) // 2
        self.nr_ranges = self.nr_pid_ranges + len(tables["exit_sites"]) // 2
        self.plain = nr_cpus == 1 and not self.owned
        self.nr_areas = self.left = self.last = self.gap = self.chains = self.chain_time = 0
        self.interrupted = False
        self.late = LateCounters(nr_cpus, lag["threshold"], lag["tick"], lag.get("lists"))
        self.tick, self.overstep = lag["tick"], lag["overstep"]
        self.stack_parts, self.vmalloc_late = lag["stack_parts"], lag["vmalloc"]
        self.put_late, self.stack_kb = has["stack_put_with_task"], has["thread_size"] >> 10
        self.exits = exits or self.put_late
        names[names == WHAT_EXIT] *= not self.put_late  # then do_exit() tells nothing
        self.caches_stacks, self.freed_by_rcu = has["vmap_stack"], has["stack_freed_by_rcu"]
        self.chains_uneven = self.tasks = self.dead = self.vmalloc_pages = self.page_tables = 0
        self.stacks_predicted = self.stacks_exact = self.new_stacks = self.deaths = 0

    def shown_counters(self):
        """What meminfo shows: kB of stacks, page tables, pages of vmalloc."""
        late = self.late.value(COUNTER_VMALLOC) if self.vmalloc_late else self.vmalloc_pages
        return self.late.value(COUNTER_STACKS), self.late.value(COUNTER_TABLES), late

    def know_vmalloc(self, told, pages):
        """vmalloc has so many pages, and meminfo shows `told`."""
        self.vmalloc_pages = pages
        self.late.know(COUNTER_VMALLOC, pages, told)

    def know_tasks(self, tasks):
        """So many tasks have stacks that count; what CPUs hold back stays."""
        self.late.correct(COUNTER_STACKS, (tasks - self.tasks) * self.stack_kb)
        self.tasks = tasks

    def tables(self):
        """TABLE_* by pfn, as a numpy array; it goes on changing."""
        return self._buffers["table"]

    def add(self, address, start, stop):
        """Takes in events `start` to `stop` of the array of EVENT at an address."""
        with cython.nogil:
            self._add(address, start, stop)

    def _add(self, address, start, stop):
        events = as_events(address, stop)
        for i in range(start, stop):
            event = event_at(events, i)
            if event.kind <= KIND_MM_PAGE_FREE:  # not what the page allocator does on its own
                if not says_nothing(self, event):
                    self._event(event)
            elif event.kind == KIND_MM_PAGE_ALLOC_ZONE_LOCKED:
                self._interlude(event)

    def _interlude(self, event):
        """A refill of a per-CPU list or an interrupt: its time is not what the task took."""
        if not self.interrupted and event.time > self.last:
            self.gap += event.time - self.last
        self.interrupted = True
        self.last = event.time

    def _passed(self, event):
        self.last = event.time
        self.gap = 0
        self.interrupted = False

    def _count_stack(self, cpu, sign):
        """account_kernel_stack(): a stack comes or goes."""
        self.tasks += sign
        for part in range(self.stack_parts):
            self.late.change(COUNTER_STACKS, cpu, sign * self.stack_kb // self.stack_parts, False)

    def _count_vmalloc(self, cpu, pages):
        self.vmalloc_pages += pages
        if self.vmalloc_late:
            self.late.change_pages(COUNTER_VMALLOC, cpu if cpu < self.nr_cpus else 0, pages)

    def _event(self, event):
        if event.cpu < self.nr_cpus:
            self.late.rested(event.cpu, event.pid, event.time)
        if event.kind == KIND_MM_PAGE_FREE:
            if event.address < self.nr_pages and self.table[event.address]:
                self._table_free(event)
            return
        if event.kind == KIND_KFREE:
            if event.address != 0 and self.mark[mark_place(event.address)]:
                self._count_vmalloc(event.cpu, -self._remove_area(event.address))
        if event.flags & INTERRUPT:
            self._interlude(event)
            if event.kind == KIND_KMEM_CACHE_FREE:
                self._object_free(event, self._what(event))
            return
        run = self._run_of(event)
        if event.kind == KIND_MM_PAGE_ALLOC:
            if event.gfp & ~self.comp_gfp == self.pgtable_gfp:
                self._table_alloc(event, run)
            elif event.gfp & self.zero_gfp:
                run.tables = 0  # do_anonymous_page() has its tables before its page
            run.new_mm = 0
            self._passed(event)
            return
        self._passed(event)
        what = self._what(event)
        if event.cpu < self.nr_cpus:
            self.late.add_up(event.cpu, event.time)
        if what == WHAT_LOCK and run.tables and event.kind == KIND_KMEM_CACHE_ALLOC:
            self._count_tables(event, self._mark_table(event, run.pfn[0], True))
        if what != WHAT_FAULT:
            run.tables = 0
            run.new_mm = 0
        if self.owned:
            self._own(event, what)
        if event.kind == KIND_KMEM_CACHE_ALLOC:
            self._object_alloc(event, what, run)
        elif event.kind == KIND_KMEM_CACHE_FREE:
            self._object_free(event, what)
        elif event.kind == KIND_KMALLOC:
            if self._is_array(event):
                self._kmalloc(event, run)
        elif event.kind == KIND_OTHER and what == WHAT_EXIT:
            self._task_died(event.cpu)

    def _what(self, event):
        return self.what[event.cache] if 0 <= event.cache < self.nr_names else 0

    def _run_of(self, event):
        """The record of an event's task: it takes the place of another one's."""
        run = run_at(self.runs, event.pid & (RUNS - 1))
        if run.pid != event.pid:
            run.pid = event.pid
            run.tables = 0
            run.new_mm = 0
            run.forking = 0
            run.first = 0
        return run

    # ---- tasks

    def _object_alloc(self, event, what, run):
        if what == WHAT_TASK:
            self._count_stack(event.cpu if event.cpu < self.nr_cpus else 0, 1)
            run.forking = 1
        elif what == WHAT_MM:
            run.new_mm = 1
        elif what == WHAT_CRED and run.forking:
            self._stack_came(event, run, False)

    def _kmalloc(self, event, run):
        """The array of a vmalloc's pages."""
        pages = event.bytes_req // 8
        self._count_vmalloc(event.cpu, pages)
        self._add_area(event.address, pages)
        if run.forking:
            self._stack_came(event, run, True)

    def _stack_came(self, event, run, new):
        """Where a fork's stack came from: alloc_thread_stack_node() takes one that the CPU keeps,
        if it keeps any.
        """
        run.forking = 0
        if not self.caches_stacks:
            return
        cpu = event.cpu if event.cpu < self.nr_cpus else 0
        self.stacks_predicted += 1
        self.new_stacks += new
        if new == (self.cached[cpu] == 0):
            self.stacks_exact += 1
        if new:
            self.cached[cpu] = 0
        elif self.cached[cpu] > 0:
            self.cached[cpu] -= 1

    def _object_free(self, event, what):
        if what == WHAT_FILES and not self.exits:
            # do_exit(): the stack is this CPU's; signal handlers are released later, elsewhere
            if self._in_ranges(event.call_site, self.nr_pid_ranges, self.nr_ranges):
                self._task_died(event.cpu)
                self.left += 1
        elif what == WHAT_SIGHAND and not self.exits:
            if self.left > 0:
                self.left -= 1
            else:
                self._task_died(event.cpu)
        elif what == WHAT_TASK:
            self._task_freed(event.cpu)

    def _task_died(self, cpu):
        """A task's stack is not counted any more, and the CPU keeps it if there is a place."""
        if cpu >= self.nr_cpus:
            cpu = 0
        self._count_stack(cpu, -1)
        full = self.cached[cpu] >= 2
        self.cached[cpu] += not full
        self.died[self.deaths & (DEATHS - 1)] = cpu + 1 if full and self.freed_by_rcu else 0
        self.deaths += 1
        self.dead += 1

    def _task_freed(self, cpu):
        """Whoever is dead for longest: its stack's grace period is over too, and the CPU where it
        died may have a place by now (thread_stack_free_rcu())."""
        cpu = cpu + 1 if cpu < self.nr_cpus else 1
        if self.dead > 0:
            cpu = self.died[(self.deaths - self.dead) & (DEATHS - 1)]
            self.dead -= 1
        else:
            self._count_stack(cpu - 1, -1)  # of a thread, in vain, or put back only now
            cpu *= self.put_late
        if cpu > 0 and self.cached[cpu - 1] < 2:
            self.cached[cpu - 1] += 1

    # ---- page tables

    def _table_alloc(self, event, run):
        """A page of GFP_PGTABLE_USER: those before it in the same fault are of higher levels."""
        if not block_is_within(event.address, event.order, self.nr_pages):
            return
        if run.new_mm:  # the top one: mm_alloc_pgd()
            run.first = 1
            change = 0
            for place in range(1 << event.order):
                change += self._mark_table(event, event.address + place, self.counts_top)
            self._count_tables(event, change)
            return
        if event.order:
            return
        full = self.locks or run.tables == RUN_TABLES
        if full or (run.tables and self._other_fault(event, run)):
            run.tables = 0
        run.pfn[run.tables] = event.address
        run.tables += 1
        for place in range(run.tables):
            level = run.tables - 1 - place
            change = self._mark_table(event, run.pfn[place], level < self.counted_levels)
            self._count_tables(event, change)

    def _other_fault(self, event, run):
        """Whether so much time went by since the task's last table that another fault came. How
        long two of one fault take is learnt where a new address space gets its first ones.
        """
        gap = self.gap
        if event.time > self.last:
            gap += event.time - self.last
        if run.first:
            run.first = 0
            mean = self.chain_time // self.chains if self.chains else gap
            self.chains += 1
            self.chains_uneven += 2 * gap > 3 * mean or 3 * gap < 2 * mean
            self.chain_time += gap if 2 * gap < 3 * mean else mean
            return False
        return (
            self.tick != 0 and self.chains >= LEAST_CHAINS
            and self.chains_uneven * TRUSTED <= self.chains
            and gap * self.chains > MOST_GAP * self.chain_time
        )

    def _mark_table(self, event, pfn, counted):
        """A page becomes a page table, of a level that counts or not."""
        if self.owned:
            self.owners.table_made(event.pid, pfn)
        return self._mark(pfn, TABLE_COUNTED if counted else TABLE_UNCOUNTED)

    def _table_free(self, event):
        """A block is freed in which a page is a table: of a pgd of two pages both at once."""
        change = 0
        for pfn in range(event.address, event.address + (1 << event.order)):
            if pfn < self.nr_pages and self.table[pfn]:
                change += self._mark(pfn, 0)
                if self.owned:
                    self.owners.table_gone(pfn)
        self._count_tables(event, change)

    def _own(self, event, what):
        """What an event tells of whose page tables are whose."""
        if event.kind == KIND_KMEM_CACHE_ALLOC:
            if what == WHAT_TASK:
                self.owners.task_made(event.pid)
            elif what == WHAT_SIGHAND:
                self.owners.own_handlers(event.pid)
            elif what == WHAT_MM:
                self.owners.mm_made(event.pid, event.address)
            elif self._in_ranges(event.call_site, 0, self.nr_pid_ranges):
                self.owners.pid_made(event.pid)
        elif event.kind == KIND_KMEM_CACHE_FREE:
            pfn = 0
            if what == WHAT_MM:
                pfn = self.owners.mm_freed(event.pid, event.address)
            elif self._in_ranges(event.call_site, self.nr_pid_ranges, self.nr_ranges):
                pfn = self.owners.exited(event.pid)
            while pfn:
                self._count_tables(event, self._mark(pfn, TABLE_UNCOUNTED))
                pfn = self.owners.next_table(pfn)

    def _in_ranges(self, site, first, stop):
        for place in range(first, stop):
            if self.ranges[2 * place] <= site < self.ranges[2 * place + 1]:
                return True
        return False

    def _mark(self, pfn, mark):
        """A page becomes a page table or none: how many more count."""
        change = (mark == TABLE_COUNTED) - (self.table[pfn] == TABLE_COUNTED)
        self.table[pfn] = mark
        self.page_tables += change
        return change

    def _count_tables(self, event, change):
        if change:
            cpu = event.cpu if event.cpu < self.nr_cpus else 0
            self.late.change(COUNTER_TABLES, cpu, change, self.overstep)

    def know_tables(self, counted, told):
        """Which pages are page tables that count, as kpageflags tells: a numpy array of bool.
        `told`: as many pages as meminfo would say now, None if that is not known.
        """
        count = mark_counted(self._buffers["table"], counted, TABLE_COUNTED, TABLE_UNCOUNTED)
        self.late.correct(COUNTER_TABLES, count - self.page_tables)
        self.page_tables = count
        if told is not None:
            self.late.know(COUNTER_TABLES, count, told)

    # ---- vmalloc

    def _is_array(self, event):
        place = 0
        if self.site_mark[event.call_site & (SITE_MARKS - 1)]:
            while place < self.nr_sites and self.site[place] != event.call_site:
                place += 1
            return place < self.nr_sites
        return False

    def _area_place(self, address):
        return (address >> 3 ^ address >> 17) & (AREAS - 1)

    def _add_area(self, address, pages):
        if self.nr_areas >= MOST_AREAS or address == 0:
            return
        place = self._area_place(address)
        while self.area[place] != 0 and self.area[place] != address:
            place = (place + 1) & (AREAS - 1)
        if self.area[place] == 0:
            self.nr_areas += 1
        self.area[place] = address
        self.area_pages[place] = pages
        self.mark[mark_place(address)] = 1

    def _remove_area(self, address):
        """The pages of the area whose array is freed, 0 if it is none."""
        place = self._area_place(address)
        while self.area[place] != address:
            if self.area[place] == 0:
                return 0
            place = (place + 1) & (AREAS - 1)
        pages = self.area_pages[place]
        self.nr_areas -= 1
        hole = place
        place = (place + 1) & (AREAS - 1)
        while self.area[place] != 0:
            home = self._area_place(self.area[place])
            if ((place - home) & (AREAS - 1)) >= ((place - hole) & (AREAS - 1)):
                self.area[hole] = self.area[place]
                self.area_pages[hole] = self.area_pages[place]
                hole = place
            place = (place + 1) & (AREAS - 1)
        self.area[hole] = 0
        return pages
