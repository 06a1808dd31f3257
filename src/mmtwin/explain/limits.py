"""Page sizes and what they cost; what a kernel's compile-time limits come to.

Kernel sources: arch/arm64/Kconfig, include/linux/mmzone.h, include/linux/slab.h,
asm/memory.h and asm/page_64_types.h (THREAD_SIZE).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mmtwin.units import bytes_text
from mmtwin.versions.profiles import MACHINES, Profile, profile
from mmtwin.versions.releases import RELEASES, has_since
from mmtwin.versions.struct_page import structure

WORD = 8  # of the profiles' machines, all of 64 bits
DECK_MEMORY, DECK_STRUCT_PAGE = 4 << 30, 60
# How a page size is chosen: (release, the choice's switch, the symbol that PAGE_SHIFT is).
ARM64_CHOICE = (
    ("4.8", "CONFIG_ARM64_{}K_PAGES", "CONFIG_ARM64_PAGE_SHIFT"),  # 030c4d24447c
    ("6.9", "CONFIG_ARM64_{}K_PAGES", "CONFIG_PAGE_SHIFT"),  # d3e5bab923d3
)
# What the largest order is called: (release, the macro, by how much it is more than that order).
ORDER_NAMES = (("4.1", "MAX_ORDER", 1), ("6.4", "MAX_ORDER", 0),  # 23baf831a32c
               ("6.8", "MAX_PAGE_ORDER", 0))  # 5e0a760b4441  # fmt: skip

MAX_ORDER_SAYS = (
    "The largest block has order MAX_ORDER - 1 until 6.3, MAX_ORDER itself since 6.4;",
    "since 6.8 the macro is called MAX_PAGE_ORDER. PAGE_SHIFT 12 is 4 KiB. A size of none: no",
    "such kernel can be built.",
)


@dataclass(frozen=True)
class PageSize:
    """One page size of a kernel and what its mem_map costs for some RAM."""

    machine: str
    release: str
    choice: str
    page_shift: int
    struct_page: int
    memory: int

    @property
    def pages(self) -> int:
        """How many pages the RAM has."""
        return self.memory >> self.page_shift

    @property
    def cost(self) -> int:
        """Bytes of their struct pages."""
        return self.pages * self.struct_page


def page_size_of(name: str, release: str, memory: int, struct_page: int | None) -> PageSize:
    """The row of a machine (`arm64-16k`); `struct_page` in bytes where BTF says it."""
    facts = profile(f"{name}-{release}")
    choice = "-"
    if facts.arch == "arm64":
        _, pattern, shift = next(row for row in reversed(ARM64_CHOICE)
                                 if has_since(release, row[0]))  # fmt: skip
        choice = f"{pattern.format(facts.page_size >> 10)}, {shift}"
    size = struct_page or structure("page", release, WORD, facts.config).size
    return PageSize(name, release, choice, facts.limits.page_shift, size, memory)


def page_sizes(
    memory: int, releases: Sequence[str] = RELEASES, struct_page: int | None = None
) -> list[PageSize]:
    """Every machine's row in every release."""
    return [page_size_of(name, release, memory, struct_page)
            for name in MACHINES for release in releases]  # fmt: skip


def span(releases: Sequence[str]) -> str:
    """`5.10 to 7.3`, or the one release."""
    return releases[0] if len(releases) == 1 else f"{releases[0]} to {releases[-1]}"


def grouped(rows: Iterable[tuple[str, str, tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """(machine, release, cells): neighbouring releases of a machine with equal cells in a row."""
    found: list[tuple[str, list[str], tuple[str, ...]]] = []
    for machine, release, cells in rows:
        if found and found[-1][0] == machine and found[-1][2] == cells:
            found[-1][1].append(release)
        else:
            found.append((machine, [release], cells))
    return [(machine, span(releases), *cells) for machine, releases, cells in found]


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A plain table, columns two blanks apart; a title may have two lines."""
    upper = [title.partition("\n")[0] if "\n" in title else "" for title in titles]
    heads = [upper, [title.rpartition("\n")[2] for title in titles]][not any(upper):]
    widths = [max(len(row[place]) for row in (*heads, *rows)) for place in range(len(titles))]
    lines = []
    for row in (*heads, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
    return lines


def page_size_lines(sizes: Sequence[PageSize]) -> list[str]:
    """The table of page sizes in words."""
    rows = grouped(
        (each.machine, each.release, (
            bytes_text(1 << each.page_shift), str(each.page_shift),
            f"{each.pages:,}", f"{each.struct_page} bytes", bytes_text(each.cost),
            f"{each.cost / each.memory:.2%}"))
        for each in sizes
    )  # fmt: skip
    titles = ("machine", "releases", "page", "PAGE_\nSHIFT", "pages", "struct\npage",
              "mem_map", "of RAM")  # fmt: skip
    choices = grouped((each.machine, each.release, (each.choice,)) for each in sizes)
    chosen = [row for row in choices if row[2] != "-"]
    more = ["", *table(("machine", "releases", "chosen by"), chosen), ""] if chosen else []
    return [*table(titles, rows), *more]


def deck_line(size: PageSize) -> str:
    """The deck's sum with the real size of struct page."""
    deck = (DECK_MEMORY >> size.page_shift) * DECK_STRUCT_PAGE
    real = (DECK_MEMORY >> size.page_shift) * size.struct_page
    return (
        f"the deck's sum: {DECK_MEMORY >> size.page_shift:,} pages of {DECK_STRUCT_PAGE} bytes "
        f"are {bytes_text(deck)}; struct page has {size.struct_page} bytes, which makes "
        f"{bytes_text(real)}"
    )


def limits_figures(facts: Profile) -> dict[str, Any]:
    """The limits of one kernel, for --json."""
    limits = facts.limits
    _, macro, more = next(row for row in reversed(ORDER_NAMES)
                          if has_since(facts.version, row[0]))  # fmt: skip
    try:
        kasan = facts.with_config(KASAN=True).limits.thread_size
    except ValueError:  # no such kernel
        kasan = None
    return {
        "profile": facts.name,
        "page_shift": limits.page_shift,
        "max_order_macro": macro,
        "max_order": limits.nr_orders - 1 + more,
        "largest_order": limits.nr_orders - 1,
        "kmalloc_min_size": limits.kmalloc_min_size,
        "kmalloc_shift_low": limits.kmalloc_min_size.bit_length() - 1,
        "kmalloc_shift_high": limits.kmalloc_shift_high,
        "kmalloc_max_cache_size": 1 << limits.kmalloc_shift_high,
        "kmalloc_shift_max": limits.kmalloc_shift_max,
        "kmalloc_max_size": 1 << limits.kmalloc_shift_max,
        "thread_size": limits.thread_size,
        "thread_size_kasan": kasan,
    }


def stack_text(size: int | None) -> str:
    """The size of a stack; a kernel may not be."""
    return "no such kernel" if size is None else bytes_text(size)


def limits_lines(figures: Sequence[dict[str, Any]]) -> list[str]:
    """The table of many kernels' limits in words."""
    rows = grouped(
        (each["profile"].rpartition("-")[0], each["profile"].rpartition("-")[2], (
            str(each["page_shift"]), str(each["max_order"]),
            bytes_text(each["kmalloc_min_size"]), bytes_text(each["kmalloc_max_cache_size"]),
            bytes_text(each["kmalloc_max_size"]), bytes_text(each["thread_size"]),
            "none" if each["thread_size_kasan"] is None
            else bytes_text(each["thread_size_kasan"])))
        for each in figures
    )  # fmt: skip
    titles = ("machine", "releases", "PAGE_\nSHIFT", "MAX_\nORDER", "least\nkmalloc",
              "largest\ncache", "largest\nkmalloc", "THREAD_\nSIZE", "with\nKASAN")  # fmt: skip
    return [*table(titles, rows), "", *MAX_ORDER_SAYS]


def one_machine_lines(figures: dict[str, Any]) -> list[str]:
    """One kernel's limits as the macros of include/linux/slab.h."""
    largest = figures["kmalloc_max_size"]
    rows = [
        ("PAGE_SHIFT", figures["page_shift"], ""),
        (figures["max_order_macro"], figures["max_order"],
         f"the largest block has order {figures['largest_order']}"),
        ("KMALLOC_SHIFT_LOW", figures["kmalloc_shift_low"], ""),
        ("KMALLOC_SHIFT_HIGH", figures["kmalloc_shift_high"], "PAGE_SHIFT + 1"),
        ("KMALLOC_SHIFT_MAX", figures["kmalloc_shift_max"], "PAGE_SHIFT + the largest order"),
        ("KMALLOC_MIN_SIZE", figures["kmalloc_min_size"], ""),
        ("KMALLOC_MAX_CACHE_SIZE", figures["kmalloc_max_cache_size"],
         f"{bytes_text(figures['kmalloc_max_cache_size'])}: above, whole pages"),
        ("KMALLOC_MAX_SIZE", largest, bytes_text(largest)),
        ("KMALLOC_MAX_ORDER", figures["largest_order"], ""),
        ("THREAD_SIZE", figures["thread_size"],
         f"{bytes_text(figures['thread_size'])}; with KASAN "
         + stack_text(figures["thread_size_kasan"])),
    ]  # fmt: skip
    return [figures["profile"],
            *(f"  {name:<24}{value:<12}{about}".rstrip() for name, value, about in rows)]


def tried_line(figures: dict[str, Any], kmalloc: Callable[[int], int]) -> str:
    """What the twin answers at the limit: `kmalloc(size)` is an address, 0 for NULL."""
    largest = figures["kmalloc_max_size"]
    words = []
    for size in (largest, largest + 1):
        address = kmalloc(size)
        words.append(f"kmalloc({size}) gives {f'{address:#x}' if address else 'NULL'}")
    return f"  tried in the twin: {', '.join(words)}"
