"""GFP flags: the bits of each release, how kernels print them, and what they are in the twin.

The facts are in gfp_tables.py. Sources: include/linux/gfp_types.h (gfp.h before 6.0),
format_flags() of lib/vsprintf.c.
"""

from collections.abc import Mapping
from difflib import get_close_matches

from mmtwin.versions.gfp_tables import (
    BIT_ORDER_SINCE,
    BITS,
    COMPOSITE_CHANGES,
    COMPOSITES,
    MASKS_FIRST,
    NAME_ORDER,
    UPPER_BITS,
)
from mmtwin.versions.releases import has_since

# The twin's own bits above 22 (kernel/constants.pxd); below, they are the kernel's since 5.1.
TWIN_UPPER_BITS = {
    "ZEROTAGS": 23, "SKIP_ZERO": 24, "SKIP_KASAN": 25, "SKIP_KASAN_POISON": 25,
    "SKIP_KASAN_UNPOISON": 25, "NOLOCKDEP": 26, "NO_OBJ_EXT": 27,
}
GFP_T_BITS = 32
DEBIAN: Mapping[str, str] = {"CONFIG_SLAB_OBJ_EXT": "y"}


def is_on(config: Mapping[str, str], symbol: str) -> bool:
    """Whether a configuration switch is set; no switch at all counts as set."""
    return not symbol or config.get(symbol, "n") != "n"


def gfp_bits(version: str, config: Mapping[str, str] = DEBIAN) -> dict[str, int]:
    """`{"__GFP_DMA": 0x1, ...}`: a kernel's single flags in the order of their bits."""
    order = next(text for release, text in reversed(BITS) if has_since(version, release))
    names = {name: bit for bit, name in enumerate(order.split()) if name != "-"}
    upper: tuple[tuple[str, int | None, str], ...] = ()
    for release, bits in UPPER_BITS:
        if has_since(version, release):
            upper = bits
    place = len(order.split())
    for name, bit, symbol in upper:
        if is_on(config, symbol):
            names[name] = place if bit is None else bit
            place = names[name] + 1
    return {f"__GFP_{name}": 1 << bit for name, bit in names.items()}


def gfp_masks(version: str, config: Mapping[str, str] = DEBIAN) -> dict[str, int]:
    """The composite masks (`GFP_KERNEL`, ...) of a kernel; flags it lacks count nothing."""
    bits = gfp_bits(version, config)
    texts = COMPOSITES | {
        name: text for release, name, text in COMPOSITE_CHANGES if has_since(version, release)
    }

    def mask(text: str) -> int:
        value = 0
        for name in text.split("|"):
            value |= mask(texts[name]) if name in texts else bits.get(name, 0)
        return value

    return {name: mask(name) for name, text in texts.items() if text}


def gfp_names(version: str, config: Mapping[str, str] = DEBIAN) -> list[tuple[int, str]]:
    """(mask, name) in the order in which a kernel's %pGg and print fmt try them."""
    bits, masks = gfp_bits(version, config), gfp_masks(version, config)
    order = NAME_ORDER.split()
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
            value |= int(name, 0)
        except ValueError:
            near = get_close_matches(name, known, 3, 0.5)
            nearest = f"; nearest: {', '.join(near)}" if near else ""
            raise ValueError(f"{version} has no gfp flag {name!r}{nearest}") from None
    return value


def to_twin_gfp(version: str, config: Mapping[str, str] = DEBIAN) -> list[int]:
    """What each of the 32 bits of a recorded kernel's gfp is in the twin: masks by bit number.

    A bit that the kernel does not use maps to 0.
    """
    table = [0] * GFP_T_BITS
    for name, mask in gfp_bits(version, config).items():
        bit = mask.bit_length() - 1
        table[bit] = 1 << TWIN_UPPER_BITS.get(name.removeprefix("__GFP_"), bit)
    return table


def from_twin_gfp(version: str, config: Mapping[str, str] = DEBIAN) -> list[int]:
    """The reverse of `to_twin_gfp`: a kernel's mask for each of the twin's 32 bits, 0 for none."""
    table = [0] * GFP_T_BITS
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
