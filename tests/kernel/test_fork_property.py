"""Tasks in random order against a naive model and validate(), on kernels old and new."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mmtwin.kernel import exit as kernel_exit
from mmtwin.kernel import fork, sched, slub, task_stack
from mmtwin.kernel.task_check import validate
from mmtwin.kernel.thread_stack import kernel_stack_kb, read_stack
from mmtwin.machine.boot import boot_mm
from mmtwin.versions.profiles import profile

COMPILED = not (slub.__file__ or "").endswith(".py")
LONG = bool(os.environ.get("MMTWIN_LONG"))
RUNS, STEPS = (5000, 200) if LONG else (200, 50) if COMPILED else (6, 25)
PROFILES = ("x86_64-5.10", "x86_64-6.1", "arm64-5.13", "arm64-6.12")
FLAGS = {"process": 0, "thread": fork.CLONE_OF_THREAD, "kernel": fork.CLONE_OF_KTHREAD}


class Forks(RuleBasedStateMachine):
    """The model: {task: [(frame, its bytes)]} of the living, the zombies, KernelStack's sum."""

    @initialize(name=st.sampled_from(PROFILES), vmap=st.booleans(), cpus=st.sampled_from([1, 2]))
    def boot(self, name: str, vmap: bool, cpus: int) -> None:
        facts = profile(name).with_config(VMAP_STACK=vmap)
        self.mm = boot_mm(facts, "96M", cpus)
        self.frames: dict[sched.Task, list[tuple[task_stack.Frame, bytes]]] = {}
        self.zombies: list[sched.Task] = []
        self.counter = 0

    @rule(kind=st.sampled_from(sorted(FLAGS)))
    def fork(self, kind: str) -> None:
        task = fork.copy_process(self.mm, kind, FLAGS[kind], kind == "kernel")
        if task is not None:
            assert task not in self.frames
            self.frames[task] = []

    @precondition(lambda self: self.frames)
    @rule(data=st.data())
    def run(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(list(self.frames)))
        if task not in sched.tasks_of(self.mm).current:
            task_stack.run(self.mm, task)

    @rule(cpu=st.integers(0, 1))
    def run_on(self, cpu: int) -> None:
        self.mm.cpu = min(cpu, self.mm.nr_cpus - 1)
        self.mm.frames = sched.current_task(self.mm).names

    @rule(size=st.integers(1, 3000))
    def push(self, size: int) -> None:
        task = sched.current_task(self.mm)
        if task.stack is None or task.sp - size - 64 < task.stack.low:
            return
        frame = task_stack.push_frame(self.mm, task, f"f{size % 5}", {"buf": size})
        self.counter += 1
        data = bytes([self.counter % 255 + 1]) * size
        task_stack.write_stack(self.mm, task.stack, frame["buf"], data)
        self.frames[task].append((frame, data))

    @rule()
    def pop(self) -> None:
        task = sched.current_task(self.mm)
        if self.frames.get(task):
            task_stack.pop_frame(self.mm, task, self.frames[task].pop()[0])

    @precondition(lambda self: self.frames)
    @rule(data=st.data())
    def exit(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(list(self.frames)))
        here = sched.current_task(self.mm)
        if task in sched.tasks_of(self.mm).current and task is not here:
            return  # it runs on the other CPU
        kernel_exit.do_exit(self.mm, task)
        del self.frames[task]
        if task.state == "zombie":
            self.zombies.append(task)

    @precondition(lambda self: self.zombies)
    @rule()
    def wait(self) -> None:
        task = self.zombies.pop(0)
        if task.signal.users == 1:
            kernel_exit.reap_task(self.mm, task)
        else:
            self.zombies.append(task)

    @rule()
    def grace_period(self) -> None:
        kernel_exit.rcu_do_batch(self.mm)

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "mm"):
            return
        assert validate(self.mm) == []
        living = [t for t in sched.tasks_of(self.mm).tasks.values() if t.state in
                  ("running", "sleeping")]
        assert set(living) == set(self.frames)
        assert kernel_stack_kb(self.mm, 0) == 16 * len(living)
        for task, frames in self.frames.items():
            for frame, data in frames:
                assert read_stack(self.mm, task.stack, frame["buf"], len(data)) == data
            names = [frame.function for frame, _ in reversed(frames)]
            trace = task_stack.proc_pid_stack(self.mm, task).splitlines()
            assert [line.split()[1].split("+")[0] for line in trace][: len(names)] == names
        assert not self.mm.complaints


Forks.TestCase.settings = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestForks = Forks.TestCase
