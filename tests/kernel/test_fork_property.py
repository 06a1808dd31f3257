"""Tasks in random order against a naive model and validate(), on kernels old and new."""

from any_steps import Step, any_steps

from mmtwin.kernel import exit as kernel_exit
from mmtwin.kernel import fork, sched, task_stack
from mmtwin.kernel.task_check import validate
from mmtwin.kernel.thread_stack import kernel_stack_kb, read_stack
from mmtwin.machine.boot import boot_mm
from mmtwin.versions.profiles import profile

PROFILES = ("x86_64-5.10", "x86_64-6.1", "arm64-5.13", "arm64-6.12")
FLAGS = {"process": 0, "thread": fork.CLONE_OF_THREAD, "kernel": fork.CLONE_OF_KTHREAD}


KINDS = tuple(sorted(FLAGS))
CALLS = ("fork", "fork", "run", "run_on", "push", "push", "pop", "exit", "wait", "grace_period")


class Forks:
    """The model: {task: [(frame, its bytes)]} of the living, the zombies, KernelStack's sum."""

    def __init__(self, number: int) -> None:
        facts = profile(PROFILES[number % 4]).with_config(VMAP_STACK=bool(number // 4 % 2))
        self.mm = boot_mm(facts, "96M", 1 + number // 8 % 2)
        self.frames: dict[sched.Task, list[tuple[task_stack.Frame, bytes]]] = {}
        self.zombies: list[sched.Task] = []
        self.counter = 0

    def fork(self, one: int, two: int) -> None:
        kind = KINDS[one % len(KINDS)]
        task = fork.copy_process(self.mm, kind, FLAGS[kind], kind == "kernel")
        if task is not None:
            assert task not in self.frames
            self.frames[task] = []

    def run(self, one: int, two: int) -> None:
        if not self.frames:
            return
        task = list(self.frames)[one % len(self.frames)]
        if task not in sched.tasks_of(self.mm).current:
            task_stack.run(self.mm, task)

    def run_on(self, one: int, two: int) -> None:
        self.mm.cpu = one % self.mm.nr_cpus
        self.mm.frames = sched.current_task(self.mm).names

    def push(self, one: int, two: int) -> None:
        task, size = sched.current_task(self.mm), one % 3000 + 1
        if task.stack is None or task.sp - size - 64 < task.stack.low:
            return
        frame = task_stack.push_frame(self.mm, task, f"f{size % 5}", {"buf": size})
        self.counter += 1
        data = bytes([self.counter % 255 + 1]) * size
        task_stack.write_stack(self.mm, task.stack, frame["buf"], data)
        self.frames[task].append((frame, data))

    def pop(self, one: int, two: int) -> None:
        task = sched.current_task(self.mm)
        if self.frames.get(task):
            task_stack.pop_frame(self.mm, task, self.frames[task].pop()[0])

    def exit(self, one: int, two: int) -> None:
        if not self.frames:
            return
        task = list(self.frames)[one % len(self.frames)]
        here = sched.current_task(self.mm)
        if task in sched.tasks_of(self.mm).current and task is not here:
            return  # it runs on the other CPU
        self.bytes_stay(task)
        kernel_exit.do_exit(self.mm, task)
        del self.frames[task]
        if task.state == "zombie":
            self.zombies.append(task)

    def wait(self, one: int, two: int) -> None:
        if not self.zombies:
            return
        task = self.zombies.pop(0)
        if task.signal.users == 1:
            kernel_exit.reap_task(self.mm, task)
        else:
            self.zombies.append(task)

    def grace_period(self, one: int, two: int) -> None:
        kernel_exit.rcu_do_batch(self.mm)

    def bytes_stay(self, task: sched.Task) -> None:
        """A task's frames hold what was written, and /proc/PID/stack names their functions."""
        frames = self.frames[task]
        for frame, data in frames:
            assert read_stack(self.mm, task.stack, frame["buf"], len(data)) == data
        names = [frame.function for frame, _ in reversed(frames)]
        trace = task_stack.proc_pid_stack(self.mm, task).splitlines()
        assert [line.split()[1].split("+")[0] for line in trace][: len(names)] == names

    def counts_agree(self) -> None:
        """Who lives, and KernelStack."""
        living = [t for t in sched.tasks_of(self.mm).tasks.values() if t.state in
                  ("running", "sleeping")]
        assert set(living) == set(self.frames)
        assert kernel_stack_kb(self.mm, 0) == 16 * len(living)


@any_steps(CALLS)
def test_tasks_are_what_the_model_says(number: int, steps: list[Step]) -> None:
    forks = Forks(number)
    for place, (what, one, two) in enumerate(steps):
        getattr(forks, what)(one, two)
        forks.counts_agree()
        if place % 16 == 15:
            assert validate(forks.mm) == []
    for task in forks.frames:
        forks.bytes_stay(task)
    assert validate(forks.mm) == []
    assert not forks.mm.complaints
