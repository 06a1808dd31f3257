"""GFP flags: the bits of each release, how kernels print them, and what they are in the twin.

Sources: include/linux/gfp_types.h (gfp.h before 6.0), __def_gfpflag_names of
include/trace/events/mmflags.h, format_flags() of lib/vsprintf.c.
"""

from collections.abc import Mapping

from mmtwin.versions.releases import has_since

# Bits 0 to 22, the same in every release; bit 9 is __GFP_ATOMIC until 6.3 (2973d8229b78) and free
# from then on.
COMMON_BITS = (
    "DMA HIGHMEM DMA32 MOVABLE RECLAIMABLE HIGH IO FS ZERO ATOMIC DIRECT_RECLAIM KSWAPD_RECLAIM "
    "WRITE NOWARN RETRY_MAYFAIL NOFAIL NORETRY MEMALLOC COMP NOMEMALLOC HARDWALL THISNODE ACCOUNT"
)
ATOMIC_ENDS = "6.3"

# Bits above, by the release they came with: (name, bit, the configuration it needs). A bit of None
# takes the next place: since 6.10 (772dd0342727) the flags are enumerated, those of switches that
# are off take no place.
UPPER_BITS = (
    ("5.10", (("NOLOCKDEP", 23, "CONFIG_LOCKDEP"),)),
    ("5.14", (("ZEROTAGS", 23, ""), ("SKIP_KASAN_POISON", 24, ""),  # 013bb59dbb7c, c275c5c6d50a
              ("NOLOCKDEP", 25, "CONFIG_LOCKDEP"))),
    ("5.18", (("ZEROTAGS", 23, ""), ("SKIP_ZERO", 24, "CONFIG_KASAN_HW_TAGS"),  # 9353ffa6e9e9
              ("SKIP_KASAN_UNPOISON", 25, "CONFIG_KASAN_HW_TAGS"),  # 53ae233c30a6
              ("SKIP_KASAN_POISON", 26, "CONFIG_KASAN_HW_TAGS"),
              ("NOLOCKDEP", 27, "CONFIG_LOCKDEP"))),
    ("6.4", (("ZEROTAGS", 23, ""), ("SKIP_ZERO", 24, "CONFIG_KASAN_HW_TAGS"),
             ("SKIP_KASAN", 25, "CONFIG_KASAN_HW_TAGS"),  # 0a54864f8dfb
             ("NOLOCKDEP", 26, "CONFIG_LOCKDEP"))),
    ("6.10", (("ZEROTAGS", 23, ""), ("SKIP_ZERO", None, "CONFIG_KASAN_HW_TAGS"),
              ("SKIP_KASAN", None, "CONFIG_KASAN_HW_TAGS"),
              ("NOLOCKDEP", None, "CONFIG_LOCKDEP"),
              ("NO_OBJ_EXT", None, "CONFIG_SLAB_OBJ_EXT"))),
)
# 6.18 has it, 7.3 has not: the release between is not known exactly.
NO_OBJ_EXT_ENDS = "7.1"

# Composite masks of gfp_types.h by what they add to each other.
RECLAIM = "__GFP_DIRECT_RECLAIM|__GFP_KSWAPD_RECLAIM"
SKIP_KASAN = "__GFP_SKIP_KASAN|__GFP_SKIP_KASAN_POISON|__GFP_SKIP_KASAN_UNPOISON"
COMPOSITES = {
    "__GFP_RECLAIM": RECLAIM,
    "GFP_ATOMIC": "__GFP_HIGH|__GFP_ATOMIC|__GFP_KSWAPD_RECLAIM",
    "GFP_KERNEL": f"{RECLAIM}|__GFP_IO|__GFP_FS",
    "GFP_KERNEL_ACCOUNT": "GFP_KERNEL|__GFP_ACCOUNT",
    "GFP_NOWAIT": "__GFP_KSWAPD_RECLAIM",
    "GFP_NOIO": RECLAIM,
    "GFP_NOFS": f"{RECLAIM}|__GFP_IO",
    "GFP_USER": "GFP_KERNEL|__GFP_HARDWALL",
    "GFP_DMA": "__GFP_DMA",
    "GFP_DMA32": "__GFP_DMA32",
    "GFP_HIGHUSER": "GFP_USER|__GFP_HIGHMEM",
    "GFP_HIGHUSER_MOVABLE": "GFP_HIGHUSER|__GFP_MOVABLE|" + SKIP_KASAN,
    "GFP_TRANSHUGE": "GFP_TRANSHUGE_LIGHT|__GFP_DIRECT_RECLAIM",
    "GFP_TRANSHUGE_LIGHT":
        "__GFP_IO|__GFP_FS|__GFP_HARDWALL|__GFP_HIGHMEM|__GFP_MOVABLE|__GFP_COMP|__GFP_NOMEMALLOC"
        "|__GFP_NOWARN|" + SKIP_KASAN,
}
NOWAIT_WITH_NOWARN = "6.8"  # 16f5dfbc851b: GFP_NOWAIT has __GFP_NOWARN

# The order of names in %pGg and print fmt: masks with most bits first, then single flags.
MASKS_FIRST = (
    "GFP_TRANSHUGE GFP_TRANSHUGE_LIGHT GFP_HIGHUSER_MOVABLE GFP_HIGHUSER GFP_USER "
    "GFP_KERNEL_ACCOUNT GFP_KERNEL GFP_NOFS GFP_ATOMIC GFP_NOIO GFP_NOWAIT GFP_DMA "
)
OLD_ORDER = MASKS_FIRST + (
    "__GFP_HIGHMEM GFP_DMA32 __GFP_HIGH __GFP_ATOMIC __GFP_IO __GFP_FS __GFP_NOWARN "
    "__GFP_RETRY_MAYFAIL __GFP_NOFAIL __GFP_NORETRY __GFP_COMP __GFP_ZERO __GFP_NOMEMALLOC "
    "__GFP_MEMALLOC __GFP_HARDWALL __GFP_THISNODE __GFP_RECLAIMABLE __GFP_MOVABLE "
    "__GFP_ACCOUNT __GFP_WRITE __GFP_RECLAIM __GFP_DIRECT_RECLAIM __GFP_KSWAPD_RECLAIM "
    "__GFP_ZEROTAGS __GFP_SKIP_ZERO __GFP_SKIP_KASAN __GFP_SKIP_KASAN_POISON "
    "__GFP_SKIP_KASAN_UNPOISON"
)
# From 6.15 on the single flags come in the order of their bits (TRACE_GFP_FLAGS).
BIT_ORDER_SINCE = "6.15"

# The twin's own bits above 22 (kernel/constants.pxd); below, they are the kernel's.
TWIN_UPPER_BITS = {
    "ZEROTAGS": 23, "SKIP_ZERO": 24, "SKIP_KASAN": 25, "SKIP_KASAN_POISON": 25,
    "SKIP_KASAN_UNPOISON": 25, "NOLOCKDEP": 26, "NO_OBJ_EXT": 27,
}
BITS = 32
DEBIAN: Mapping[str, str] = {"CONFIG_SLAB_OBJ_EXT": "y"}


def is_on(config: Mapping[str, str], symbol: str) -> bool:
    """Whether a configuration switch is set; no switch at all counts as set."""
    return not symbol or config.get(symbol, "n") != "n"


def gfp_bits(version: str, config: Mapping[str, str] = DEBIAN) -> dict[str, int]:
    """`{"__GFP_DMA": 0x1, ...}`: a kernel's single flags in the order of their bits."""
    names = {name: bit for bit, name in enumerate(COMMON_BITS.split())}
    if has_since(version, ATOMIC_ENDS):
        del names["ATOMIC"]
    upper: tuple[tuple[str, int | None, str], ...] = ()
    for release, bits in UPPER_BITS:
        if has_since(version, release):
            upper = bits
    place = len(COMMON_BITS.split())
    for name, bit, symbol in upper:
        if not is_on(config, symbol) or (
            name == "NO_OBJ_EXT" and has_since(version, NO_OBJ_EXT_ENDS)
        ):
            continue
        names[name] = place if bit is None else bit
        place = names[name] + 1
    return {f"__GFP_{name}": 1 << bit for name, bit in names.items()}


def gfp_masks(version: str, config: Mapping[str, str] = DEBIAN) -> dict[str, int]:
    """The composite masks (`GFP_KERNEL`, ...) of a kernel; flags it lacks count nothing."""
    bits = gfp_bits(version, config)
    texts = dict(COMPOSITES)
    if has_since(version, NOWAIT_WITH_NOWARN):
        texts["GFP_NOWAIT"] += "|__GFP_NOWARN"

    def mask(text: str) -> int:
        value = 0
        for name in text.split("|"):
            value |= mask(texts[name]) if name in texts else bits.get(name, 0)
        return value

    return {name: mask(name) for name in texts}


def gfp_names(version: str, config: Mapping[str, str] = DEBIAN) -> list[tuple[int, str]]:
    """(mask, name) in the order in which a kernel's %pGg and print fmt try them."""
    bits, masks = gfp_bits(version, config), gfp_masks(version, config)
    order = OLD_ORDER.split()
    if has_since(version, BIT_ORDER_SINCE):
        order = [*MASKS_FIRST.split(), "GFP_DMA32", "__GFP_RECLAIM", *bits]
    known = {**bits, **masks}
    return [(known[name], name) for name in order if name in known]


def decode_gfp(value: int, version: str, config: Mapping[str, str] = DEBIAN) -> str:
    """`"GFP_KERNEL|__GFP_ZERO"`: the text a kernel prints for its own gfp bits.

    Bits without a name come last, in hexadecimal; no bits at all read `"none"`.
    """
    if not value:
        return "none"
    parts = []
    for mask, name in gfp_names(version, config):
        if mask and value & mask == mask:
            parts.append(name)
            value &= ~mask
    if value:
        parts.append(hex(value))
    return "|".join(parts)


def encode_gfp(text: str, version: str, config: Mapping[str, str] = DEBIAN) -> int:
    """The bits that a kernel has for `"GFP_KERNEL|__GFP_ZERO"`; the reverse of `decode_gfp`.

    Raises ValueError for a name that the version does not have.
    """
    known = {**gfp_bits(version, config), **gfp_masks(version, config), "none": 0}
    value = 0
    for part in text.split("|"):
        name = part.strip()
        if name in known:
            value |= known[name]
            continue
        try:
            value |= int(name, 16)
        except ValueError:
            raise ValueError(f"{version} has no gfp flag {name!r}") from None
    return value


def to_twin_gfp(version: str, config: Mapping[str, str] = DEBIAN) -> list[int]:
    """What each of the 32 bits of a recorded kernel's gfp is in the twin: masks by bit number.

    A bit that the kernel does not use maps to 0.
    """
    table = [0] * BITS
    for name, mask in gfp_bits(version, config).items():
        bit = mask.bit_length() - 1
        table[bit] = 1 << TWIN_UPPER_BITS.get(name.removeprefix("__GFP_"), bit)
    return table


def from_twin_gfp(version: str, config: Mapping[str, str] = DEBIAN) -> list[int]:
    """The reverse of `to_twin_gfp`: a kernel's mask for each of the twin's 32 bits, 0 for none."""
    table = [0] * BITS
    for bit, mask in enumerate(to_twin_gfp(version, config)):
        if mask:
            table[mask.bit_length() - 1] |= 1 << bit
    return table


def translate_gfp(value: int, table: list[int]) -> int:
    """A gfp value put through a table of `to_twin_gfp` or `from_twin_gfp`."""
    result = 0
    for bit, mask in enumerate(table):
        if value >> bit & 1:
            result |= mask
    return result
