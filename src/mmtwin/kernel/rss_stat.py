"""rss_stat: how many pages a process has resident, and how late its mm learns of it.

Until 6.1 a task counts its faults itself and tells the mm after 64 of them (mm/memory.c:
check_sync_rss_stat(), SPLIT_RSS_COUNTING); from 6.2 on the mm has a percpu_counter for each kind
(f1a7941243c1). Each change of the mm's number is an event kmem:rss_stat.

Who runs is `machine.paging.current`: a TaskRss (set_current()).
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.memory_defs import NR_MM_COUNTERS, TASK_RSS_EVENTS_THRESH
    from mmtwin.kernel.mman import MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES
    from mmtwin.kernel.trace import STEP_RSS_STAT, step



class TaskRss:
    """task_struct.rss_stat: what a task counted since it last told its mm. `mm`: the task's."""

    def __init__(self, mm=None):
        self.mm = mm
        self.events = 0
        if not cython.compiled:
            self.count = [0] * NR_MM_COUNTERS

    def counts(self):
        """Pages not yet told to the mm, by MM_*."""
        return [self.count[member] for member in range(NR_MM_COUNTERS)]


def set_current(machine, task_rss):
    """The task that runs from now on, as its TaskRss; None: a kernel thread."""
    machine.paging.current = task_rss


def is_current(mm):
    """current->mm == mm."""
    paging = mm.paging
    if paging.current is None:
        return False
    now = paging.current
    return now.mm is mm


def read_exact(mm, member):
    """percpu_counter_sum() of a number, or the atomic one."""
    count = mm.rss_stat[member]
    if not mm.machine.has.rss_split:
        for cpu in range(min(mm.machine.nr_cpus, 64)):
            count += mm.rss_percpu[cpu * 4 + member]
    return count


def add_mm_counter(mm, member, value):
    """add_mm_counter(): `value` pages (s64) of a kind (MM_*) more, with its event."""
    if mm.machine.has.rss_split:
        mm.rss_stat[member] += value
    else:
        # percpu_counter_add_batch() with percpu_counter_batch
        place = (mm.machine.cpu & 63) * 4 + member
        count = mm.rss_percpu[place] + value
        batch = max(32, mm.machine.nr_cpus * 2)
        if count >= batch or count <= -batch:
            mm.rss_stat[member] += count
            mm.rss_percpu[place] = 0
        else:
            mm.rss_percpu[place] = count
    if mm.machine.step_mask >> STEP_RSS_STAT & 1:
        count = read_exact(mm, member) << mm.machine.page_shift
        step(mm.machine, STEP_RSS_STAT, mm.id, is_current(mm), member, count)


def add_mm_counter_fast(mm, member, value):
    """add_mm_counter_fast(): the task that runs in this mm counts for itself."""
    if mm.machine.has.rss_split:
        paging = mm.paging
        if paging.current is not None:
            now = paging.current
            if now.mm is mm:
                now.count[member] += value
                return
    add_mm_counter(mm, member, value)


def sync_mm_rss(mm):
    """sync_mm_rss(): the mm learns what the task that runs has counted; nothing from 6.2 on."""
    paging = mm.paging
    if paging.current is None or not mm.machine.has.rss_split:
        return
    now = paging.current
    for member in range(NR_MM_COUNTERS):
        if now.count[member]:
            add_mm_counter(mm, member, now.count[member])
            now.count[member] = 0
    now.events = 0


def check_sync_rss_stat(mm):
    """check_sync_rss_stat(): at each fault; every 66th one syncs."""
    paging = mm.paging
    if paging.current is None or not mm.machine.has.rss_split:
        return
    now = paging.current
    now.events += 1
    if now.events - 1 > TASK_RSS_EVENTS_THRESH and now.mm is not None:
        sync_mm_rss(now.mm)


def add_mm_rss_vec(mm):
    """add_mm_rss_vec(): the numbers of a page table's worth of entries, `mm.rss_vec`, are added;
    it becomes 0.
    """
    if is_current(mm):
        sync_mm_rss(mm)
    for member in range(NR_MM_COUNTERS):
        if mm.rss_vec[member]:
            add_mm_counter(mm, member, mm.rss_vec[member])
            mm.rss_vec[member] = 0


def exact_counters(mm):
    """All that the mm was told, by MM_*: what the event shows."""
    return [read_exact(mm, member) for member in range(NR_MM_COUNTERS)]


def get_mm_counter(mm, member):
    """What /proc shows of a kind of pages (s64, MM_*): late, as the kernel's own number is."""
    count = mm.rss_stat[member]
    if mm.machine.has.rss_sum_shown:
        count = read_exact(mm, member)
    return max(0, count)


def get_mm_rss(mm):
    """get_mm_rss(): file, anonymous and shared memory pages, without what CPUs hold."""
    count = 0
    for member in (MM_FILEPAGES, MM_ANONPAGES, MM_SHMEMPAGES):
        count += max(0, mm.rss_stat[member])
    return count


def update_hiwater_rss(mm):
    """update_hiwater_rss(): VmHWM."""
    mm.hiwater_rss = max(mm.hiwater_rss, get_mm_rss(mm))
