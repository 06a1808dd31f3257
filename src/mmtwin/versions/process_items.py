"""What /proc/PID/smaps prints, by release: its fields, and the mnemonics of VmFlags.

The lines have the form of proc_items.py. Kernel: `__show_smap`, `show_smap` and
`show_smap_vma_flags` of fs/proc/task_mmu.c.
"""

from dataclasses import dataclass

from mmtwin.versions.proc_items import Item, items
from mmtwin.versions.profiles import Profile

# Sizes in kB.
SMAPS = items("""
    Size
    KernelPageSize
    MMUPageSize
    Rss
    Pss
    Pss_Dirty 6.0                       # 30934843023c
    Shared_Clean
    Shared_Dirty
    Private_Clean
    Private_Dirty
    Referenced
    Anonymous
    KSM 6.12
    LazyFree
    AnonHugePages
    ShmemPmdMapped
    FilePmdMapped
    Shared_Hugetlb
    Private_Hugetlb
    Swap
    SwapPss
    Locked
""")
# THPeligible is printed as wide as the sizes.
WIDE_THP = Item("THPeligible", first="6.12")
# An area that only touches the heap's ends is no heap (11250fd12eb8 and its fix).
EXACT_HEAP = Item("[heap]", first="6.6")
# Shared anonymous memory with a name (d09e8ca6cb93).
NAMED_SHMEM = Item("[anon_shmem]", first="6.2")


@dataclass(frozen=True)
class VmFlag:
    """A bit of vm_flags: two letters, or none where it is not shown; anything else is `??`."""

    bit: int
    letters: str
    item: Item


def flags(text: str) -> tuple[VmFlag, ...]:
    """The rows of a table `BIT LETTERS [FIRST] [..LAST] [CONFIG] [@arch]`; `-`: not shown."""
    found = []
    for line in text.strip().split("\n"):
        bit, rest = line.split("#")[0].strip().split(" ", 1)
        (item,) = items(rest)
        found.append(VmFlag(1 << int(bit), item.name.replace("-", ""), item))
    return tuple(found)


# Numbers as in kernel/mman.pxd.
VM_FLAGS = flags("""
    0 rd
    1 wr
    2 ex
    3 sh
    4 mr
    5 mw
    6 me
    7 ms
    8 gd
    9 um
    10 pf
    11 dw ..5.15                        # 8d0920bde5eb: VM_DENYWRITE
    11 gu 7.3
    12 uw
    13 lo
    14 io
    15 sr
    16 rr
    17 dc
    18 de
    19 lf 6.12
    20 ac
    21 nr
    22 ht
    23 sf
    24 ar ..6.18 @x86_64                # VM_PAT
    24 bt @arm64
    25 wf
    26 dd
    27 sd @x86_64
    28 mm
    29 hg
    30 nh
    31 mg
    32 mt @arm64
    33 - @arm64
    32 - @x86_64
    33 - @x86_64
    34 - @x86_64
    35 - @x86_64
    37 ui 6.1
    40 dp 6.12
    63 sl 6.12
""")


def smaps_fields(profile: Profile) -> list[str]:
    """The names of the sizes that a kernel's smaps prints, in order."""
    return [item.name for item in SMAPS if item.there(profile)]


def mnemonics(profile: Profile) -> dict[int, str]:
    """{bit of vm_flags: letters, "" for one that is not shown} of a kernel."""
    return {flag.bit: flag.letters for flag in VM_FLAGS if flag.item.there(profile)}
