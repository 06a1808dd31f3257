"""Turns KASAN on while a machine boots: its shadow over the RAM, kasan_init()."""

from mmtwin.kernel.constants import CHECK_KASAN
from mmtwin.kernel.kasan import Kasan
from mmtwin.kernel.mm import MM
from mmtwin.machine.memory_map import SHADOW, MemoryMap, shadow_pages
from mmtwin.versions.address_space import actual_va_bits
from mmtwin.versions.kasan import kernel_start, shadow_offset, task_size, vmemmap_of
from mmtwin.versions.page_flags import page_flag_bits, page_types
from mmtwin.versions.profiles import Profile


def kasan_init(mm: MM, profile: Profile, memory_map: MemoryMap) -> None:
    """kasan_init(): every page of RAM has its shadow, and from now on all is checked.

    Memory that was never allocated is accessible: with CONFIG_DEFERRED_STRUCT_PAGE_INIT, as Debian
    builds, the pages that are freed at boot are not poisoned.
    """
    built = int(profile.config.get("CONFIG_ARM64_VA_BITS", 48))
    bits = actual_va_bits(profile.page_size, built)
    place = next(part.start for part in memory_map.reserved if part.what == SHADOW)
    ranges = []
    for start, end in memory_map.ram:
        ranges.append((start, end, place))
        place += shadow_pages([(start, end)])
    flags = page_flag_bits(profile.version, profile.arch, profile.config)
    types = page_types(profile.version)
    where = {
        "shadow_offset": shadow_offset(profile.version, profile.arch, built),
        "kernel_start": kernel_start(profile.arch, bits, mm.page_offset),
        "task_size": task_size(profile.arch, bits),
        "vmemmap": vmemmap_of(profile.arch, bits),
        "page_flags": {name.removeprefix("PG_"): 1 << bit for name, bit in flags.items()},
        "page_types": {name.removeprefix("PGTY_"): value for name, value in types.items()},
        "ranges": ranges,
        "uname": profile.version,
        "arch": profile.arch,
        "hz": int(profile.config.get("CONFIG_HZ", 250)),
    }
    options = profile.cmdline
    mm.kasan = Kasan(
        mm, where, multi_shot="kasan_multi_shot" in options, fault=options.get("kasan.fault", "")
    )
    mm.checkers |= CHECK_KASAN
