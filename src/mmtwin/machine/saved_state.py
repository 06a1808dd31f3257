"""A machine's state in a file: what `Machine.at` has worked out of a recording, to be had again.

The file holds a line of JSON (the layout, the counters, the names of the caches), then of every
array the pages that are not zero. Machines that somebody drove further (tasks, vmalloc areas,
checkers) are not kept.
"""

import json
import mmap
import os
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmtwin.kernel.features import FEATURES
from mmtwin.kernel.layout import Layout
from mmtwin.kernel.mm import MM
from mmtwin.machine.machine import STATE, Machine
from mmtwin.versions.profiles import Profile

MAGIC = b"mmtwin state 1\n"
ARRAYS = (*STATE, "cpu_node")
PAGE = 4096
LONGEST_HEADER = 1 << 20
FILLED = "kmalloc_cache"  # the one array that does not begin as zeros
# What of an MM changes as it runs; the rest follows from its Layout.
NUMBERS = (
    "next_head", "nr_caches", "next_sheaf", "free_sheaf", "next_random_seq", "cpu", "contents",
    "random_state", "step_mask", "next_step", "step_depth", "page_override",
    "next_freelist_start", "rcu_slab_first", "rcu_slab_last", "rcu_sheaf_first", "rcu_sheaf_last",
    "sheaves_unbacked", "random_kmalloc_seed", "last_alloc_from", "rmqueue_mode", "pcp_locked",
    "claim_override", "kswapd_hopeless", "oom_victim", "reclaims",
    "page_group_by_mobility_disabled", "min_free_kbytes", "watermark_scale_factor",
    "watermark_boost_factor", "checkers", "jiffies", "slub_bytes", "orig_size", "kmalloc_classed",
    "fallback_policy",
)  # fmt: skip
# What a state that is kept has none of.
OBJECTS = ("tasks", "kasan", "kmemleak", "commit", "vmalloc", "paging", "slub_debug", "policy",
           "kmalloc_info", "frames", "complaints")  # fmt: skip


class BadState(ValueError):
    """A file that holds no state, or a part of one."""


def can_save(machine: Machine) -> bool:
    """Whether a machine's whole state lies in its arrays and counters."""
    mm = machine.mm
    return mm.profile is not None and not any(getattr(mm, name) for name in OBJECTS)


def save_state(machine: Machine, path: Path) -> None:
    """Writes a machine's state beside its place, then renames it. Raises OSError if it cannot."""
    write_state(state_of(machine), path)


def state_of(machine: Machine) -> list[bytes]:
    """What the file of a machine's state will hold."""
    mm = machine.mm
    parts: list[bytes] = []
    arrays = {}
    for name in ARRAYS:
        pages, rest = pages_of(mm, name)
        there = touched(pages)
        there = there[pages[there].view(np.uint64).any(axis=1)]
        used = there.astype("<u4")
        arrays[name] = len(used)
        parts += [used.tobytes(), pages[used].tobytes(), rest.tobytes()]
    layout = {each.name: layout_value(mm, each.name) for each in fields(Layout)}
    header = {
        "layout": layout, "profile": asdict(mm.profile),
        "numbers": {name: int(getattr(mm, name)) for name in NUMBERS},
        "cache_names": mm.cache_names, "cache_aliases": list(mm.cache_aliases.items()),
        "arrays": arrays, "areas": machine.areas,
    }  # fmt: skip
    return [MAGIC + json.dumps(header).encode() + b"\n", *parts]


def touched(pages: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The pages of an array that may be other than zeros: those that this process has in its page
    tables, by /proc/self/pagemap; where that does not tell, all.
    """
    address = pages.ctypes.data
    if mmap.PAGESIZE == PAGE and address % PAGE == 0:
        with suppress(OSError), open("/proc/self/pagemap", "rb", buffering=0) as file:
            file.seek(address // PAGE * 8)
            entries = np.frombuffer(file.read(8 * len(pages)), np.uint64)
            if len(entries) == len(pages):
                return np.flatnonzero(entries >> np.uint64(62))  # present or swapped
    return np.arange(len(pages))


def write_state(parts: list[bytes], path: Path) -> None:
    """Writes what state_of() gave beside its place, then renames it. Raises OSError."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.writelines(parts)
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def load_state(path: Path) -> Machine:
    """The machine of a file. Raises BadState if it is not whole, OSError if it cannot be read."""
    data = path.read_bytes()
    end = data.find(b"\n", len(MAGIC), LONGEST_HEADER)
    if not data.startswith(MAGIC) or end < 0:
        raise BadState(f"{path} holds no state of a machine")
    try:
        header = json.loads(data[len(MAGIC) : end])
        mm = MM(Layout(**header["layout"]), Profile(**header["profile"]))
        for name in NUMBERS:
            number = header["numbers"][name]
            if not isinstance(number, int) or abs(number) >> 64:
                raise ValueError(f"{name} is {number}")
            setattr(mm, name, number)
        mm.cache_names = header["cache_names"]
        mm.cache_aliases = dict(header["cache_aliases"])
        fill_arrays(mm, header["arrays"], memoryview(data)[end + 1 :])
        machine = Machine(mm)
        machine.areas = header["areas"]
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise BadState(f"{path}: {error}") from None
    return machine


def fill_arrays(mm: MM, counts: dict[str, int], data: memoryview) -> None:
    """Puts the pages of a file in their places."""
    place = 0
    for name in ARRAYS:
        pages, rest = pages_of(mm, name)
        count = counts[name]
        if not 0 <= count <= len(pages) or place + count * (4 + PAGE) + len(rest) > len(data):
            raise BadState(f"{name} has {count} pages")
        if name == FILLED:
            pages[:] = 0
        used = np.frombuffer(data, "<u4", count, place)
        place += 4 * count
        pages[used] = np.frombuffer(data, np.uint8, count * PAGE, place).reshape(-1, PAGE)
        place += count * PAGE
        rest[:] = np.frombuffer(data, np.uint8, len(rest), place)
        place += len(rest)
    if place != len(data):
        raise BadState("more follows")


def pages_of(mm: MM, name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The bytes of an array of a state: its whole pages, and those behind them."""
    data = mm.view(name).view(np.uint8).reshape(-1)
    whole = len(data) // PAGE * PAGE
    return data[:whole].reshape(-1, PAGE), data[whole:]


def layout_value(mm: MM, name: str) -> Any:
    """A field of the Layout that a state was made with."""
    if name == "features":
        has = mm.view("has")[0]
        return {field: int(getattr(has, field)) for field, _ in FEATURES._fields_}
    names = {"seed": "random_state"}
    return int(getattr(mm, names.get(name, name)))
