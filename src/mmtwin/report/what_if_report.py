"""The report of a what-if on a terminal: the recorded machine's twin beside the changed one.

Out of the figures that `mmtwin what-if --json` prints; docs/what-if.md has every key.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from mmtwin.report.against_report import against_sections
from mmtwin.report.table import FigureTable
from mmtwin.units import bytes_text, share_text

Figures = Mapping[str, Any]
CACHES = 15
STARTS = {
    "live": "both machines booted empty, then were asked again for what lived at event",
    "empty": "both machines booted empty; what the recording asked for from its first event on",
    "recorded": "both machines go on from the recorded state at event",
}
# What is said of demands that had to be guessed: (key, sentence)
GUESSES = (
    ("of_unknown_size", "objects of kmalloc from before the first event: asked again as large as"
                        " their class, what was asked is not known"),
    ("stack_pages", "pages of kernel stacks at the start: left out, stacks come with their tasks"),
    ("freed_unknown", "frees of objects that were given out before the first event, or unseen"),
    ("freed_unknown_pages", "frees of pages of the same kind"),
    ("unseen_frees", "frees that no event named, known by what came after"),
    ("unseen_objects", "objects of slabs taken for what no event names"),
    ("unseen_areas", "pages of vmalloc areas, known by their array"),
    ("free_objects", "objects that lay free in slabs at the start: asked for and given back"),
    ("unnamed", "objects whose cache nothing tells: asked of kmalloc"),
)  # fmt: skip
MAPPED = (
    ("shared_pages", "small pages that found room in a larger one: of users as if each task used"
                     " memory in a row, of vmalloc and of what the kernel held at the start"),
    ("split_pages", "pages that became several smaller ones, of users as if all of each were"
                    " touched"),
    ("tables", "page tables that stayed one page each: their memory is the most it can be"),
    ("not_asked", "objects of structures that the changed release does not have: left out"),
    ("other_orders", "blocks of pages whose order changed with the page size"),
)  # fmt: skip


def print_what_if(figures: Figures, console: Console, rows: int | None = None) -> None:
    """Prints the report; `rows`: caches shown, None the usual."""
    for part in sections(figures, rows):
        console.print(part)


def sections(figures: Figures, rows: int | None = None) -> Iterator[RenderableType]:
    """The parts of the report in order."""
    recorded, changed = figures["machines"]
    yield from _head(figures)
    yield _memory(recorded, changed)
    yield _slabs(recorded, changed)
    yield from _caches(recorded["caches"], changed["caches"], rows or CACHES)
    yield _paths(recorded["paths"], changed["paths"])
    yield from _guessed(figures)
    if "against" in figures:
        yield from against_sections(figures["against"], rows or CACHES)


def _head(figures: Figures) -> Iterator[Text]:
    recording, start = figures["recording"], figures["start"]
    yield Text(
        f"{recording['name']}: Linux {recording['kernel']}, {recording['arch']}", "bold"
    )
    yield Text(f"what if: {', '.join(figures['changes']) or 'nothing changed'}")
    event = "" if start["kind"] == "empty" else f" {start['event']:,}"
    yield Text(f"start: {STARTS[start['kind']]}{event}", "dim")
    yield Text(
        "Only demands drive both machines; nothing is compared with what the kernel answered.",
        "dim",
    )


def difference(before: float, after: float, text: Any = None) -> str:
    """`+1.50 MiB (+3.2 %)`; `=` for none."""
    if before == after:
        return "="
    change = after - before
    said = (text or bytes_text)(abs(change))
    share = f" ({100 * change / before:+.1f} %)" if before else ""
    return f"{'+' if change > 0 else '-'}{said}{share}"


def _row(table: FigureTable, name: str, before: float, after: float, text: Any = None) -> None:
    said = text or bytes_text
    if before or after:
        table.add_row(name, said(before), said(after), difference(before, after, text))


def plain(count: float) -> str:
    """A whole count."""
    return f"{int(count):,}"


def _memory(recorded: Figures, changed: Figures) -> FigureTable:
    table = FigureTable("Memory", "", ">recorded", ">changed", ">difference")
    table.add_row("kernel", recorded["profile"], changed["profile"], "")
    _row(table, "page size", recorded["page_size"], changed["page_size"])
    _row(table, "memory managed", recorded["managed"], changed["managed"])
    _row(table, "in use at the end", recorded["used"], changed["used"])
    _row(table, "in use at the peak", recorded["peak"]["bytes"], changed["peak"]["bytes"])
    for key, name in (
        ("user", "user and file pages"), ("page_tables", "page tables"),
        ("stacks", "kernel stacks"), ("vmalloc", "vmalloc"),
        ("kernel_pages", "other pages of the kernel"), ("old_pages", "... held since the start"),
    ):  # fmt: skip
        _row(table, f"  {name}", recorded[key], changed[key])
    _row(table, "  slabs", recorded["slab"]["bytes"], changed["slab"]["bytes"])
    _row(table, "free", recorded["free"]["bytes"], changed["free"]["bytes"])
    for key in recorded["free"]:
        if key != "bytes":
            size = int(key.removeprefix("blocks_").removesuffix("k")) << 10
            name = f"  in blocks of {bytes_text(size)} or more"
            _row(table, name, recorded["free"][key], changed["free"][key])
    for key in ("objects", "pages"):
        table.add_row(
            f"failed demands for {key}", plain(recorded["failed"][key]),
            plain(changed["failed"][key]),
            difference(recorded["failed"][key], changed["failed"][key], plain),
        )  # fmt: skip
    return table


def _slabs(recorded: Figures, changed: Figures) -> FigureTable:
    before, after = recorded["slab"], changed["slab"]
    table = FigureTable("Slabs", "", ">recorded", ">changed", ">difference")
    for key in ("slabs", "objects"):
        _row(table, key, before[key], after[key], plain)
    _row(table, "memory", before["bytes"], after["bytes"])
    for key, name in (
        ("rounding", "lost by rounding up"), ("slab_tail", "lost at slabs' ends"),
        ("free_objects", "in free objects"),
    ):  # fmt: skip
        _row(table, f"  {name}", before["waste"][key], after["waste"][key])
    return table


def _caches(
    before: Sequence[Figures], after: Sequence[Figures], rows: int
) -> Iterator[FigureTable]:
    old = {row["name"]: row for row in before}
    new = {row["name"]: row for row in after}
    none = {"bytes": 0, "slabs": 0, "size": 0, "objects": 0}

    def change(name: str) -> int:
        return int(new.get(name, none)["bytes"] - old.get(name, none)["bytes"])

    names = [name for name in {**old, **new} if change(name)]
    names.sort(key=lambda name: (-abs(change(name)), name))
    if not names:
        return
    table = FigureTable(
        f"Caches whose memory differs most ({len(names)} differ)",
        "cache", ">bytes each", ">changed", ">slabs", ">changed", ">memory", ">difference",
    )  # fmt: skip
    for name in names[:rows]:
        one, two = old.get(name, none), new.get(name, none)
        table.add_row(
            name, *(str(row["size"]) if row["size"] else "-" for row in (one, two)),
            plain(one["slabs"]), plain(two["slabs"]), bytes_text(one["bytes"]),
            difference(one["bytes"], two["bytes"]),
        )  # fmt: skip
    yield table


def _paths(before: Figures, after: Figures) -> FigureTable:
    table = FigureTable("Fast and slow paths", "path", ">recorded", ">share", ">changed", ">share")
    for part, title in (("slub", "SLUB"), ("pcp", "per-CPU pages")):
        for way in ("alloc", "free"):
            one, two = before[part][way], after[part][way]
            sums = sum(one.values()), sum(two.values())
            for path in {**one, **two}:
                counts = one.get(path, 0), two.get(path, 0)
                if any(counts):
                    table.add_row(
                        f"{title} {way}: {path}", plain(counts[0]), share_text(counts[0], sums[0]),
                        plain(counts[1]), share_text(counts[1], sums[1]),
                    )  # fmt: skip
    return table


def _guessed(figures: Figures) -> Iterator[Text]:
    told = {**figures["start"]["redemanded"], **figures["demands"]}
    lines = [f"{plain(told[key])} {sentence}" for key, sentence in GUESSES if told.get(key)]
    for key, sentence in MAPPED:
        most = max(machine["mapped"][key] for machine in figures["machines"])
        if most:
            lines.append(f"{plain(most)} {sentence}")
    if lines:
        yield Text("\nWhat had to be guessed", "bold")
        yield from (Text(line) for line in lines)
