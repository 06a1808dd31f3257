"""The kernel's GFP flags as data: bits, composite masks and printed names by release.

Sources, read at each release from 4.4 to 7.3: include/linux/gfp.h (gfp_types.h since 6.0) and
__def_gfpflag_names of include/trace/events/mmflags.h (since 4.6, 420adbe9fc1a).
"""

# Single flags in the order of their bits, by the release that brought the order; "-" is a bit
# that nothing uses.
LOW = "DMA HIGHMEM DMA32 MOVABLE"
OLD = (
    "HIGH IO FS COLD NOWARN REPEAT NOFAIL NORETRY MEMALLOC COMP ZERO NOMEMALLOC HARDWALL THISNODE"
)
MAYFAIL = OLD.replace("REPEAT", "RETRY_MAYFAIL")
BITS_4_12 = f"{LOW} RECLAIMABLE {OLD} ATOMIC ACCOUNT NOTRACK DIRECT_RECLAIM WRITE KSWAPD_RECLAIM"
BITS_4_13 = BITS_4_12.replace(OLD, MAYFAIL)
DENSE = (
    f"{LOW} RECLAIMABLE HIGH IO FS ZERO ATOMIC DIRECT_RECLAIM KSWAPD_RECLAIM WRITE NOWARN "
    "RETRY_MAYFAIL NOFAIL NORETRY MEMALLOC COMP NOMEMALLOC HARDWALL THISNODE ACCOUNT"
)
BITS = (
    ("4.1", f"{LOW} WAIT {OLD} RECLAIMABLE NOACCOUNT NOTRACK NO_KSWAPD OTHER_NODE WRITE"),
    # d0164adc89f6: __GFP_WAIT became __GFP_DIRECT_RECLAIM and __GFP_KSWAPD_RECLAIM
    ("4.4", f"{LOW} RECLAIMABLE {OLD} ATOMIC NOACCOUNT NOTRACK DIRECT_RECLAIM OTHER_NODE WRITE "
            "KSWAPD_RECLAIM"),
    ("4.5", f"{LOW} RECLAIMABLE {OLD} ATOMIC ACCOUNT NOTRACK DIRECT_RECLAIM OTHER_NODE WRITE "
            "KSWAPD_RECLAIM"),  # a9bb7e620efd
    ("4.10", BITS_4_12),  # 41b6167e8f74: __GFP_OTHER_NODE went
    ("4.13", BITS_4_13),  # dcda9b04713c
    ("4.15", BITS_4_13.replace("COLD", "-").replace("NOTRACK", "-")),  # 453f85d43fa9, 4950276672fc
    ("4.18", f"{LOW} RECLAIMABLE {MAYFAIL.replace('COLD', 'WRITE')} ATOMIC ACCOUNT "
             "DIRECT_RECLAIM KSWAPD_RECLAIM"),
    ("5.1", DENSE),
    ("6.3", DENSE.replace("ATOMIC", "-")),  # 2973d8229b78
)  # fmt: skip

# Bits above those: (name, bit, the switch it needs). A bit of None takes the next place: since
# 6.9 (772dd0342727) the flags are enumerated, those of switches that are off take no place.
HW_TAGS = "CONFIG_KASAN_HW_TAGS"
UPPER_BITS: tuple[tuple[str, tuple[tuple[str, int | None, str], ...]], ...] = (
    ("4.12", (("NOLOCKDEP", 25, "CONFIG_LOCKDEP"),)),  # 7dea19f9ee63
    ("4.18", (("NOLOCKDEP", 23, "CONFIG_LOCKDEP"),)),
    ("5.14", (("ZEROTAGS", 23, ""), ("SKIP_KASAN_POISON", 24, ""),  # 013bb59dbb7c, c275c5c6d50a
              ("NOLOCKDEP", 25, "CONFIG_LOCKDEP"))),
    ("5.18", (("ZEROTAGS", 23, ""), ("SKIP_ZERO", 24, HW_TAGS),  # 9353ffa6e9e9
              ("SKIP_KASAN_UNPOISON", 25, HW_TAGS),  # 53ae233c30a6
              ("SKIP_KASAN_POISON", 26, HW_TAGS),
              ("NOLOCKDEP", 27, "CONFIG_LOCKDEP"))),
    ("6.4", (("ZEROTAGS", 23, ""), ("SKIP_ZERO", 24, HW_TAGS),
             ("SKIP_KASAN", 25, HW_TAGS),  # 0a54864f8dfb
             ("NOLOCKDEP", 26, "CONFIG_LOCKDEP"))),
    ("6.9", (("ZEROTAGS", 23, ""), ("SKIP_ZERO", None, HW_TAGS), ("SKIP_KASAN", None, HW_TAGS),
             ("NOLOCKDEP", None, "CONFIG_LOCKDEP"))),
    ("6.10", (("ZEROTAGS", 23, ""), ("SKIP_ZERO", None, HW_TAGS), ("SKIP_KASAN", None, HW_TAGS),
              ("NOLOCKDEP", None, "CONFIG_LOCKDEP"),
              ("NO_OBJ_EXT", None, "CONFIG_SLAB_OBJ_EXT"))),  # 768c33be6ea4
    ("7.3", (("ZEROTAGS", 23, ""), ("SKIP_ZERO", None, HW_TAGS), ("SKIP_KASAN", None, HW_TAGS),
             ("NOLOCKDEP", None, "CONFIG_LOCKDEP"))),
)  # fmt: skip

# Composite masks by what they add to each other; a flag that a release lacks counts nothing.
RECLAIM = "__GFP_DIRECT_RECLAIM|__GFP_KSWAPD_RECLAIM|__GFP_WAIT"
LIGHT = (
    "__GFP_IO|__GFP_FS|__GFP_HARDWALL|__GFP_HIGHMEM|__GFP_MOVABLE|__GFP_COMP|__GFP_NOMEMALLOC"
    "|__GFP_NOWARN"
)
COMPOSITES = {
    "__GFP_RECLAIM": RECLAIM,
    "GFP_ATOMIC": "__GFP_HIGH|__GFP_ATOMIC|__GFP_KSWAPD_RECLAIM",
    "GFP_KERNEL": f"{RECLAIM}|__GFP_IO|__GFP_FS",
    "GFP_KERNEL_ACCOUNT": "GFP_KERNEL|__GFP_ACCOUNT",
    "GFP_NOWAIT": "__GFP_KSWAPD_RECLAIM",
    "GFP_NOIO": RECLAIM,
    "GFP_NOFS": f"{RECLAIM}|__GFP_IO",
    "GFP_TEMPORARY": "GFP_KERNEL|__GFP_RECLAIMABLE",
    "GFP_USER": "GFP_KERNEL|__GFP_HARDWALL",
    "GFP_DMA": "__GFP_DMA",
    "GFP_DMA32": "__GFP_DMA32",
    "GFP_HIGHUSER": "GFP_USER|__GFP_HIGHMEM",
    "GFP_HIGHUSER_MOVABLE": "GFP_HIGHUSER|__GFP_MOVABLE|__GFP_SKIP_KASAN|__GFP_SKIP_KASAN_POISON",
    "GFP_TRANSHUGE": "GFP_TRANSHUGE_LIGHT|__GFP_DIRECT_RECLAIM",
    "GFP_TRANSHUGE_LIGHT": f"{LIGHT}|__GFP_SKIP_KASAN|__GFP_SKIP_KASAN_POISON",
}
# (release, mask, its text from then on; "" where the mask is not there).
COMPOSITE_CHANGES = (
    ("4.1", "GFP_KERNEL_ACCOUNT", ""),
    ("4.1", "__GFP_RECLAIM", ""),
    ("4.1", "GFP_NOWAIT", ""),  # no bit at all
    ("4.1", "GFP_TRANSHUGE_LIGHT", ""),
    ("4.1", "GFP_TRANSHUGE", f"{LIGHT}|__GFP_NORETRY|__GFP_WAIT|__GFP_NO_KSWAPD"),
    ("4.4", "__GFP_RECLAIM", RECLAIM),
    ("4.4", "GFP_NOWAIT", "__GFP_KSWAPD_RECLAIM"),
    ("4.4", "GFP_TRANSHUGE", f"{LIGHT}|__GFP_NORETRY|__GFP_DIRECT_RECLAIM"),
    ("4.5", "GFP_KERNEL_ACCOUNT", "GFP_KERNEL|__GFP_ACCOUNT"),
    ("4.6", "GFP_TRANSHUGE", f"{LIGHT}|__GFP_NORETRY"),  # 444eb2a449ef
    ("4.8", "GFP_TRANSHUGE_LIGHT", COMPOSITES["GFP_TRANSHUGE_LIGHT"]),  # 25160354b4cb
    ("4.8", "GFP_TRANSHUGE", COMPOSITES["GFP_TRANSHUGE"]),
    ("4.14", "GFP_TEMPORARY", ""),  # 0ee931c4e31a
    ("6.0", "GFP_HIGHUSER_MOVABLE",  # 6d05141a3930
     COMPOSITES["GFP_HIGHUSER_MOVABLE"] + "|__GFP_SKIP_KASAN_UNPOISON"),
    ("6.0", "GFP_TRANSHUGE_LIGHT",
     COMPOSITES["GFP_TRANSHUGE_LIGHT"] + "|__GFP_SKIP_KASAN_UNPOISON"),
    ("6.8", "GFP_NOWAIT", "__GFP_KSWAPD_RECLAIM|__GFP_NOWARN"),  # 16f5dfbc851b
)  # fmt: skip

# The order of names in %pGg and print fmt: masks with most bits first, then single flags. A name
# that a release lacks is not in its table.
MASKS_FIRST = (
    "GFP_TRANSHUGE GFP_TRANSHUGE_LIGHT GFP_HIGHUSER_MOVABLE GFP_HIGHUSER GFP_USER GFP_TEMPORARY "
    "GFP_KERNEL_ACCOUNT GFP_KERNEL GFP_NOFS GFP_ATOMIC GFP_NOIO GFP_NOWAIT GFP_DMA "
)
NAME_ORDER = MASKS_FIRST + (
    "__GFP_HIGHMEM GFP_DMA32 __GFP_HIGH __GFP_ATOMIC __GFP_IO __GFP_FS __GFP_COLD __GFP_NOWARN "
    "__GFP_REPEAT __GFP_RETRY_MAYFAIL __GFP_NOFAIL __GFP_NORETRY __GFP_COMP __GFP_ZERO "
    "__GFP_NOMEMALLOC __GFP_MEMALLOC __GFP_HARDWALL __GFP_THISNODE __GFP_RECLAIMABLE "
    "__GFP_MOVABLE __GFP_ACCOUNT __GFP_NOTRACK __GFP_WRITE __GFP_RECLAIM __GFP_DIRECT_RECLAIM "
    "__GFP_KSWAPD_RECLAIM __GFP_OTHER_NODE __GFP_ZEROTAGS __GFP_SKIP_ZERO __GFP_SKIP_KASAN "
    "__GFP_SKIP_KASAN_POISON __GFP_SKIP_KASAN_UNPOISON"
)
# From 6.15 on the single flags come in the order of their bits (TRACE_GFP_FLAGS).
BIT_ORDER_SINCE = "6.15"
