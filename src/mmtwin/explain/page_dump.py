"""What dump_page() printed: each dump of a log taken apart (mm/debug.c, 4.4 to 7.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

START = re.compile(r"\bpage: ?(\S+ )?(?:ref)?count:(-?\d+) mapcount:(-?\d+)")
ITEM = re.compile(r"\b(mapping|index|pfn): ?(\(null\)|\S+)")
FLAGS = re.compile(r"\b(?:(anon|ksm) )?flags: (0x[0-9a-f]+)(?:\(([^)]*)\)( CMA)?|\s*$)")
BROKEN = re.compile(r"(\bflags: 0x[0-9a-f]+\([^)\n]*)\n[>|\s]*")  # a mailer broke the line
HEAD = re.compile(r"\bhead: ?(\S+ )?order:(\d+)")
TYPE = re.compile(r"\bpage_type: (?:0x)?([0-9a-f]+)\(([^)]*)\)")
RAW = re.compile(r"\b(raw|head): ((?:[0-9a-f]{8}(?:[0-9a-f]{8})? ?)+)\s*$")
TAGGED = re.compile(r"(?!00|ff|de)[0-9a-f]{2}ff[0-9a-f]{12}")
REASON = re.compile(r"\bpage dumped because: (.*)")
KERNEL = re.compile(r"\b(?:Not tainted|Tainted: [A-Z][A-Z =\[\]_a-z,]*?) +(\d+\.\d+\.\S+)")


@dataclass
class PageDump:
    """One dump. `printed` is what stands in the brackets of its flags, None if nothing does."""

    flags: int | None = None
    printed: str | None = None
    kind: str = ""
    items: dict[str, str] = field(default_factory=dict)
    order: int | None = None
    page_type: int | None = None
    page_type_printed: str = ""
    raw: list[str] = field(default_factory=list)
    reason: str = ""

    @property
    def pfn(self) -> int | None:
        """The page's number, since 5.8 in the first line."""
        try:
            return int(self.items["pfn"], 16)
        except (KeyError, ValueError):
            return None

    @property
    def tagged(self) -> bool:
        """Whether a pointer of the raw words has a tag of KASAN's (arm64) in its top byte."""
        return any(TAGGED.fullmatch(word) for word in self.raw[1:])

    @property
    def word_bits(self) -> int | None:
        """32 or 64, as the raw words are wide."""
        return len(self.raw[0]) * 4 if self.raw else None


def read_dumps(text: str) -> tuple[list[PageDump], str | None]:
    """Every dump of a log, and the release that the log names.

    A dump without a flags line has the first raw word for it: of the head page if there is one.
    Raises ValueError if there is none.
    """
    dumps: list[PageDump] = []
    heads: list[list[str]] = []
    for line in BROKEN.sub(r"\1", text).splitlines():
        start, flags = START.search(line), FLAGS.search(line)
        if start or (flags and (not dumps or dumps[-1].printed is not None)):
            dumps.append(PageDump())
            heads.append([])
        if dumps:
            take(dumps[-1], heads[-1], line, start, flags)
    for dump, head in zip(dumps, heads, strict=True):
        words = head or dump.raw
        if dump.flags is None and words:
            dump.flags = int(words[0], 16)
    found = [dump for dump in dumps if dump.flags is not None]
    if not found:
        raise ValueError("no page dump: it has `page:... refcount:...` and `flags: 0x...(...)`")
    kernel = KERNEL.search(text)
    return found, kernel[1] if kernel else None


def take(
    dump: PageDump, head: list[str], line: str, start: re.Match[str] | None,
    flags: re.Match[str] | None,
) -> None:  # fmt: skip
    """Adds what one line says."""
    if start:
        dump.items |= {"refcount": start[2], "mapcount": start[3]}
    if flags and dump.printed is None:
        dump.kind, dump.flags, dump.printed = flags[1] or "", int(flags[2], 16), flags[3]
        if flags[4]:
            dump.items["pageblock"] = "CMA"
    for name, value in ITEM.findall(line):
        dump.items.setdefault(name, value)
    if found := HEAD.search(line):
        dump.order = int(found[2])
    if found := TYPE.search(line):
        dump.page_type, dump.page_type_printed = int(found[1], 16), found[2]
    if found := RAW.search(line):
        (dump.raw if found[1] == "raw" else head).extend(found[2].split())
    if found := REASON.search(line):
        dump.reason = found[1].strip()
