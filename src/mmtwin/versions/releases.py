"""The kernel releases that the twin knows, and how releases compare."""

import re
from collections.abc import Iterable

# Those with profiles. Any release between the first and the last takes the facts of its own place
# in the history: every fact says the release that it came with.
RELEASES = ("5.10", "5.13", "6.1", "6.12", "6.18", "7.3")

# A line without a sublevel stands for the newest of its stable line, so that backports count.
NEWEST_SUBLEVEL = 999
RELEASE = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")


def numbers(version: str) -> tuple[int, int, int]:
    """Major, minor and sublevel (0 if none is said). Raises ValueError if it is no release."""
    found = RELEASE.match(version)
    if not found:
        raise ValueError(f"not a kernel release: {version!r}")
    major, minor, sublevel = found.groups()
    return int(major), int(minor), int(sublevel or 0)


def release_key(version: str) -> tuple[int, int, int]:
    """`"6.1"`, `"6.1.176"`, `"6.1.0-50-amd64"` as numbers that compare; `"6.1"` is the newest 6.1.

    The sublevel 0 of Debian's `uname -r` says nothing: it too counts as the newest.
    Raises ValueError if the text does not begin with a release.
    """
    major, minor, sublevel = numbers(version)
    return major, minor, sublevel or NEWEST_SUBLEVEL


def release_line(version: str) -> str:
    """`"6.1"` of `"6.1.0-50-amd64"`."""
    major, minor, _ = numbers(version)
    return f"{major}.{minor}"


def has_since(version: str, release: str, backports: Iterable[str] = ()) -> bool:
    """Whether a version has what came with `release`, or with a stable release of its own line."""
    key = release_key(version)
    if key >= numbers(release):
        return True
    stable = [numbers(backport) for backport in backports]
    return any(key[:2] == backport[:2] and key >= backport for backport in stable)


def nearest_release(version: str) -> str:
    """The newest of RELEASES not newer than a version; the oldest for anything before them."""
    line = numbers(version)[:2]
    older = [release for release in RELEASES if numbers(release)[:2] <= line]
    return older[-1] if older else RELEASES[0]
