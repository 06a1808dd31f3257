"""What a what-if changes: the settings of `--set` and `what_if(...)`, and what they do to a
profile and to the caches of a twin that has just booted.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mmtwin.kernel.mm import MM
from mmtwin.kernel.slub_cache import SlabError, draw_random_seq, kmem_cache_create, lay_out
from mmtwin.kernel.slub_defs import DEFS
from mmtwin.kernel.slub_layout import allocation_flags
from mmtwin.machine.boot import create_cache
from mmtwin.machine.boot_caches import unmerged_caches
from mmtwin.machine.memory_map import parse_memory
from mmtwin.machine.sysctl import checked
from mmtwin.replay.errors import ReplayError
from mmtwin.replay.start_state import names_of
from mmtwin.versions.profiles import MACHINES, Profile, debian_config
from mmtwin.versions.profiles import profile as named_profile
from mmtwin.versions.releases import RELEASES, release_line

YES, NO = ("y", "yes", "on", "1", "true"), ("n", "no", "off", "0", "false")
DIGITS = re.compile("[0-9]{1,12}")
SYMBOL = re.compile("[A-Z][A-Z0-9_]*")  # a switch of the configuration
MOST_ORDER = 10  # MAX_ORDER
NEVER_MERGE = DEFS["SLAB_NEVER_MERGE"]
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# settings that are options of the kernel's command line: name -> what they take
OPTIONS = {
    "slub_min_order": "an order", "slub_max_order": "an order",
    "slub_min_objects": "a number of objects", "slub_debug": "letters: FZPU",
    "init_on_alloc": "0 or 1", "init_on_free": "0 or 1",
}
# settings that are files of /proc/sys/vm: "sysctl.vm.NAME" of the command line sets them too
PAGE_SYSCTLS = ("percpu_pagelist_high_fraction", "percpu_pagelist_fraction", "min_free_kbytes")
# settings that are switches of its configuration
SWITCHES = {
    "vmap_stack": "VMAP_STACK", "freelist_random": "SLAB_FREELIST_RANDOM",
    "freelist_hardened": "SLAB_FREELIST_HARDENED", "kasan": "KASAN",
}
# settings of one cache, NAME:CACHE=VALUE; the first two also of all
OF_CACHES = ("cpu_partial", "min_partial", "order", "struct")
OF_ALL = OF_CACHES[:2]
HELP = {
    "kernel=6.12": "another release, as Debian configures it",
    "page_size=16K": "arm64: pages of 4K, 16K or 64K",
    "memory=512M": "another amount of RAM",
    "slub_min_order=0": "also slub_max_order, slub_min_objects, slub_debug=FZPU",
    "slub_nomerge=y": "every cache on its own",
    "min_free_kbytes=8000": "also percpu_pagelist_high_fraction (before 5.14 _fraction)",
    "struct:dentry=+16": "a larger (or smaller) structure; =208: of so many bytes",
    "order:dentry=1": "the order of one cache's slabs",
    "cpu_partial=0": "also cpu_partial:CACHE=N, min_partial=N, min_partial:CACHE=N",
    "thread_size=32K": "larger kernel stacks",
    "vmap_stack=n": "also freelist_random, freelist_hardened, kasan",
    "CONFIG=VALUE": "a configuration switch in capitals: SLUB_CPU_PARTIAL=n",
}
REFUSED = {
    "cpus": "events name the CPU they ran on",
    "nodes": "events do not say for which node they would have asked",
    "arch": "name a profile: --profile arm64-6.1",
    "hz": "no clock runs between events",
}


@dataclass
class Changes:
    """What is other on the changed machine.

    `profile`: of it; `memory` in bytes, 0 as recorded; `caches`: {(setting, cache or ""): value};
    `texts`: as they were given.
    """

    profile: Profile
    memory: int = 0
    caches: dict[tuple[str, str], str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    @property
    def in_place(self) -> bool:
        """Whether nothing changes but limits of caches: the recorded state itself can go on."""
        return not self.memory and all(setting in OF_ALL for setting, _ in self.caches)

    @property
    def splits(self) -> bool:
        """Whether caches that share a kmem_cache get their own (slab_unmergeable())."""
        has = self.profile.features
        return bool(
            not has["slab_merge"] or has["slub_debug_flags"] & NEVER_MERGE or has["kasan"]
        )


def flattened(settings: Mapping[str, Any]) -> dict[str, str]:
    """{"struct": {"dentry": "+16"}} as {"struct:dentry": "+16"}, all values texts."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found.update({f"{name}:{cache}": text_of(each) for cache, each in value.items()})
        else:
            found[name] = text_of(value)
    return found


def text_of(value: object) -> str:
    """A setting's value as --set takes it."""
    if isinstance(value, bool):
        return "y" if value else "n"
    return str(value)


def changes_of(recorded: Profile, profile: str | Profile | None, settings: Mapping[str, Any]
               ) -> Changes:
    """The changed machine. Raises ReplayError for what cannot be changed, and says what can."""
    made = Changes(recorded)
    try:
        if profile is not None:
            made.profile = profile if isinstance(profile, Profile) else named_profile(profile)
            made.texts.append(f"profile {made.profile.name}")
        for name, value in flattened(settings).items():
            change(made, name, value)
            made.texts.append(f"{name}={value}")
        _ = made.profile.limits, made.profile.features
    except ReplayError:
        raise
    except ValueError as error:
        raise ReplayError(str(error)) from None
    return made


def change(made: Changes, name: str, value: str) -> None:
    """One setting. Raises ValueError or ReplayError for a name or value that cannot be."""
    setting, colon, cache = name.partition(":")
    if setting in OF_CACHES and (colon or setting in OF_ALL):
        if setting == "struct" and not re.fullmatch(r"[+-]?\d{1,7}", value):
            raise ReplayError(f"{name}={value}: it takes bytes: +16, -8, 208")
        if setting != "struct" and not DIGITS.fullmatch(value):
            raise ReplayError(f"{name}={value}: it takes a number")
        made.caches[setting, cache] = value
    elif name in OPTIONS:
        if name != "slub_debug" and not DIGITS.fullmatch(value):
            raise ReplayError(f"{name}={value}: it takes {OPTIONS[name]}")
        if name.endswith("_order") and int(value) > MOST_ORDER:
            raise ReplayError(f"{name}={value}: orders are 0 to {MOST_ORDER}")
        made.profile = made.profile.with_cmdline(**{name: value})
    elif name in ("slub_nomerge", "slab_nomerge"):
        made.profile = made.profile.with_features(slab_merge=0 if yes(name, value) else 1)
    elif name in PAGE_SYSCTLS:
        if not DIGITS.fullmatch(value):
            raise ReplayError(f"{name}={value}: it takes a number")
        try:
            checked({f"vm.{name}": value})
        except ValueError as error:
            raise ReplayError(str(error)) from None
        made.profile = made.profile.with_cmdline(**{f"sysctl.vm.{name}": value})
    elif name in SWITCHES:
        made.profile = made.profile.with_config(**{SWITCHES[name]: yes(name, value)})
    elif name in SETTERS:
        SETTERS[name](made, value)
    elif SYMBOL.fullmatch(name):
        switch = False if value in NO else True if value in YES else value
        made.profile = made.profile.with_config(**{name: switch})
    else:
        why = REFUSED.get(name, "no such setting")
        known = [each.partition("=")[0] for each in HELP]
        near = difflib.get_close_matches(name, known, 3, 0.5)
        can = f"nearest: {', '.join(near)}" if near else "`mmtwin what-if --help` lists what can"
        raise ReplayError(f"{name} cannot be changed ({why}); {can}")


def yes(name: str, value: str) -> bool:
    """A switch's value."""
    if value.lower() not in YES + NO:
        raise ReplayError(f"{name}={value}: it takes y or n")
    return value.lower() in YES


def bytes_of(value: str) -> int:
    """Bytes of `"16K"`."""
    unit = UNITS.get(value[-1:].upper(), 1)
    number = value[:-1] if unit > 1 else value
    if not DIGITS.fullmatch(number):
        raise ReplayError(f"{value!r} is no size: 16K, 4096")
    return int(number) * unit


def set_kernel(made: Changes, value: str) -> None:
    """Another release, of the same architecture and page size, with Debian's configuration."""
    old = made.profile
    if release_line(value) not in RELEASES:
        raise ReplayError(f"kernel={value}: there are {', '.join(RELEASES)}")
    machine = old.name.rpartition("-")[0]
    made.profile = replace(
        old, name=f"{machine}-{release_line(value)}", version=value,
        config=debian_config(release_line(value), old.arch, old.page_size),
    )  # fmt: skip


def set_page_size(made: Changes, value: str) -> None:
    """Other pages of the same release, with Debian's configuration for them."""
    old, size = made.profile, bytes_of(value)
    names = [name for name, machine in MACHINES.items() if machine == (old.arch, size)]
    if not names:
        line = release_line(old.version)
        raise ReplayError(
            f"no {old.arch} kernel has pages of {value}; another architecture's can be asked: "
            f"--profile arm64-16k-{line if line in RELEASES else RELEASES[-1]}"
        )
    made.profile = replace(
        old, name=f"{names[0]}-{release_line(old.version)}", page_size=size,
        config=debian_config(release_line(old.version), old.arch, size),
    )  # fmt: skip


def set_thread_size(made: Changes, value: str) -> None:
    """THREAD_SIZE; the alignment grows with it."""
    size = bytes_of(value)
    if size & (size - 1) or not 4096 <= size <= 1 << 20:
        raise ReplayError(f"thread_size={value}: it takes a power of two from 4K to 1M")
    has = made.profile.features
    align = size * (has["thread_align"] // has["thread_size"])
    made.profile = made.profile.with_features(thread_size=size, thread_align=align)


def set_memory(made: Changes, value: str) -> None:
    """Another amount of RAM."""
    made.memory = parse_memory(value)


SETTERS: dict[str, Callable[[Changes, str], None]] = {
    "kernel": set_kernel, "page_size": set_page_size, "thread_size": set_thread_size,
    "memory": set_memory,
}


# ---- on a twin that has booted


def apply(mm: MM, made: Changes) -> None:
    """Changes the caches of a machine. Raises ReplayError for a cache that it does not have."""
    # sizes first: they lay the cache out anew
    for (setting, cache), value in sorted(made.caches.items(), key=lambda row: -_rank(row[0][0])):
        numbers = [_number(mm, setting, cache)] if cache else sorted(set(names_of(mm).values()))
        for number in numbers:
            CACHE_SETTERS[setting](mm, number, value)


def _rank(setting: str) -> int:
    return OF_CACHES.index(setting)


def _number(mm: MM, setting: str, cache: str) -> int:
    """A cache by name; one that shares a kmem_cache gets its own before its size changes."""
    from difflib import get_close_matches

    numbers = names_of(mm)
    if cache not in numbers:
        near = ", ".join(get_close_matches(cache, numbers, 3, 0.5)) or "none"
        raise ReplayError(f"{setting}:{cache}: no such slab cache; nearest: {near}")
    if setting == "struct" and cache not in mm.cache_names:
        return own_cache(mm, numbers[cache], cache)
    return numbers[cache]


def own_cache(mm: MM, number: int, alias: str) -> int:
    """A kmem_cache of its own for a name that shared one; of the size that it had with others,
    where it is not known what it asked for.
    """
    has, record = mm.view("has")[0], mm.view("cache")[number]
    merges, has.slab_merge = has.slab_merge, 0
    own = unmerged_caches(mm.profile).get(alias)
    made: int = create_cache(mm, own, alias) if own else kmem_cache_create(
        mm, alias, int(record["object_size"]), int(record["align"]), int(record["flags"]),
        usersize=int(record["usersize"]), ctor=int(record["ctor"]),
    )  # fmt: skip
    has.slab_merge = merges
    mm.cache_aliases[number] = [name for name in mm.cache_aliases[number] if name != alias]
    return made


def set_struct(mm: MM, number: int, value: str) -> None:
    """Objects of another size: "+16", "-8" or "208" bytes."""
    record = mm.view("cache")[number]
    size = int(value) + (int(record["object_size"]) if value[0] in "+-" else 0)
    name = mm.cache_names[number]
    if size < 1:
        raise ReplayError(f"struct:{name}={value}: objects of {size} bytes cannot be")
    if record["usersize"]:
        record["usersize"] = min(int(record["usersize"]), size)
    keep = int(record["refcount"]), int(record["sheaf_capacity"])
    try:
        lay_out(mm, number, size, int(record["align"]), int(record["flags"]), int(record["ctor"]))
    except SlabError as error:
        raise ReplayError(f"struct:{name}={value}: {error}") from None
    record["refcount"], record["sheaf_capacity"] = keep
    if mm.view("has")[0].freelist_random:
        draw_random_seq(mm, number)


def set_order(mm: MM, number: int, value: str) -> None:
    """Slabs of another order."""
    record, order, page = mm.view("cache")[number], int(value), 1 << int(mm.page_shift)
    if not int(record["min_order"]) <= order < mm.nr_orders:
        raise ReplayError(
            f"order:{mm.cache_names[number]}={value}: orders {int(record['min_order'])} to "
            f"{mm.nr_orders - 1} hold an object"
        )
    record["oo_order"] = order
    record["allocflags"] = allocation_flags(mm.view("has")[0], int(record["flags"]), order)
    record["oo_objects"] = min((page << order) // int(record["size"]), 32767)
    if mm.view("has")[0].freelist_random:
        draw_random_seq(mm, number)


def set_cpu_partial(mm: MM, number: int, value: str) -> None:
    """cpu_partial in objects, as /sys/kernel/slab/CACHE/cpu_partial takes it."""
    record, has = mm.view("cache")[number], mm.view("has")[0]
    if not has.slub_cpu_partial:
        raise ReplayError("cpu_partial: this kernel has no CPU partial lists")
    record["cpu_partial"] = int(value)
    if has.cpu_partial_counts_slabs:
        record["cpu_partial_slabs"] = -(-int(value) * 2 // max(int(record["oo_objects"]), 1))


def set_min_partial(mm: MM, number: int, value: str) -> None:
    """min_partial, as /sys/kernel/slab/CACHE/min_partial takes it."""
    mm.view("cache")[number]["min_partial"] = int(value)


CACHE_SETTERS: dict[str, Callable[[MM, int, str], None]] = {
    "struct": set_struct, "order": set_order, "cpu_partial": set_cpu_partial,
    "min_partial": set_min_partial,
}
