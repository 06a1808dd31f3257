"""Tasks of a Machine: what a fork allocates and an exit frees, frames, overflows."""

import re

import pytest

from mmtwin import Machine

GUARDED = ("x86_64-5.10", "x86_64-6.1", "arm64-5.13", "arm64-6.12")
CONTIGUOUS = ("x86_64-5.10", "x86_64-6.1", "arm64-5.13")
# The kernels' own order of a fork, as recordings of 5.10 and 6.1 show it around task_newtask.
FORK_510 = ["task_struct", "cred_jar", "kmalloc-8", "task_delay_info", "kmalloc-64", "files_cache",
            "fs_cache", "sighand_cache", "signal_cache", "mm_struct", "pid"]
FORK_61 = ["task_struct", "cred_jar", "kmalloc-cg-16", "kmalloc-64", "files_cache", "fs_cache",
           "sighand_cache", "signal_cache", "mm_struct", "pid"]
KTHREAD_61 = ["task_struct", "cred_jar", "kmalloc-cg-16", "kmalloc-128", "kmalloc-64",
              "sighand_cache", "signal_cache", "pid"]
FREED_61 = ["pid", "kmalloc-64", "signal_cache", "task_struct"]


def contiguous(profile: str = "x86_64-6.1", memory: str = "128M") -> Machine:
    return Machine.boot(profile, memory=memory, VMAP_STACK=False)


def used(k: Machine, *steps: str) -> list[str]:
    """The caches of the objects that the trace ring tells of, a cache's aliases in its place."""
    names = []
    for name, _cpu, _depth, arguments in k.trace.read():
        if name in steps:
            pfn = k.virt_to_pfn(arguments[0] & (1 << 64) - 1)
            slab = k.page(k.page(pfn).head).slab
            names.append(slab["cache"] if slab else "pages")
    return names


def same_cache(k: Machine, names: list[str]) -> list[str]:
    return [k.cache(name).name for name in names]


@pytest.mark.parametrize(
    ("profile", "kernel", "expected"),
    [("x86_64-5.10", False, FORK_510), ("x86_64-6.1", False, FORK_61),
     ("x86_64-6.1", True, KTHREAD_61)],
)
def test_a_fork_allocates_as_the_recorded_kernels_do(
    profile: str, kernel: bool, expected: list[str]
) -> None:
    k = contiguous(profile)
    k.run(k.fork("init"))
    k.trace.start("kmem_cache_alloc", "kmalloc")
    assert k.fork("sh", kernel=kernel) is not None
    k.trace.stop()
    assert used(k, "kmem_cache_alloc", "kmalloc") == same_cache(k, expected)


def test_an_exit_frees_as_the_recorded_kernels_do() -> None:
    k = contiguous()
    init = k.fork("init")
    k.run(init)
    child = k.fork("sh")
    k.trace.start("kmem_cache_free", "kfree")
    k.exit(child)
    assert used(k, "kmem_cache_free", "kfree") == same_cache(
        k, ["files_cache", "fs_cache", "mm_struct"]
    )
    k.trace.start("kmem_cache_free", "kfree")
    k.wait(child)
    assert used(k, "kmem_cache_free", "kfree") == ["sighand_cache"]
    k.trace.start("kmem_cache_free", "kfree")
    k.synchronize_rcu()
    assert used(k, "kmem_cache_free", "kfree") == same_cache(k, FREED_61)
    k.trace.start("kmem_cache_free", "kfree")
    k.synchronize_rcu()
    assert used(k, "kmem_cache_free", "kfree") == same_cache(k, ["kmalloc-cg-16", "cred_jar"])
    assert k.tasks == [init]
    assert k.validate() == []


def test_threads_share_what_processes_do_not() -> None:
    k = contiguous()
    k.run(k.fork("sh"))
    before = k.cache("mm_struct").number
    leader = k.current
    thread = k.fork("sh", thread=True)
    assert thread is not None
    for name in ("mm", "files", "fs", "sighand", "signal", "cred"):
        assert getattr(thread.task, name) is getattr(leader.task, name)
    assert thread.stack != leader.stack
    k.exit(leader)
    k.exit(thread)
    assert (leader.state, thread.state) == ("dead", "dead")
    while k.synchronize_rcu():
        assert k.validate() == []
    assert k.tasks == []
    assert int(k.mm.view("cache_node")[before]["nr_slabs"]) <= 1


def test_kernel_stack_counts_the_living() -> None:
    def counted() -> int:
        return int(re.findall(r"KernelStack: +(\d+) kB", k.proc["meminfo"].decode())[0])

    k = contiguous("x86_64-5.10")
    assert counted() == 0
    tasks = [k.fork(f"t{i}") for i in range(3)]
    assert counted() == 48
    assert b"nr_kernel_stack 48" in k.proc["vmstat"]
    k.exit(tasks[1])
    assert counted() == 32


@pytest.mark.parametrize(("profile", "kept"), [("x86_64-5.10", 16), ("x86_64-6.1", 0)])
def test_the_real_time_patch_keeps_a_stack_as_long_as_the_task(profile: str, kept: int) -> None:
    def counted() -> int:
        return int(re.findall(r"KernelStack: +(\d+) kB", k.proc["meminfo"].decode())[0])

    k = Machine.boot(profile, memory="128M", PREEMPT_RT=True)
    task = k.fork("sh", kernel=True)  # nobody waits for it
    k.exit(task)
    assert counted() == kept  # until its grace period is over
    while k.synchronize_rcu():
        assert k.validate() == []
    assert (counted(), k.tasks) == (0, [])


def test_a_contiguous_stack_is_a_block_of_pages() -> None:
    k = contiguous("arm64-5.13")
    task = k.fork()
    pages = task.stack_pages
    assert pages == list(range(pages[0], pages[0] + 4)) and pages[0] % 4 == 0
    assert {k.page(pfn).use for pfn in pages} == {"stack"}
    assert task.stack.start == k.page_address(pages[0])
    assert k.read(task.stack.start, 8) == (0x57AC6E9D).to_bytes(8, "little")
    k.exit(task)
    k.drop_cached_stacks()  # of those that are mapped only
    while k.synchronize_rcu():
        pass
    assert k.page(pages[0]).use == "free"


def test_a_stack_smaller_than_a_page_is_an_object() -> None:
    k = Machine.boot("arm64-64k-6.1", memory="1G", VMAP_STACK=False)
    task = k.fork()
    assert len(task.stack) == 16384
    assert k.page(task.stack_pages[0]).slab["cache"] == "thread_stack"
    k.exit(task)
    while k.synchronize_rcu():
        pass
    assert k.validate() == []


@pytest.mark.parametrize("profile", CONTIGUOUS)
def test_frames_lie_on_the_stack_in_real_bytes(profile: str) -> None:
    k = contiguous(profile)
    task = k.fork("modprobe")
    top = task.sp
    with task.frame("driver_probe", {"buf": 256, "flag": 1}) as frame:
        assert k.current == task
        assert k.mm.frames == ["driver_probe"]
        assert task.sp % 16 == 0 and task.sp <= frame["buf"]
        assert frame["buf"] + 256 <= top
        assert frame["flag"] not in range(frame["buf"], frame["buf"] + 256)
        k.write(frame["buf"], b"x" * 256)
        with k.frame("helper"):
            assert task.depth > 256 and task.deepest >= 256
            lines = task.stack_trace().splitlines()
            assert [line.split("+")[0] for line in lines] == [
                "[<0>] helper", "[<0>] driver_probe", "[<0>] ret_from_fork"
            ]
            assert re.fullmatch(r"\[<0>\] helper\+0x[0-9a-f]+/0x[0-9a-f]+", lines[0])
        assert k.read(frame["buf"], 256) == b"x" * 256
    assert task.sp == top and k.mm.frames == []
    assert task.deepest >= 256  # what was written stays
    assert k.validate() == []


def functions(lines: list[str]) -> list[str]:
    return [line.split()[1].split("+")[0] for line in lines]


@pytest.mark.parametrize(
    ("profile", "refill", "free", "lazy"),
    [("x86_64-5.10", ["get_page_from_freelist", "__alloc_pages_nodemask"],
      ["free_unref_page", "__free_pages"], ["remove_vm_area", "__vunmap", "vfree"]),
     ("x86_64-6.12", ["__rmqueue_pcplist", "get_page_from_freelist", "__alloc_pages_noprof"],
      ["free_unref_page", "__free_pages"], ["remove_vm_area", "vfree"]),
     ("x86_64-7.3",
      ["__rmqueue_pcplist", "get_page_from_freelist", "__alloc_frozen_pages_noprof"],
      ["__free_frozen_pages", "___free_pages", "__free_pages"], ["remove_vm_area", "vfree"])],
)  # fmt: skip
def test_the_functions_are_those_of_the_release(
    profile: str, refill: list[str], free: list[str], lazy: list[str]
) -> None:
    k = Machine.boot(profile, memory="128M")
    task = k.fork("cat")
    for tracepoint, expected in (
        ("mm_page_alloc_extfrag", refill), ("mm_page_free", free),
        ("free_vmap_area_noflush", ["free_vmap_area_noflush", *lazy]),
    ):  # fmt: skip
        lines = task.stack_trace(tracepoint).splitlines()
        assert functions(lines) == [*expected, "ret_from_fork"]
    assert k.validate() == []


@pytest.mark.parametrize("vmap_stack", [True, False])
def test_a_stack_at_a_tracepoint(vmap_stack: bool) -> None:
    k = Machine.boot("x86_64-6.1", memory="128M", VMAP_STACK=vmap_stack)
    task = k.fork("cat")
    with task.frame("seq_read+0x1f/0x90"):
        depth = task.depth
        lines = task.stack_trace("mm_page_alloc_zone_locked").splitlines()
        assert functions(lines) == [
            "rmqueue_bulk", "get_page_from_freelist", "__alloc_pages", "seq_read", "ret_from_fork"
        ]
        assert lines[3] == "[<0>] seq_read+0x1f/0x90"
        assert task.depth == depth < task.deepest
        assert task.stack_trace().splitlines() == lines[3:]
        with pytest.raises(ValueError, match="no tracepoint 'x'"):
            task.stack_trace("x")
    assert k.validate() == []


def test_frames_belong_to_the_task_that_runs() -> None:
    k = contiguous()
    first, second = k.fork("a"), k.fork("b")
    with first.frame("one"):
        k.run(second)
        assert k.mm.frames == []
        with second.frame("two"):
            assert k.mm.frames == ["two"]
            assert "one" in first.stack_trace() and "one" not in second.stack_trace()
        k.run(first)
        assert k.mm.frames == ["one"]


@pytest.mark.parametrize("profile", CONTIGUOUS)
def test_an_overflow_without_a_guard_page_hits_the_neighbour(profile: str) -> None:
    k = contiguous(profile)
    tasks = [k.fork(f"t{i}") for i in range(8)]
    by_end = {task.stack.stop: task for task in tasks}
    victim, task = next((by_end[t.stack.start], t) for t in tasks if t.stack.start in by_end)
    before = k.read(victim.stack.start, len(victim.stack))
    with task.frame("recursion", {"table": len(task.stack)}):
        assert task.state == "running"
        assert any(f"the stack of task {victim.pid} ({victim.comm})" == hit for hit in task.hit)
    assert k.read(victim.stack.start, len(victim.stack)) != before
    assert k.complaints == []


def test_what_an_overflow_hits_is_named() -> None:
    k = contiguous()
    known = re.compile(
        r"the stack of task \d+ \(t\d+\)|[\w-]+: object 0x[0-9a-f]+, (in use|free)"
        r"|padding of a slab of [\w-]+|page 0x[0-9a-f]+: .+"
    )
    hits: set[str] = set()
    for task in [k.fork(f"t{i}") for i in range(6)]:
        with task.frame("deep", {"buf": 17000}):
            assert task.hit and all(known.fullmatch(hit) for hit in task.hit), task.hit
            hits.update(hit.split()[0] for hit in task.hit)
    assert len(hits) > 1


def test_the_magic_at_the_end_is_looked_at_when_another_task_runs() -> None:
    k = contiguous()
    task = k.fork("broken")
    k.run(task)
    with task.frame("deep", {"buf": 16000}) as frame:
        k.write(task.stack.start, b"\0" * 16)
        assert frame["buf"] > task.stack.start
    assert k.panic == ""
    k.run(k.fork("next"))
    assert k.panic == "corrupted stack end detected inside scheduler"
    assert k.complaints[-1].name == "STACK_END"
    assert k.complaints[-1].report.startswith("Kernel panic - not syncing: corrupted stack end")


def test_fork_fails_as_the_kernel_does() -> None:
    k = contiguous(memory="64M")
    tasks = k.mm.tasks or k.tasks or k.mm.tasks
    tasks.max_threads = 2
    assert k.fork() and k.fork()
    assert k.fork() is None
    assert k.fork_error == "EAGAIN"
    tasks.max_threads, tasks.pid_max = 1 << 20, 4
    assert k.fork() is not None
    assert k.fork() is None
    assert k.fork_error == "EAGAIN"
    tasks.pid_max = 1 << 20
    while k.fork():
        pass
    assert k.fork_error == "ENOMEM"
    k.synchronize_rcu()
    assert k.validate() == []


def test_what_cannot_be_asked_of_a_task() -> None:
    k = contiguous()
    task = k.fork()
    with pytest.raises(ValueError, match="has no stack"), k.current.frame("f"):
        pass
    with pytest.raises(ValueError, match="variable buf of 0 bytes"), task.frame("f", {"buf": 0}):
        pass
    with pytest.raises(ValueError, match="is no symbol"), task.frame("a b"):
        pass
    with pytest.raises(ValueError, match="cannot be waited for"):
        k.wait(task)
    k.exit(task)
    with pytest.raises(ValueError, match="dead or idle"):
        k.exit(task)
    with pytest.raises(ValueError, match="is dead"):
        k.run(task)


@pytest.mark.parametrize("profile", GUARDED)
def test_a_mapped_stack_takes_pages_from_anywhere(profile: str) -> None:
    k = Machine.boot(profile, memory="128M")
    holes = [k.alloc_pages(0) for _ in range(64)]
    for page in holes[::2]:
        k.free_pages(page)
    task = k.fork("sh")
    assert len(task.stack) == 16384 and len(task.stack_pages) == 4
    assert task.stack.start % (32768 if profile.startswith("arm64") else 16384) == 0
    assert k.mm.vmalloc_start <= task.stack.start < k.mm.vmalloc_end
    assert k.read(task.stack.start, 8) == (0x57AC6E9D).to_bytes(8, "little")
    with pytest.raises(ValueError, match=r"page fault|direct map"):
        k.read(task.stack.start - 8, 8)
    assert f"{task.stack.start:#x}-".encode() in k.proc["vmallocinfo"]
    assert k.validate() == []


def test_a_cpu_keeps_two_stacks() -> None:
    k = Machine.boot("x86_64-6.1", memory="128M", cpus=2)
    tasks = [k.fork(f"t{i}") for i in range(4)]
    starts = [task.stack.start for task in tasks]
    k.write(starts[0] + 100, b"old")
    for task in tasks:
        k.exit(task)
    kept = k.mm.tasks.cached_stacks[0]
    assert [stack.low for stack in kept] == starts[:2]
    k.synchronize_rcu()  # both places are taken still: the other two go
    with pytest.raises(ValueError, match=r"page fault|direct map"):
        k.read(starts[2], 8)
    k.cpu = 1
    assert k.fork("elsewhere").stack.start not in starts[:2]
    k.cpu = 0
    again = k.fork("again")
    assert again.stack.start == starts[0]
    assert k.read(starts[0] + 100, 3) == bytes(3)
    k.drop_cached_stacks()
    with pytest.raises(ValueError, match=r"page fault|direct map"):
        k.read(starts[1], 8)
    assert k.validate() == []


def test_a_grace_period_may_fill_a_cpus_place() -> None:
    k = Machine.boot("x86_64-6.1", memory="128M")
    tasks = [k.fork(f"t{i}") for i in range(3)]
    starts = [task.stack.start for task in tasks]
    for task in tasks:
        k.exit(task)
    assert k.fork("a").stack.start == starts[0]
    k.synchronize_rcu()
    assert [stack.low for stack in k.mm.tasks.cached_stacks[0]] == [starts[2], starts[1]]


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("x86_64-5.10", "BUG: stack guard page was hit at "),
        ("x86_64-6.1", "BUG: TASK stack guard page was hit at "),
        ("arm64-5.13", "Insufficient stack space to handle exception!"),
        ("arm64-6.12", "Insufficient stack space to handle exception!"),
    ],
)
def test_the_guard_page_catches_an_overflow(profile: str, words: str) -> None:
    k = Machine.boot(profile, memory="128M")
    task, other = k.fork("recursive"), k.fork("other")
    stack = task.stack
    before = k.read(other.stack.start, len(other.stack))
    with task.frame("sys_ioctl", {"arg": 64}), task.frame("driver_ioctl", {"table": 16100}):
        assert task.state == "dead" or task.state == "zombie"
    report = k.complaints[-1].report
    assert report.startswith(words)
    assert f"PID: {task.pid} Comm: recursive" in report
    assert report.index("driver_ioctl") < report.index("sys_ioctl")
    if profile.startswith("arm64"):
        assert k.panic == "kernel stack overflow"
        assert f"Task stack:     [{stack.start:#018x}..{stack.stop:#018x}]" in report
    assert k.current != task and task.stack is None
    assert k.read(other.stack.start, len(other.stack)) == before
    assert k.validate() == []


@pytest.mark.parametrize("profile", GUARDED)
def test_a_frame_larger_than_the_stack_is_a_dead_task(profile: str) -> None:
    k = Machine.boot(profile, memory="128M")
    task = k.fork("huge")
    with task.frame("monster", {"buf": 1 << 20}) as frame:
        assert frame["buf"] < task.sp
    assert task.state == "dead" or task.state == "zombie"
    assert k.complaints[-1].name == "STACK_OVERFLOW"
    assert k.validate() == []


def test_a_large_frame_may_reach_over_the_guard_page() -> None:
    k = Machine.boot("x86_64-6.1", memory="128M")
    tasks = sorted((k.fork(f"t{i}") for i in range(3)), key=lambda task: task.stack.start)
    below, task = tasks[0], tasks[1]
    gap = task.stack.start - below.stack.stop
    with task.frame("monster", {"buf": len(task.stack) + gap + 4096}):
        assert task.state == "running"
        assert f"the stack of task {below.pid} ({below.comm})" in task.hit
    assert k.complaints == []
