"""What the areas of a process are, by their lines in maps: for pictures of address spaces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from posixpath import basename

from mmtwin.procfs.maps import MapsArea

DELETED = " (deleted)"
# kind: (what the legend says, colour)
KINDS = {
    "stack": ("stack", "c5"),
    "vdso": ("vdso, vvar", "c2"),
    "library": ("libraries, other files", "c6"),
    "anonymous": ("anonymous", "c7"),
    "shared": ("shared", "c8"),
    "heap": ("heap (brk)", "c4"),
    "bss": ("bss", "c1"),
    "data": ("data", "c9"),
    "text": ("text", "c0"),
    "rodata": ("read-only data", "c3"),
    "none": ("reserved, no access", "none"),
}


@dataclass(frozen=True)
class PictureArea:
    """One box of a picture: the area, its kind of KINDS, the name beside it; `resident_kb` None
    where nobody knows it.
    """

    area: MapsArea
    kind: str
    label: str
    resident_kb: int | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return self.area.end - self.area.start


def picture_areas(
    areas: Sequence[MapsArea], resident_kb: Mapping[int, int] | None = None, program: str = ""
) -> list[PictureArea]:
    """Areas by address, told apart. `resident_kb`: by first address; `program`: the path of what
    runs (default: the file mapped lowest). The vsyscall page, in the kernel's half, is left out.
    """
    user = [area for area in areas if area.start < 1 << 63]
    program = program or next((a.name for a in user if a.name.startswith("/")), "")
    found: list[PictureArea] = []
    for number, area in enumerate(user):
        before = user[number - 1] if number else None
        kind, label = _kind(area, before, found[-1].label if found else "", program)
        resident = None if resident_kb is None else resident_kb.get(area.start, 0)
        found.append(PictureArea(area, kind, label, resident))
    return found


def _kind(area: MapsArea, before: MapsArea | None, owner: str, program: str) -> tuple[str, str]:
    name, perms = area.name, area.perms
    if name.startswith(("[stack", "[heap")):
        return name[1:6].rstrip("]"), name
    if name.startswith(("[vdso", "[vvar", "[vsyscall", "[uprobes", "[sigpage", "[vectors")):
        return "vdso", name
    if perms[3] == "s":
        return "shared", _short(name) or "shared"
    if name and not name.startswith("["):
        if perms.startswith("---"):
            return "none", _short(name)
        if name != program:
            return "library", _short(name)
        kind = "text" if "x" in perms else "data" if "w" in perms else "rodata"
        return kind, _short(name)
    follows = before is not None and before.end == area.start and perms[1] == "w"
    if follows and before is not None and before.name.startswith("/") and before.perms[1] == "w":
        kind = "bss" if before.name == program else "anonymous"
        return kind, f"bss of {_short(before.name)}"
    if perms.startswith("---"):
        return "none", name or "no access"
    return "anonymous", name


def _short(name: str) -> str:
    deleted = name.endswith(DELETED)
    short = basename(name.removesuffix(DELETED)) or name
    return short + DELETED if deleted else short
