"""An arena of glibc's malloc: chunks, bins, and how they split and merge (malloc/malloc.c).

Addresses are those of chunks: 16 bytes below what malloc() hands out. A chunk's size stands in
`head`; `prev_free` tells of a chunk that the one before it is free, and how large that is: the
PREV_INUSE bit and prev_size of the real header. Chunks of fastbins and tcaches count as in use.

A bin is used from its end and filled at its front, so bins are dicts here, oldest first. Large
bins hold chunks by size; of those with one size the first stays, later ones come behind it.
"""

from bisect import bisect_left, insort
from collections.abc import Callable

SIZE_SZ = 8
MALLOC_ALIGNMENT = 16
CHUNK_HDR_SZ = 16
MINSIZE = 32
MIN_LARGE_SIZE = 1024
MAX_FAST = 128  # get_max_fast(): DEFAULT_MXFAST of 64-bit machines
FASTBIN_CONSOLIDATION_THRESHOLD = 65536
NBINS = 128
HEAP_FIELDS = 2200  # sizeof(struct malloc_state)


def request2size(size: int) -> int:
    """Bytes of the chunk that a request of `size` bytes needs."""
    return max(MINSIZE, (size + SIZE_SZ + MALLOC_ALIGNMENT - 1) & -MALLOC_ALIGNMENT)


def bin_index(size: int) -> int:
    """The bin of free chunks of a size: smallbin_index(), largebin_index_64()."""
    if size < MIN_LARGE_SIZE:
        return size >> 4
    for shift, most, base in ((6, 48, 48), (9, 20, 91), (12, 10, 110), (15, 4, 119), (18, 2, 124)):
        if size >> shift <= most:
            return base + (size >> shift)
    return 126


class Corrupted(Exception):
    """glibc found its heap damaged, prints this and aborts."""


class Heap:
    """A heap_info of an arena that is not the main one; the arena's first is `prev` None."""

    def __init__(self, start: int, size: int, prev: "Heap | None") -> None:
        self.start = start
        self.size = self.mprotect_size = size
        self.prev = prev


class Arena:
    """struct malloc_state. `touch(address)`: called for each header that is written."""

    def __init__(self, main: bool, touch: Callable[[int], None], small_to_bin: bool) -> None:
        self.main = main
        self.touch = touch
        self.small_to_bin = small_to_bin
        self.contiguous = main
        self.head: dict[int, int] = {}
        self.prev_free: dict[int, int] = {}
        self.top = 0
        self.top_size = 0
        self.fastbins: list[list[int]] = [[] for _ in range(MAX_FAST // 16 - 1)]
        self.have_fastchunks = False
        self.unsorted: dict[int, None] = {}
        self.small: list[dict[int, None]] = [{} for _ in range(64)]
        self.large: list[dict[int, list[int]]] = [{} for _ in range(NBINS)]
        self.large_sizes: list[list[int]] = [[] for _ in range(NBINS)]
        self.last_remainder = 0
        self.system_mem = self.max_system_mem = 0
        self.attached_threads = 1
        self.heap: Heap | None = None

    # ---- headers

    def set_head(self, chunk: int, size: int) -> None:
        """A chunk has this size now."""
        self.head[chunk] = size
        self.touch(chunk + SIZE_SZ)

    def set_top(self, chunk: int, size: int) -> None:
        """The chunk that borders on the end of the arena's memory."""
        self.top, self.top_size = chunk, size
        self.touch(chunk + SIZE_SZ)

    def inuse(self, chunk: int) -> bool:
        """Whether the chunk is in use, by what the next one says of it."""
        return chunk + self.head[chunk] not in self.prev_free

    # ---- bins

    def insert_unsorted(self, chunk: int, size: int) -> None:
        """A free chunk into the unsorted bin."""
        self.set_head(chunk, size)
        self.prev_free[chunk + size] = size
        self.unsorted[chunk] = None

    def insert_bin(self, chunk: int, size: int) -> None:
        """A free chunk into the bin of its size."""
        index = bin_index(size)
        if size < MIN_LARGE_SIZE:
            self.small[index][chunk] = None
            return
        same = self.large[index].setdefault(size, [])
        if not same:
            insort(self.large_sizes[index], size)
        same.insert(min(1, len(same)), chunk)

    def unlink_chunk(self, chunk: int) -> int:
        """A free chunk leaves its bin; its size."""
        size = self.head[chunk]
        if chunk in self.unsorted:
            del self.unsorted[chunk]
        elif size < MIN_LARGE_SIZE:
            del self.small[size >> 4][chunk]
        else:
            index = bin_index(size)
            same = self.large[index][size]
            same.remove(chunk)
            if not same:
                del self.large[index][size]
                self.large_sizes[index].remove(size)
        return size

    # ---- free

    def merge_chunk(self, chunk: int, size: int) -> int:
        """A chunk is free: it joins its free neighbours; the size of what it became.

        _int_free_merge_chunk(), _int_free_create_chunk().
        """
        following = chunk + size
        if chunk in self.prev_free:
            before = chunk - self.prev_free.pop(chunk)
            size += self.unlink_chunk(before)
            self.head.pop(chunk, None)
            chunk = before
        if following == self.top:
            self.head.pop(chunk, None)
            size += self.top_size
            self.set_top(chunk, size)
            return size
        if not self.inuse(following):
            after = self.unlink_chunk(following)
            self.head.pop(following)
            self.prev_free.pop(following + after)
            size += after
        if self.small_to_bin and size < MIN_LARGE_SIZE:
            self.set_head(chunk, size)
            self.prev_free[chunk + size] = size
            self.insert_bin(chunk, size)
        else:
            self.insert_unsorted(chunk, size)
        return size

    def malloc_consolidate(self) -> None:
        """The chunks of the fastbins become free ones."""
        self.have_fastchunks = False
        for fastbin in self.fastbins:
            chunks, fastbin[:] = fastbin[::-1], []
            for chunk in chunks:
                self.consolidate_one(chunk)

    def consolidate_one(self, chunk: int) -> None:
        """A chunk of a fastbin joins its neighbours; small ones too go to the unsorted bin."""
        small, self.small_to_bin = self.small_to_bin, False
        self.merge_chunk(chunk, self.head[chunk])
        self.small_to_bin = small

    # ---- malloc

    def split(self, chunk: int, size: int, wanted: int) -> int:
        """A chunk that left its bin is used for `wanted` bytes; the rest is free, its address (0:
        none, it was too small to be one).
        """
        rest = size - wanted
        if rest < MINSIZE:
            self.prev_free.pop(chunk + size, None)
            self.set_head(chunk, size)
            return 0
        self.set_head(chunk, wanted)
        self.insert_unsorted(chunk + wanted, rest)
        return chunk + wanted

    def from_fastbin(self, wanted: int) -> int:
        """The chunk that a fastbin got last, 0 if there is none."""
        fastbin = self.fastbins[(wanted >> 4) - 2]
        return fastbin.pop() if fastbin else 0

    def from_smallbin(self, wanted: int) -> int:
        """The oldest chunk of a small bin, 0 if there is none."""
        chunks = self.small[wanted >> 4]
        if not chunks:
            return 0
        chunk = next(iter(chunks))
        del chunks[chunk]
        self.prev_free.pop(chunk + wanted, None)
        return chunk

    def sort_unsorted(self, wanted: int, cache: Callable[[int, int], bool]) -> tuple[int, bool]:
        """Chunks of the unsorted bin go to their bins, oldest first, until one fits exactly.

        `cache(chunk, size)`: keeps an exact fit in the tcache, if it can. Returns (the chunk or 0,
        whether some were kept).
        """
        cached = False
        for _ in range(10000):  # MAX_ITERS
            if not self.unsorted:
                break
            chunk = next(iter(self.unsorted))
            size = self.head[chunk]
            alone = len(self.unsorted) == 1 and chunk == self.last_remainder
            if wanted < MIN_LARGE_SIZE and alone and size > wanted + MINSIZE:
                del self.unsorted[chunk]
                self.last_remainder = self.split(chunk, size, wanted)
                return chunk, False
            del self.unsorted[chunk]
            if size != wanted:
                self.insert_bin(chunk, size)
                continue
            self.prev_free.pop(chunk + size, None)
            if not cache(chunk, size):
                return chunk, False
            cached = True
        return 0, cached

    def from_largebin(self, wanted: int) -> int:
        """The smallest chunk that is large enough of the bin for `wanted` bytes, or 0."""
        index = bin_index(wanted)
        sizes = self.large_sizes[index]
        place = bisect_left(sizes, wanted)
        if place == len(sizes):
            return 0
        size = sizes[place]
        same = self.large[index][size]
        chunk = same[1] if len(same) > 1 else same[0]
        self.unlink_chunk(chunk)
        self.split(chunk, size, wanted)
        return chunk

    def from_larger_bin(self, wanted: int) -> int:
        """The last chunk of the next bin that has one, or 0."""
        for index in range(bin_index(wanted) + 1, NBINS - 1):
            if index < 64:
                if not self.small[index]:
                    continue
                chunk = next(iter(self.small[index]))
            elif self.large_sizes[index]:
                chunk = self.large[index][self.large_sizes[index][0]][-1]
            else:
                continue
            size = self.unlink_chunk(chunk)
            rest = self.split(chunk, size, wanted)
            if rest and wanted < MIN_LARGE_SIZE:
                self.last_remainder = rest
            return chunk
        return 0

    def from_top(self, wanted: int) -> int:
        """A chunk off the top, 0 if that is too small."""
        if self.top_size < wanted + MINSIZE:
            return 0
        chunk, size = self.top, self.top_size
        self.set_head(chunk, wanted)
        self.set_top(chunk + wanted, size - wanted)
        return chunk

    # ---- checking

    def chunks(self) -> list[tuple[int, int, bool]]:
        """(address, size, in use) of every chunk but the top, by address."""
        return [(chunk, size, self.inuse(chunk)) for chunk, size in sorted(self.head.items())]

    def free_chunks(self) -> set[int]:
        """The chunks that lie in bins."""
        found = set(self.unsorted)
        for small in self.small:
            found.update(small)
        for large in self.large:
            for same in large.values():
                found.update(same)
        return found
