"""The kernel's page flags as data: bits, printed order, page types, /proc/kpageflags by release.

Sources, read at each release from 4.4 to 7.3: include/linux/page-flags.h, __def_pageflag_names of
include/trace/events/mmflags.h (mm/debug.c before 4.6), include/linux/kernel-page-flags.h.
"""

# enum pageflags from bit 0, by the release that brought the order; flags that
# need a switch are in SWITCHED.
OLD = (
    "locked error referenced uptodate dirty lru active slab owner_priv_1 arch_1 reserved private "
    "private_2 writeback head swapcache mappedtodisk reclaim swapbacked unevictable"
)
WAITERS = OLD.replace("active slab", "active waiters slab").replace("swapcache ", "")
WORKINGSET = WAITERS.replace("locked error", "locked").replace(
    "active waiters slab", "active workingset waiters error slab"
)
FOLIOS = (
    "locked writeback referenced uptodate dirty lru head waiters active workingset error slab "
    "owner_priv_1 arch_1 reserved private private_2 mappedtodisk reclaim swapbacked unevictable"
)
NO_SLAB = FOLIOS.replace("slab ", "")
OWNER_2 = NO_SLAB.replace("error ", "").replace("mappedtodisk ", "").replace(
    "owner_priv_1", "owner_priv_1 owner_2"
)  # fmt: skip
FLAGS = (
    ("4.4", OLD),
    ("4.10", WAITERS),  # 62906027091f; 6326fec1122c: swapcache shares owner_priv_1
    ("4.20", WORKINGSET),  # 1899ad18c607
    ("6.6", FOLIOS),  # the bits that folios test together lie in one byte
    ("6.10", NO_SLAB),  # 46df8e73a4a3: slab is a page type
    ("6.12", OWNER_2),  # 09022bc19681, 02e1960aafac, c0bff412e67b
    ("6.14", OWNER_2 + " dropbehind"),
)
# Flags behind those, in their order: (flag, first release, the first without it, what it needs).
SWITCHED = (
    ("mlocked", "4.4", "", "CONFIG_MMU"),
    ("uncached", "4.4", "6.12", "CONFIG_ARCH_USES_PG_UNCACHED"),
    ("hwpoison", "4.4", "", "CONFIG_MEMORY_FAILURE"),
    ("compound_lock", "4.4", "4.5", "CONFIG_TRANSPARENT_HUGEPAGE"),
    ("young", "4.4", "", "CONFIG_PAGE_IDLE_FLAG"),  # until 5.15 CONFIG_IDLE_PAGE_TRACKING
    ("idle", "4.4", "", "CONFIG_PAGE_IDLE_FLAG"),
    ("arch_2", "5.10", "6.2", "CONFIG_64BIT"),
    ("arch_2", "6.2", "6.12", "CONFIG_ARCH_USES_PG_ARCH_X"),
    ("arch_2", "6.12", "", "CONFIG_ARCH_USES_PG_ARCH_2"),
    ("arch_3", "6.2", "6.12", "CONFIG_ARCH_USES_PG_ARCH_X"),
    ("arch_3", "6.12", "", "CONFIG_ARCH_USES_PG_ARCH_3"),
    ("skip_kasan_poison", "5.14", "6.4", "CONFIG_KASAN_HW_TAGS"),
)
# The order in which names are printed; 4.4 and 4.5 print in the order of the bits.
PRINTED = (
    "locked waiters error referenced uptodate dirty lru active workingset slab owner_priv_1 "
    "owner_2 arch_1 reserved private private_2 writeback head swapcache mappedtodisk reclaim "
    "swapbacked unevictable dropbehind mlocked uncached hwpoison young idle arch_2 arch_3 "
    "skip_kasan_poison"
)
PRINTED_SINCE = "4.6"
IDLE_FIRST_SINCE = "6.4"  # names are made from the flags' own
# What a flag means besides, by who sets it.
ALIASES = {
    "owner_priv_1": "checked, swapcache, pinned, xen", "owner_2": "mappedtodisk, anon_exclusive",
    "private_2": "fscache", "reclaim": "readahead, isolated", "workingset": "partial slab, large "
    "rmappable",
}  # fmt: skip

# Types of a page that has no mapcount. Until 6.11 bits that are clear in page_type.
TYPE_BITS = (
    ("4.18", {"buddy": 0x80, "balloon": 0x100, "kmemcg": 0x200, "table": 0x400}),
    ("5.1", {"buddy": 0x80, "offline": 0x100, "kmemcg": 0x200, "table": 0x400}),
    ("5.3", {"buddy": 0x80, "offline": 0x100, "kmemcg": 0x200, "table": 0x400, "guard": 0x800}),
    ("5.11", {"buddy": 0x80, "offline": 0x100, "table": 0x200, "guard": 0x400}),
    ("6.9", {"hugetlb": 0x800, "buddy": 0x80, "offline": 0x100, "table": 0x200, "guard": 0x400}),
    ("6.10", {"slab": 0x1000, "hugetlb": 0x800, "offline": 0x100, "guard": 0x400, "table": 0x200,
              "buddy": 0x80}),
    ("6.11", {"slab": 0x2000000, "hugetlb": 0x4000000, "offline": 0x20000000,
              "guard": 0x8000000, "table": 0x10000000, "buddy": 0x40000000,
              "zsmalloc": 0x1000000}),
)  # fmt: skip
# Since 6.12 a value in the top byte (4ffca5a96678).
TYPE_VALUES = {
    "buddy": 0xF0, "offline": 0xF1, "table": 0xF2, "guard": 0xF3, "hugetlb": 0xF4, "slab": 0xF5,
    "zsmalloc": 0xF6, "unaccepted": 0xF7, "large_kmalloc": 0xF8,
}  # fmt: skip
TYPE_VALUES_SINCE = "6.12"
LARGE_KMALLOC_SINCE = "6.15"

# KPF_*: bits of an entry of /proc/kpageflags, an ABI: 0 to 26 never moved.
KPF_FIRST = (
    "LOCKED ERROR REFERENCED UPTODATE DIRTY LRU ACTIVE SLAB WRITEBACK RECLAIM BUDDY MMAP ANON "
    "SWAPCACHE SWAPBACKED COMPOUND_HEAD COMPOUND_TAIL HUGE UNEVICTABLE HWPOISON NOPAGE KSM THP "
    "OFFLINE ZERO_PAGE IDLE PGTABLE"
)
KPF = {name: bit for bit, name in enumerate(KPF_FIRST.split())} | {
    "RESERVED": 32, "MLOCKED": 33, "MAPPEDTODISK": 34, "PRIVATE": 35, "PRIVATE_2": 36,
    "OWNER_PRIVATE": 37, "ARCH": 38, "UNCACHED": 39, "SOFTDIRTY": 40, "ARCH_2": 41, "ARCH_3": 42,
}  # fmt: skip
# Bits that change: (name until then, name since, bit, release).
KPF_RENAMED = (("BALLOON", "OFFLINE", 23, "5.1"), ("MAPPEDTODISK", "OWNER_2", 34, "6.12"))
KPF_ENDS = {"UNCACHED": "6.12"}
KPF_SINCE = {"PGTABLE": "4.18", "ARCH_2": "5.10", "ARCH_3": "6.2"}
