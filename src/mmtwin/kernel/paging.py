"""Levels of page tables and the format of their entries, of one machine: x86-64 and arm64 with
pages of 4, 16 and 64 KiB (arch/*/include/asm/pgtable*.h).

    x86-64, 4 levels        arm64 4K, 48 bits     16K, 47 bits      64K, 42 bits
    PGD 47..39              47..39                46..36            41..29
    PUD 38..30              38..30                35..25
    PMD 29..21              29..21
    PTE 20..12              20..12                24..14            28..16

Levels count from the leaves: 0 PTE, 1 PMD, 2 PUD, 3 P4D or PGD, 4 PGD. pgtable_formats.py has the
bits.
"""

import cython

from mmtwin.kernel.pgtable_formats import make_format, pgd_cache

LEAST_FOR_HUGE_PAGES = 512 << 20


class Paging:
    """The levels and entry formats of one machine's page tables; see pgtable.pxd.

    `paging_of(machine)` gives the machine's own. `shift(level)`, `entries(level)`: address bits
    below an entry, and entries of a table.
    """

    def __init__(self, machine):
        self.machine = machine
        self.page_shift = machine.page_shift
        self.page_size = 1 << self.page_shift
        self.page_mask = ~(self.page_size - 1) & 0xFFFFFFFFFFFFFFFF
        self.bits = self.page_shift - 3
        self.va_bits = machine.va_bits
        self.levels = (self.va_bits - self.page_shift + self.bits - 1) // self.bits
        if not cython.compiled:
            self.shifts, self.masks, self.prot = [0] * 6, [0] * 6, [0] * 16
        for level in range(self.levels):
            self.shifts[level] = self.page_shift + level * self.bits
            self.masks[level] = (1 << self.bits) - 1
        top = self.levels - 1
        self.masks[top] = (1 << (self.va_bits - self.shifts[top])) - 1
        self.pgd_bytes = 8 << (self.va_bits - self.shifts[top])
        form = make_format(machine)
        self.arm64 = form["arm64"]
        self.pfn_mask = form["pfn_mask"]
        self.present = form["present"]
        self.write = form["write"]
        self.readonly = form["readonly"]
        self.user = form["user"]
        self.young = form["young"]
        self.dirty = form["dirty"]
        self.soft_dirty = form["soft_dirty"]
        self.special = form["special"]
        self.table = form["table"]
        self.leaf = form["leaf"]
        self.chg_mask = form["chg_mask"]
        for index in range(16):
            self.prot[index] = form["prot"][index]
        self.zero_pfn = form["zero_pfn"]
        self.current = self.lru = self.vmf = None
        self.special_pfns, self.specials, self.rcu_tables, self.mappings = [], {}, [], {}
        self.next_mapping = 0x1000
        self.fault_around_bytes = max(65536, self.page_size)
        self.thp = machine.view("has")[0].thp_enabled
        managed = int(machine.view("zone")["managed_pages"].sum()) << self.page_shift
        if managed < LEAST_FOR_HUGE_PAGES:
            self.thp = 0  # hugepage_init()
        self.mthp = 0
        self.deposits = {}
        self.huge_zero_pfn = -1
        self.cache = pgd_cache(machine, self.pgd_bytes) if self.pgd_bytes < self.page_size else -1

    def shift(self, level):
        """Address bits below an entry of a level (PTE 0)."""
        return self.shifts[level]

    def entries(self, level):
        """How many entries a table of a level has."""
        return self.masks[level] + 1

    def index(self, address, level):
        """Which entry of its table of a level translates an address."""
        return (address >> self.shifts[level]) & self.masks[level]

    def protection(self, vm_flags):
        """vm_get_page_prot(): the bits that an entry of an area with these VM_* has."""
        return vm_get_page_prot(self, vm_flags)


def paging_of(machine):
    """The machine's Paging, made when it is first asked for."""
    if machine.paging is None:
        machine.paging = Paging(machine)
    return machine.paging


# ---- entries


def pte_present(p, entry):
    """pte_present(): it maps a page, perhaps one that must not be touched (PROT_NONE)."""
    return entry & p.present != 0


def pte_write(p, entry):
    """pte_write()."""
    return entry & p.write != 0


def pte_dirty(p, entry):
    """pte_dirty(). On arm64 also what hardware sets: writable and not read-only."""
    if entry & p.dirty & ~p.soft_dirty:
        return True
    return p.readonly != 0 and entry & p.write != 0 and entry & p.readonly == 0


def pte_mkdirty(p, entry):
    """pte_mkdirty(): on arm64 a writable entry loses PTE_RDONLY."""
    if p.readonly != 0 and entry & p.write:
        entry &= ~p.readonly
    return entry | p.dirty


def pte_mkclean(p, entry):
    """pte_mkclean(); soft-dirty stays."""
    return (entry & ~(p.dirty & ~p.soft_dirty)) | (p.readonly if p.arm64 else 0)


def pte_mkwrite(p, entry):
    """pte_mkwrite()."""
    if p.readonly != 0 and entry & p.dirty:
        entry &= ~p.readonly
    return entry | p.write


def pte_wrprotect(p, entry):
    """pte_wrprotect(): on arm64 a dirty entry remembers it in software."""
    if p.readonly != 0:
        if pte_dirty(p, entry):
            entry |= p.dirty
        entry |= p.readonly
    return entry & ~p.write


def pte_pfn(p, entry):
    """pte_pfn(), pmd_pfn(), and the pfn of a table."""
    return (entry & p.pfn_mask) >> p.page_shift


def vm_get_page_prot(p, vm_flags):
    """vm_get_page_prot(): protection_map[] by read, write, execute, shared."""
    return p.prot[vm_flags & 15]


def pfn_pte(p, pfn, prot):
    """pfn_pte()."""
    return (pfn << p.page_shift) | prot


def is_block(p, entry):
    """Whether an entry above the PTEs maps a page itself (pmd_trans_huge(), pmd_leaf())."""
    if p.arm64:
        return entry & 2 == 0 and entry & p.present != 0
    return entry & p.leaf != 0 and entry & p.present != 0


def pte_modify(p, entry, prot):
    """pte_modify(): another protection for the same page."""
    if p.arm64 and pte_dirty(p, entry):
        entry |= p.dirty
    return (entry & p.chg_mask) | (prot & ~p.chg_mask)


def vm_normal_page(paging, entry):
    """vm_normal_page(): the pfn of a page with a struct page of its own, -1 for special ones."""
    if entry & paging.special:
        return -1
    return pte_pfn(paging, entry)
