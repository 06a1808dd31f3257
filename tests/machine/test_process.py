"""Processes driven by hand: memory, fork, exit, malloc, frames."""

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtwin import Machine
from mmtwin.kernel.mman import MADV_DONTFORK, MADV_DONTNEED, MADV_WIPEONFORK, MS_SYNC
from mmtwin.machine.elf_image import elf_image
from mmtwin.machine.process import Killed

PROFILES = ("x86_64-5.10", "x86_64-6.1", "x86_64-6.18", "arm64-6.1", "arm64-16k-6.12")


def machine(profile="x86_64-6.1", memory="128M"):
    return Machine.boot(profile, memory=memory)


def program(k, name="program", **facts):
    arch = "arm64" if k.profile.arch == "arm64" else "x86_64"
    return k.exec(elf_image(arch, **facts), [name])


@pytest.fixture
def p():
    return program(machine())


def free_pages(k):
    return sum(int(zone["nr_free_pages"]) for zone in k.mm.view("zone"))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_life(profile):
    k = machine(profile)
    p = program(k, bss=100_000)
    page = 1 << k.mm.page_shift
    assert p.alive and p.comm == "program" and p.validate() == []
    block = p.malloc(3 * page)
    p.write(block, b"x" * 3 * page)
    child = p.fork()
    assert child.page(block) == p.page(block) >= 0
    child.write(block, b"y")
    assert (p.read(block, 2), child.read(block, 2)) == (b"xx", b"yx")
    assert child.minor_faults == 1
    assert k.validate() == []
    child.exit()
    p.free(block)
    assert k.validate() == [] and not child.alive
    k.wait(child.task)
    p.exit()
    k.synchronize_rcu()
    assert k.validate() == []
    assert [task for task in k.tasks if task.state != "zombie"] == []


def test_all_memory_comes_back():
    k = machine()
    warm = program(k)
    warm.exit()
    k.synchronize_rcu()
    before = free_pages(k)
    for _ in range(4):
        p = program(k)
        area = p.mmap(400 << 12)
        p.write(area, bytes([1]) * (400 << 12))
        p.fork().exit()
        p.exit()
        k.synchronize_rcu()
    assert before - free_pages(k) < 200


def test_zero_page_then_own_page(p):
    area = p.mmap(8 << 12)
    pages = [area + (number << 12) for number in range(8)]
    assert [p.touch(address, write=False) for address in pages] == [1] * 8
    assert len({p.page(address) for address in pages}) == 1
    assert [p.touch(address, write=False) for address in pages] == [0] * 8
    assert [p.touch(address) for address in pages] == [1] * 8
    assert len({p.page(address) for address in pages}) == 8
    p.madvise(area, 4 << 12, MADV_DONTNEED)
    assert [p.page(address) >= 0 for address in pages] == [False] * 4 + [True] * 4


def test_which_pages_are_in_memory(p):
    area = p.mmap(4 << 12)
    p.write(area + 4096, b"x")
    assert p.mincore(area, 4 << 12) == bytes([0, 1, 0, 0])
    p.msync(area, 4 << 12, MS_SYNC)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        p.msync(1 << 40, 4096, MS_SYNC)


def test_errors_are_the_kernels(p):
    for number, call in (
        (errno.EINVAL, lambda: p.mmap(0)),
        (errno.ENOMEM, lambda: p.mmap(1 << 50)),
        (errno.EINVAL, lambda: p.munmap(1, 4096)),
        (errno.ENOMEM, lambda: p.mprotect(0x10000000, 4096, "r")),
        (errno.EFAULT, lambda: p.mremap(0x10000000, 4096, 8192)),
        (errno.ENOMEM, lambda: p.sbrk(1 << 46)),
        (errno.EINVAL, lambda: p.mincore(1, 4096)),
        (errno.EINVAL, lambda: p.msync(0, 4096, 8)),
    ):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == number
    with pytest.raises(ValueError, match="letters of rwx"):
        p.mmap(4096, "rq")
    with pytest.raises(OSError, match="No such file"):
        p.machine.tasks and Machine.boot(memory="64M").exec("/none/such")


@pytest.mark.parametrize(
    ("access", "signal"),
    [
        (lambda p: p.touch(0), "SIGSEGV"),
        (lambda p: p.touch(p.mm.start_code), "SIGSEGV"),
        (lambda p: p.read(1 << 60, 1), "SIGSEGV"),
        (lambda p: p.touch(p.mm.start_data, write=False, execute=True), "SIGSEGV"),
        (lambda p: p.touch(p.mmap(4096, "-"), write=False), "SIGSEGV"),
    ],
)
def test_what_may_not_be_touched_kills(p, access, signal):
    with pytest.raises(Killed, match=signal):
        access(p)
    assert not p.alive and p.killed_by == signal and signal in repr(p)
    with pytest.raises(ValueError, match="dead"):
        p.malloc(100_000_000) and p.maps


def test_fork_leaves_and_wipes(p):
    area = p.mmap(2 << 12)
    p.write(area, b"a" * (2 << 12))
    kept = p.mmap(1 << 12)
    p.write(kept, b"k")
    p.madvise(area, 1 << 12, MADV_WIPEONFORK)
    p.madvise(area + 4096, 1 << 12, MADV_DONTFORK)
    child = p.fork()
    assert child.read(area, 3) == b"\0\0\0"
    assert child.read(kept, 1) == b"k"
    with pytest.raises(Killed):
        child.read(area + 4096, 1)
    assert p.read(area, 1) == b"a"


def test_threads_and_vfork_share(p):
    thread = p.fork(thread=True)
    block = p.malloc(100)
    p.write(block, b"shared")
    assert thread.read(block, 6) == b"shared" and thread.mm is p.mm
    assert p.mm.users == 2
    child = p.fork(vfork=True)
    assert child.mm is p.mm and child.task.task.vfork_parent is p.task.task
    child.exec(elf_image(), ["other"])
    assert child.mm is not p.mm and child.task.task.vfork_parent is None
    assert child.comm == "program"  # of the file's name
    thread.exit()
    assert p.mm.users == 1 and p.read(block, 6) == b"shared"


def test_locked_memory_is_not_locked_in_the_child(p):
    area = p.mmap(4 << 12)
    p.mlock(area, 4 << 12)
    assert p.mm.locked_vm == 4 and p.page(area) >= 0
    child = p.fork()
    assert child.mm.locked_vm == 0 and p.mm.locked_vm == 4
    assert child.validate() == []
    p.munlock(area, 4 << 12)
    assert p.mm.locked_vm == 0


def test_calls_keep_bytes(p):
    area = p.mmap(2 << 12)
    p.write(area, b"abc")
    area = p.mremap(area, 2 << 12, 64 << 12)
    assert p.read(area, 3) == b"abc"
    p.mprotect(area, 1 << 12, "r")
    assert p.read(area, 3) == b"abc"
    end = p.sbrk(10_000)
    p.write(end, b"heap")
    assert p.brk() == end + 10_000
    p.munmap(area, 64 << 12)
    with pytest.raises(Killed):
        p.read(area, 1)


def test_frames(p):
    start = p.sp
    with p.frame("main", small=8, buffer=1000) as frame:
        assert frame["small"] > frame["buffer"] >= frame.sp and frame.sp % 16 == 0
        with frame.vla(5000) as array:
            below = frame.alloca(100)
            assert below < array
        assert frame.sp > array
        first = frame.alloca(10)
        with p.frame("called") as inner:
            assert inner.high == first and inner.sp < first
        assert frame.size == start - first
        with pytest.raises(ValueError, match="alloca"):
            frame.alloca(-1)
        child = p.fork()
        assert child.alloca(16) == p.sp - 16 == p.alloca(16)
    assert p.sp == start
    with pytest.raises(ValueError, match="belongs to a function"):
        p.alloca(1)


def test_alloca_in_a_loop_meets_the_limit_and_an_array_does_not():
    k = machine()
    p = k.exec(elf_image(), rlimits={"STACK": 1 << 20})
    with p.frame() as frame:
        for _ in range(200):
            with frame.vla(8192) as array:
                p.touch(array)
    turns = 0
    with pytest.raises(Killed, match="SIGSEGV"), p.frame() as frame:
        while True:
            p.touch(frame.alloca(8192))
            turns += 1
    assert 120 < turns < 128


def test_calloc_is_zero_where_memory_was_used(p):
    block = p.malloc(5000)
    p.write(block, b"x" * 5000)
    p.free(block)
    again = p.calloc(1, 5000)
    assert again == block and p.read(again, 5000) == bytes(5000)
    fresh = p.calloc(10, 10_000)
    assert p.read(fresh, 100_000) == bytes(100_000)


def test_realloc_keeps_bytes(p):
    block = p.malloc(50)
    p.write(block, b"kept")
    for size in (5000, 300_000, 2_000_000, 100):
        block = p.realloc(block, size)
        assert p.read(block, 4) == b"kept"
    assert p.memalign(4096, 100) % 4096 == 0


def test_child_has_its_own_heap(p):
    block = p.malloc(1000)
    child = p.fork()
    child.free(block)
    assert child.malloc(1000) == block
    assert p.malloc(1000) != block
    assert child.libc.system.process is child


def test_checksum_tells_processes():
    sums = set()
    for size in (100, 100, 200_000):
        k = machine()
        program(k).malloc(size)
        sums.add(k.checksum())
    assert len(sums) == 2


def test_host_programs_run():
    k = machine()
    p = k.exec("/bin/sh", ["sh", "-c", "true"])
    assert "/ld-linux" in p.maps and "[stack]" in p.maps
    with pytest.raises(OSError) as caught:
        k.exec("/etc")
    assert caught.value.errno == errno.EACCES
    with pytest.raises(ValueError, match="limit"):
        k.exec("/bin/sh", rlimits={"NOFILE": 1})


STEPS = st.lists(
    st.tuples(st.sampled_from("mmwwfprbxe"), st.integers(0, 3), st.integers(0, 40),
              st.integers(0, 255)),
    max_size=30,
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(STEPS, st.sampled_from(["x86_64-5.10", "x86_64-6.18"]))
def test_processes_see_their_own_bytes(steps, profile):
    """Against a model: each process has a dict of bytes, which fork() copies."""
    k = machine(profile, "64M")
    first = program(k)
    heap = first.mmap(48 << 12)
    family = [(first, {})]
    for kind, who, place, value in steps:
        if not family:
            break
        process, known = family[who % len(family)]
        address = heap + (place << 12) + value
        if kind in "mw":
            process.write(address, bytes([value]))
            known[address] = value
        elif kind == "f" and len(family) < 4:
            family.append((process.fork(), dict(known)))
        elif kind == "x" and len(family) > 1:
            process.exit()
            family.remove((process, known))
        elif kind == "p":
            process.madvise(heap + (place << 12), 1 << 12, MADV_DONTNEED)
            gone = range(heap + (place << 12), heap + (place + 1 << 12))
            known.update((each, 0) for each in known if each in gone)
        else:
            assert process.read(address, 1) == bytes([known.get(address, 0)])
    for process, known in family:
        for address, value in known.items():
            assert process.read(address, 1) == bytes([value])
    assert k.validate() == []
