"""KASAN's shadow: where the byte of an address lies, and those bytes read and written.

`kasan_mem_to_shadow(a) = (a >> 3) + KASAN_SHADOW_OFFSET`. The shadow of RAM lies in pages that
kasan_init() took from memblock; that of the vmalloc area in pages that kasan_populate_vmalloc()
allocates. Everything else has the early shadow: one page of zeros.
"""

import numpy as np

MASK64 = (1 << 64) - 1
SCALE_SHIFT = 3  # KASAN_SHADOW_SCALE_SHIFT
GRANULE = 1 << SCALE_SHIFT  # KASAN_GRANULE_SIZE


def round_up(value, multiple):
    """The next multiple of a power of two."""
    return (value + multiple - 1) & ~(multiple - 1)


class Shadow:
    """The shadow bytes of one machine.

    `where`: shadow_offset (KASAN_SHADOW_OFFSET), kernel_start (the first address that has a
    shadow), task_size (TASK_SIZE), and ranges: (first pfn, pfn behind the last, first pfn of its
    shadow) of the RAM; page_flags, page_types: the bits of struct page by name, vmemmap: where
    that of pfn 0 lies; uname: what the kernel calls itself, arch, hz: CONFIG_HZ.
    """

    def __init__(self, mm, where):
        self.mm = mm
        self.offset = where["shadow_offset"]
        self.kernel_start = where["kernel_start"]
        self.task_size = where["task_size"]
        self.ranges = where["ranges"]
        self.uname, self.arch, self.hz = where["uname"], where["arch"], where["hz"]
        self.page_flags, self.page_types = where["page_flags"], where["page_types"]
        self._vmemmap = where["vmemmap"]
        self.vmalloc_pages = {}  # address of a page of shadow -> its pfn
        self._ram = mm.view("ram").view("u1")

    def address(self, address):
        """kasan_mem_to_shadow()"""
        return ((address >> SCALE_SHIFT) + self.offset) & MASK64

    def vmemmap(self, pfn):
        """pfn_to_page()"""
        return (self._vmemmap + pfn * 64) & MASK64

    def pages(self):
        """Pages that hold the shadow of RAM."""
        return sum((end - start + GRANULE - 1) // GRANULE for start, end, _ in self.ranges)

    def byte(self, address):
        """The shadow byte of an address."""
        for place, count in self.pieces(address, 1):
            return int(self._ram[place]) if count and place >= 0 else 0
        return 0

    def set_byte(self, address, value):
        """Writes one shadow byte."""
        for place, _ in self.pieces(address, 1):
            if place >= 0:
                self._ram[place] = value

    def bytes(self, address, count):
        """The shadow bytes of `count` granules from that of an address on, as a numpy array."""
        parts = [
            self._ram[place : place + part] if place >= 0 else np.zeros(part, np.uint8)
            for place, part in self.pieces(address, count)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def poison(self, address, size, value):
        """kasan_poison(): `size` bytes, both multiples of 8."""
        for place, count in self.pieces(address, size >> SCALE_SHIFT):
            if place >= 0:
                self._ram[place : place + count] = value

    def unpoison(self, address, size):
        """kasan_unpoison(): `size` bytes become accessible, of the last granule only its part."""
        self.poison(address, round_up(size, GRANULE), 0)
        if size & (GRANULE - 1):
            self.set_byte(address + size, size & (GRANULE - 1))

    def first_bad(self, address, size):
        """kasan_find_first_bad_addr(): where the first granule begins (not below `address`) of
        which bytes are touched that may not be; None if there is none.
        """
        last = address + size - 1
        shadow = self.bytes(address, (last >> SCALE_SHIFT) - (address >> SCALE_SHIFT) + 1)
        bad = np.flatnonzero(shadow)
        if not len(bad):
            return None
        first = int(bad[0])
        value = int(shadow[first])
        if first == len(shadow) - 1 and last & (GRANULE - 1) < value < GRANULE:
            return None
        return address + first * GRANULE

    def pieces(self, address, count):
        """(place in RAM or -1, granules): where the shadow of `count` granules lies."""
        shift = self.mm.page_shift
        offset = (address - self.mm.page_offset) & MASK64
        for start, end, shadow in self.ranges:
            if start << shift <= offset < end << shift:
                inside = min(count, ((end << shift) - offset + GRANULE - 1) >> SCALE_SHIFT)
                place = (shadow << shift) + ((offset - (start << shift)) >> SCALE_SHIFT)
                yield place, inside
                if inside < count:
                    yield -1, count - inside
                return
        yield from self._vmalloc_pieces(self.address(address), count)

    def _vmalloc_pieces(self, place, count):
        page_size = 1 << self.mm.page_shift
        while count > 0:
            inside = place & (page_size - 1)
            part = min(count, page_size - inside)
            pfn = self.vmalloc_pages.get(place - inside)
            yield (-1 if pfn is None else (pfn << self.mm.page_shift) + inside), part
            place, count = (place + part) & MASK64, count - part

    # ---- bytes of RAM that KASAN itself keeps: no access that is checked

    def read(self, address, size):
        """Bytes of RAM."""
        start = (address - self.mm.page_offset) & MASK64
        return self._ram[start : start + size].tobytes()

    def write(self, address, data):
        """Writes bytes of RAM; nothing where there is none."""
        start = (address - self.mm.page_offset) & MASK64
        if start + len(data) <= len(self._ram):
            self._ram[start : start + len(data)] = np.frombuffer(data, np.uint8)
