"""validate() of tasks: their objects are in use, their stacks are theirs alone, counts agree."""

from collections import Counter

from mmtwin.kernel.constants import USE_FREE, PG_slab, PG_tail
from mmtwin.kernel.slub_state import live_objects
from mmtwin.kernel.thread_stack import find_cache

LIVING = ("running", "sleeping")


def validate(mm):
    """What is wrong with the machine's tasks, as sentences; [] if every invariant holds."""
    tasks = mm.tasks
    if tasks is None:
        return []
    problems = [*stack_problems(mm), *object_problems(mm), *frame_problems(mm)]
    numbers = Counter(task.pid for task in tasks.tasks.values() if task.pid_struct)
    problems += [f"number {pid} has {n} tasks" for pid, n in numbers.items() if n > 1]
    if set(numbers) != tasks.taken:
        problems.append("the taken numbers are not those of the tasks")
    here = sum(task.state != "dead" for task in tasks.tasks.values())
    if here != tasks.nr_threads:
        problems.append(f"nr_threads is {tasks.nr_threads}, there are {here}")
    for cpu, task in enumerate(tasks.current):
        if task.state != "running":
            problems.append(f"task {task.pid} of CPU {cpu} is {task.state}")
    return problems


def all_stacks(mm):
    """[(whose, Stack)] of tasks, of those the CPUs keep, of those that wait for RCU."""
    tasks = mm.tasks
    found = [(f"task {t.pid}", t.stack) for t in tasks.tasks.values() if t.stack is not None]
    for cpu, places in enumerate(tasks.cached_stacks):
        found += [(f"CPU {cpu}", stack) for stack in places if stack is not None]
    for function, *arguments in tasks.rcu:
        if function.__name__ == "thread_stack_free_rcu":
            found.append(("RCU", arguments[0]))
    return found


def stack_problems(mm):
    """Pages of stacks: allocated, no page on two stacks; every living task has one."""
    problems = []
    users = mm.view("page")["users"]
    owner = {}
    for whose, stack in all_stacks(mm):
        if stack.size != mm.view("has")[0].thread_size:
            problems.append(f"the stack of {whose} has {stack.size} bytes")
        for pfn in stack.pages:
            if users[pfn] == USE_FREE:
                problems.append(f"page {pfn:#x} of the stack of {whose} is free")
            if stack.cache < 0 and owner.setdefault(pfn, whose) != whose:
                problems.append(f"page {pfn:#x} is on the stacks of {owner[pfn]} and {whose}")
    for task in mm.tasks.tasks.values():
        if (task.state in LIVING) != (task.stack is not None):
            problems.append(f"task {task.pid} is {task.state}, its stack {task.stack}")
        if task.accounted and task.stack is None:
            problems.append(f"task {task.pid} without a stack is counted in KernelStack")
    return problems


def object_problems(mm):
    """Every structure of a task is an object in use of its cache, and has as many users as it
    counts.
    """
    problems = []
    live = {}
    held = Counter()
    shared = {}
    for task in mm.tasks.tasks.values():
        wanted = [("task_struct", task.address)]
        if task.pid_struct:
            wanted.append(("pid", task.pid_struct))
        for name in ("cred", "files", "fs", "sighand", "signal", "mm"):
            there = getattr(task, name)
            if there is not None and not (name == "sighand" and task.state == "dead"):
                shared[id(there)] = there
                held[id(there)] += 1
        for name, address in wanted:
            cache = find_cache(mm, name)
            if cache not in live:
                live[cache] = {int(each) for each in live_objects(mm, cache)}
            if address not in live[cache]:
                problems.append(f"{name} {address:#x} of task {task.pid} is not in use")
    for each, count in held.items():
        there = shared[each]
        if there.address and there.users != count:
            problems.append(f"object {there.address:#x} has {there.users} users, not {count}")
        if there.address and not mm.view("page")["flags"][head_of(mm, there.address)] & PG_slab:
            problems.append(f"object {there.address:#x} lies on no slab")
    return problems


def head_of(mm, address):
    """The pfn of the first page of an address's block."""
    pfn = (address - mm.page_offset & (1 << 64) - 1) >> mm.page_shift
    head = int(mm.view("page")["compound_head"][pfn])
    return head if head > 0 and mm.view("page")["flags"][pfn] & PG_tail else pfn


def frame_problems(mm):
    """Frames lie below each other, and the stack pointer is at the innermost one's end."""
    problems = []
    for task in mm.tasks.tasks.values():
        for above, below in zip(task.frames, task.frames[1:], strict=False):
            if below.high != above.low:
                problems.append(f"frames of task {task.pid} do not meet at {above.low:#x}")
        if task.frames and task.sp != task.frames[-1].low:
            problems.append(f"task {task.pid}: sp {task.sp:#x} is not its innermost frame's")
        if len(task.frames) > len(task.names):
            problems.append(f"task {task.pid} has more frames than functions")
    return problems
