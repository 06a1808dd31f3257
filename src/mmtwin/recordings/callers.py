"""Which slab cache a function of the kernel allocates from: data/callers.tsv.

For recordings whose events and truths leave a call site open (before 6.1, from /proc alone).
"""

import re
from functools import cache

from mmtwin.package_files import files

# What compilers and the kernel's allocation profiling (2224d8485492, 6.10) add to a name.
SUFFIX = re.compile(r"(_noprof)?(\.(isra|part|constprop|cold)(\.\d+)?)*$")


@cache
def callers() -> dict[str, tuple[str, ...]]:
    """{function: names of caches}."""
    text = files("mmtwin").joinpath("data/callers.tsv").read_text()
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return {function: tuple(names.split()) for function, names in rows}


def caches_of(function: str) -> tuple[str, ...]:
    """The caches that a function, as kallsyms names it, allocates from; () if not known."""
    return callers().get(SUFFIX.sub("", function), ())
