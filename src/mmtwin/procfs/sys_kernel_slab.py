"""/sys/kernel/slab: a folder of attributes for each slab cache.

Kernel: mm/slub.c, slab_attrs and its show functions.

As text: a line `cache attribute value` for each attribute, `name @link target` for an alias.
As a folder: what sysfs has, `cache/attribute` files and symbolic links.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mmtwin.procfs.errors import ProcError
from mmtwin.procfs.text import Lines, decode, encode, shortened

FILE = "sys_kernel_slab"
LINK = "@link"
# A file of sysfs is at most a page: nothing larger is an attribute.
MOST_BYTES = 65536
COUNT = re.compile(r"(\d{1,19})((?: N\d{1,6}=\d{1,19})*)", re.ASCII)
CPU_PARTIAL = re.compile(
    r"(\d{1,10})\((\d{1,10})\)((?: C\d{1,6}=\d{1,10}\(\d{1,10}\))*)", re.ASCII
)


@dataclass(frozen=True)
class SlabCount:
    """A number of slabs or objects: all of them, and those of each node that has some."""

    total: int
    nodes: dict[int, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """As the kernel prints it (show_slab_objects): `7 N0=7`."""
        return " ".join([str(self.total), *(f"N{node}={n}" for node, n in self.nodes.items())])


@dataclass(frozen=True)
class CpuPartial:
    """slabs_cpu_partial: objects and slabs on CPU partial lists, in all and by CPU."""

    objects: int
    slabs: int
    cpus: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __str__(self) -> str:
        """As the kernel prints it (slabs_cpu_partial_show): `52(4) C0=52(4)`."""
        cpus = (f"C{cpu}={objects}({slabs})" for cpu, (objects, slabs) in self.cpus.items())
        return " ".join([f"{self.objects}({self.slabs})", *cpus])


@dataclass(frozen=True)
class SlabAttributes:
    """A cache's folder: `values` has each attribute's text without the newline, in their order.

    `order` and `min_partial` are numbers; `objects`, `objects_partial`, `total_objects`, `slabs`,
    `partial` and `cpu_slabs` counts (`count`); `ctor` is a symbol or empty.
    """

    name: str
    values: dict[str, str]

    def number(self, attribute: str) -> int:
        """A plain number, or the total of a count. Raises ProcError if it is none or not there."""
        return self.count(attribute).total

    def count(self, attribute: str) -> SlabCount:
        """A number with its nodes. Raises ProcError if it is none or not there."""
        found = COUNT.fullmatch(self._value(attribute))
        if not found:
            raise ProcError(FILE, 0, f"{self.name} {attribute} is no number")
        pairs = (part[1:].split("=") for part in found[2].split())
        return SlabCount(int(found[1]), {int(node): int(count) for node, count in pairs})

    def cpu_partial(self) -> CpuPartial:
        """`slabs_cpu_partial`. Raises ProcError if it is something else or not there."""
        found = CPU_PARTIAL.fullmatch(self._value("slabs_cpu_partial"))
        if not found:
            raise ProcError(FILE, 0, f"{self.name} slabs_cpu_partial is no 'objects(slabs)'")
        cpus = {}
        for part in found[3].split():
            cpu, _, counts = part[1:].partition("=")
            objects, _, slabs = counts[:-1].partition("(")
            cpus[int(cpu)] = int(objects), int(slabs)
        return CpuPartial(int(found[1]), int(found[2]), cpus)

    def _value(self, attribute: str) -> str:
        """The text of an attribute that must be there."""
        if attribute not in self.values:
            raise ProcError(FILE, 0, f"{self.name} has no {attribute}")
        return self.values[attribute]


@dataclass(frozen=True)
class SlabAlias:
    """A symbolic link: `name` is another name of the cache whose folder is `target`."""

    name: str
    target: str


Entry = SlabAttributes | SlabAlias


def parse(text: str | bytes) -> list[Entry]:
    """The caches and aliases of the text form, in its order. Raises ProcError with the line."""
    lines = Lines(FILE, text)
    entries: dict[str, Entry] = {}
    last = ""
    while lines.peek() is not None:
        line = lines.take("an attribute")
        words = line.split(" ", 2)
        if len(words) != 3 or not words[0] or not words[1]:
            lines.fail(f"no 'cache attribute value': {shortened(line)}")
        name, attribute, value = words
        entry = entries.get(name)
        if entry is not None and (name != last or attribute == LINK):
            lines.fail(f"{shortened(name)} stands there twice")
        if attribute == LINK:
            entries[name] = SlabAlias(name, value)
        elif isinstance(entry, SlabAttributes):
            if attribute in entry.values:
                lines.fail(f"{shortened(attribute)} stands there twice")
            entry.values[attribute] = value.removesuffix(" ")
        else:
            entries[name] = SlabAttributes(name, {attribute: value.removesuffix(" ")})
        last = name
    return list(entries.values())


def format_sys_kernel_slab(entries: Iterable[Entry]) -> str:
    """The text form. (A value's newline stands as a space.)"""
    text = []
    for entry in entries:
        if isinstance(entry, SlabAlias):
            text.append(f"{entry.name} {LINK} {entry.target}\n")
            continue
        for attribute, value in entry.values.items():
            text.append(f"{entry.name} {attribute} {value}{' ' if value else ''}\n")
    return "".join(text)


def resolve(entries: Iterable[Entry]) -> dict[str, SlabAttributes]:
    """Every name with the attributes it stands for, aliases too; dangling links are left out."""
    entries = list(entries)
    caches = {entry.name: entry for entry in entries if isinstance(entry, SlabAttributes)}
    names = dict(caches)
    for entry in entries:
        if isinstance(entry, SlabAlias) and entry.target in caches:
            names[entry.name] = caches[entry.target]
    return names


def write_folder(entries: Iterable[Entry], folder: str | Path) -> None:
    """Lays the entries out as sysfs does: `folder/cache/attribute`, aliases as symbolic links.

    The folder is made if it is missing; files in it that have the same names are replaced.
    Raises ProcError for a name that is no file name; OSError as the system says.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        path = root / file_name(entry.name)
        if isinstance(entry, SlabAlias):
            path.unlink(missing_ok=True)
            path.symlink_to(file_name(entry.target))
            continue
        path.mkdir(exist_ok=True)
        for attribute, value in entry.values.items():
            file = path / file_name(attribute)
            file.write_bytes(encode(value + "\n" if value else ""))


def file_name(name: str) -> str:
    """A name as sysfs has it (`/` is `!` there). Raises ProcError if it cannot be a file's."""
    if name in ("", ".", "..") or "\0" in name or len(encode(name)) > 255:
        raise ProcError(FILE, 0, f"{shortened(name)} is no file name")
    return name.replace("/", "!")


def read_folder(folder: str | Path) -> list[Entry]:
    """The entries of a folder such as /sys/kernel/slab, by name.

    Attributes that cannot be read or hold no text are left out, as are files beside the folders.
    Raises ProcError if the folder cannot be read.
    """
    entries: list[Entry] = []
    try:
        with os.scandir(folder) as found:
            places = sorted(found, key=lambda place: place.name)
        for place in places:
            if place.is_symlink():
                entries.append(SlabAlias(place.name, os.readlink(place.path)))
            elif place.is_dir():
                entries.append(SlabAttributes(place.name, read_attributes(Path(place.path))))
    except OSError as error:
        raise ProcError(FILE, 0, f"{folder}: {error.strerror}") from error
    return entries


def read_attributes(folder: Path) -> dict[str, str]:
    """The attributes of one cache, by name; unreadable ones (write-only in sysfs) are left out."""
    values = {}
    for path in sorted(folder.iterdir()):
        try:
            with path.open("rb") as file:
                text = decode(file.read(MOST_BYTES))
        except OSError:
            continue
        values[path.name] = text.removesuffix("\n").replace("\n", " ")
    return values
