"""The kernel's own page tables, as far as vmalloc space and modules need them (mm/vmalloc.c,
mm/memory.c: pud_alloc(), pmd_alloc(), pte_alloc_kernel()).

Tables are pages of RAM that hold the entries' bytes; only the top level, which the kernel's image
has, is kept here. A table is made when a range below it is first mapped. Unmapping empties the
entries and never gives a table back.

    address: ...  top index | index | index | index | offset in the page
                  bits of a table each: page_shift - 3      page_shift
"""

import numpy as np

from mmtwin.kernel.constants import USE_PAGE_TABLE, PG_table
from mmtwin.kernel.page_alloc import alloc_pages
from mmtwin.kernel.vmalloc_defs import GFP_KERNEL, GFP_ZERO

# x86-64: _KERNPG_TABLE, PAGE_KERNEL and its huge form (arch/x86/include/asm/pgtable_types.h).
X86 = {"table": 0x63, "page": 0x8000000000000163, "block": 0x80000000000001E3, "leaf": 0x80}
X86_PFN_MASK = 0x000FFFFFFFFFF000
# arm64: table and page descriptors, PAGE_KERNEL (arch/arm64/include/asm/pgtable-prot.h).
ARM64 = {"table": 3, "page": 0x00E8000000000703, "block": 0x00E8000000000701, "leaf": 0}
ARM64_PFN_MASK = 0x0000FFFFFFFFF000
PRESENT = 1
# Tables by level, PTE 0: which feature says that NR_PAGETABLE counts them.
COUNTED = ("kernel_pte_counted", "kernel_pmd_counted", "kernel_pud_counted")


class KernelTables:
    """swapper_pg_dir and what hangs below it.

    `levels`: how many; `shifts[level]`: address bits below an entry of that level, PTE 0; `root`:
    {index: entry} of the top level. `pages`: {level: pfns of the tables made}.
    """

    def __init__(self, mm):
        self.mm = mm
        self.page_shift = mm.page_shift
        self.bits = mm.page_shift - 3
        self.levels = -(-(mm.va_bits - mm.page_shift) // self.bits)
        self.shifts = [mm.page_shift + level * self.bits for level in range(self.levels)]
        arm64 = mm.view("has")[0].pgtable_arm64
        self.format = ARM64 if arm64 else X86
        self.pfn_mask = ARM64_PFN_MASK if arm64 else X86_PFN_MASK
        self.root = {}
        self.pages = {level: [] for level in range(self.levels)}
        # tables of the level below the top that exist since boot and are no pages of the twin's
        self.boot = {}
        # tables of a real machine whose pages are not known: entries by (level above, address
        # above that level's shift)
        self.elsewhere = {}

    @property
    def pmd_size(self):
        """PMD_SIZE: bytes that one entry of the second level maps."""
        return 1 << self.shifts[1]

    def words(self, pfn):
        """A table's entries, as numpy words of RAM."""
        count = 1 << self.bits
        return self.mm.view("ram")[pfn * count : (pfn + 1) * count]

    def _index(self, address, level):
        mask = (1 << self.bits) - 1
        if level == self.levels - 1:
            mask = (1 << (self.mm.va_bits - self.shifts[level])) - 1
        return address >> self.shifts[level] & mask

    def _make(self, level):
        """A new empty table for entries of a level: its pfn, -1 if there is no page for it."""
        pfn = alloc_pages(self.mm, GFP_KERNEL | GFP_ZERO, 0, -1)
        if pfn < 0:
            return -1
        self.words(pfn)[:] = 0
        page = self.mm.view("page")[pfn]
        page["users"] = USE_PAGE_TABLE
        if getattr(self.mm.view("has")[0], COUNTED[min(level, 2)]):
            page["flags"] |= PG_table
        self.pages[level].append(pfn)
        return pfn

    def _entries(self, address, level, make):
        """The table that holds the entries of a level for an address: numpy words, or the dict of
        the top level or of a table made at boot; None if it is missing or, with `make`, cannot be.
        """
        table = self.root
        for above in range(self.levels - 1, level, -1):
            index = self._index(address, above)
            if above == self.levels - 1 and self.mm.view("has")[0].pud_preallocated:
                table = self.boot.setdefault(index, {})
                continue
            entry = self._load(table, index)
            if not entry & PRESENT and (above, address >> self.shifts[above]) in self.elsewhere:
                table = self.elsewhere[above, address >> self.shifts[above]]
                continue
            if not entry & PRESENT:
                if not make:
                    return None
                pfn = self._make(above - 1)
                if pfn < 0:
                    return None
                entry = pfn << self.page_shift | self.format["table"]
                table[index] = entry
            elif self._is_leaf(entry, above):
                return None
            table = self.words((entry & self.pfn_mask) >> self.page_shift)
        return table

    @staticmethod
    def _load(table, index):
        return table.get(index, 0) if isinstance(table, dict) else int(table[index])

    def _is_leaf(self, entry, level):
        if level == 0:
            return True
        if self.format["leaf"]:
            return bool(entry & self.format["leaf"])
        return entry & 3 == 1

    def exist(self, start, end):
        """A range was mapped before the twin began: it has tables, their pages are not known."""
        for above in range(1, self.levels):
            for entry in range(start >> self.shifts[above], (end - 1 >> self.shifts[above]) + 1):
                self.elsewhere.setdefault((above, entry), {})

    def map_pages(self, address, pfns, shift):
        """vmap_pages_range(): pages one after the other from an address on; False if a table
        cannot be made.

        `shift`: how much one entry maps, in address bits: a page, or a PMD (then every block of
        pages lies together). Contiguous PTEs are entries of pages.
        """
        level = 1 if shift == self.shifts[1] else 0
        step = 1 << (self.shifts[level] - self.page_shift)  # pages an entry maps
        kind = self.format["page" if level == 0 else "block"]
        pfns = np.asarray(pfns, dtype=np.uint64)[::step]
        entries = pfns << np.uint64(self.page_shift) | np.uint64(kind)
        done = 0
        while done < len(entries):
            table = self._entries(address, level, make=True)
            if table is None:
                return False
            first = self._index(address, level)
            count = min(len(entries) - done, (1 << self.bits) - first)
            part = entries[done : done + count]
            if isinstance(table, dict):
                table.update(zip(range(first, first + count), map(int, part), strict=True))
            else:
                table[first : first + count] = part
            done += count
            address += count << self.shifts[level]
        return True

    def unmap(self, address, end):
        """vunmap_range(): entries from an address to `end` become empty; tables stay."""
        while address < end:
            level = 1 if self._maps_block(address) else 0
            table = self._entries(address, level, make=False)
            span = 1 << (self.shifts[level] + self.bits)  # that a whole table maps
            stop = min(end, (address // span + 1) * span)
            if table is not None:
                first = self._index(address, level)
                count = -(-(stop - address) >> self.shifts[level])
                if isinstance(table, dict):
                    for index in range(first, first + count):
                        table.pop(index, None)
                elif level:
                    table[first] = 0
                    stop = address + (1 << self.shifts[level])
                else:
                    table[first : first + count] = 0
            else:
                stop = min(end, (address >> self.shifts[1]) + 1 << self.shifts[1])
            address = stop

    def _maps_block(self, address):
        table = self._entries(address, 1, make=False)
        if table is None:
            return False
        entry = self._load(table, self._index(address, 1))
        return bool(entry & PRESENT) and self._is_leaf(entry, 1)

    def translate(self, address):
        """The pfn that an address is mapped to, -1 for none: vmalloc_to_pfn()."""
        for level in (0, 1):
            table = self._entries(address, level, make=False)
            if table is None:
                continue
            entry = self._load(table, self._index(address, level))
            if entry & PRESENT and self._is_leaf(entry, level):
                pfn = (entry & self.pfn_mask) >> self.page_shift
                return pfn + (address >> self.page_shift & (1 << level * self.bits) - 1)
        return -1

    def translations(self, address, end):
        """The pfns that the pages of a range are mapped to, -1 for none."""
        found = []
        while address < end:
            span = 1 << self.shifts[1]  # what a table of PTEs maps
            stop = min(end, (address // span + 1) * span)
            table = self._entries(address, 0, make=False)
            if isinstance(table, np.ndarray):
                first = self._index(address, 0)
                words = table[first : first + (stop - address >> self.page_shift)]
                pfns = (words & np.uint64(self.pfn_mask)) >> np.uint64(self.page_shift)
                here = words & np.uint64(PRESENT) != 0
                found += np.where(here, pfns.astype(np.int64), -1).tolist()
            else:
                pages = range(address, stop, 1 << self.page_shift)
                found += [self.translate(page) for page in pages]
            address = stop
        return found

    def mapped(self, address, end):
        """How many pages of a range are mapped."""
        return sum(pfn >= 0 for pfn in self.translations(address, end))
