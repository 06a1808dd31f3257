"""malloc as glibc's does it towards the kernel: which brk, mmap, munmap, mprotect, mremap and
madvise calls a program's requests lead to (malloc/malloc.c, malloc/arena.c of glibc 2.31 to 2.41).

    libc = Libc(system)              # system.brk(address), system.mmap(...) ...: the system calls
    address = libc.malloc(100)

Small chunks are kept by each thread (tcache), then in fastbins and bins of an arena; the main
arena grows by brk, others are heaps of 64 MiB that are reserved and made usable bit by bit.
Requests from M_MMAP_THRESHOLD on get their own mmap; a free of one raises the threshold.
"""

from typing import Any, Protocol

from mmtwin.machine.libc_arena import (
    CHUNK_HDR_SZ,
    FASTBIN_CONSOLIDATION_THRESHOLD,
    MALLOC_ALIGNMENT,
    MAX_FAST,
    MIN_LARGE_SIZE,
    MINSIZE,
    SIZE_SZ,
    Arena,
    Corrupted,
    request2size,
)
from mmtwin.machine.libc_system import LibcSystem

TCACHE_BINS, TCACHE_COUNT = 64, 7
TCACHE_STRUCT = 640  # sizeof(tcache_perthread_struct)
DTV_ENTRIES = 17  # DTV_SURPLUS and three: a program that loads no libraries with TLS
PTRDIFF_MAX = (1 << 63) - 1
MMAP_THRESHOLD_MAX = 32 << 20  # DEFAULT_MMAP_THRESHOLD_MAX


class System(Protocol):
    """The system calls that malloc makes, below zero -ERRNO, and what it does to memory: `touch`
    for each word that it writes.
    """

    page_size: int

    def brk(self, address: int) -> int:
        """brk(): the end of the heap now."""
    def mmap(self, address: int, size: int, prot: int, flags: int) -> int:
        """mmap() of private anonymous memory: an address."""
    def munmap(self, address: int, size: int) -> int:
        """munmap()."""
    def mprotect(self, address: int, size: int, prot: int) -> int:
        """mprotect()."""
    def mremap(self, address: int, old: int, new: int, flags: int) -> int:
        """mremap(): an address."""
    def madvise(self, address: int, size: int, advice: int) -> int:
        """madvise()."""
    def touch(self, address: int) -> None:
        """A word is written."""
    def copy(self, source: int, to: int, size: int) -> None:
        """memcpy()."""


class Thread:
    """What malloc keeps for each thread: its tcache and its arena."""

    def __init__(self, arena: Arena | None) -> None:
        self.arena = arena
        self.tcache: list[list[int]] | None = None
        self.tcache_chunk = 0


class Libc(LibcSystem):
    """The heap of one process. `version`: of glibc; `cpus`: as many as limit the arenas."""

    def __init__(self, system: System, version: str = "2.36", cpus: int = 1) -> None:
        super().__init__(system, version, cpus)
        self.main_thread = Thread(self.main_arena)
        self.threads = [self.main_thread]
        self.dead_threads = 0  # whose stacks wait for others

    # ---- the interface of <stdlib.h> and <malloc.h>

    def malloc(self, size: int, thread: Thread | None = None) -> int:
        """The address of `size` bytes, 0 (NULL) if there are none."""
        thread = thread or self.main_thread
        if size > PTRDIFF_MAX or size < 0:
            return 0
        wanted = request2size(size)
        self.tcache_init(thread)
        chunk = self.tcache_get(thread, wanted) or self.from_arena(wanted, thread)
        return chunk + CHUNK_HDR_SZ if chunk else 0

    def calloc(self, count: int, size: int, thread: Thread | None = None) -> int:
        """The address of `count` * `size` zeroed bytes, or 0. Before 2.41 the tcache has none."""
        thread = thread or self.main_thread
        if count * size > PTRDIFF_MAX or count < 0 or size < 0:
            return 0
        wanted = request2size(count * size)
        self.tcache_init(thread)
        chunk = self.tcache_get(thread, wanted) if self.calloc_tcache else 0
        chunk = chunk or self.from_arena(wanted, thread)
        return chunk + CHUNK_HDR_SZ if chunk else 0

    def free(self, address: int, thread: Thread | None = None) -> None:
        """Gives back what malloc() and its like gave; 0 is nothing.

        Raises Corrupted where glibc would abort: an address that it did not give, or gave back.
        """
        thread = thread or self.main_thread
        if not address:
            return
        chunk = address - CHUNK_HDR_SZ
        if chunk in self.mmapped:
            _, size = self.mmapped[chunk]
            if self.dynamic_threshold and self.mmap_threshold < size + 2 <= MMAP_THRESHOLD_MAX:
                self.mmap_threshold = size
                self.trim_threshold = 2 * size
            self.munmap_chunk(chunk)
            return
        self.tcache_init(thread)
        self.int_free(self.arena_for_chunk(chunk), chunk, thread)

    def realloc(self, address: int, size: int, thread: Thread | None = None) -> int:
        """Another size for what malloc() gave; its address, which may be another, or 0."""
        thread = thread or self.main_thread
        if not address:
            return self.malloc(size, thread)
        if size == 0:
            self.free(address, thread)
            return 0
        if size > PTRDIFF_MAX or size < 0:
            return 0
        chunk, wanted = address - CHUNK_HDR_SZ, request2size(size)
        if chunk in self.mmapped:
            return self.realloc_mmapped(chunk, wanted, size, thread)
        self.tcache_init(thread)
        arena = self.arena_for_chunk(chunk)
        new = self.int_realloc(arena, chunk, wanted, thread)
        if new:
            return new + CHUNK_HDR_SZ
        moved = self.malloc(size, thread)
        if moved:
            self.copy(address, moved, arena.head[chunk] - SIZE_SZ)
            self.int_free(arena, chunk, thread)
        return moved

    def memalign(self, alignment: int, size: int, thread: Thread | None = None) -> int:
        """The address of `size` bytes at a multiple of `alignment`, or 0."""
        thread = thread or self.main_thread
        if alignment <= MALLOC_ALIGNMENT:
            return self.malloc(size, thread)
        if alignment > 1 << 63 or not 0 <= size <= PTRDIFF_MAX:
            return 0
        alignment = max(MINSIZE, 1 << (alignment - 1).bit_length())
        wanted = request2size(size)
        if self.memalign_tcache:
            chunk = self.tcache_get(thread, wanted, alignment)
            if chunk:
                return chunk + CHUNK_HDR_SZ
        chunk = self.int_memalign(self.arena_get(thread), alignment, wanted, thread)
        return chunk + CHUNK_HDR_SZ if chunk else 0

    def posix_memalign(self, alignment: int, size: int, thread: Thread | None = None) -> int:
        """memalign() that wants a power of two, 8 at least. Raises ValueError (EINVAL)."""
        if alignment < SIZE_SZ or alignment & (alignment - 1):
            raise ValueError(f"EINVAL: an alignment of {alignment} bytes")
        return self.memalign(alignment, size, thread)

    def malloc_usable_size(self, address: int) -> int:
        """Bytes that may be used at an address that malloc() gave."""
        chunk = address - CHUNK_HDR_SZ
        if chunk in self.mmapped:
            return self.mmapped[chunk][1] - CHUNK_HDR_SZ
        return self.arena_for_chunk(chunk).head[chunk] - SIZE_SZ

    # ---- the tcache

    def tcache_init(self, thread: Thread) -> None:
        """The thread's first request: its tcache comes from its arena."""
        if thread.tcache is not None:
            return
        chunk = self.int_malloc(self.arena_get(thread), request2size(TCACHE_STRUCT), thread)
        if chunk:
            thread.tcache_chunk = chunk
            thread.tcache = [[] for _ in range(TCACHE_BINS)]

    def tcache_get(self, thread: Thread, wanted: int, alignment: int = 0) -> int:
        """The chunk of this size that the thread freed last, or 0."""
        index = (wanted - MINSIZE + MALLOC_ALIGNMENT - 1) // MALLOC_ALIGNMENT
        if thread.tcache is None or index >= TCACHE_BINS:
            return 0
        kept = thread.tcache[index]
        for place in range(len(kept) - 1, -1, -1):
            if not alignment or (kept[place] + CHUNK_HDR_SZ) % alignment == 0:
                return kept.pop(place)
        return 0

    def tcache_put(self, thread: Thread, chunk: int, size: int) -> bool:
        """Keeps a chunk for the thread; whether there was room."""
        index = (size - MINSIZE + MALLOC_ALIGNMENT - 1) // MALLOC_ALIGNMENT
        if thread.tcache is None or index >= TCACHE_BINS:
            return False
        kept = thread.tcache[index]
        if len(kept) >= TCACHE_COUNT:
            return False
        self.system.touch(chunk + CHUNK_HDR_SZ)
        kept.append(chunk)
        return True

    # ---- arenas: _int_malloc(), _int_free() ...

    def from_arena(self, wanted: int, thread: Thread) -> int:
        """A chunk of the thread's arena, else of another (arena_get_retry()), or 0."""
        arena = self.arena_get(thread)
        chunk = self.int_malloc(arena, wanted, thread)
        if chunk or arena is None or not self.was_threaded:
            return chunk
        if not arena.main:
            return self.int_malloc(self.main_arena, wanted, thread)
        other = self.arena_get2(avoid=arena)
        return self.int_malloc(other, wanted, thread) if other is not None else 0

    def int_malloc(self, arena: Arena | None, wanted: int, thread: Thread) -> int:
        """A chunk of `wanted` bytes, or 0: _int_malloc()."""
        if arena is None:
            return self.sysmalloc(wanted, None, thread)
        if wanted <= min(MAX_FAST, self.max_fast):
            chunk = arena.from_fastbin(wanted)
            if chunk:
                fastbin = arena.fastbins[(wanted >> 4) - 2]
                while fastbin and self.tcache_put(thread, fastbin[-1], wanted):
                    fastbin.pop()
                return chunk
        if wanted < MIN_LARGE_SIZE:
            chunk = arena.from_smallbin(wanted)
            if chunk:
                self.stash_smallbin(arena, wanted, thread)
                return chunk
        elif arena.have_fastchunks:
            arena.malloc_consolidate()
        while True:
            chunk = self.from_bins(arena, wanted, thread) or arena.from_top(wanted)
            if chunk:
                return chunk
            if not arena.have_fastchunks:
                return self.sysmalloc(wanted, arena, thread)
            arena.malloc_consolidate()

    def stash_smallbin(self, arena: Arena, wanted: int, thread: Thread) -> None:
        """Chunks of the same size move from their bin into the tcache while that has room."""
        chunks = arena.small[wanted >> 4]
        while chunks:
            chunk = next(iter(chunks))
            if not self.tcache_put(thread, chunk, wanted):
                return
            del chunks[chunk]
            arena.prev_free.pop(chunk + wanted, None)

    def from_bins(self, arena: Arena, wanted: int, thread: Thread) -> int:
        """A chunk out of the unsorted bin, its own or a larger one; 0 if none is large enough."""
        chunk, cached = arena.sort_unsorted(
            wanted, lambda chunk, size: self.tcache_put(thread, chunk, size)
        )
        if cached:
            return chunk or self.tcache_get(thread, wanted)
        if not chunk and wanted >= MIN_LARGE_SIZE:
            chunk = arena.from_largebin(wanted)
        return chunk or arena.from_larger_bin(wanted)

    def int_free(self, arena: Arena, chunk: int, thread: Thread | None) -> None:
        """A chunk into the tcache, a fastbin, or free: _int_free(). No thread: no tcache."""
        size = arena.head[chunk]
        if thread is not None:
            self.check_free(arena, chunk, size, thread)
            if self.tcache_put(thread, chunk, size):
                return
        if size <= min(MAX_FAST, self.max_fast):
            arena.have_fastchunks = True
            self.system.touch(chunk + CHUNK_HDR_SZ)
            arena.fastbins[(size >> 4) - 2].append(chunk)
            return
        self.maybe_consolidate(arena, arena.merge_chunk(chunk, size))

    def maybe_consolidate(self, arena: Arena, size: int) -> None:
        """A large free chunk: fastbins are emptied, the end of the heap may go back."""
        if size < FASTBIN_CONSOLIDATION_THRESHOLD:
            return
        if arena.have_fastchunks:
            arena.malloc_consolidate()
        if not arena.main:
            self.heap_trim(arena, self.top_pad)
        elif arena.top_size >= self.trim_threshold:
            self.systrim(self.top_pad, arena)

    def check_free(self, arena: Arena, chunk: int, size: int, thread: Thread) -> None:
        """What glibc would see of a second free."""
        index = (size - MINSIZE + MALLOC_ALIGNMENT - 1) // MALLOC_ALIGNMENT
        if thread.tcache is not None and index < TCACHE_BINS and chunk in thread.tcache[index]:
            raise Corrupted("free(): double free detected in tcache 2")
        if size <= MAX_FAST and arena.fastbins[(size >> 4) - 2][-1:] == [chunk]:
            raise Corrupted("double free or corruption (fasttop)")
        if not arena.inuse(chunk):
            raise Corrupted("double free or corruption (!prev)")

    def int_realloc(self, arena: Arena, chunk: int, wanted: int, thread: Thread) -> int:
        """The chunk with another size, or another chunk, or 0: _int_realloc()."""
        size = arena.head[chunk]
        if not arena.inuse(chunk):
            raise Corrupted("realloc(): invalid old size")
        following = chunk + size
        if size < wanted:
            if following == arena.top and size + arena.top_size >= wanted + MINSIZE:
                total = size + arena.top_size
                arena.set_head(chunk, wanted)
                arena.set_top(chunk + wanted, total - wanted)
                return chunk
            free = following != arena.top and not arena.inuse(following)
            if free and size + arena.head[following] >= wanted:
                size += arena.unlink_chunk(following)
                del arena.head[following]
                arena.prev_free.pop(chunk + size, None)
            else:
                new = self.int_malloc(arena, wanted, thread)
                if not new:
                    return 0
                if new != following:
                    self.copy(chunk + CHUNK_HDR_SZ, new + CHUNK_HDR_SZ, size - SIZE_SZ)
                    self.int_free(arena, chunk, thread)
                    return new
                size += arena.head.pop(new)
        self.give_back_rest(arena, chunk, size, wanted, thread)
        return chunk

    def give_back_rest(
        self, arena: Arena, chunk: int, size: int, wanted: int, thread: Thread | None
    ) -> None:
        """A chunk in use shrinks to `wanted` bytes; what is left is freed if it can be a chunk."""
        if size - wanted < MINSIZE:
            arena.set_head(chunk, size)
            return
        arena.set_head(chunk, wanted)
        arena.set_head(chunk + wanted, size - wanted)
        self.int_free(arena, chunk + wanted, thread)

    def realloc_mmapped(self, chunk: int, wanted: int, size: int, thread: Thread) -> int:
        """mremap_chunk(), or a copy where the kernel refuses."""
        new = self.mremap_chunk(chunk, wanted)
        if new:
            return new + CHUNK_HDR_SZ
        old = self.mmapped[chunk][1]
        if old - SIZE_SZ >= wanted:
            return chunk + CHUNK_HDR_SZ
        moved = self.malloc(size, thread)
        if moved:
            self.copy(chunk + CHUNK_HDR_SZ, moved, old - CHUNK_HDR_SZ)
            self.munmap_chunk(chunk)
        return moved

    def int_memalign(
        self, arena: Arena | None, alignment: int, wanted: int, thread: Thread
    ) -> int:
        """A chunk whose memory is aligned; what lies before and behind is freed."""
        chunk = self.int_malloc(arena, request2size(wanted + alignment + MINSIZE), thread)
        if not chunk:
            return 0
        aligned = ((chunk + CHUNK_HDR_SZ + alignment - 1) & -alignment) - CHUNK_HDR_SZ
        if aligned != chunk and aligned - chunk < MINSIZE:
            aligned += alignment
        lead = aligned - chunk
        if chunk in self.mmapped:
            offset, size = self.mmapped.pop(chunk)
            self.mmapped[aligned] = offset + lead, size - lead
            return aligned
        arena = self.arena_for_chunk(chunk)
        size = arena.head[chunk] - lead
        if self.memalign_merges:
            self.memalign_rest(arena, chunk, aligned, size, wanted)
            return aligned
        if lead:
            arena.set_head(aligned, size)
            arena.set_head(chunk, lead)
            self.int_free(arena, chunk, thread)
        if size > wanted + MINSIZE:
            arena.set_head(aligned, wanted)
            arena.set_head(aligned + wanted, size - wanted)
            self.int_free(arena, aligned + wanted, thread)
        return aligned

    def memalign_rest(
        self, arena: Arena, chunk: int, aligned: int, size: int, wanted: int
    ) -> None:
        """What lies around an aligned chunk joins its free neighbours, past tcache and fastbins;
        16 bytes behind it too if their neighbour is free (2.38).
        """
        if aligned != chunk:
            arena.set_head(aligned, size)
            arena.merge_chunk(chunk, aligned - chunk)
        following, rest = aligned + size, size - wanted
        if rest and (rest >= MINSIZE or following == arena.top or not arena.inuse(following)):
            arena.set_head(aligned, wanted)
            self.maybe_consolidate(arena, arena.merge_chunk(aligned + wanted, rest))

    # ---- threads

    def thread(self, creator: Thread | None = None) -> Thread:
        """A new thread of the program; it gets an arena with its first request.

        pthread_create() makes `creator` allocate the thread's dtv, unless a dead thread left one.
        """
        if self.dead_threads:
            self.dead_threads -= 1
        else:
            self.calloc(DTV_ENTRIES, 16, creator)
        thread = Thread(None)
        self.threads.append(thread)
        return thread

    def thread_exit(self, thread: Thread) -> None:
        """A thread ends: its tcache is freed, its arena waits for another one."""
        if thread.tcache is not None:
            kept, thread.tcache = thread.tcache, None
            for chunks in kept:
                for chunk in reversed(chunks):
                    self.int_free(self.arena_for_chunk(chunk), chunk, None)
            if thread.tcache_chunk:
                arena = self.arena_for_chunk(thread.tcache_chunk)
                self.int_free(arena, thread.tcache_chunk, None)
        if thread.arena is not None:
            thread.arena.attached_threads -= 1
            if thread.arena.attached_threads == 0 and thread.arena not in self.free_list:
                self.free_list.append(thread.arena)
        self.threads.remove(thread)
        self.dead_threads += 1

    def arena_get(self, thread: Any) -> Arena | None:
        """The thread's arena; while there is one thread, always the main one."""
        if len(self.threads) == 1 and not self.was_threaded:
            return self.main_arena
        self.was_threaded = True
        if thread.arena is None:
            thread.arena = self.arena_get2()
        return thread.arena
