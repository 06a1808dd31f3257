"""What a GFP mask means: its bits, its names as %pGg prints them, and what it lets a kernel do.

Kernel sources: include/linux/gfp_types.h, gfp_zone() and gfp_migratetype() of include/linux/gfp.h,
gfp_to_alloc_flags() and __zone_watermark_ok() of mm/page_alloc.c.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from mmtwin.versions.gfp import gfp_bits, gfp_masks, gfp_names
from mmtwin.versions.releases import has_since
from mmtwin.versions.uname import KernelName, kernel_name, releases

OLDEST = (4, 1)  # the first with __GFP_NOACCOUNT; older ones differ
GFP_T_BITS = 32
SWITCHES = ("CONFIG_LOCKDEP", "CONFIG_KASAN_HW_TAGS", "CONFIG_SLAB_OBJ_EXT")
# How odd a name is in a mask that a kernel printed; others count 1, composites nothing.
ODD = {
    "__GFP_OTHER_NODE": 4, "__GFP_WRITE": 3, "__GFP_DIRECT_RECLAIM": 3,
    "__GFP_KSWAPD_RECLAIM": 4, "__GFP_ATOMIC": 3, "__GFP_HIGH": 3, "__GFP_COLD": 2,
    "__GFP_NOTRACK": 2, "__GFP_MEMALLOC": 2, "__GFP_WAIT": 2, "__GFP_NOFAIL": 2,
}  # fmt: skip
ODD_HEX = 6
ODD_MOVABLE = 3  # GFP_HIGHUSER and __GFP_MOVABLE are GFP_HIGHUSER_MOVABLE
MARGIN = 2  # by how much another release's reading must be less odd to win


@dataclass(frozen=True)
class Reading:
    """A mask as one release reads it: `text` as its %pGg prints it."""

    release: str
    value: int
    text: str


def gfp_config(value: int, release: str, given: Mapping[str, str]) -> dict[str, str]:
    """The switches that decide about bits above 22: as given, else the likeliest for a mask.

    Hardware tags are what GFP_HIGHUSER_MOVABLE shows by its skip bits; lockdep is on in the
    kernels that have its bit set at all.
    """
    config = {"CONFIG_LOCKDEP": "y", "CONFIG_SLAB_OBJ_EXT": "y"}
    tags = {**config, "CONFIG_KASAN_HW_TAGS": "y"}
    user = gfp_masks(release, tags)["GFP_HIGHUSER_MOVABLE"]
    plain = gfp_masks(release, config)["GFP_HIGHUSER_MOVABLE"]
    if user != plain and value & user == user:
        config = tags
    return {**config, **given}


def printed(value: int, release: str, given: Mapping[str, str]) -> str:
    """The names that a kernel's %pGg prints: nothing for no bits, unknown ones in hexadecimal."""
    names = _names(release, tuple(sorted(gfp_config(value, release, given).items())))
    parts = []
    for mask, name in names:
        if mask and value & mask == mask:
            parts.append(name)
            value &= ~mask
    if value:
        parts.append(hex(value))
    return "|".join(parts)


@cache
def _names(release: str, config: tuple[tuple[str, str], ...]) -> list[tuple[int, str]]:
    return gfp_names(release, dict(config))


def oddness(text: str) -> int:
    """How unlikely it is that a kernel printed these names."""
    parts = text.split("|")
    odd = sum(
        ODD_HEX if part.startswith("0x") else ODD.get(part, 1)
        for part in parts if part.startswith(("_", "0"))
    )  # fmt: skip
    return odd + ODD_MOVABLE * ({"GFP_HIGHUSER", "__GFP_MOVABLE"} <= set(parts))


def reading(value: int, kernel: KernelName, given: Mapping[str, str]) -> Reading:
    """A mask as the named kernel reads it; of releases that may be meant, the least odd one."""
    found = [Reading(release, value, printed(value, release, given))
             for release in kernel.readings]
    costs = [oddness(each.text) for each in found]
    best = min(range(len(found)), key=lambda place: costs[place] + (MARGIN if place else 0))
    return found[best]


def readings(value: int, given: Mapping[str, str]) -> list[tuple[str, str, Reading]]:
    """(first, last release, reading) of runs of releases that read a mask alike.

    Those that know all its bits; every run if none does.
    """
    runs: list[tuple[str, str, Reading]] = []
    for release in releases(OLDEST):
        each = Reading(release, value, printed(value, release, given))
        if runs and runs[-1][2].text == each.text:
            runs[-1] = (runs[-1][0], release, each)
        else:
            runs.append((release, release, each))
    known = [run for run in runs if "0x" not in run[2].text]
    return known or runs


def readings_of_names(
    names: list[str], given: Mapping[str, str]
) -> list[tuple[str, str, Reading]]:
    """As `readings`, for flags by name: runs of releases in which they make the same bits.

    Raises UnknownFlag if no release has all of them.
    """
    runs: list[tuple[str, str, Reading]] = []
    for release in releases(OLDEST):
        try:
            value = mask_of(names, release, given)
        except UnknownFlag:
            continue
        each = Reading(release, value, printed(value, release, given))
        if runs and (runs[-1][2].value, runs[-1][2].text) == (each.value, each.text):
            runs[-1] = (runs[-1][0], release, each)
        else:
            runs.append((release, release, each))
    if not runs:
        raise UnknownFlag(f"no release has all of {', '.join(names)}")
    return runs


class UnknownFlag(ValueError):
    """A name that no table, or not the named kernel's, has; the text names the nearest."""


def parse_mask(text: str) -> int | list[str]:
    """A number (`0xcc0`, `3264`), or the names of `GFP_KERNEL|__GFP_ZERO`.

    Raises UnknownFlag for what is neither, and for numbers wider than gfp_t (32 bits).
    """
    text = text.strip()
    if re.fullmatch(r"0[xX][0-9a-fA-F]+|\d+", text):
        value = int(text, 16 if text[:2].lower() == "0x" else 10)
        if value >> GFP_T_BITS:
            raise UnknownFlag(f"{text} is wider than gfp_t: a mask has at most {GFP_T_BITS} bits")
        return value
    names = [name.strip() for name in text.split("|")]
    known = all_names()
    for name in names:
        if name not in known and not re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", name):
            close = get_close_matches(name.upper(), known, 3, 0.5)
            hint = f"; nearest: {', '.join(close)}" if close else "; one is GFP_KERNEL, 0xcc0"
            raise UnknownFlag(f"no gfp flag {name!r}{hint}")
    return names


@cache
def all_names() -> tuple[str, ...]:
    """Every flag and mask that some release has."""
    on = dict.fromkeys(SWITCHES, "y")
    found: dict[str, None] = {}
    for release in releases(OLDEST):
        found |= dict.fromkeys([*gfp_bits(release, on), *gfp_masks(release, on)])
    return tuple(found)


def mask_of(names: list[str], release: str, given: Mapping[str, str]) -> int:
    """The bits of flags by name in a release. Raises UnknownFlag for one that it lacks."""
    config = {**dict.fromkeys(("CONFIG_LOCKDEP", "CONFIG_SLAB_OBJ_EXT"), "y"), **given}
    tags = {**config, "CONFIG_KASAN_HW_TAGS": "y"}
    known = {**gfp_bits(release, config), **gfp_masks(release, config)}
    tagged = gfp_bits(release, tags)
    value = 0
    for name in names:
        if name[:2].lower() == "0x":
            value |= int(name, 16)
        elif name in known or name in tagged:
            value |= known.get(name, tagged.get(name, 0))
        else:
            close = get_close_matches(name, known, 2, 0.5)
            near = f"; it has {', '.join(close)}" if close else ""
            raise UnknownFlag(f"Linux {release} has no {name} ({_when(name)}){near}")
    return value


def _when(name: str) -> str:
    on = dict.fromkeys(SWITCHES, "y")
    having = [release for release in releases(OLDEST)
              if name in gfp_bits(release, on) or name in gfp_masks(release, on)]
    first = f"{having[0]}" if having[0] != "4.1" else "before 4.1"
    return f"{first} to {having[-1]}"


def effects(value: int, release: str, given: Mapping[str, str]) -> dict[str, Any]:
    """What a mask lets the page allocator do in a release, for --json and for words."""
    bits = gfp_bits(release, gfp_config(value, release, given))
    has = {name for name, bit in bits.items() if value & bit}
    direct = bool(has & {"__GFP_DIRECT_RECLAIM", "__GFP_WAIT"})
    kswapd = "__GFP_KSWAPD_RECLAIM" in has or (
        not has_since(release, "4.4") and "__GFP_NO_KSWAPD" not in has
    )
    return {
        "may_sleep": direct,
        "direct_reclaim": direct,
        "wakes_kswapd": kswapd,
        "io": "__GFP_IO" in has,
        "fs": "__GFP_FS" in has,
        "retries": _retries(has, direct),
        "migratetype": _migratetype(has),
        "watermark": _watermark(has, direct, release),
        "flags": [{"name": name, "bit": bit.bit_length() - 1}
                  for name, bit in bits.items() if value & bit],
    }  # fmt: skip


def _retries(has: set[str], direct: bool) -> str:
    if "__GFP_NOFAIL" in has:
        return "until it succeeds" if direct else "__GFP_NOFAIL without direct reclaim: warned of"
    if not direct:
        return "never: what is not free at once is not given"
    if "__GFP_NORETRY" in has:
        return "once through reclaim, no OOM killer"
    if has & {"__GFP_RETRY_MAYFAIL", "__GFP_REPEAT"}:
        return "as long as reclaim or compaction help, no OOM killer"
    return "orders up to 3 until the OOM killer has freed memory, larger ones a few times"


def _migratetype(has: set[str]) -> str:
    # gfp_migratetype(): the two bits are the number
    both = has & {"__GFP_MOVABLE", "__GFP_RECLAIMABLE"}
    if len(both) == 2:
        return "none: __GFP_MOVABLE and __GFP_RECLAIMABLE exclude each other (a warning)"
    return {"__GFP_MOVABLE": "Movable", "__GFP_RECLAIMABLE": "Reclaimable"}.get(
        "".join(both), "Unmovable"
    )


def _watermark(has: set[str], direct: bool, release: str) -> str:
    # gfp_to_alloc_flags(), __gfp_pfmemalloc_flags(), __zone_watermark_ok()
    if "__GFP_MEMALLOC" in has and "__GFP_NOMEMALLOC" not in has:
        return "none: all of the reserves"
    first = "low at first, then "
    atomic = (
        not direct and "__GFP_NOMEMALLOC" not in has
        if has_since(release, "6.3") or not has_since(release, "4.4")
        else "__GFP_ATOMIC" in has and "__GFP_NOMEMALLOC" not in has
    )
    if "__GFP_HIGH" not in has:
        if atomic and not has_since(release, "6.3"):
            return first + "3/4 of min (ALLOC_HARDER), and the HighAtomic reserve"
        return first + "min"
    if not atomic:
        high = "ALLOC_MIN_RESERVE" if has_since(release, "6.3") else "ALLOC_HIGH"
        return first + f"1/2 of min ({high})"
    if has_since(release, "6.3"):
        return first + (
            "3/8 of min (ALLOC_MIN_RESERVE and ALLOC_NON_BLOCK); orders above 0 also the "
            "HighAtomic reserve"
        )
    return first + "3/8 of min (ALLOC_HIGH and ALLOC_HARDER), and the HighAtomic reserve"


def zones(value: int, release: str, config: Mapping[str, str]) -> list[str]:
    """The zones that a mask may use on a machine, in the order in which they are tried.

    Kernel: gfp_zone() and GFP_ZONE_TABLE. Movable is last in the kernel's numbers, first here.
    Raises UnknownFlag for combinations that the kernel forbids (GFP_ZONE_BAD).
    """
    bits = gfp_bits(release)
    has = {name.removeprefix("__GFP_") for name in
           ("__GFP_DMA", "__GFP_HIGHMEM", "__GFP_DMA32", "__GFP_MOVABLE") if value & bits[name]}
    if len(has & {"DMA", "HIGHMEM", "DMA32"}) > 1:
        raise UnknownFlag(f"{' and '.join(sorted(has))} together: one zone modifier at most")
    present = [name for name, symbol in (
        ("DMA", "CONFIG_ZONE_DMA"), ("DMA32", "CONFIG_ZONE_DMA32"), ("Normal", ""),
        ("HighMem", "CONFIG_HIGHMEM"), ("Movable", "")) if not symbol or config.get(symbol) == "y"]
    top = "Normal"
    if "HIGHMEM" in has:
        top = "Movable" if "MOVABLE" in has else "HighMem" if "HighMem" in present else "Normal"
    elif "DMA" in has:
        top = "DMA"
    elif "DMA32" in has:
        top = "DMA32"
    if top not in present:
        top = "Normal"  # OPT_ZONE_DMA and OPT_ZONE_DMA32 without such a zone
    return list(reversed(present[: present.index(top) + 1]))


def kernel_of(text: str) -> KernelName:
    """`kernel_name` for what GFP tables there are."""
    return kernel_name(text, OLDEST)


