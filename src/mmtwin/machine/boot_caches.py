"""The slab caches that a Debian kernel creates while it boots, as data: data/caches/*.tsv, and
those that share one there as each was asked for: data/unmerged/*.tsv.
"""

from dataclasses import dataclass

from mmtwin.package_files import files
from mmtwin.versions.profiles import Profile
from mmtwin.versions.releases import numbers

FOLDER, UNMERGED = "data/caches", "data/unmerged"


@dataclass(frozen=True)
class BootCache:
    """One cache: sizes in bytes, `flags` names of SLAB_*, `aliases` names that share it.

    `sheaf_capacity` as its creator asks for it, 0 if not at all. `freeptr_offset`: where the free
    pointer stands if that does not follow from the sizes: asked for, or the cache was first made
    for smaller objects that share it.
    """

    name: str
    object_size: int
    align: int
    usersize: int
    flags: tuple[str, ...]
    ctor: str
    sheaf_capacity: int
    freeptr_offset: int | None
    aliases: tuple[str, ...]


def nearest_list(profile: Profile) -> str:
    """The name of the list for a profile: of its architecture, the newest not newer than it.

    Where lists differ in page size only, that of its own page size comes first.
    """
    names = [path.name.removesuffix(".tsv") for path in files("mmtwin").joinpath(FOLDER).iterdir()
             if path.name.endswith(".tsv")]
    mine = [name for name in names if name.startswith(profile.arch)]
    line = numbers(profile.version)[:2]

    def rank(name: str) -> tuple[bool, tuple[int, int], bool]:
        machine, _, release = name.rpartition("-")
        theirs = numbers(release)[:2]
        newer = theirs > line
        distance = tuple(-part for part in theirs) if newer else theirs
        return not newer, distance, machine == profile.name.rpartition("-")[0]  # type: ignore

    return max(mine, key=rank)


def boot_caches(profile: Profile) -> list[BootCache]:
    """The caches of the nearest kernel that was looked at, oldest first."""
    path = files("mmtwin").joinpath(FOLDER, f"{nearest_list(profile)}.tsv")
    caches = []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            continue
        name, size, align, usersize, flags, ctor, capacity, freeptr, aliases = line.split("\t")
        caches.append(BootCache(
            name, int(size), int(align), int(usersize), flag_names(flags),
            "" if ctor == "-" else ctor, int(capacity),
            None if freeptr == "-" else int(freeptr),
            () if aliases == "-" else tuple(aliases.split(",")),
        ))
    return caches


def flag_names(flags: str) -> tuple[str, ...]:
    """A list's flags as SLAB_*."""
    return () if flags == "-" else tuple(f"SLAB_{flag}" for flag in flags.split("|"))


def unmerged_caches(profile: Profile) -> dict[str, BootCache]:
    """Caches that share one where merging is on, by name, as each was asked for; {} where no
    kernel without merging was looked at.
    """
    path = files("mmtwin").joinpath(UNMERGED, f"{nearest_list(profile)}.tsv")
    if not path.is_file():
        return {}
    caches = {}
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            name, size, align, usersize, flags = line.split("\t")
            caches[name] = BootCache(
                name, int(size), int(align), int(usersize), flag_names(flags), "", 0, None, ()
            )
    return caches
