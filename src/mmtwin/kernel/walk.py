"""A walk through a process's page tables, level by level, as the MMU does it (xv6: walk())."""

from dataclasses import dataclass

from mmtwin.kernel.paging import is_block, pte_pfn, pte_present
from mmtwin.kernel.pgtable_formats import flag_names

LEVELS = ("PTE", "PMD", "PUD", "P4D", "PGD")


@dataclass(frozen=True)
class Step:
    """One level of a walk: `table` is the address of its table (kernel virtual), `index` the place
    of the entry in it, `slot` the entry as a word of RAM; `pfn` what it leads to, -1 if nothing;
    `flags` the names of its bits.
    """

    level: int
    name: str
    index: int
    table: int
    slot: int
    entry: int
    pfn: int
    flags: tuple


def walk(mm, address):
    """The entries that translate a user address (virt_t), from the top table down.

    Returns a list of Step: one for each level, or as far as there are tables; the last one maps
    the page if `present` or `valid` is among its flags and its level is 0 or it is a block.
    """
    p = mm.paging
    words = mm.machine.view("ram")
    steps = []
    base = mm.pgd_slot
    for level in range(p.levels - 1, -1, -1):
        index = p.index(address, level)
        slot = base + index
        entry = int(words[slot])
        present = pte_present(p, entry)
        name = "PGD" if level == p.levels - 1 else LEVELS[level]
        steps.append(Step(
            level, name, index, mm.machine.page_offset + (base << 3), slot, entry,
            pte_pfn(p, entry) if present else -1, tuple(flag_names(p.arm64, entry, level)),
        ))  # fmt: skip
        if not present or level == 0 or is_block(p, entry):
            break
        base = pte_pfn(p, entry) << p.bits
    return steps


def translate_slot(mm, address):
    """(slot, entry) that maps an address; (-1, 0) if nothing does."""
    last = walk(mm, address)[-1]
    if last.pfn < 0 or (last.level and not is_block(mm.paging, last.entry)):
        return -1, 0
    return last.slot, last.entry


def translate(mm, address):
    """The entry that maps an address, None if nothing does."""
    slot, entry = translate_slot(mm, address)
    return entry if slot >= 0 else None


def page_of(mm, address):
    """The pfn of the page that a user address is mapped to, -1 for none."""
    last = walk(mm, address)[-1]
    p = mm.paging
    if last.pfn < 0:
        return -1
    if last.level == 0:
        return last.pfn
    if not is_block(p, last.entry):
        return -1
    inside = (1 << last.level * p.bits) - 1
    return (last.pfn & ~inside) + ((address >> p.page_shift) & inside)
