"""How glibc's malloc gets memory from the kernel and gives it back: brk for the main arena, heaps
for the others, an mmap for each large chunk (sysmalloc(), systrim(), new_heap() ... of
malloc/malloc.c and malloc/arena.c).
"""

from typing import Any

from mmtwin.machine.libc_arena import (
    CHUNK_HDR_SZ,
    HEAP_FIELDS,
    MALLOC_ALIGNMENT,
    MAX_FAST,
    MINSIZE,
    SIZE_SZ,
    Arena,
    Corrupted,
    Heap,
)

PROT_NONE, PROT_READ_WRITE = 0, 3
MAP_PRIVATE_ANONYMOUS, MAP_NORESERVE, MAP_FIXED = 0x22, 0x4000, 0x10
MREMAP_MAYMOVE = 1
MADV_DONTNEED = 4
DEFAULT_MMAP_THRESHOLD = DEFAULT_TRIM_THRESHOLD = DEFAULT_TOP_PAD = 128 << 10
MMAP_MAX = 65536
MMAP_AS_MORECORE_SIZE = 1 << 20
HEAP_MIN_SIZE, HEAP_MAX_SIZE = 32 << 10, 64 << 20
ARENA_TEST = ARENAS_PER_CPU = 8
M_MXFAST, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = 1, -1, -2, -3, -4
M_ARENA_TEST, M_ARENA_MAX = -7, -8


class LibcSystem:
    """The part of a `Libc` that makes system calls."""

    int_free: Any

    def __init__(self, system: Any, version: str, cpus: int) -> None:
        release = tuple(int(number) for number in version.split(".")[:2])
        if not (2, 31) <= release <= (2, 41):
            raise ValueError(f"glibc {version}: 2.31 to 2.41 are modelled")
        self.system = system
        self.version = version
        self.cpus = cpus
        self.calloc_tcache = release >= (2, 41)
        self.memalign_tcache = self.memalign_merges = release >= (2, 38)
        self.reserve = MAP_NORESERVE if release < (2, 41) else 0
        # struct heap_info got a member in 2.35
        self.heap_info = 48 if release >= (2, 35) else 32
        self.main_arena = Arena(True, system.touch, release >= (2, 41))
        self.arenas = [self.main_arena]
        self.free_list: list[Arena] = []
        self.heaps: dict[int, tuple[Heap, Arena]] = {}
        self.aligned_heap_area = 0
        self.mmapped: dict[int, tuple[int, int]] = {}
        self.curbrk: int | None = None
        self.was_threaded = False
        self.max_fast = MAX_FAST
        self.top_pad = DEFAULT_TOP_PAD
        self.mmap_threshold = DEFAULT_MMAP_THRESHOLD
        self.trim_threshold = DEFAULT_TRIM_THRESHOLD
        self.n_mmaps_max = MMAP_MAX
        self.dynamic_threshold = True
        self.arena_max = 0
        self.arena_test = ARENA_TEST
        self.next_to_use = self.main_arena
        self.asking: Any = None
        self.may_shrink_heap = False  # vm.overcommit_memory is 2

    def mallopt(self, option: int, value: int) -> bool:
        """M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_MXFAST, M_ARENA_TEST or
        M_ARENA_MAX; whether it is one of them. The first four stop the threshold's growth.
        """
        self.main_arena.malloc_consolidate()
        if option == M_MXFAST and 0 <= value <= 160:
            self.max_fast = (value + SIZE_SZ) & -MALLOC_ALIGNMENT if value else MINSIZE // 2
            return True
        if option == M_MMAP_THRESHOLD and value > HEAP_MAX_SIZE // 2:
            return False
        names = {
            M_TRIM_THRESHOLD: "trim_threshold", M_TOP_PAD: "top_pad", M_MMAP_MAX: "n_mmaps_max",
            M_MMAP_THRESHOLD: "mmap_threshold", M_ARENA_MAX: "arena_max",
            M_ARENA_TEST: "arena_test",
        }  # fmt: skip
        if option not in names:
            return False
        setattr(self, names[option], value)
        if option >= M_MMAP_MAX:
            self.dynamic_threshold = False
        return True

    def align(self, size: int) -> int:
        """Up to whole pages."""
        page: int = self.system.page_size
        return (size + page - 1) & -page

    def copy(self, source: int, to: int, size: int) -> None:
        """memcpy() of a chunk's memory."""
        self.system.copy(source, to, size)

    def arena_for_chunk(self, chunk: int) -> Arena:
        """The arena that a chunk belongs to. Raises Corrupted for what is no chunk."""
        heap = self.heaps.get(chunk & -HEAP_MAX_SIZE)
        arena = heap[1] if heap else self.main_arena
        if chunk not in arena.head:
            raise Corrupted("free(): invalid pointer")
        return arena

    # ---- the main arena: brk

    def sbrk(self, increment: int) -> int:
        """The end of the heap before it moved by `increment` bytes, -1 if it could not."""
        if self.curbrk is None:
            self.curbrk = self.system.brk(0)
        old: int = self.curbrk
        if increment == 0:
            return old
        if not 0 <= old + increment < 1 << 64:
            return -1
        self.curbrk = self.system.brk(old + increment)
        return old if self.curbrk >= old + increment else -1

    def sysmalloc(self, wanted: int, arena: Arena | None, thread: Any) -> int:
        """A chunk when the arena's top is too small, or 0: sysmalloc()."""
        self.asking = thread
        tried = False
        mmaps = len(self.mmapped)
        if arena is None or (wanted >= self.mmap_threshold and mmaps < self.n_mmaps_max):
            chunk = self.sysmalloc_mmap(wanted)
            if chunk:
                return chunk
            tried = True
        if arena is None:
            return 0
        if arena.main:
            self.grow_main(arena, wanted)
        elif not self.grow_other(arena, wanted) and not tried:
            chunk = self.sysmalloc_mmap(wanted)
            if chunk:
                return chunk
        arena.max_system_mem = max(arena.max_system_mem, arena.system_mem)
        return arena.from_top(wanted)

    def grow_main(self, arena: Arena, wanted: int) -> None:
        """More memory for the main arena, by brk or, where that fails, by mmap."""
        old_top, old_size = arena.top, arena.top_size
        size = wanted + self.top_pad + MINSIZE
        if arena.contiguous:
            size -= old_size
        size = self.align(size)
        start = self.sbrk(size) if 0 < size < 1 << 63 else -1
        mapped_end = -1
        if start < 0:
            size = self.align(size + old_size) if arena.contiguous else size
            size = max(size, MMAP_AS_MORECORE_SIZE)
            start = self.mmap_anonymous(size, PROT_READ_WRITE, 0) if size > wanted else -1
            if start < 0:
                return
            arena.contiguous = False
            mapped_end = start + size
        arena.system_mem += size
        if start == old_top + old_size and mapped_end < 0:
            arena.set_top(old_top, old_size + size)
            return
        self.new_top(arena, start, size, mapped_end)

    def new_top(self, arena: Arena, start: int, size: int, end: int) -> None:
        """Memory that does not follow on the old top becomes the top; the old one is freed."""
        old_top, old_size = arena.top, arena.top_size
        aligned, correction = start, 0
        if arena.contiguous:
            if old_size:
                arena.system_mem += start - (old_top + old_size)
            aligned = (start + MALLOC_ALIGNMENT - 1) & -MALLOC_ALIGNMENT
            correction = aligned - start + old_size
            correction += -(start + size + correction) & (self.system.page_size - 1)
            end = self.sbrk(correction)
            if end < 0:
                correction, end = 0, self.sbrk(0)
        elif end < 0:
            end = self.sbrk(0)
        arena.set_top(aligned, end - aligned + correction)
        arena.system_mem += correction
        if old_size:
            self.fencepost(arena, old_top, (old_size - 4 * SIZE_SZ) & -MALLOC_ALIGNMENT)

    def fencepost(self, arena: Arena, old_top: int, size: int) -> None:
        """The end of an old top is marked in use, the rest is freed."""
        arena.set_head(old_top + size, CHUNK_HDR_SZ)
        arena.set_head(old_top + size + CHUNK_HDR_SZ, CHUNK_HDR_SZ)
        if size >= MINSIZE:
            arena.set_head(old_top, size)
            self.free_old_top(arena, old_top)

    def free_old_top(self, arena: Arena, chunk: int) -> None:
        """_int_free() of an old top: a small one may stay in the tcache of who asked."""
        self.int_free(arena, chunk, self.asking)

    def systrim(self, pad: int, arena: Arena) -> bool:
        """The end of the main arena goes back to the kernel but for `pad` bytes."""
        area = arena.top_size - MINSIZE - 1
        if area <= pad:
            return False
        extra = (area - pad) & -self.system.page_size
        if not extra or self.sbrk(0) != arena.top + arena.top_size:
            return False
        before = self.sbrk(0)
        self.sbrk(-extra)
        released = before - self.sbrk(0)
        if released == 0:
            return False
        arena.system_mem -= released
        arena.set_top(arena.top, arena.top_size - released)
        return True

    def malloc_trim(self, pad: int = 0) -> bool:
        """malloc_trim(): whole pages of free chunks go back, and the main arena's end."""
        page = self.system.page_size
        result = False
        for arena in self.arenas:
            arena.malloc_consolidate()
            for chunk in self.trim_order(arena):
                size = arena.head[chunk]
                start = (chunk + 48 + page - 1) & -page  # behind struct malloc_chunk
                size -= start - chunk
                if size >= page:
                    self.system.madvise(start, size & -page, MADV_DONTNEED)
                    result = True
            if arena.main:
                result = self.systrim(pad, arena) or result
        return result

    def trim_order(self, arena: Arena) -> list[int]:
        """The free chunks that mtrim() looks at, in its order: unsorted ones, then large bins."""
        found = list(arena.unsorted)
        for sizes, bins in zip(arena.large_sizes, arena.large, strict=True):
            for size in sizes:
                found += reversed(bins[size])
        return [chunk for chunk in found if arena.head[chunk] > self.system.page_size + 47]

    # ---- chunks of their own

    def mmap_anonymous(self, size: int, prot: int, flags: int) -> int:
        """mmap() of private memory anywhere; below zero: -ERRNO."""
        address: int = self.system.mmap(0, size, prot, MAP_PRIVATE_ANONYMOUS | flags)
        return address

    def sysmalloc_mmap(self, wanted: int) -> int:
        """A chunk with an mmap of its own, or 0."""
        size = self.align(wanted + SIZE_SZ)
        if size <= wanted:
            return 0
        address = self.mmap_anonymous(size, PROT_READ_WRITE, 0)
        if address < 0:
            return 0
        self.system.touch(address + SIZE_SZ)
        self.mmapped[address] = 0, size
        return address

    def munmap_chunk(self, chunk: int) -> None:
        """The mapping of a chunk goes."""
        offset, size = self.mmapped.pop(chunk)
        self.system.munmap(chunk - offset, offset + size)

    def mremap_chunk(self, chunk: int, wanted: int) -> int:
        """The mapping of a chunk gets another size; where the chunk is then, 0 if it cannot."""
        offset, size = self.mmapped[chunk]
        new_size = self.align(wanted + offset + SIZE_SZ)
        if new_size == offset + size:
            return chunk
        address = self.system.mremap(chunk - offset, offset + size, new_size, MREMAP_MAYMOVE)
        if address < 0:
            return 0
        del self.mmapped[chunk]
        self.mmapped[address + offset] = offset, new_size - offset
        self.system.touch(address + offset + SIZE_SZ)
        return int(address) + offset

    # ---- other arenas: heaps

    def arena_get2(self, avoid: Arena | None = None) -> Arena | None:
        """An arena for a thread: one that nobody uses, a new one, or another's."""
        if self.free_list:
            arena = self.free_list.pop()
            arena.attached_threads += 1
            return arena
        limit = self.arena_max
        if not limit and len(self.arenas) > self.arena_test:
            limit = max(self.cpus, 1) * ARENAS_PER_CPU
        if not limit or len(self.arenas) < limit:
            return self.new_arena()
        return self.reused_arena(avoid)

    def reused_arena(self, avoid: Arena | None) -> Arena:
        """The next arena in turn (reused_arena(), where no lock is ever held)."""
        arena = self.next_to_use
        if arena is avoid:
            arena = self.following(arena)
        self.next_to_use = self.following(arena)
        arena.attached_threads += 1
        return arena

    def following(self, arena: Arena) -> Arena:
        """The next arena of the ring."""
        return self.arenas[(self.arenas.index(arena) + 1) % len(self.arenas)]

    def new_arena(self) -> Arena | None:
        """An arena in a heap of its own: _int_new_arena()."""
        heap = self.new_heap(self.heap_info + HEAP_FIELDS + MALLOC_ALIGNMENT, None)
        if heap is None:
            heap = self.new_heap(self.heap_info + HEAP_FIELDS + MALLOC_ALIGNMENT, None, 0)
        if heap is None:
            return None
        arena = Arena(False, self.system.touch, self.main_arena.small_to_bin)
        arena.contiguous = False
        arena.heap = heap
        self.heaps[heap.start] = heap, arena
        self.system.touch(heap.start)
        arena.system_mem = heap.size
        top = heap.start + self.heap_info + HEAP_FIELDS
        top = (top + MALLOC_ALIGNMENT - 1) & -MALLOC_ALIGNMENT
        arena.set_top(top, heap.start + heap.size - top)
        # a new arena is second in the ring that begins with the main one
        self.arenas.insert(1, arena)
        return arena

    def new_heap(self, size: int, prev: Heap | None, pad: int | None = None) -> Heap | None:
        """64 MiB of addresses, of which `size` bytes and the pad can be used: new_heap()."""
        pad = self.top_pad if pad is None else pad
        if size + pad < HEAP_MIN_SIZE:
            size = HEAP_MIN_SIZE
        elif size + pad <= HEAP_MAX_SIZE:
            size += pad
        elif size > HEAP_MAX_SIZE:
            return None
        else:
            size = HEAP_MAX_SIZE
        size = self.align(size)
        start = self.reserve_heap()
        if start < 0:
            return None
        if self.system.mprotect(start, size, PROT_READ_WRITE) != 0:
            self.system.munmap(start, HEAP_MAX_SIZE)
            return None
        return Heap(start, size, prev)

    def reserve_heap(self) -> int:
        """Addresses of a heap, at a multiple of its size; -1 if there are none."""
        if self.aligned_heap_area:
            hint, self.aligned_heap_area = self.aligned_heap_area, 0
            flags = MAP_PRIVATE_ANONYMOUS | self.reserve
            start = int(self.system.mmap(hint, HEAP_MAX_SIZE, PROT_NONE, flags))
            if start >= 0 and start % HEAP_MAX_SIZE == 0:
                return start
            if start >= 0:
                self.system.munmap(start, HEAP_MAX_SIZE)
        first = self.mmap_anonymous(2 * HEAP_MAX_SIZE, PROT_NONE, self.reserve)
        if first >= 0:
            start = (first + HEAP_MAX_SIZE - 1) & -HEAP_MAX_SIZE
            before = start - first
            if before:
                self.system.munmap(first, before)
            else:
                self.aligned_heap_area = start + HEAP_MAX_SIZE
            self.system.munmap(start + HEAP_MAX_SIZE, HEAP_MAX_SIZE - before)
            return start
        start = self.mmap_anonymous(HEAP_MAX_SIZE, PROT_NONE, self.reserve)
        if start >= 0 and start % HEAP_MAX_SIZE:
            self.system.munmap(start, HEAP_MAX_SIZE)
            return -1
        return start

    def grow_other(self, arena: Arena, wanted: int) -> bool:
        """More memory for an arena that is not the main one; whether there was some."""
        heap, old_top, old_size = arena.heap, arena.top, arena.top_size
        assert heap is not None
        more = MINSIZE + wanted - old_size
        before = heap.size
        if more > 0 and self.grow_heap(heap, more):
            arena.system_mem += heap.size - before
            arena.set_top(old_top, heap.start + heap.size - old_top)
            return True
        new = self.new_heap(wanted + MINSIZE + self.heap_info, heap)
        if new is None:
            return False
        arena.heap = new
        self.heaps[new.start] = new, arena
        arena.system_mem += new.size
        top = new.start + self.heap_info
        arena.set_top(top, new.size - self.heap_info)
        size = (old_size - MINSIZE) & -MALLOC_ALIGNMENT
        arena.set_head(old_top + size + CHUNK_HDR_SZ, 0)
        if size >= MINSIZE:
            arena.set_head(old_top + size, CHUNK_HDR_SZ)
            arena.set_head(old_top, size)
            self.free_old_top(arena, old_top)
        else:
            arena.set_head(old_top, size + CHUNK_HDR_SZ)
        return True

    def grow_heap(self, heap: Heap, more: int) -> bool:
        """More of a heap's addresses can be used; whether it has as many: grow_heap()."""
        size = heap.size + self.align(more)
        if size > HEAP_MAX_SIZE:
            return False
        if size > heap.mprotect_size:
            start, rest = heap.start + heap.mprotect_size, size - heap.mprotect_size
            if self.system.mprotect(start, rest, PROT_READ_WRITE) != 0:
                return False
            heap.mprotect_size = size
        heap.size = size
        return True

    def heap_trim(self, arena: Arena, pad: int) -> bool:
        """Heaps that hold nothing but the top go, then the top's end: heap_trim()."""
        page = self.system.page_size
        heap = arena.heap
        assert heap is not None
        while heap.prev is not None and arena.top == heap.start + self.heap_info:
            prev = heap.prev
            end = prev.start + prev.size
            post = end - 2 * CHUNK_HDR_SZ
            if arena.head.get(post) != CHUNK_HDR_SZ:  # the old top was too small to be freed
                post -= CHUNK_HDR_SZ
            size = end - post
            before = arena.prev_free.get(post, 0)
            if size + before + (HEAP_MAX_SIZE - prev.size) < pad + MINSIZE + page:
                break
            arena.system_mem -= heap.size
            self.delete_heap(heap)
            arena.heap = heap = prev
            arena.head.pop(post, None)
            arena.head.pop(end - CHUNK_HDR_SZ, None)
            if before:
                arena.prev_free.pop(post)
                arena.unlink_chunk(post - before)
                del arena.head[post - before]
            arena.set_top(post - before, size + before)
        if arena.top_size < self.trim_threshold:
            return False
        area = arena.top_size - MINSIZE - 1
        extra = (area - pad) & -page if area > pad else 0
        if not extra or heap.size - extra < self.heap_info:
            return False
        arena.system_mem -= extra
        heap.size -= extra
        start = heap.start + heap.size
        if self.may_shrink_heap:
            flags = MAP_PRIVATE_ANONYMOUS | MAP_FIXED
            self.system.mmap(start, extra, PROT_NONE, flags)
            heap.mprotect_size = heap.size
        else:
            self.system.madvise(start, extra, MADV_DONTNEED)
        arena.set_top(arena.top, arena.top_size - extra)
        return True

    def delete_heap(self, heap: Heap) -> None:
        """A heap's addresses go back."""
        if heap.start + HEAP_MAX_SIZE == self.aligned_heap_area:
            self.aligned_heap_area = 0
        del self.heaps[heap.start]
        self.system.munmap(heap.start, HEAP_MAX_SIZE)
