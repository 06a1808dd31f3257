"""/proc/PID/smaps: the areas of a process and what of them is resident.

Kernel: fs/proc/task_mmu.c, show_smap, __show_smap, show_smap_vma_flags.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmtwin.procfs import maps
from mmtwin.procfs.maps import MapsArea
from mmtwin.procfs.state import profile_of
from mmtwin.procfs.text import Lines, shortened
from mmtwin.versions.process_items import WIDE_THP, mnemonics, smaps_fields

FILE = "smaps"
KEY = 16  # columns of a field's name with its colon
NUMBER = 8
FIELD = re.compile(r"([A-Z][A-Za-z_]*): +([0-9]{1,20}) kB", re.ASCII)
LETTERS = re.compile(r"([a-z]{2}|\?\?)")


@dataclass(frozen=True)
class SmapsArea:
    """An area: its line of maps, its `sizes` in kB by name in the order of printing, its VmFlags.

    `thp_eligible`; `thp_width`: columns it is printed in (0 before 6.6); `pkey`: the protection
    key, None on a machine without.
    """

    area: MapsArea
    sizes: Mapping[str, int] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    thp_eligible: int = 0
    thp_width: int = NUMBER
    pkey: int | None = None

    def __str__(self) -> str:
        """The lines as the kernel prints them."""
        lines = [str(self.area)]
        lines += [f"{size_line(name, kb)}\n" for name, kb in self.sizes.items()]
        lines.append(f"THPeligible:    {self.thp_eligible:>{self.thp_width or 1}}\n")
        if self.pkey is not None:
            lines.append(f"ProtectionKey:  {self.pkey:>8}\n")
        lines.append("VmFlags: " + "".join(f"{flag} " for flag in self.flags) + "\n")
        return "".join(lines)


def size_line(name: str, kb: int) -> str:
    """A field as SEQ_PUT_DEC prints it: the names in 16 columns, Private_Hugetlb in 17."""
    key = f"{name}:".ljust(KEY)
    return f"{key}{kb:>8} kB" if key[-1] == " " else f"{key} {kb:>7} kB"


def parse(text: str | bytes) -> list[SmapsArea]:
    """The areas of a /proc/PID/smaps text. Raises ProcError with the line."""
    lines = Lines(FILE, text)
    areas = []
    while lines.peek() is not None:
        areas.append(parse_area(lines))
    return areas


def parse_area(lines: Lines) -> SmapsArea:
    """The lines of one area."""
    area = maps.parse_area(lines)
    sizes: dict[str, int] = {}
    line = lines.take("a size")
    while found := FIELD.fullmatch(line):
        name, kb = found[1], lines.unsigned(found[2], "size")
        if name in sizes:
            lines.fail(f"{name} stands there twice")
        if size_line(name, kb) != line:
            lines.fail(f"not as the kernel prints it: {shortened(line)}")
        sizes[name] = kb
        line = lines.take("a size or VmFlags")
    eligible, width, pkey = 0, NUMBER, None
    key, _, rest = line.partition(":")
    if key == "THPeligible":
        eligible = lines.unsigned(rest.strip(" "), "flag")
        width = NUMBER if len(rest) == 4 + NUMBER else 0
        key, _, rest = lines.take("VmFlags").partition(":")
    if key == "ProtectionKey":
        pkey = lines.unsigned(rest.strip(" "), "protection key")
        key, _, rest = lines.take("VmFlags").partition(":")
    flags = tuple(rest.split())
    if key != "VmFlags" or not all(map(LETTERS.fullmatch, flags)):
        lines.fail(f"no VmFlags: {shortened(key + ':' + rest)}")
    return SmapsArea(area, sizes, flags, eligible, width, pkey)


def format_smaps(areas: list[SmapsArea]) -> str:
    """The text of the file."""
    return "".join(map(str, areas))


def show(mm: Any, counts: Any, eligible: Any = None) -> list[SmapsArea]:
    """The areas of a process of the twin.

    `mm`: its mm_struct; `counts(vma)`: what is resident of an area, bytes by field name
    (kernel/smaps.py); `eligible(vma)`: whether it may have huge pages, None for none.
    """
    profile = profile_of(mm.machine)
    names, letters = smaps_fields(profile), mnemonics(profile)
    page_size = profile.page_size
    areas = []
    lines = maps.show(mm)
    for line, vma in zip(lines, maps.areas_of(mm), strict=False):
        resident = counts(vma)
        sizes = {name: resident.get(name, 0) >> 10 for name in names}
        sizes["Size"] = line.end - line.start >> 10
        sizes["KernelPageSize"] = sizes["MMUPageSize"] = page_size >> 10
        thp = int(bool(eligible and eligible(vma)))
        areas.append(
            SmapsArea(line, sizes, flag_letters(vma.vm_flags, letters), thp, thp_width(profile))
        )
    return areas


def thp_width(profile: Any) -> int:
    """The columns of THPeligible."""
    return NUMBER if WIDE_THP.there(profile) else 0


def flag_letters(flags: int, letters: Mapping[int, str]) -> tuple[str, ...]:
    """VmFlags of an area: `??` for a bit that the kernel has no letters for."""
    bits = [1 << number for number in range(64) if flags >> number & 1]
    return tuple(found for bit in bits if (found := letters.get(bit, "??")))
