"""The objects that kmemleak tracks, and the tree in which it looks them up by address.

mm/kmemleak.c: struct kmemleak_object, color_white(), color_gray(), __lookup_object(),
__link_object().
"""

from bisect import bisect_left, bisect_right

KMEMLEAK_GREY = 0
KMEMLEAK_BLACK = -1

OBJECT_ALLOCATED = 1 << 0
OBJECT_REPORTED = 1 << 1
OBJECT_NO_SCAN = 1 << 2
OBJECT_FULL_SCAN = 1 << 3
OBJECT_PHYS = 1 << 4
OBJECT_SUSPECT = 1 << 6

NO_CHECKSUM = 0xFFFFFFFF
CHUNK = 1024


class KmemleakObject:
    """struct kmemleak_object: one tracked object.

    `pointer`, `size` in bytes; `min_count`: so many references make it no leak, KMEMLEAK_GREY: it
    never is one, KMEMLEAK_BLACK: nor is it scanned; `count`: those that the last scan found;
    `areas`: (start, bytes, address of its struct kmemleak_scan_area) of what is scanned of it, []
    for all; `trace`: who allocated it, the innermost function first; `address`: of the slab object
    that the kernel keeps this in, 0 for one of the memory pool.
    """

    __slots__ = (
        "address",
        "areas",
        "checksum",
        "comm",
        "count",
        "excess_ref",
        "flags",
        "jiffies",
        "min_count",
        "pid",
        "pointer",
        "size",
        "trace",
        "unref_scans",
    )

    def __init__(self, pointer, size, min_count, flags, address):
        self.pointer = pointer
        self.size = size
        self.min_count = min_count
        self.flags = OBJECT_ALLOCATED | flags
        self.address = address
        self.count = 0
        self.excess_ref = 0
        self.checksum = 0
        self.areas = []
        self.jiffies = 0
        self.pid = 0
        self.comm = ""
        self.trace = ()
        self.unref_scans = 0

    @property
    def color(self):
        """Its colour in the last scan: "white" (an orphan so far), "grey" or "black"."""
        if self.min_count == KMEMLEAK_BLACK:
            return "black"
        return "white" if self.count < self.min_count else "grey"

    def is_white(self):
        """color_white(): fewer references than it needs."""
        return self.count < self.min_count

    def paint(self, color):
        """__paint_it()"""
        self.min_count = color
        if color == KMEMLEAK_BLACK:
            self.flags |= OBJECT_NO_SCAN


class ObjectTree:
    """object_tree_root: objects by address, none of which overlap.

    Their first bytes lie in sorted chunks, so that finding and changing take logarithmic time.
    """

    def __init__(self):
        self.at = {}
        self._firsts = [0]
        self._chunks = [[]]

    def __len__(self):
        return len(self.at)

    def _last_up_to(self, pointer):
        # the object that begins last at or before an address, None if there is none
        number = bisect_right(self._firsts, pointer) - 1
        place = bisect_right(self._chunks[number], pointer) - 1
        while place < 0:
            number -= 1
            if number < 0:
                return None
            place = len(self._chunks[number]) - 1
        return self.at[self._chunks[number][place]]

    def find(self, pointer):
        """The object that holds an address, None if none does."""
        found = self.at.get(pointer)
        if found is None:
            found = self._last_up_to(pointer)
            if found is not None and found.pointer + found.size <= pointer:
                return None
        return found

    def overlapping(self, pointer, size):
        """An object that shares a byte with [pointer, pointer + size), None if none does."""
        found = self._last_up_to(pointer + max(size, 1) - 1)
        if found is None or found.pointer + max(found.size, 1) <= pointer:
            return None
        return found

    def insert(self, object):
        """Adds an object that overlaps no other."""
        self.at[object.pointer] = object
        number = bisect_right(self._firsts, object.pointer) - 1
        chunk = self._chunks[number]
        chunk.insert(bisect_left(chunk, object.pointer), object.pointer)
        if len(chunk) > 2 * CHUNK:
            self._chunks.insert(number + 1, chunk[CHUNK:])
            self._firsts.insert(number + 1, chunk[CHUNK])
            del chunk[CHUNK:]

    def remove(self, object):
        """Takes an object out."""
        del self.at[object.pointer]
        number = bisect_right(self._firsts, object.pointer) - 1
        chunk = self._chunks[number]
        del chunk[bisect_left(chunk, object.pointer)]
        if not chunk and number:
            del self._chunks[number], self._firsts[number]
