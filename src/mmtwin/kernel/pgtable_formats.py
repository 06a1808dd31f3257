"""The entry formats of page tables: bits of x86-64 and of arm64, and what a flag is called
(arch/x86/include/asm/pgtable_types.h, arch/arm64/include/asm/pgtable-prot.h, pgtable-hwdef.h).
"""

import numpy as np

from mmtwin.kernel.constants import PG_hole, PG_reserved
from mmtwin.kernel.slub_cache import kmem_cache_create
from mmtwin.kernel.vmalloc_pgtable import ARM64_PFN_MASK, X86_PFN_MASK

# ---- x86-64: bits of an entry, the name walk() gives each
X86_BITS = {
    "present": 1 << 0, "write": 1 << 1, "user": 1 << 2, "pwt": 1 << 3, "pcd": 1 << 4,
    "accessed": 1 << 5, "dirty": 1 << 6, "huge": 1 << 7, "global": 1 << 8, "special": 1 << 9,
    "soft-dirty": 1 << 11, "nx": 1 << 63,
}  # fmt: skip
NX = X86_BITS["nx"]
PROT_NONE = X86_BITS["global"]  # _PAGE_PROTNONE of an entry that is not present
READ = 0x25  # present, user, accessed
X86_TABLE = 0x67  # _PAGE_TABLE

# ---- arm64
ARM64_BITS = {
    "valid": 1 << 0, "table": 1 << 1, "user": 1 << 6, "read-only": 1 << 7, "shared": 3 << 8,
    "accessed": 1 << 10, "not-global": 1 << 11, "write": 1 << 51, "contiguous": 1 << 52,
    "pxn": 1 << 53, "uxn": 1 << 54, "dirty": 1 << 55, "special": 1 << 56, "prot-none": 1 << 58,
    "pxn-table": 1 << 59,
}  # fmt: skip
A = ARM64_BITS
DEFAULT = A["valid"] | A["table"] | A["shared"] | A["accessed"]  # _PAGE_DEFAULT, MT_NORMAL 0
ARM64_PAGE = DEFAULT | A["user"] | A["read-only"] | A["not-global"] | A["pxn"]
# PTE_PROT_NONE; PTE_PRESENT_INVALID, which is nG, since b6bbdfdf4bb6
NONE_BASE = (DEFAULT & ~A["valid"]) | A["read-only"] | A["not-global"] | A["pxn"] | A["uxn"]


def x86_protections():
    """protection_map[] of arch/x86/mm/pgprot.c: by VM_READ | VM_WRITE | VM_EXEC | VM_SHARED."""
    table = []
    for flags in range(16):
        read, write, execute, shared = (flags >> bit & 1 for bit in range(4))
        if not (read or write or execute):
            table.append(PROT_NONE | X86_BITS["accessed"])
            continue
        entry = READ | (0 if execute else NX)
        table.append(entry | X86_BITS["write"] if shared and write else entry)
    return table


def arm64_protections():
    """protection_map[] of arch/arm64/mm/mmap.c, of a CPU without Enhanced PAN."""
    table = []
    for flags in range(16):
        read, write, execute, shared = (flags >> bit & 1 for bit in range(4))
        if not (read or write or execute):
            table.append(NONE_BASE | A["prot-none"])
            continue
        entry = ARM64_PAGE if execute else ARM64_PAGE | A["uxn"]
        table.append(entry | A["write"] if shared and write else entry)
    return table


def make_format(machine):
    """The numbers of Paging for a machine, by field."""
    has = machine.view("has")[0]
    soft_dirty = X86_BITS["soft-dirty"] if has.pte_soft_dirty else 0
    form = {"zero_pfn": find_zero_page(machine)}
    if has.pgtable_arm64:
        kept = ARM64_PFN_MASK | A["accessed"] | A["dirty"] | A["special"] | A["shared"]
        return form | {
            "arm64": 1, "pfn_mask": ARM64_PFN_MASK & -(1 << machine.page_shift),
            "present": A["valid"] | A["prot-none"], "write": A["write"],
            "readonly": A["read-only"], "user": A["user"], "young": A["accessed"],
            "dirty": A["dirty"], "soft_dirty": 0, "special": A["special"],
            # PMD_TABLE_PXN: 87143f404f33, 5.13
            "table": 3 | (A["pxn-table"] if has.pgtable_table_pxn else 0), "leaf": 0,
            "chg_mask": kept & ~(A["write"] | A["read-only"]),
            "prot": arm64_protections(),
        }  # fmt: skip
    return form | {
        "arm64": 0, "pfn_mask": X86_PFN_MASK, "present": X86_BITS["present"] | PROT_NONE,
        "write": X86_BITS["write"], "readonly": 0, "user": X86_BITS["user"],
        "young": X86_BITS["accessed"], "dirty": X86_BITS["dirty"] | soft_dirty,
        "soft_dirty": soft_dirty, "special": X86_BITS["special"], "table": X86_TABLE,
        "leaf": X86_BITS["huge"], "prot": x86_protections(),
        # _PAGE_CHG_MASK
        "chg_mask": X86_PFN_MASK | X86_BITS["pcd"] | X86_BITS["pwt"] | X86_BITS["special"]
        | X86_BITS["accessed"] | X86_BITS["dirty"] | soft_dirty | X86_BITS["huge"],
    }  # fmt: skip


def find_zero_page(machine):
    """A pfn for ZERO_PAGE(0), which lies in the kernel's image: the last page reserved at boot
    that is no hole; -1 if nothing is reserved.
    """
    flags = machine.view("page")["flags"][machine.min_pfn : machine.max_pfn]
    reserved = np.flatnonzero((flags & (PG_reserved | PG_hole)) == PG_reserved)
    return machine.min_pfn + int(reserved[-1]) if len(reserved) else -1


def pgd_cache(machine, size):
    """The number of the cache of top tables smaller than a page, made when it is first asked for:
    pgtable_cache_init() of arch/arm64/mm/pgd.c. -1 where the machine has no slab caches.
    """
    names = machine.cache_names
    if "pgd_cache" in names:
        return names.index("pgd_cache")
    return kmem_cache_create(machine, "pgd_cache", size, size) if names else -1


def flag_names(arm64, entry, level):
    """What the bits of an entry say, as names."""
    bits = ARM64_BITS if arm64 else X86_BITS
    names = [name for name, bit in bits.items() if entry & bit == bit]
    if arm64 and level and "table" not in names and "valid" in names:
        names.append("block")
    return names
