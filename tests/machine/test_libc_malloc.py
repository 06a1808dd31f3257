"""glibc's malloc towards the kernel: the calls and addresses of real programs, and invariants."""

import itertools
import json

import malloc_program
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtwin.machine.libc_arena import Corrupted, bin_index, request2size
from mmtwin.machine.libc_malloc import Libc
from mmtwin.machine.libc_system import M_ARENA_MAX, M_MMAP_THRESHOLD, M_TOP_PAD

RECORDED = json.loads(malloc_program.RECORDED.read_text())
CASES = [(version, profile) for version, found in RECORDED.items() for profile in found]


class Recorded:
    """System calls answered as a recording has them; another one than it has is an error."""

    page_size = 4096

    def __init__(self, calls):
        self.calls = iter(calls)

    def touch(self, address):
        pass

    def copy(self, source, to, size):
        pass

    def __getattr__(self, name):
        def call(*arguments):
            expected = next(self.calls, None)
            assert expected is not None, (name, arguments)
            assert [name, list(arguments)] == expected[:2]
            return expected[2]

        return call


class Memory:
    """A process's memory in a few lines: brk, and mmap from the top down."""

    page_size = 4096

    def __init__(self, brk_most=1 << 40):
        self.start = self.end = 0x10000
        self.brk_most = brk_most
        self.low = 1 << 46
        self.mapped = {}
        self.names = []

    def touch(self, address):
        page = address & -4096
        assert self.start <= page < -(-self.end // 4096) * 4096 or any(
            low <= address < low + size for low, size in self.mapped.items()
        )

    def copy(self, source, to, size):
        self.touch(source)
        self.touch(to + size - 1)

    def brk(self, address):
        self.names.append("brk")
        if self.start <= address <= self.brk_most:
            self.end = address
        return self.end

    def mmap(self, address, size, prot, flags):
        self.names.append("mmap")
        self.low -= size
        self.mapped[self.low] = size
        return self.low

    def munmap(self, address, size):
        self.names.append("munmap")
        for low, length in list(self.mapped.items()):
            if low <= address < low + length:
                del self.mapped[low]
                if low < address:
                    self.mapped[low] = address - low
                if address + size < low + length:
                    self.mapped[address + size] = low + length - address - size
        return 0

    def mprotect(self, address, size, prot):
        self.names.append("mprotect")
        return 0

    def madvise(self, address, size, advice):
        self.names.append("madvise")
        return 0

    def mremap(self, address, old, new, flags):
        self.names.append("mremap")
        del self.mapped[address]
        return self.mmap(0, new, 3, 0x22)


def run(libc, ops):
    """What each call of a program returns."""
    slots, threads, found = {}, {0: libc.main_thread}, []
    for kind, number, slot, size, alignment in ops:
        thread, result = threads.get(number), 0
        if kind == "T":
            threads[number] = libc.thread(libc.main_thread)
        elif kind == "X":
            libc.thread_exit(threads.pop(number))
        elif kind == "m":
            result = slots[slot] = libc.malloc(size, thread)
        elif kind == "c":
            result = slots[slot] = libc.calloc(1, size, thread)
        elif kind == "r":
            result = slots[slot] = libc.realloc(slots[slot], size, thread)
        elif kind == "f":
            libc.free(slots.pop(slot), thread)
        elif kind == "a":
            result = slots[slot] = libc.memalign(alignment, size, thread)
        else:
            result = int(libc.malloc_trim(size))
        found.append(result)
    return found


@pytest.mark.parametrize(("version", "profile"), CASES)
def test_a_real_program_makes_the_same_calls_and_gets_the_same_addresses(version, profile):
    recorded = RECORDED[version][profile]
    system = Recorded(recorded["calls"])
    found = run(Libc(system, version, cpus=2), malloc_program.program(profile, 1))
    assert malloc_program.checksum(found) == recorded["checksum"]
    assert next(system.calls, None) is None


def test_recorded_programs_reach_every_call():
    names = {call[0] for found in RECORDED["2.36"].values() for call in found["calls"]}
    assert names == {"brk", "mmap", "munmap", "mprotect", "mremap", "madvise"}
    assert set(RECORDED) == {"2.31", "2.36", "2.41"}


def check(arena):
    """Chunks lie side by side, free ones are in bins and have no free neighbour."""
    end, free = 0, arena.free_chunks()
    before = False
    for chunk, size, inuse in arena.chunks():
        assert end in (0, chunk) or not arena.main or not arena.contiguous
        assert inuse == (chunk not in free)
        assert inuse or not before or end != chunk
        if not inuse:
            assert arena.prev_free[chunk + size] == size
        before, end = not inuse, chunk + size
    if arena.contiguous and arena.head:
        assert end == arena.top
        assert not before


CALLS = st.lists(
    st.tuples(
        st.sampled_from("mmmcraffft"), st.integers(0, 2), st.integers(0, 40),
        st.one_of(st.integers(0, 300), st.integers(0, 5000), st.integers(0, 300000)),
        st.integers(0, 12),
    ),
    max_size=120,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(CALLS, st.sampled_from(["2.31", "2.36", "2.41"]), st.booleans())
def test_live_blocks_never_overlap(calls, version, brk_ends):
    memory = Memory(0x40000 if brk_ends else 1 << 40)
    libc = Libc(memory, version)
    threads = [libc.main_thread, libc.thread(), libc.thread()]
    live = {}
    for kind, number, slot, size, shift in calls:
        thread = threads[number]
        if kind in "mca":
            if slot in live:
                continue
            if kind == "m":
                address = libc.malloc(size, thread)
            elif kind == "c":
                address = libc.calloc(1, size, thread)
            else:
                address = libc.memalign(1 << shift, size, thread)
            assert address % (1 << shift if kind == "a" else 16) == 0
            live[slot] = address, size
        elif kind == "r" and slot in live:
            address = libc.realloc(live.pop(slot)[0], size, thread)
            if size:
                live[slot] = address, size
        elif kind == "f" and slot in live:
            libc.free(live.pop(slot)[0], thread)
        elif kind == "t":
            libc.malloc_trim(0)
        for address, length in live.values():
            assert libc.malloc_usable_size(address) >= length
        spans = sorted((address, address + length) for address, length in live.values())
        assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))
        for arena in libc.arenas:
            check(arena)


def test_threshold_grows_with_what_is_freed():
    memory = Memory()
    libc = Libc(memory)
    libc.malloc(1)
    memory.names.clear()
    first = libc.malloc(200_000)
    libc.free(first)
    assert memory.names == ["mmap", "munmap"]
    assert libc.mmap_threshold == 200_704 and libc.trim_threshold == 2 * 200_704
    libc.malloc(200_000)
    assert memory.names == ["mmap", "munmap", "brk"]


def test_a_fixed_threshold_does_not_grow():
    libc = Libc(Memory())
    assert libc.mallopt(M_MMAP_THRESHOLD, 1 << 17)
    libc.free(libc.malloc(200_000))
    assert libc.mmap_threshold == 1 << 17
    assert not libc.mallopt(77, 1)
    assert not libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)


def test_top_pad_and_trim():
    memory = Memory()
    libc = Libc(memory)
    libc.mallopt(M_TOP_PAD, 0)
    blocks = [libc.malloc(100_000) for _ in range(4)]
    assert memory.end - memory.start < 100 * 4096
    end = memory.end
    for block in reversed(blocks):
        libc.free(block)
    assert memory.end < end


def test_arenas_are_limited_and_reused():
    libc = Libc(Memory())
    libc.mallopt(M_ARENA_MAX, 3)
    threads = [libc.thread() for _ in range(5)]
    for thread in threads:
        libc.malloc(10, thread)
    assert len(libc.arenas) == 3
    assert threads[2].arena is libc.main_arena
    libc.thread_exit(threads[0])
    libc.thread_exit(threads[4])
    assert libc.free_list == [threads[0].arena]


def test_brk_fails_then_mmap_serves():
    memory = Memory(brk_most=0x20000)
    libc = Libc(memory)
    assert libc.malloc(100)
    assert memory.names[-1] == "mmap"
    assert not libc.main_arena.contiguous


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ("ff", "double free detected in tcache 2"),
        ("i", "invalid pointer"),
    ],
)
def test_damage_is_seen(calls, message):
    libc = Libc(Memory())
    address = libc.malloc(100)
    with pytest.raises(Corrupted, match=message):
        for call in calls:
            libc.free(address + (16 if call == "i" else 0))


def test_requests_that_cannot_be():
    libc = Libc(Memory())
    assert libc.malloc(1 << 63) == 0 and libc.calloc(1 << 40, 1 << 40) == 0
    assert libc.realloc(libc.malloc(5), -1) == 0
    with pytest.raises(ValueError, match="EINVAL"):
        libc.posix_memalign(24, 100)
    with pytest.raises(ValueError, match=r"glibc 2\.5"):
        Libc(Memory(), "2.5")


def test_sizes_of_chunks_and_bins():
    assert [request2size(size) for size in (0, 24, 25, 40, 1032)] == [32, 32, 48, 48, 1040]
    assert [bin_index(size) for size in (32, 1008, 1024, 1088, 1 << 20)] == [2, 63, 64, 65, 126]
