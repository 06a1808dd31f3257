"""The end of a task, and when each piece of its memory goes back (kernel/exit.c, kernel/fork.c).

do_exit() gives back the address space, open files and the like while the task still runs on its
stack. The next task drops the dead one's mm_struct and stack (finish_task_switch()). Its parent,
or it itself where nobody waits, releases signal handlers and number (release_task()). The rest is
freed by RCU.
"""

from mmtwin.kernel.constants import COMPLAINT_STACK_END
from mmtwin.kernel.fork import (
    CLONE_THREAD,
    STACK_END_MAGIC,
    exit_creds,
    free_delays,
    free_task,
    put_shared,
    put_task_stack,
)
from mmtwin.kernel.fork_mm import exit_mm, mmdrop
from mmtwin.kernel.mm import report
from mmtwin.kernel.sched import call_rcu, tasks_of
from mmtwin.kernel.slab_common import kfree
from mmtwin.kernel.slub import kmem_cache_free
from mmtwin.kernel.slub_pcs import rcu_free_sheaves
from mmtwin.kernel.slub_slab import rcu_free_slabs
from mmtwin.kernel.thread_stack import find_cache, read_stack


def rcu_do_batch(mm):
    """A grace period ends: what waits for it is carried out, in order. How many callbacks were.

    What these queue in turn waits for the next one.
    """
    waiting, tasks_of(mm).rcu = tasks_of(mm).rcu, []
    for function, *arguments in waiting:
        function(mm, *arguments)
    rcu_free_slabs(mm, -1)
    rcu_free_sheaves(mm, -1)
    return len(waiting)


# ---- switching


def schedule(mm, task):
    """Another task runs on this CPU: its stack, its frames.

    With CONFIG_SCHED_STACK_END_CHECK the magic at the end of the stack that is left must stand
    (schedule_debug()); the kernel panics if it does not.
    """
    tasks = tasks_of(mm)
    before = tasks.current[mm.cpu]
    if before is task:
        return
    if mm.view("has")[0].sched_stack_end_check and task_stack_end_corrupted(mm, before):
        tasks.panic = "corrupted stack end detected inside scheduler"
        report(mm, COMPLAINT_STACK_END, before.stack.low,
               f"Kernel panic - not syncing: {tasks.panic}")
    tasks.current[mm.cpu] = task
    mm.frames = task.names
    if before.state == "running":
        before.state = "sleeping"
    task.state = "running"
    finish_task_switch(mm, before)


def task_stack_end_corrupted(mm, task):
    """Whether something was written over the magic at the end of a task's stack."""
    if task.stack is None or not mm.contents:
        return False
    magic = read_stack(mm, task.stack, task.stack.low, 8)
    return int.from_bytes(magic, "little") != STACK_END_MAGIC


def finish_task_switch(mm, before):
    """What the next task does for the one that ran before, if that is dead: its mm_struct goes
    unless others use it, and its stack (not with the real-time patch before 5.18).
    """
    if before.state not in ("zombie", "dead"):
        return
    if before.active_mm is not None:
        active, before.active_mm = before.active_mm, None
        mmdrop(mm, active)
    if not mm.view("has")[0].stack_put_with_task:
        put_task_stack(mm, before)
    put_task_struct_rcu_user(mm, before)


# ---- exit


def do_exit(mm, task):
    """The task that runs ends: it becomes a zombie, or is released at once if nobody waits for it;
    the CPU runs the idle task then.
    """
    tasks = tasks_of(mm)
    schedule(mm, task)
    exit_mm(mm, task)
    for name in ("files", "fs"):
        put_shared(mm, getattr(task, name))
        setattr(task, name, None)
    for child in tasks.tasks.values():
        if child.parent is task:
            child.parent = tasks.idle[0]  # find_new_reaper()
    task.state = "zombie"
    if autoreaped(task):
        reap_task(mm, task)
    if mm.view("has")[0].stack_counted_to_exit:
        task.accounted = False  # exit_task_stack_account()
    task.names.clear()
    task.frames.clear()
    schedule(mm, tasks.idle[mm.cpu])


def autoreaped(task):
    """exit_notify(): nobody waits for threads and kernel threads, nor for children of the idle
    task.
    """
    return task.kernel or task.flags & CLONE_THREAD or task.parent.pid == 0


def reap_task(mm, task):
    """release_task(): signal handlers now, the number after a grace period."""
    task.state = "dead"
    tasks_of(mm).nr_threads -= 1
    put_shared(mm, task.sighand)
    call_rcu(mm, delayed_put_pid, task)
    put_task_struct_rcu_user(mm, task)


def delayed_put_pid(mm, task):
    """The object of a number is freed; another task may have the number."""
    kmem_cache_free(mm, find_cache(mm, "pid"), task.pid_struct)
    task.pid_struct = 0
    tasks_of(mm).taken.discard(task.pid)


def put_task_struct_rcu_user(mm, task):
    """Two hold a dead task's structure: whom it ran before and who releases it. The later one
    leaves it to RCU.
    """
    task.rcu_users -= 1
    if task.rcu_users == 0:
        call_rcu(mm, put_task_struct, task)


def put_task_struct(mm, task):
    """delayed_put_task_struct(), __put_task_struct(): nobody looks at the task any more."""
    if mm.view("has")[0].stack_put_with_task:
        put_task_stack(mm, task)
    kfree(mm, task.security)
    exit_creds(mm, task)
    free_delays(mm, task)
    put_shared(mm, task.signal)
    free_task(mm, task)


