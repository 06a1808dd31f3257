"""What the kernel's command line changes in the feature table.

Sources: mm/slub.c setup_slub_debug(), parse_slub_debug_flags(); mm/slab_common.c; mm/page_alloc.c
and mm/mm_init.c (init_on_alloc=, init_on_free=); mm/shuffle.c; mm/memcontrol.c.
The `slab_` names of options came with 6.9 (671776b32b81) beside the `slub_` ones, those of merging
long before.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mmtwin.versions.releases import has_since

SLAB_OPTION_SINCE = "6.9"  # 671776b32b81
# Letters of slub_debug= as the twin's SLAB_* (kernel/slub_defs.pxd; those of 5.10).
DEBUG_LETTERS = {"F": 0x100, "Z": 0x400, "P": 0x800, "U": 0x10000, "T": 0x200000, "A": 0x2000000}
DEBUG_DEFAULT = DEBUG_LETTERS["F"] | DEBUG_LETTERS["Z"] | DEBUG_LETTERS["P"] | DEBUG_LETTERS["U"]
BOOLEANS = {"1": 1, "y": 1, "Y": 1, "on": 1, "t": 1, "T": 1,
            "0": 0, "n": 0, "N": 0, "off": 0, "f": 0, "F": 0}
# option -> (feature, value where it is given without one or is read as a boolean)
SWITCHES = {
    "init_on_alloc": "init_on_alloc",
    "init_on_free": "init_on_free",
    "page_alloc.shuffle": "shuffle",
}
NUMBERS = ("min_order", "max_order", "min_objects")
# Every option that mmtwin reads; dashes in names are underscores (parameq()).
READ = (
    *SWITCHES, *(f"{prefix}_{name}" for prefix in ("slub", "slab")
                 for name in (*NUMBERS, "debug", "merge", "nomerge")),
    "page_poison", "cgroup.memory", "kmemleak", "kasan_multi_shot", "kasan.fault",
    "no_hash_pointers", "hash_pointers", "vsyscall",
)  # fmt: skip


@dataclass(frozen=True)
class SlubDebugOptions:
    """What slub_debug= asks for: `flags` SLAB_* of every cache; `blocks` (SLAB_*, names) of those
    it names, the first that fits counts; `spares_orders`: not where slabs would become larger (O);
    `unknown`: letters that are none, which the kernel skips.
    """

    flags: int = 0
    blocks: tuple[tuple[int, tuple[str, ...]], ...] = ()
    spares_orders: bool = False
    unknown: str = ""


def slub_debug_options(value: str) -> SlubDebugOptions:
    """`slub_debug=value` as setup_slub_debug() reads it; `""` is the option without a value.

    Blocks are separated by `;`: letters, or letters, a comma and the names of caches. Without
    letters before the comma all checks are on. Of blocks without names the last counts.
    """
    if not value:
        return SlubDebugOptions(DEBUG_DEFAULT)
    everywhere = 0
    blocks: list[tuple[int, tuple[str, ...]]] = []
    spares, unknown = False, ""
    for block in value.split(";"):
        letters, comma, names = block.partition(",")
        if not block:
            continue
        flags = 0 if letters else DEBUG_DEFAULT
        for letter in letters:
            known = letter.upper()
            flags = 0 if letter == "-" else flags | DEBUG_LETTERS.get(known, 0)
            spares |= known == "O"
            if known not in (*DEBUG_LETTERS, "O", "-"):
                unknown += letter
        if comma:
            blocks.append((flags, tuple(names.split(","))))
        else:
            everywhere = flags
    return SlubDebugOptions(everywhere, tuple(blocks), spares, unknown)


def prefixes(version: str) -> tuple[str, ...]:
    """What options of SLUB may begin with in a release."""
    return ("slab", "slub") if has_since(version, SLAB_OPTION_SINCE) else ("slub",)


def slub_debug_of(cmdline: Mapping[str, str], version: str) -> SlubDebugOptions | None:
    """The options of a command line, None where it has no slub_debug= that the release knows."""
    for prefix in prefixes(version):
        if f"{prefix}_debug" in cmdline:
            return slub_debug_options(cmdline[f"{prefix}_debug"])
    return None


def overrides(cmdline: Mapping[str, str], version: str) -> dict[str, int]:
    """The features that a command line changes; `cmdline` as `{"slub_debug": "FZPU"}`; `version`:
    the release that reads it.
    """
    found: dict[str, int] = {}
    for option, feature in SWITCHES.items():
        value = BOOLEANS.get(cmdline.get(option, ""))
        if value is not None:
            found[feature] = value
    for prefix in ("slub", "slab"):
        if f"{prefix}_nomerge" in cmdline:
            found["slab_merge"] = 0
        if f"{prefix}_merge" in cmdline:
            found["slab_merge"] = 1
    for prefix in reversed(prefixes(version)):
        for name in NUMBERS:
            value_text = cmdline.get(f"{prefix}_{name}", "")
            if value_text.isdigit():
                found[f"slub_{name}"] = int(value_text)
    debug = slub_debug_of(cmdline, version)
    if debug is not None:
        found["slub_debug_flags"] = debug.flags
    if BOOLEANS.get(cmdline.get("page_poison", "")):
        found["init_on_alloc"] = found["init_on_free"] = 0
    if "nokmem" in cmdline.get("cgroup.memory", "").split(","):
        found["memcg_kmem"] = 0  # mem_cgroup_kmem_disabled(), whatever cgroup_disable= says
    return found
