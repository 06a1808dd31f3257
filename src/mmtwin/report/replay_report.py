"""The report of a replay on a terminal: tables out of `ReplayResult.to_dict()`.

The dict is what `mmtwin replay --json` prints; docs/json.md has every key.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from mmtwin.report.table import FigureTable
from mmtwin.units import bytes_text, count_text, counted, share_text, spark

Figures = Mapping[str, Any]
CACHES = 15
CALL_SITES = 10
# What a snapshot compares: (key, title, total, equal)
SNAPSHOT_COLUMNS = (
    ("slabinfo", "slabinfo", "caches", "exact"),
    ("buddyinfo", "buddyinfo", "rows", "exact"),
    ("free_lists", "free lists", "lists", "identical"),
    ("pcp_lists", "pcp lists", "lists", "identical"),
    ("slab_lists", "slab lists", "caches", "identical"),
    ("live_objects", "live objects", "caches", "exact"),
    ("vmallocinfo", "vmalloc areas", "areas", "exact"),
)


def print_replay(result: Figures, console: Console, rows: int | None = None) -> None:
    """Prints the report of one replay; `rows`: caches and call sites shown, None the usual."""
    for part in sections(result, rows):
        console.print(part)


def sections(result: Figures, rows: int | None = None) -> Iterator[RenderableType]:
    """The parts of the report in order, each with a blank line before it."""
    yield _machine(result)
    yield _fidelity(result)
    if result["fidelity"].get("snapshots"):
        yield _snapshots(result["fidelity"]["snapshots"])
        yield from _memory_lines(result["fidelity"])
    yield from _counts("What missed", result["fidelity"].get("misses", {}))
    yield from _counts("Unexplained events", result["events"]["unexplained"])
    statistics = result.get("statistics")
    if statistics:
        yield _caches(statistics["caches"], rows or CACHES)
        yield from _call_sites(statistics["call_sites"], rows or CALL_SITES)
        yield _paths(statistics)
        yield _orders(statistics["orders"])
        yield from _fragmentation(statistics["fragmentation"])
        yield _steals(statistics["steals"])


def _machine(result: Figures) -> RenderableType:
    recording, speed = result["recording"], result["speed"]
    lost = recording["lost"]
    lines = [
        Text(f"{recording['name']}: Linux {recording['kernel']}, {recording['arch']}", "bold"),
        Text(
            f"{counted(recording['cpus'], 'CPU')}, "
            f"{bytes_text(recording['page_size'])} pages, "
            f"{bytes_text(recording['memory'])} of memory"
        ),
        Text(
            f"{recording['events']:,} events recorded, {lost:,} lost",
            style="" if not lost else "yellow",
        ),
        Text(
            f"{result['events']['consumed']:,} of them replayed, all in "
            f"{speed['seconds']:.2f} s ({count_text(speed['events_per_second'])} events/s)"
        ),
        Text(_way(result["replay"])),
    ]
    return Group(*lines)


def _way(way: Figures) -> str:
    text = f"{way['mode']} as {way['profile']}, from {way['start']}"
    if way["free_running"]:
        text += ", without resynchronising"
    if way.get("snapshots") == "followed" and way["mode"] == "predict":
        text += " (which tell the order of no list: addresses can only be guessed)"
    return text


# What the twin's own processes ask for where a recording has theirs.
FORESEEN = {
    "user_pages": "page of a process", "page_tables": "page table", "maple_nodes": "maple node"
}  # fmt: skip


def _fidelity(result: Figures) -> FigureTable:
    fidelity = result["fidelity"]
    table = FigureTable("How exactly the twin answered", "what", ">answers", ">exact", ">share")
    rows = [
        ("page frame, from the zone's free lists", fidelity["pfn"]["zone"], "predicted", "exact"),
        ("page frame, from a per-CPU list", fidelity["pfn"]["pcp"], "predicted", "exact"),
        ("address of a slab object", fidelity["objects"], "predicted", "exact"),
        ("  its slab", fidelity["objects"], "predicted", "same_slab"),
        ("bytes given by kmalloc", fidelity["bytes_alloc"], "predicted", "exact"),
        ("geometry of a slab cache", fidelity["geometry"], "caches", "exact"),
    ]
    if "vmalloc" in fidelity:
        rows.append(("address of a vmalloc area", fidelity["vmalloc"], "predicted", "exact"))
    foreseen = [(what, fidelity[key]) for key, what in FORESEEN.items() if key in fidelity]
    rows += [(f"{what}, foreseen", pair, "predicted", "exact") for what, pair in foreseen]
    for what, pair, total, exact in rows:
        _add_share(table, what, pair[total], pair[exact])
    return table


def _add_share(table: FigureTable, what: str, total: int, exact: int) -> None:
    if total:
        share = Text(share_text(exact, total), "green" if exact == total else "yellow")
        table.add_row(what, f"{total:,}", f"{exact:,}", share)


def _snapshots(snapshots: Sequence[Figures]) -> FigureTable:
    shown = [c for c in SNAPSHOT_COLUMNS if any(c[0] in snapshot for snapshot in snapshots)]
    table = FigureTable("Held against the kernel's own state", "at", *(f">{c[1]}" for c in shown))
    for snapshot in snapshots:
        cells = [_pair(snapshot.get(key), total, equal) for key, _, total, equal in shown]
        table.add_row(snapshot["name"], *cells)
    return table


def _pair(pair: Figures | None, total: str, equal: str) -> Text:
    if pair is None:
        return Text("-", "dim")
    style = "green" if pair[total] == pair[equal] else "yellow"
    return Text(f"{pair[equal]}/{pair[total]}", style)


def _memory_lines(fidelity: Figures) -> Iterator[RenderableType]:
    """Lines of meminfo, and what would tell those that are not the kernel's."""
    found = [
        (snapshot["name"], line, pair)
        for snapshot in fidelity["snapshots"]
        for line, pair in snapshot.get("meminfo", {}).items()
    ]
    if not found:
        return
    table = FigureTable("Lines of /proc/meminfo, kB", "at", "line", ">kernel", ">twin")
    for name, line, pair in found:
        table.add_row(name, line, f"{pair['kernel']:,}", _line_of_twin(pair))
    yield table
    missing = fidelity["counters"]["missing"]
    if missing and any(pair["kernel"] != pair["twin"] for _, _, pair in found):
        yield Text(
            f"CPUs add up what they changed of a counter now and then (vmstat_update(), "
            f"quiet_vmstat()): {' and '.join(missing)} would tell when, and were not recorded. "
            "Whenever they did, a line lies within the bounds shown; one beyond them is a miss."
        )


def _line_of_twin(pair: Figures) -> Text:
    """The twin's value, and the bounds where it is not the kernel's."""
    kernel, twin, least, most = (pair[key] for key in ("kernel", "twin", "least", "most"))
    if kernel == twin:
        return Text(f"{twin:,}", "green")
    style = "yellow" if least <= kernel <= most else "red"
    return Text(f"{twin:,} ({least:,} to {most:,})", style)


def _counts(title: str, counts: Mapping[str, int]) -> Iterator[FigureTable]:
    if counts:
        table = FigureTable(title, "what", ">times")
        for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            table.add_row(kind, f"{count:,}")
        yield table


def _caches(caches: Sequence[Figures], rows: int) -> FigureTable:
    table = FigureTable(
        f"{len(caches)} caches by memory; waste by rounding up, slab tail, free objects",
        "cache", ">objects", ">memory", ">used", ">round", ">tail", ">free",
    )  # fmt: skip
    order = sorted(caches, key=lambda cache: (-cache["bytes"], cache["name"]))
    for cache in order[:rows]:
        _add_cache(table, cache["name"], cache)
    if len(order) > rows:
        _add_cache(table, f"{len(order) - rows} more", _sum(order[rows:]))
    _add_cache(table, "all", _sum(order), "bold")
    return table


def _sum(caches: Sequence[Figures]) -> dict[str, Any]:
    total: dict[str, Any] = {
        key: sum(cache[key] for cache in caches) for key in ("objects", "bytes")
    }
    used = sum(cache["utilisation"] * cache["bytes"] for cache in caches)
    total["utilisation"] = used / total["bytes"] if total["bytes"] else 0.0
    total["waste"] = {
        key: sum(cache["waste"][key] for cache in caches)
        for key in ("rounding", "slab_tail", "free_objects")
    }
    return total


def _add_cache(table: FigureTable, name: str, cache: Figures, style: str = "") -> None:
    waste = cache["waste"]
    table.add_row(
        name,
        f"{cache['objects']:,}",
        bytes_text(cache["bytes"]),
        f"{cache['utilisation']:.0%}",
        bytes_text(waste["rounding"]),
        bytes_text(waste["slab_tail"]),
        bytes_text(waste["free_objects"]),
        style=style,
    )


def _call_sites(sites: Sequence[Figures], rows: int) -> Iterator[FigureTable]:
    wasteful = sorted(sites, key=lambda site: (-site["waste"], site["site"]))
    table = FigureTable(
        "Call sites by waste (given beyond what was asked)",
        "call site", ">calls", ">asked", ">given", ">waste",
    )  # fmt: skip
    for site in wasteful[:rows]:
        if site["waste"] > 0:
            sizes = (site["bytes_req"], site["bytes_alloc"], site["waste"])
            cells = (bytes_text(size) for size in sizes)
            table.add_row(site["site"], f"{site['allocations']:,}", *cells)
    yield table
    live = sorted(sites, key=lambda site: (-site["live_bytes"], site["site"]))
    table = FigureTable("Call sites by live memory", "call site", "cache", ">objects", ">live")
    for site in live[:rows]:
        if site["live_bytes"]:
            objects = f"{site['live_objects']:,}"
            table.add_row(
                site["site"], site["cache"] or "pages", objects, bytes_text(site["live_bytes"])
            )
    yield table


def _paths(statistics: Figures) -> FigureTable:
    table = FigureTable("Fast and slow paths", "path", ">times", ">share")
    for part, title in (("slub", "SLUB"), ("pcp", "per-CPU pages")):
        for way in ("alloc", "free"):
            counts = statistics[part][way]
            total = sum(counts.values())
            for path, count in sorted(counts.items(), key=lambda item: -item[1]):
                if count:
                    name = f"{title} {way}: {path.replace('_', ' ')}"
                    table.add_row(name, f"{count:,}", share_text(count, total))
    return table


def _orders(rows: Sequence[Figures]) -> FigureTable:
    kinds = list(dict.fromkeys(row["migratetype"] for row in rows))
    table = FigureTable(
        "Pages allocated, by order and migratetype", "order", *(f">{k}" for k in kinds), ">freed"
    )
    for order in sorted({row["order"] for row in rows}):
        here = {row["migratetype"]: row for row in rows if row["order"] == order}
        cells = (f"{here[k]['allocated']:,}" if k in here else "" for k in kinds)
        table.add_row(str(order), *cells, f"{sum(row['freed'] for row in here.values()):,}")
    return table


def _fragmentation(fragmentation: Figures) -> Iterator[FigureTable]:
    samples = fragmentation["unusable"]
    if not samples:
        return
    table = FigureTable(
        "Fragmentation: share of free memory too scattered for an order",
        "order", "from the first event to the last", ">at the end",
    )  # fmt: skip
    for place, order in enumerate(fragmentation["orders"]):
        course = [sample[place] for sample in samples]
        table.add_row(str(order), spark(course, 32), f"{course[-1]:.1%}")
    yield table


def _steals(steals: Figures) -> RenderableType:
    table = FigureTable("Fallback to another migratetype", "from, to", ">times")
    for pair, count in sorted(steals["pairs"].items(), key=lambda item: -item[1]):
        table.add_row(pair, f"{count:,}")
    table.add_row("all fallbacks", f"{steals['fallbacks']:,}")
    table.add_row("of them took the whole pageblock", f"{steals['pageblocks']:,}")
    return table
