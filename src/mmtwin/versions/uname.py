"""Which release's tables a kernel has that calls itself `6.5.0-rc7-next-20230822-syzkaller`.

A kernel's own name decides in most cases. linux-next holds what the next release will have; a
kernel taken from a merge window (`6.8.0-11063-g277100b3d5fe`, `6.11.0+`) has a part of it; some
distributions carry later memory management under an old number.
"""

import re
from dataclasses import dataclass

LAST_MINOR = {4: 20, 5: 19, 6: 19}
OLDEST, NEWEST = (4, 4), (7, 3)
NAME = re.compile(r"v?(\d{1,3})\.(\d{1,3})(?:\.(\d{1,4}))?(.*)", re.DOTALL)
COMMITS = re.compile(r"-(\d{3,6})-g[0-9a-f]{6,}")
# Most of a merge window's memory management is in after about so many commits.
MERGED = 5000
# A vendor's numbers after which its kernels have later memory management, and of which releases.
VENDORS = (
    (re.compile(r"4\.19\.91-.*\.a[ln][78]\."), ("4.20",)),  # Alibaba Cloud Linux, with PSI
    (re.compile(r"4\.4\.\d+.*-default"), ("4.10",)),  # SUSE Linux Enterprise 12
    (re.compile(r"4\.12\.14.*"), ("4.13", "4.18")),  # SUSE Linux Enterprise 15
    (re.compile(r"4\.18\.0-\d+.*\.el8"), ("4.20", "5.2", "5.10")),  # Red Hat Enterprise Linux 8
    (re.compile(r"5\.14\.0-\d+.*\.el9"),  # Red Hat Enterprise Linux 9
     ("5.18", "6.2", "6.3", "6.6", "6.8", "6.9", "6.10", "6.12")),
    (re.compile(r"5\.3\.18.*-default"), ("5.10",)),
    (re.compile(r"5\.14\.21.*-default"), ("5.18",)),
)  # fmt: skip


class UnknownKernel(ValueError):
    """A kernel whose tables mmtwin has not; the text names the nearest it has."""


@dataclass(frozen=True)
class KernelName:
    """`release`, the line of its number (`"6.5"`), and the lines its tables may be of.

    `readings` come with the likeliest first; where there are several, the bits of a word can tell.
    """

    text: str
    release: str
    readings: tuple[str, ...]


def releases(oldest: tuple[int, int] = OLDEST) -> list[str]:
    """Every release line from `oldest` to the newest: `["4.4", ..., "7.3"]`."""
    found = []
    major, minor = oldest
    while (major, minor) <= NEWEST:
        found.append(f"{major}.{minor}")
        major, minor = following(major, minor)
    return found


def following(major: int, minor: int) -> tuple[int, int]:
    """The release after one: 5.0 after 4.20."""
    last = LAST_MINOR.get(major)
    return (major + 1, 0) if last == minor else (major, minor + 1)


def kernel_name(text: str, oldest: tuple[int, int] = OLDEST) -> KernelName:
    """What a release as `uname -r` or a log prints it says.

    `oldest` is the first release line that the asker has tables of. Raises UnknownKernel for text
    that is no release and for releases outside the tables.
    """
    found = NAME.fullmatch(text.strip())
    if not found:
        raise UnknownKernel(f"{text!r} is no kernel release; such are 6.1, 5.15.0-1034-aws")
    major, minor = int(found[1]), int(found[2])
    line = (major, minor)
    if not oldest <= line <= NEWEST or minor > LAST_MINOR.get(major, minor):
        raise UnknownKernel(
            f"no tables for kernel {text}: the nearest of {oldest[0]}.{oldest[1]} to "
            f"{NEWEST[0]}.{NEWEST[1]} is {' or '.join(nearest(line, oldest))}"
        )
    own = f"{major}.{minor}"
    return KernelName(text, own, _readings(text, own, line, found[3], found[4]))


def nearest(line: tuple[int, int], oldest: tuple[int, int] = OLDEST) -> list[str]:
    """The release lines with tables around one that has none."""
    if line < oldest:
        return [f"{oldest[0]}.{oldest[1]}"]
    if line > NEWEST:
        return [f"{NEWEST[0]}.{NEWEST[1]}"]
    return [f"{line[0]}.{LAST_MINOR[line[0]]}", f"{line[0] + 1}.0"]


def _readings(
    text: str, own: str, line: tuple[int, int], sublevel: str | None, rest: str
) -> tuple[str, ...]:
    later = following(*line)
    coming = f"{later[0]}.{later[1]}" if later <= NEWEST else own
    for pattern, others in VENDORS:
        if pattern.match(text.removeprefix("v")):
            return (own, *others)
    if coming == own:
        return (own,)
    if "next" in rest or "-mm" in rest:
        # what is tried there may come releases later (__GFP_ATOMIC's end: there in 6.0, 6.3)
        second = following(*later)
        further = [f"{each[0]}.{each[1]}" for each in (second, following(*second))
                   if each <= NEWEST]
        return (coming, own, *further)
    if sublevel == "0" and "-rc" not in rest:
        commits = COMMITS.search(rest)
        if commits:
            return (coming, own) if int(commits[1]) >= MERGED else (own, coming)
        if rest.startswith("+") or "syzkaller" in rest or re.search(r"-g[0-9a-f]{7,}", rest):
            return (own, coming)
    if own == "5.1":
        return ("5.1", "5.0")  # rc kernels before the bits moved
    return (own,)
