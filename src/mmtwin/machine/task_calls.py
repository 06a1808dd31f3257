"""A Machine's tasks: fork and exit, their kernel stacks, the frames on them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmtwin.kernel import sched, task_stack
from mmtwin.kernel.mm import MM
from mmtwin.kernel.thread_stack import free_vm_stack_cache
from mmtwin.machine.arguments import Checked
from mmtwin.machine.calls import Calls
from mmtwin.machine.html import html_table
from mmtwin.machine.owners import owners


class TaskView(Checked):
    """A task of a machine, as it is now: `pid`, `comm`, `state`, `stack` and what lies on it."""

    def __init__(self, mm: MM, task: Any) -> None:
        self._mm = mm
        self.task = task

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskView) and other.task is self.task

    def __hash__(self) -> int:
        return id(self.task)

    @property
    def pid(self) -> int:
        """Its number; 0 for an idle task."""
        return int(self.task.pid)

    @property
    def comm(self) -> str:
        """Its name."""
        return str(self.task.comm)

    @property
    def state(self) -> str:
        """running, sleeping, zombie (dead, but not waited for) or dead."""
        return str(self.task.state)

    @property
    def address(self) -> int:
        """Of its task_struct, 0 for an idle task, whose structure lies in the kernel's image."""
        return int(self.task.address)

    @property
    def stack(self) -> range | None:
        """The addresses of its kernel stack, lowest first; None for an idle task or a dead one."""
        stack = self.task.stack
        return range(stack.low, stack.low + stack.size) if stack else None

    @property
    def stack_pages(self) -> list[int]:
        """pfns of its stack's pages, lowest address first."""
        return [int(pfn) for pfn in self.task.stack.pages] if self.task.stack else []

    @property
    def sp(self) -> int:
        """The stack pointer."""
        return int(self.task.sp)

    @property
    def depth(self) -> int:
        """Bytes between the top of the stack and the stack pointer."""
        return self.stack.stop - self.sp if self.stack else 0

    @property
    def deepest(self) -> int:
        """Bytes of the stack that were ever used, by what is written on it: its size less
        stack_not_used().
        """
        if not self.task.stack:
            return 0
        return int(self.task.stack.size - task_stack.stack_not_used(self._mm, self.task))

    @property
    def hit(self) -> list[str]:
        """What its frames beyond the end of its stack lie on, if it ran over and lives."""
        if not self.task.overflow or not self.task.stack:
            return []
        return owners(self._mm, *self.task.overflow)

    @contextmanager
    def frame(
        self, function: str, locals: Mapping[str, int] | None = None
    ) -> Iterator[task_stack.Frame]:
        """The task runs and calls `function`, which has automatic variables of these sizes in
        bytes; it returns at the end of the block.

        The Frame gives the variables' addresses: `frame["buf"]`. A frame that the stack cannot
        hold is the kernel's matter: see `Machine.complaints` and `state`.
        """
        if self.task.stack is None:
            raise ValueError(f"{self!r} has no stack")
        task_stack.run(self._mm, self.task)
        frame = task_stack.push_frame(self._mm, self.task, function, locals or {})
        try:
            yield frame
        finally:
            task_stack.pop_frame(self._mm, self.task, frame)

    def stack_trace(self, tracepoint: str = "") -> str:
        """/proc/PID/stack; with a `tracepoint` (`"mm_page_alloc"`) as if the task stood there."""
        return str(task_stack.proc_pid_stack(self._mm, self.task, tracepoint))

    def _repr_html_(self) -> str:
        stack = self.stack
        return html_table(f"Task {self.pid} {self.comm}", [
            ("state", self.state), ("task_struct", f"{self.address:#x}"),
            ("stack", f"{stack.start:#x}-{stack.stop:#x}" if stack else "none"),
            ("depth", self.depth), ("deepest", self.deepest),
        ])  # fmt: skip

    def __repr__(self) -> str:
        return f"<Task {self.pid} {self.comm} {self.state}>"


class TaskCalls(Calls):
    """fork(), exit(), wait() and their like."""

    def fork(
        self, comm: str = "task", thread: bool = False, kernel: bool = False
    ) -> TaskView | None:
        """A new task, child of the one that runs: a process, or a thread of it (`thread`), or a
        kernel thread. None if memory or numbers are lacking; `fork_error` then says which.
        """
        from mmtwin.kernel import fork  # with all that processes have: it takes 0.03 s

        flags = fork.CLONE_OF_THREAD if thread else fork.CLONE_OF_KTHREAD if kernel else 0
        task = fork.copy_process(self.mm, comm, flags, kernel)
        return None if task is None else TaskView(self.mm, task)

    @property
    def fork_error(self) -> str:
        """Why the last fork gave nothing: ENOMEM or EAGAIN; empty if it did."""
        return str(sched.tasks_of(self.mm).error)

    def exit(self, task: TaskView) -> None:
        """The task runs and ends; then the CPU is idle. do_exit()."""
        from mmtwin.kernel import exit as kernel_exit

        self._living(task)
        kernel_exit.do_exit(self.mm, task.task)

    def wait(self, task: TaskView) -> None:
        """The parent waits for a zombie. reap_task(). Raises ValueError if it is none, or if
        threads of it still live.
        """
        from mmtwin.kernel import exit as kernel_exit

        if task.state != "zombie" or task.task.signal.users > 1:
            raise ValueError(f"{task!r} cannot be waited for")
        kernel_exit.reap_task(self.mm, task.task)

    def run(self, task: TaskView) -> None:
        """The task runs on this CPU from now on. schedule()."""
        task_stack.run(self.mm, task.task)

    def synchronize_rcu(self) -> int:
        """A grace period passes: what waits for it is freed. How many callbacks there were."""
        from mmtwin.kernel import exit as kernel_exit

        return int(kernel_exit.rcu_do_batch(self.mm))

    def drop_cached_stacks(self) -> None:
        """The CPU goes offline as far as its kept stacks go. free_vm_stack_cache()."""
        sched.tasks_of(self.mm)
        free_vm_stack_cache(self.mm, self.mm.cpu)

    @property
    def current(self) -> TaskView:
        """The task that runs on this CPU."""
        return TaskView(self.mm, sched.current_task(self.mm))

    @property
    def tasks(self) -> list[TaskView]:
        """All tasks but the idle ones, oldest first; dead ones until RCU has freed them."""
        return [TaskView(self.mm, task) for task in sched.tasks_of(self.mm).tasks.values()]

    @property
    def panic(self) -> str:
        """Why the kernel stopped, or an empty text."""
        return str(sched.tasks_of(self.mm).panic)

    @contextmanager
    def frame(self, function: str) -> Iterator[None]:
        """What is called inside is called by `function`, a symbol as reports print it. A task
        that has a stack gets a frame on it.
        """
        current = self.current
        if current.task.stack is None:
            with super().frame(function):
                yield
            return
        with current.frame(function):
            yield

    def _living(self, task: TaskView) -> None:
        if task.state in ("zombie", "dead") or task.task.stack is None:
            raise ValueError(f"{task!r} cannot end: it is dead or idle")
