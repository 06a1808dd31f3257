"""Stacks, page tables and vmalloc's pages by their cause: made-up events, and the shipped
recording against its kernel's meminfo.
"""

import random

import numpy as np
import pytest

from mmtwin.kernel import lists
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay import replay
from mmtwin.replay.kernel_memory import CONSTANTS as PLACES
from mmtwin.replay.kernel_memory import KernelMemory

COMPILED = not lists.__file__.endswith(".py")
NAMES = ("WHAT_TASK", "WHAT_SIGHAND", "WHAT_MM", "WHAT_FAULT", "WHAT_EXIT", "WHAT_CRED",
         "WHAT_FILES", "WHAT_LOCK")
ARRAY, TABLE_GFP, COMP = 0xFFFFFFFF81001000, 0x400DC0, 0x40000
Row = dict[str, int | str]


PID_SITE, EXIT_SITE, ZERO = 0xFFFFFFFF81002000, 0xFFFFFFFF81003000, 0x100
LONE = 1 << 40  # a tick that never comes


def memory(
    levels: int = 2, exits: bool = False, by_rcu: int = 1, threshold: int = 0, overstep: int = 0,
    top: bool = False, owned: bool = False, tick: int = 1000, cpus: int = 1,
    late_areas: bool = False, locks: bool = False, put_late: int = 0,
) -> KernelMemory:  # fmt: skip
    names = NAMES if locks else NAMES[:-1]
    what = {number: PLACES[name] for number, name in enumerate(names)}
    has = {"vmap_stack": 1, "stack_freed_by_rcu": by_rcu, "stack_put_with_task": put_late,
           "thread_size": 16384}
    lag = {"threshold": threshold, "tick": tick, "overstep": overstep, "stack_parts": 4,
           "vmalloc": late_areas}
    tables = {
        "gfp": TABLE_GFP, "comp": COMP, "zero": ZERO, "levels": levels, "top": top,
        "owned": owned, "pid_sites": [PID_SITE, PID_SITE + 16],
        "exit_sites": [EXIT_SITE, EXIT_SITE + 16],
    }  # fmt: skip
    return KernelMemory(
        what, len(NAMES), [ARRAY], 1 << 16, cpus, tables, has, exits, lag
    )


def feed(k: KernelMemory, *rows: Row) -> None:
    events = np.zeros(len(rows), dtype=EVENT)
    events["cache"] = -1
    for event, row in zip(events, rows, strict=True):
        for name, value in row.items():
            event[name] = CONSTANTS[f"KIND_{value}"] if name == "kind" else value
    k.add(events.ctypes.data, 0, len(events))


def alloc(what: str, pid: int = 7) -> Row:
    return {"kind": "KMEM_CACHE_ALLOC", "cache": NAMES.index(what), "pid": pid}


def free(what: str, pid: int = 7) -> Row:
    return {"kind": "KMEM_CACHE_FREE", "cache": NAMES.index(what), "pid": pid}


def array(address: int, pages: int, pid: int = 7) -> Row:
    return {"kind": "KMALLOC", "address": address, "call_site": ARRAY, "bytes_req": 8 * pages,
            "pid": pid}  # fmt: skip


def table(pfn: int, pid: int = 7, gfp: int = TABLE_GFP) -> Row:
    return {"kind": "MM_PAGE_ALLOC", "address": pfn, "gfp": gfp, "pid": pid}


def test_a_fork_takes_a_new_stack_or_one_that_the_cpu_keeps() -> None:
    k = memory()
    feed(k, alloc("WHAT_TASK"), array(0x1000, 4), alloc("WHAT_CRED"))
    assert (k.tasks, k.vmalloc_pages, k.stacks_exact) == (1, 4, 1)
    feed(k, free("WHAT_SIGHAND"), alloc("WHAT_TASK"), alloc("WHAT_CRED"))
    assert (k.tasks, k.dead, k.stacks_predicted, k.stacks_exact) == (1, 1, 2, 2)
    feed(k, alloc("WHAT_TASK"), alloc("WHAT_CRED"))  # kept by nobody that the events name
    assert (k.stacks_predicted, k.stacks_exact) == (3, 2)


def test_a_third_stack_waits_for_a_grace_period_where_the_kernel_does_so() -> None:
    for by_rcu, exact in ((1, 3), (0, 2)):
        k = memory(by_rcu=by_rcu)
        k.tasks = 3
        feed(k, *[free("WHAT_SIGHAND")] * 3)
        feed(k, *[alloc("WHAT_TASK"), alloc("WHAT_CRED")] * 2)
        feed(k, *[free("WHAT_TASK")] * 3, alloc("WHAT_TASK"), alloc("WHAT_CRED"))
        assert (k.tasks, k.stacks_exact) == (3, exact)


def test_the_cpu_where_a_task_leaves_keeps_its_stack() -> None:
    k = memory(cpus=2)
    k.tasks = 2
    leave: Row = {**free("WHAT_FILES", 8), "call_site": EXIT_SITE, "cpu": 1}
    feed(k, {**leave, "call_site": 1}, leave, {**free("WHAT_SIGHAND"), "cpu": 0})  # its parent
    assert (k.tasks, k.dead) == (1, 1)
    feed(k, {**alloc("WHAT_TASK"), "cpu": 1}, {**alloc("WHAT_CRED"), "cpu": 1})
    feed(k, {**alloc("WHAT_TASK", 9), "cpu": 0}, {**array(0x1000, 4, 9), "cpu": 0})
    assert (k.stacks_predicted, k.stacks_exact) == (2, 2)


def test_the_real_time_patch_puts_a_stack_back_with_its_task() -> None:
    k = memory(by_rcu=0, put_late=1, exits=True)
    k.tasks = 3
    gone: Row = {"kind": "OTHER", "cache": NAMES.index("WHAT_EXIT"), "pid": 7}
    feed(k, gone, free("WHAT_FILES"), free("WHAT_SIGHAND"))
    assert (k.tasks, k.dead) == (3, 0)
    feed(k, alloc("WHAT_TASK"), array(0x1000, 4), alloc("WHAT_CRED"))
    feed(k, *[free("WHAT_TASK")] * 3)
    assert k.tasks == 1
    feed(k, *[alloc("WHAT_TASK"), alloc("WHAT_CRED")] * 2, alloc("WHAT_TASK"), array(0x2000, 4))
    assert (k.stacks_predicted, k.stacks_exact, k.new_stacks) == (4, 4, 2)


def test_a_stack_waits_where_its_task_died() -> None:
    k = memory(cpus=2)
    k.tasks = 4
    leave: Row = {**free("WHAT_FILES", 8), "call_site": EXIT_SITE, "cpu": 1}
    feed(k, *[leave] * 3, {**leave, "cpu": 0})
    # the third one's stack waits for its own task_struct, not the first that CPU 0 frees
    fork = [{**alloc("WHAT_TASK"), "cpu": 1}, {**alloc("WHAT_CRED"), "cpu": 1}]
    feed(k, *fork, *fork, *[{**free("WHAT_TASK"), "cpu": 0}] * 2)
    feed(k, {**alloc("WHAT_TASK", 9), "cpu": 1}, {**array(0x1000, 4, 9), "cpu": 1})
    assert (k.stacks_predicted, k.stacks_exact) == (3, 3)
    feed(k, {**free("WHAT_TASK"), "cpu": 0}, *fork)
    assert (k.stacks_predicted, k.stacks_exact) == (4, 4)


def test_an_exit_event_counts_instead_of_the_signal_handlers() -> None:
    k = memory(exits=True)
    k.tasks = 2
    gone: Row = {"kind": "OTHER", "cache": NAMES.index("WHAT_EXIT"), "pid": 7}
    feed(k, gone, free("WHAT_SIGHAND"), free("WHAT_TASK"))
    assert (k.tasks, k.dead) == (1, 0)


@pytest.mark.parametrize(("levels", "counted"), [(2, 2), (3, 3)])
def test_the_last_page_table_of_a_fault_is_the_lowest(levels: int, counted: int) -> None:
    k = memory(levels)
    page: Row = {"kind": "MM_PAGE_ALLOC", "address": 99, "gfp": 0xCCA, "pid": 7}
    feed(k, table(1), table(2), alloc("WHAT_FAULT"), page, table(3))
    assert k.page_tables == counted
    feed(k, alloc("WHAT_CRED"), table(4), table(5, gfp=TABLE_GFP | COMP), table(6, pid=8))
    assert k.page_tables == counted + 3
    feed(k, alloc("WHAT_MM"), table(7), table(8))  # 7 is the top one
    assert k.page_tables == counted + 4
    frees: list[Row] = [{"kind": "MM_PAGE_FREE", "address": pfn} for pfn in range(1, 9)]
    feed(k, *frees)
    assert k.page_tables == 0


def test_tables_that_count_have_locks_where_locks_are_large() -> None:
    k = memory(locks=True)
    pud, pmd, pte = 0x10, 0x11, 0x12
    feed(k, alloc("WHAT_MM"), table(0x20), table(pud), table(pmd), alloc("WHAT_LOCK"))
    feed(k, alloc("WHAT_FAULT"), table(pte), alloc("WHAT_LOCK"), table(0x13), table(0x14))
    assert k.page_tables == 2
    assert (k.tables()[[pud, pmd, pte]] == PLACES["TABLE_COUNTED"]).tolist() == [False, True, True]
    feed(k, alloc("WHAT_TASK", 8), alloc("WHAT_LOCK", 8))  # another task's
    assert k.page_tables == 2
    feed(k, free("WHAT_LOCK"), {"kind": "MM_PAGE_FREE", "address": pte, "pid": 7})
    assert k.page_tables == 1


def test_the_pages_of_areas_against_a_naive_model() -> None:
    draw = random.Random(1)
    k, model = memory(), {}
    addresses = [0xFFFF888004000000 + 32 * n for n in range(300)]
    for _ in range(4000):
        address = draw.choice([*addresses, 0])
        if draw.random() < 0.5 and address and address not in model:
            model[address] = draw.randrange(1, 500)
            feed(k, array(address, model[address]))
        else:
            model.pop(address, 0)
            feed(k, {"kind": "KFREE", "address": address})
        assert k.vmalloc_pages == sum(model.values())


@pytest.mark.parametrize(
    ("overstep", "shown"), [(0, [10, 10, 10, 10, 10, 5, 5]), (1, [10, 10, 10, 10, 10, 3, 3])]
)
def test_meminfo_shows_what_cpus_added_up(overstep: int, shown: list[int]) -> None:
    k = memory(threshold=4, overstep=overstep)
    counted = np.zeros(100, dtype=bool)
    counted[:10] = True
    k.know_tables(counted, None)
    seen = [k.shown_counters()[1]]
    for pfn in range(6):
        feed(k, {"kind": "MM_PAGE_FREE", "address": pfn, "pid": 7})
        seen.append(k.shown_counters()[1])
    assert seen == shown
    assert k.page_tables == 4
    feed(k, {**alloc("WHAT_CRED"), "time": 1000})  # a second later
    assert k.shown_counters()[1] == 4


def test_an_idle_cpu_adds_up_what_it_held_back() -> None:
    for row, shown in (({"pid": 0}, 9), ({"pid": 7}, 10), ({"pid": 7, "time": 1 << 30}, 9)):
        k = memory(threshold=4, tick=LONE)
        counted = np.zeros(100, dtype=bool)
        counted[:10] = True
        k.know_tables(counted, None)
        feed(k, {"kind": "KFREE", "pid": 7}, {"kind": "MM_PAGE_FREE", "address": 1, "pid": 7})
        feed(k, {"kind": "KFREE", **row})
        assert k.shown_counters()[1] == shown


def test_where_events_tell_when_a_cpu_adds_up_nothing_is_guessed() -> None:
    k = memory(threshold=8, cpus=2)
    k.late.told = True
    feed(k, table(20), {**table(21, pid=0), "time": 1 << 40}, {**table(22), "time": 1 << 41})
    assert (k.page_tables, k.shown_counters()[1]) == (3, 0)
    k.late.fold(1)
    assert k.shown_counters()[1] == 0
    k.late.fold(2)  # there is none
    k.late.fold(0)
    assert k.shown_counters()[1] == 3


def test_a_silent_cpu_of_two_is_idle() -> None:
    k = memory(threshold=4, tick=LONE, cpus=2)
    feed(k, table(1), {"kind": "KFREE", "pid": 8, "cpu": 1})
    assert k.shown_counters()[1] == 0
    idle: Row = {"kind": "KFREE", "pid": 8, "cpu": 1}
    feed(k, *[idle] * 64)
    assert k.shown_counters()[1] == 1


def test_what_a_meminfo_said_tells_what_is_held_back() -> None:
    k = memory(threshold=4, tick=LONE)
    counted = np.zeros(100, dtype=bool)
    counted[:10] = True
    k.know_tables(counted, 8)
    assert (k.page_tables, k.shown_counters()[1]) == (10, 8)
    feed(k, table(20, 8), table(21, 9))  # 4 held back, then 5 are one too many
    assert k.shown_counters()[1] == 8
    feed(k, table(22))
    assert k.shown_counters()[1] == 13


def space(pid: int = 7, first: int = 1, time: int = 0) -> list[Row]:
    """A new address space: its pgd, and the first fault's two tables, 4 units apart."""
    rows = [alloc("WHAT_MM", pid), table(first, pid), table(first + 1, pid), table(first + 2, pid)]
    return [{**row, "time": time + 4 * place} for place, row in enumerate(rows)]


def test_a_pause_between_two_tables_is_another_fault() -> None:
    for regular, counted in ((True, 4), (False, 2)):
        k = memory(tick=LONE)
        for n in range(20):
            rows = space(first=100 + 10 * n, time=1000 * (n + 1))
            if not regular:
                rows[-1]["time"] = 1000 * (n + 1) + 8 + 4 * (1 + 5 * (n % 2))
            feed(k, *rows)
        before = k.page_tables
        feed(k, {"kind": "KFREE", "pid": 7, "time": 80000})
        feed(k, *[{**table(10 + n), "time": 90000 + 100 * n} for n in range(4)])
        assert k.page_tables - before == counted


def test_a_refill_is_no_pause() -> None:
    k = memory(tick=LONE)
    for n in range(20):
        feed(k, *space(first=100 + 10 * n, time=1000 * (n + 1)))
    before = k.page_tables
    feed(k, *[{**table(10 + n), "time": 90000 + 4 * n} for n in range(2)],
         {"kind": "MM_PAGE_ALLOC_ZONE_LOCKED", "time": 90008},
         {"kind": "MM_PAGE_ALLOC_ZONE_LOCKED", "time": 91008}, {**table(12), "time": 91009})
    assert k.page_tables - before == 2


def test_an_anonymous_page_ends_its_fault() -> None:
    k = memory()
    feed(k, table(1), table(2, gfp=0xCCA), table(3), table(4), table(5, gfp=ZERO), table(6))
    assert k.page_tables == 3


def test_a_pgd_of_two_pages_counts_at_once() -> None:
    k = memory(top=True, threshold=4, tick=LONE)
    feed(k, *[row for n in range(3) for row in
              (alloc("WHAT_MM"), {**table(10 * n), "order": 1})])
    assert (k.page_tables, k.shown_counters()[1]) == (6, 6)
    feed(k, {"kind": "MM_PAGE_FREE", "address": 10, "order": 1, "pid": 7})
    assert (k.page_tables, k.shown_counters()[1]) == (4, 6)


@pytest.mark.skipif(not COMPILED, reason="minutes, uncompiled")
def test_tables_stop_counting_with_their_process() -> None:
    new_pid: Row = {"kind": "KMEM_CACHE_ALLOC", "call_site": PID_SITE}
    leave: Row = {"kind": "KMEM_CACHE_FREE", "call_site": EXIT_SITE}
    for owned, vfork, left in ((True, False, 1), (False, False, 3), (True, True, 3)):
        k = memory(owned=owned)
        feed(k, alloc("WHAT_MM", 1), table(9, 1), table(10, 1))  # init
        feed(k, alloc("WHAT_TASK", 1), alloc("WHAT_SIGHAND", 1))
        if not vfork:
            feed(k, alloc("WHAT_MM", 1), table(11, 1), table(12, 1))
        feed(k, {**new_pid, "pid": 1}, table(13, 2))
        if vfork:
            feed(k, table(14, 2))
        assert k.page_tables == 3
        feed(k, {**leave, "pid": 2})
        assert k.page_tables == left


@pytest.mark.parametrize("fails", [False, True])
def test_tables_stop_counting_when_another_program_is_executed(fails: bool) -> None:
    """exec_mmap(): the old mm_struct goes, its tables' memory later; or the new one, in vain."""
    old, new = 0xFFFF000000001000, 0xFFFF000000002000
    k = memory(owned=True)
    feed(k, alloc("WHAT_TASK", 1), alloc("WHAT_SIGHAND", 1))
    feed(k, {**alloc("WHAT_MM", 1), "address": old}, table(11, 1), table(12, 1), table(13, 1))
    feed(k, {"kind": "KMEM_CACHE_ALLOC", "call_site": PID_SITE, "pid": 1})
    feed(k, {**alloc("WHAT_MM", 2), "address": new}, table(14, 2), table(15, 2))
    assert k.page_tables == 3
    feed(k, {**free("WHAT_MM", 2), "address": new if fails else old})
    assert k.page_tables == (3 if fails else 1)
    feed(k, {**free("WHAT_MM", 3), "address": old})  # another task's: nothing more
    assert k.page_tables == (3 if fails else 1)


def test_stacks_are_added_up_page_by_page() -> None:
    k = memory(threshold=8)
    k.know_tasks(10)
    feed(k, alloc("WHAT_TASK"))
    assert k.shown_counters()[0] == 160 + 12  # 4 and 8 are kept, 12 is too much, 4 is kept


def test_kpageflags_set_the_page_tables_right() -> None:
    k = memory()
    feed(k, table(1))
    counted = np.zeros(100, dtype=bool)
    counted[[5, 6]] = True
    k.know_tables(counted, None)
    assert k.page_tables == 2
    assert list(np.flatnonzero(k.tables() == PLACES["TABLE_COUNTED"])) == [5, 6]


@pytest.mark.skipif(not COMPILED, reason="minutes, uncompiled")
def test_the_shipped_recordings_lines_are_the_kernels() -> None:
    figures = replay(statistics=False).fidelity()
    assert figures["stacks"]["exact"] >= figures["stacks"]["predicted"] - 1 > 300
    for snapshot in figures["snapshots"]:
        for line, pair in snapshot["meminfo"].items():
            assert pair["twin"] == pair["kernel"], line
    end = figures["snapshots"][-1]
    assert set(end["meminfo"]) == {"KernelStack", "PageTables", "VmallocUsed"}
    assert end["page_tables"]["twin"] == end["page_tables"]["kernel"] > 100


def test_pages_of_vmalloc_are_added_up_late_where_they_are_a_nodes_counter() -> None:
    k = memory(threshold=4, late_areas=True, tick=LONE)
    feed(k, array(0x1000, 4))  # one block of four: held back
    assert (k.vmalloc_pages, k.shown_counters()[2]) == (4, 0)
    feed(k, array(0x2000, 7))  # 4, 2, 1: the first oversteps
    assert (k.vmalloc_pages, k.shown_counters()[2]) == (11, 8)
    k.know_vmalloc(20, 16)  # four are gone that meminfo still shows
    feed(k, {"kind": "KFREE", "address": 0x1000, "pid": 7})  # one by one: the first oversteps
    assert (k.vmalloc_pages, k.shown_counters()[2]) == (12, 15)
    feed(k, {"kind": "KFREE", "address": 0x2000, "pid": 7}, {"kind": "KFREE", "pid": 0})
    assert (k.vmalloc_pages, k.shown_counters()[2]) == (5, 5)
    plain = memory(threshold=4)
    feed(plain, array(0x1000, 4))
    assert plain.shown_counters()[2] == 4
