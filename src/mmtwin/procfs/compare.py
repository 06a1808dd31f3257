"""Holds the twin's /proc against a kernel's: how many rows are the same, and which are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from mmtwin.procfs import buddyinfo, kpageflags, pagetypeinfo, slabinfo
from mmtwin.procfs.sys_kernel_slab import Entry, SlabAttributes, resolve

# Of /sys/kernel/slab: what a cache is made with, not what is in it.
GEOMETRY = (
    "order", "objs_per_slab", "object_size", "slab_size", "align", "cpu_partial", "min_partial",
)  # fmt: skip


# What follows the name in a line of slabinfo.
slab_numbers = attrgetter(*[field.name for field in fields(slabinfo.SlabInfo)][1:])


@dataclass(frozen=True)
class Difference:
    """A row that differs; None stands for one that is not there."""

    row: str
    kernel: Any
    twin: Any


@dataclass(frozen=True)
class Comparison:
    """How many rows the kernel's text has, how many the twin has just so, and the others.

    A row that only the twin has is among the differences and not counted in `rows`.
    """

    rows: int
    exact: int
    differences: tuple[Difference, ...]

    def counts(self, rows: str = "rows") -> dict[str, int]:
        """`{rows: n, "exact": n}`, as reports hold it."""
        return {rows: self.rows, "exact": self.exact}


def compare(kernel: Mapping[str, Any], twin: Mapping[str, Any]) -> Comparison:
    """Compares rows by name."""
    names = [*kernel, *(name for name in twin if name not in kernel)]
    differences = tuple(
        Difference(name, kernel.get(name), twin.get(name))
        for name in names
        if name not in kernel or name not in twin or kernel[name] != twin[name]
    )
    exact = sum(1 for name in kernel if name in twin and kernel[name] == twin[name])
    return Comparison(len(kernel), exact, differences)


def compare_slabinfo(
    kernel: Iterable[slabinfo.SlabInfo], twin: Iterable[slabinfo.SlabInfo]
) -> Comparison:
    """Caches by name: every number of their lines."""
    return compare(
        {row.name: slab_numbers(row) for row in kernel},
        {row.name: slab_numbers(row) for row in twin},
    )


def compare_slab_order(
    kernel: Iterable[slabinfo.SlabInfo], twin: Iterable[slabinfo.SlabInfo]
) -> bool:
    """Whether both name the same caches in the same order."""
    return [row.name for row in kernel] == [row.name for row in twin]


def compare_buddyinfo(
    kernel: Iterable[buddyinfo.BuddyRow], twin: Iterable[buddyinfo.BuddyRow]
) -> Comparison:
    """A row for each zone: its free blocks by order."""
    return compare(
        {f"node {row.node} {row.zone}": row.free for row in kernel},
        {f"node {row.node} {row.zone}": row.free for row in twin},
    )


def compare_pagetypeinfo(
    kernel: Iterable[pagetypeinfo.PageTypeInfo], twin: Iterable[pagetypeinfo.PageTypeInfo]
) -> Comparison:
    """A row for each zone and migratetype (free blocks by order) and for a zone's pageblocks."""
    return compare(pagetype_rows(kernel), pagetype_rows(twin))


def pagetype_rows(nodes: Iterable[pagetypeinfo.PageTypeInfo]) -> dict[str, Any]:
    """The rows of pagetypeinfo by name."""
    rows: dict[str, Any] = {}
    for node in nodes:
        for free in node.free:
            rows[f"node {free.node} {free.zone} {free.type}"] = free.free
        for zone in node.blocks:
            rows[f"node {zone.node} {zone.zone} blocks"] = zone.blocks
    return rows


def compare_slab_attributes(
    kernel: Iterable[Entry],
    twin: Iterable[Entry],
    attributes: Iterable[str] = GEOMETRY,
) -> Comparison:
    """Caches of /sys/kernel/slab: some of their attributes.

    Each of the kernel's folders is one row, whatever it is called; the twin's cache may have any
    of its names.
    """
    chosen = tuple(attributes)
    kernel, named = list(kernel), resolve(twin)
    names: dict[int, list[str]] = {}
    for name, cache in resolve(kernel).items():
        names.setdefault(id(cache), []).append(name)
    rows, found = {}, {}
    for entry in kernel:
        if not isinstance(entry, SlabAttributes):
            continue
        rows[entry.name] = pick(entry, chosen)
        for name in names[id(entry)]:
            if name in named:
                found[entry.name] = pick(named[name], tuple(rows[entry.name]))
                break
    return compare(rows, found)


def pick(entry: SlabAttributes, attributes: Iterable[str]) -> dict[str, str]:
    """Some attributes of a cache, those it has."""
    return {name: entry.values[name] for name in attributes if name in entry.values}


def compare_kpageflags(
    kernel: npt.NDArray[np.uint64],
    twin: npt.NDArray[np.uint64],
    bits: int = kpageflags.mask("buddy", "slab"),
) -> Comparison:
    """A row for each pfn: the flags among `bits`; at most 1000 differences are named."""
    entries = min(len(kernel), len(twin))
    chosen = np.uint64(bits)
    differs = np.flatnonzero((kernel[:entries] ^ twin[:entries]) & chosen)
    named = tuple(
        Difference(f"pfn {pfn}", int(kernel[pfn] & chosen), int(twin[pfn] & chosen))
        for pfn in differs[:1000]
    )
    return Comparison(len(kernel), entries - len(differs), named)
