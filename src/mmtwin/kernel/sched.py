"""Tasks as the rest of a kernel knows them (include/linux/sched.h), and what waits for a grace
period.

fork.py makes them, exit.py gives their memory back, task_stack.py pushes their frames.
"""

from mmtwin.kernel.thread_stack import NR_CACHED_STACKS

MIN_THREADS = 20
FUTEX_TID_MASK = 0x3FFFFFFF
PID_MAX_DEFAULT = 0x8000  # include/linux/threads.h
PIDS_PER_CPU_DEFAULT = 1024


class Shared:
    """An object that tasks have in common: `users` of them hold it. `address` 0: not modelled,
    because it stands in the kernel's image.
    """

    def __init__(self, cache, address):
        self.cache = cache
        self.address = address
        self.users = 1
        self.security = 0  # struct cred: what security modules keep


class Task:
    """struct task_struct. `address`: of its object, 0 for the idle tasks, which lie in the image.

    `state`: running, sleeping, zombie (dead, not waited for), dead (released); `names`: functions
    that it is in, outermost first; `frames`: their frames on its stack.
    """

    def __init__(self, pid, comm, parent, flags, kernel):
        self.pid = pid
        self.tgid = pid
        self.comm = comm
        self.parent = parent
        self.flags = flags
        self.kernel = kernel
        self.state = "sleeping"
        self.address = 0
        self.stack = None
        self.accounted = False
        self.rcu_users = 2
        self.cred = self.files = self.fs = self.sighand = self.signal = self.mm = None
        self.active_mm = None  # of a dead task: what its CPU still has loaded
        self.vfork_parent = None  # who waits until it execs or exits
        self.security = self.delays = self.kthread = self.pid_struct = 0
        self.names = []
        self.frames = []
        self.sp = self.fp = self.pc = 0
        self.overflow = None  # bytes beyond the stack's end that a frame took: (low, high)


class Tasks:
    """All tasks of a machine: `tasks` by address, `taken` numbers, `current` and `idle` by CPU.

    `cached_stacks`: by CPU, two places each; `rcu`: callbacks that wait for a grace period;
    `text`: addresses of functions by name; `panic`: why the kernel stopped, else empty.
    `max_threads`, `pid_max`: as in /proc/sys/kernel; `error`: why the last fork failed.
    """

    def __init__(self, mm):
        self.tasks = {}
        self.taken = set()
        self.idle = [idle_task(cpu) for cpu in range(mm.nr_cpus)]
        self.current = list(self.idle)
        self.cached_stacks = [[None] * NR_CACHED_STACKS for _ in range(mm.nr_cpus)]
        self.rcu = []
        self.text = {}
        self.panic = ""
        self.last_pid = 0
        self.mm_ids = 0
        self.nr_threads = 0
        self.error = ""
        self.caches = {}
        self.pid_max = max(PID_MAX_DEFAULT, PIDS_PER_CPU_DEFAULT * mm.nr_cpus)
        self.max_threads = set_max_threads(mm)
        self.current[mm.cpu].names = mm.frames


def idle_task(cpu):
    """init_task and its like: the task of a CPU that has nothing to do."""
    task = Task(0, f"swapper/{cpu}", None, 0, True)
    task.state = "running"
    task.cred, task.files, task.fs = Shared(-1, 0), Shared(-1, 0), Shared(-1, 0)
    task.sighand, task.signal = Shared(-1, 0), Shared(-1, 0)
    return task


def tasks_of(mm):
    """The machine's tasks, made when they are first asked for: fork_init()."""
    if mm.tasks is None:
        mm.tasks = Tasks(mm)
    return mm.tasks


def current_task(mm):
    """`current` of the CPU that runs."""
    return tasks_of(mm).current[mm.cpu]


def set_max_threads(mm):
    """How many threads may be: their stacks take an eighth of the memory at most."""
    memory = int(mm.view("zone")["managed_pages"].sum()) << mm.page_shift
    threads = memory // (8 * mm.view("has")[0].thread_size)
    return min(max(threads, MIN_THREADS), FUTEX_TID_MASK)


def call_rcu(mm, function, *arguments):
    """`function(mm, *arguments)` is called after a grace period."""
    tasks_of(mm).rcu.append((function, *arguments))
