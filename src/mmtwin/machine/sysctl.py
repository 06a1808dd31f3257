"""Files of /proc/sys/vm: what a booted machine is told by them, or by `sysctl.vm.NAME=` of its
command line (do_sysctl_args(), 3db978d480e2 in 5.8).
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from mmtwin.kernel.commit import commit_of
from mmtwin.kernel.mm import MM
from mmtwin.kernel.mmzone_init import (
    populated_zones,
    setup_per_zone_wmarks,
    zone_set_pageset_high_and_batch,
)

INT_MAX, LONG_MAX = (1 << 31) - 1, (1 << 63) - 1
PREFIX = "sysctl."
# name -> the least and the most that it takes (kernel/sysctl.c, mm/util.c, security/min_addr.c)
RANGES = {
    "vm.admin_reserve_kbytes": (0, LONG_MAX),
    "vm.legacy_va_layout": (0, INT_MAX),
    "vm.max_map_count": (0, INT_MAX),
    "vm.min_free_kbytes": (0, INT_MAX),
    "vm.mmap_min_addr": (0, LONG_MAX),
    "vm.overcommit_kbytes": (0, LONG_MAX),
    "vm.overcommit_memory": (0, 2),
    "vm.overcommit_ratio": (0, INT_MAX),
    "vm.percpu_pagelist_fraction": (0, INT_MAX),
    "vm.percpu_pagelist_high_fraction": (0, INT_MAX),
    "vm.user_reserve_kbytes": (0, LONG_MAX),
}
FRACTIONS = ("vm.percpu_pagelist_fraction", "vm.percpu_pagelist_high_fraction")
LEAST_FRACTION = 8  # or 0: not so


def checked(settings: Mapping[str, Any]) -> dict[str, int]:
    """The settings as numbers. Raises ValueError for a name that mmtwin does not read, and for a
    value that the file would refuse.
    """
    found = {}
    for name, value in settings.items():
        if name not in RANGES:
            near = ", ".join(get_close_matches(name, RANGES, 3, 0.5)) or ", ".join(RANGES)
            raise ValueError(f"sysctl {name!r:.60}: mmtwin reads no such file; nearest: {near}")
        least, most = RANGES[name]
        text = str(value)
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
        if not least <= number <= most or (name in FRACTIONS and 0 < number < LEAST_FRACTION):
            raise ValueError(f"sysctl {name}={text:.40}: it takes a number from {least} to {most}")
        found[name] = number
    return found


def of_cmdline(cmdline: Mapping[str, str]) -> dict[str, int]:
    """The settings in a command line, as `{"vm.overcommit_memory": "2"}`. The kernel takes a slash
    for a point, and passes over what it does not have or refuses.
    """
    found = {}
    for name, value in cmdline.items():
        name = name.replace("/", ".")
        if name.startswith(PREFIX):
            with suppress(ValueError):
                found.update(checked({name.removeprefix(PREFIX): value}))
    return found


def set_sysctls(mm: MM, settings: Mapping[str, Any]) -> None:
    """Writes the files, in the order given. Raises ValueError as checked()."""
    for name, value in checked(settings).items():
        setter = SETTERS.get(name)
        if setter is not None:
            setter(mm, value)
        else:
            setattr(commit_of(mm), name.removeprefix("vm."), value)


def set_overcommit_ratio(mm: MM, value: int) -> None:
    """One of ratio and kbytes counts: the other becomes 0 (overcommit_ratio_handler())."""
    commit = commit_of(mm)
    commit.overcommit_ratio, commit.overcommit_kbytes = value, 0


def set_overcommit_kbytes(mm: MM, value: int) -> None:
    """overcommit_kbytes_handler()"""
    commit = commit_of(mm)
    commit.overcommit_ratio, commit.overcommit_kbytes = 0, value


def set_mmap_min_addr(mm: MM, value: int) -> None:
    """The configuration's LSM_MMAP_MIN_ADDR counts where it is larger (update_mmap_min_addr())."""
    config = mm.profile.config if mm.profile else {}
    commit_of(mm).mmap_min_addr = max(value, int(config.get("CONFIG_LSM_MMAP_MIN_ADDR", 0)))


def set_min_free_kbytes(mm: MM, value: int) -> None:
    """min_free_kbytes_sysctl_handler()"""
    mm.min_free_kbytes = value
    setup_per_zone_wmarks(mm)


def set_pagelist_fraction(mm: MM, high: bool, value: int) -> None:
    """percpu_pagelist_high_fraction_sysctl_handler(); percpu_pagelist_fraction before that."""
    if bool(mm.view("has")[0].pcp_high_from_watermark) == high:
        for number in populated_zones(mm):
            zone_set_pageset_high_and_batch(mm, number, 0, value)


SETTERS: dict[str, Callable[[MM, int], None]] = {
    "vm.min_free_kbytes": set_min_free_kbytes,
    "vm.mmap_min_addr": set_mmap_min_addr,
    "vm.overcommit_kbytes": set_overcommit_kbytes,
    "vm.overcommit_ratio": set_overcommit_ratio,
    "vm.percpu_pagelist_fraction": lambda mm, value: set_pagelist_fraction(mm, False, value),
    "vm.percpu_pagelist_high_fraction": lambda mm, value: set_pagelist_fraction(mm, True, value),
}
