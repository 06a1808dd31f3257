"""Tasks: what copy_process() allocates for one, its kernel stack above all (kernel/fork.c).

A task's memory is real: its task_struct and the other structures are objects of their caches, its
stack is bytes of RAM. What the rest of a kernel knows of a task is in sched.py.
`mm.tasks` holds them all; exit.py gives the memory back, task_stack.py pushes frames.

A process gets a copy of its parent's address space, if that has one: fork_mm.py.
"""

from mmtwin.kernel.fork_mm import dup_mm, mm_alloc, mmget, mmput
from mmtwin.kernel.sched import Shared, Task, call_rcu, current_task, tasks_of
from mmtwin.kernel.slab_common import __kmalloc_node as kmalloc_node
from mmtwin.kernel.slab_common import kfree
from mmtwin.kernel.slub import kmem_cache_alloc_node, kmem_cache_free
from mmtwin.kernel.thread_stack import (
    GFP_KERNEL,
    GFP_KERNEL_ZERO,
    THREADINFO_GFP,
    alloc_thread_stack_node,
    find_cache,
    free_thread_stack,
    write_stack,
)

# include/uapi/linux/sched.h
CLONE_VM = 0x100
CLONE_FS = 0x200
CLONE_FILES = 0x400
CLONE_SIGHAND = 0x800
CLONE_VFORK = 0x4000
CLONE_THREAD = 0x10000
CLONE_OF_THREAD = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD
CLONE_OF_KTHREAD = CLONE_VM | CLONE_FS | CLONE_FILES

STACK_END_MAGIC = 0x57AC6E9D  # include/uapi/linux/magic.h
# The cache of credentials got the name of its structure in 6.8.
CRED_CACHES = ("cred_jar", "cred")


def alloc_object(mm, gfp, *names):
    """An object of a cache as Shared, or None."""
    cache = find_cache(mm, *names)
    address = kmem_cache_alloc_node(mm, cache, gfp, -1)
    return Shared(cache, address) if address else None


def copy_process(mm, comm, flags=0, kernel=False):
    """A new task, child of the one that runs; None if memory or numbers are lacking:
    `mm.tasks.error` is then ENOMEM or EAGAIN.

    `flags`: CLONE_*; `kernel`: a kernel thread. In the order of the kernel's own events: the
    task_struct, its stack, credentials, what security modules keep, open files, working directory,
    signal handlers, signals, address space, number. The radix tree node that a number may need is
    not made.
    """
    tasks = tasks_of(mm)
    parent = current_task(mm)
    tasks.error = ""
    has = mm.view("has")[0]
    task = Task(0, comm, parent, flags, kernel)
    if not dup_task_struct(mm, task):
        tasks.error = "ENOMEM"
        return None
    if not copy_creds(mm, task, flags):
        tasks.error = "ENOMEM"
    elif tasks.nr_threads >= tasks.max_threads:
        tasks.error = "EAGAIN"
    elif not copy_rest(mm, task, flags, has):
        tasks.error = "ENOMEM"
    else:
        alloc_pid(mm, task)
    if tasks.error:
        undo_copy(mm, task)
        return None
    task.tgid = parent.tgid if flags & CLONE_THREAD else task.pid
    tasks.tasks[task.address] = task
    tasks.nr_threads += 1
    if kernel and not has.kthread_in_fork:
        set_kthread_struct(mm, task)  # kthread(), the new thread's own first act
    return task


def dup_task_struct(mm, task):
    """The task_struct and the stack, with the magic at its end; whether both are there."""
    cache = find_cache(mm, "task_struct")
    task.address = kmem_cache_alloc_node(mm, cache, GFP_KERNEL, -1)
    if not task.address:
        return False
    if not alloc_thread_stack_node(mm, task, -1):
        kmem_cache_free(mm, cache, task.address)
        return False
    if mm.contents:
        write_stack(mm, task.stack, task.stack.low, STACK_END_MAGIC.to_bytes(8, "little"))
    task.accounted = True
    has = mm.view("has")[0]
    task.sp = task.stack.low + task.stack.size - has.stack_top_padding - has.pt_regs_bytes & ~15
    return True


def copy_creds(mm, task, flags):
    """Credentials: a thread has its process's (copy_creds(), prepare_creds())."""
    has = mm.view("has")[0]
    if flags & CLONE_THREAD:
        task.cred = share(task.parent.cred)
        return True
    task.cred = alloc_object(mm, GFP_KERNEL, *CRED_CACHES)
    if task.cred is None:
        return False
    task.cred.security = kmalloc_node(mm, has.lsm_cred_bytes, THREADINFO_GFP, -1)
    return task.cred.security != 0


def set_kthread_struct(mm, task):
    """struct kthread of a kernel thread."""
    task.kthread = kmalloc_node(mm, mm.view("has")[0].kthread_bytes, GFP_KERNEL_ZERO, -1)
    return task.kthread != 0


def copy_rest(mm, task, flags, has):
    """What copy_process() allocates behind the credentials; whether all of it is there."""
    parent = task.parent
    if task.kernel and has.kthread_in_fork and not set_kthread_struct(mm, task):
        return False
    if has.delay_accounting:
        task.delays = alloc_address(mm, GFP_KERNEL_ZERO, "task_delay_info")
    task.security = kmalloc_node(mm, has.lsm_task_bytes, GFP_KERNEL_ZERO, -1)
    if not task.security:
        return False
    for name, shared, cache, gfp in (
        ("files", CLONE_FILES, "files_cache", GFP_KERNEL),
        ("fs", CLONE_FS, "fs_cache", GFP_KERNEL),
        ("sighand", CLONE_SIGHAND, "sighand_cache", GFP_KERNEL),
        ("signal", CLONE_THREAD, "signal_cache", GFP_KERNEL_ZERO),
    ):
        there = getattr(parent, name)
        mine = share(there) if flags & shared and there else alloc_object(mm, gfp, cache)
        setattr(task, name, mine)
        if mine is None:
            return False
    if not copy_mm(mm, task, flags, has):
        return False
    task.pid_struct = alloc_address(mm, GFP_KERNEL, "pid")
    return task.pid_struct != 0


def copy_mm(mm, task, flags, has):
    """The address space: none for a kernel thread, the parent's for a thread or a vfork(), else a
    copy of the parent's; a new, empty one where that has none. Whether there was memory.
    """
    if task.kernel:
        return True
    parent = task.parent.mm
    if flags & CLONE_VM and parent:
        task.mm = mmget(parent)
    elif parent:
        task.mm = dup_mm(mm, task, parent)
    else:
        task.mm = mm_alloc(mm, task)
    if flags & CLONE_VFORK:
        task.vfork_parent = task.parent
    return task.mm is not None


def share(shared):
    """One user more of an object."""
    shared.users += 1
    return shared


def alloc_address(mm, gfp, *names):
    """The address of a new object of a cache, 0 if there is no memory."""
    return kmem_cache_alloc_node(mm, find_cache(mm, *names), gfp, -1)


def alloc_pid(mm, task):
    """The next number that is free, from the start again behind pid_max (idr_alloc_cyclic())."""
    tasks = tasks_of(mm)
    taken = tasks.taken
    if len(taken) >= tasks.pid_max - 1:
        tasks.error = "EAGAIN"
        return
    pid = tasks.last_pid
    while True:
        pid = pid + 1 if pid + 1 < tasks.pid_max else 1
        if pid not in taken:
            break
    taken.add(pid)
    tasks.last_pid = task.pid = pid


# ---- giving back


def put_shared(mm, shared):
    """One user less of an object; it is freed with the last. Whether it was."""
    shared.users -= 1
    if shared.users or not shared.address:
        return False
    kmem_cache_free(mm, shared.cache, shared.address)
    return True


def put_task_stack(mm, task):
    """release_task_stack(): counted out now unless do_exit() did (1a03d3f13ffe, 5.18)."""
    task.accounted = False
    stack, task.stack = task.stack, None
    free_thread_stack(mm, stack)


def exit_creds(mm, task):
    """put_cred(): with the last user, after a grace period of their own."""
    task.cred.users -= 1
    if task.cred.users == 0 and task.cred.address:
        call_rcu(mm, put_cred_rcu, task.cred)


def put_cred_rcu(mm, cred):
    """What security modules keep, then struct cred itself."""
    kfree(mm, cred.security)
    kmem_cache_free(mm, find_cache(mm, *CRED_CACHES), cred.address)


def free_delays(mm, task):
    """delayacct_tsk_free()."""
    if task.delays:
        kmem_cache_free(mm, find_cache(mm, "task_delay_info"), task.delays)


def free_task(mm, task):
    """A kernel thread's struct kthread, then the task_struct."""
    if task.kthread:
        kfree(mm, task.kthread)
    kmem_cache_free(mm, find_cache(mm, "task_struct"), task.address)
    tasks_of(mm).tasks.pop(task.address, None)


def undo_copy(mm, task):
    """copy_process() failed: what it had allocated goes back, the last first."""
    if task.pid_struct:
        kmem_cache_free(mm, find_cache(mm, "pid"), task.pid_struct)
    if task.mm is not None:
        gone, task.mm = task.mm, None
        mmput(mm, gone)
    for name in ("signal", "sighand", "fs", "files"):
        shared = getattr(task, name)
        if shared is not None:
            put_shared(mm, shared)
    if task.security:
        kfree(mm, task.security)
    free_delays(mm, task)
    if task.cred is not None:
        exit_creds(mm, task)
    put_task_stack(mm, task)
    call_rcu(mm, free_task, task)  # delayed_free_task(): CONFIG_MEMCG
