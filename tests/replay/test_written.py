"""Writes to /proc/sys: what compaction takes unseen is known by the pages that it frees."""

import re
from types import SimpleNamespace
from unittest import mock

import numpy as np

from mmtwin.machine.texts import ZoneText
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay import write_sites
from mmtwin.replay.engine import Engine
from mmtwin.replay.write_sites import WRITERS
from tests.kernel.test_compaction import BLOCK, Scanned

SITE = 0xFFFFFFFF81234560


def events(rows):
    """(kind, pid, address[, call site]) each."""
    made = np.zeros(len(rows), dtype=EVENT)
    made["cache"] = -1
    for event, (kind, pid, address, *site) in zip(made, rows, strict=True):
        event["kind"], event["pid"] = CONSTANTS[f"KIND_{kind}"], pid
        event["role"] = CONSTANTS["ROLE_DEMAND"]
        event["address"] = address
        if kind == "KMALLOC":
            event["bytes_req"], event["bytes_alloc"] = 3, 8
        if site:
            event["call_site"] = site[0]
    return made


def compacted(scanned, sources, released, pid=7):
    """The engine after a write during which these pages were freed, in this order."""
    mm = scanned.mm
    buffer = int(mm.page_offset) + (5 << 12)
    rows = [("KMALLOC", 7, buffer, SITE)]
    orders = {number: page[1] for number, page in enumerate(released) if isinstance(page, tuple)}
    released = [page[0] if isinstance(page, tuple) else page for page in released]
    rows += [("MM_PAGE_FREE", pid, page) for page in sources + released]
    rows += [("KFREE", 7, buffer)]
    made = events(rows)
    for number, order in orders.items():
        made["order"][1 + len(sources) + number] = order
    mm.view("page")["users"][sources] = 2  # USE_USER
    bits = [1 << bit for bit in range(32)]
    engine = Engine(mm, [0], bits, 8192, write_sites=[SITE])
    engine.run(made.ctypes.data, 0, len(made), len(made))
    return engine


def is_free(scanned, page):
    return bool(scanned.mm.view("page")["flags"][page] & 2) or any(
        scanned.mm.view("page")["flags"][page >> order << order] & 2
        and scanned.mm.view("page")["order"][page >> order << order] >= order
        for order in range(11)
    )


def test_what_migrated_pages_move_to_leaves_the_free_lists():
    scanned = Scanned([(-512, 4), (-256, 4)])
    sources = [4 * BLOCK + place for place in (9, 7, 6, 5, 2)]
    target = scanned.end - 512
    released = [target + 10 - n for n in range(11)]
    engine = compacted(scanned, sources, released)
    assert engine.counts()[16] == 5  # COUNT_MIGRATED
    assert not engine.counts()[[27, 28, 29, 41]].any()  # silent pages, drains, NOT_COMPACTED
    assert [is_free(scanned, target + place) for place in (11, 15)] == [False, False]
    assert is_free(scanned, scanned.end - 256)


def test_what_the_kernel_did_not_give_back_was_not_taken():
    scanned = Scanned([(-512, 4)])
    sources = [4 * BLOCK + place for place in (9, 7, 6, 5, 2)]
    engine = compacted(scanned, sources, [])
    assert engine.counts()[41] == 11  # UNEXPLAINED_NOT_COMPACTED
    assert is_free(scanned, scanned.end - 512)


def test_a_block_that_was_isolated_is_given_back_as_one():
    scanned = Scanned([(-512, 4)], "6.12")
    sources = [4 * BLOCK + place for place in (9, 7, 6, 5, 2)]
    target = scanned.end - 512
    engine = compacted(scanned, sources, [target + 5, (target + 6, 1), (target + 8, 3)])
    assert engine.counts()[16] == 5
    assert not engine.counts()[[27, 28, 29, 41]].any()
    assert [is_free(scanned, target + place) for place in (4, 5, 8)] == [False, True, True]


def test_another_task_s_pages_do_not_migrate():
    scanned = Scanned([(-512, 4)])
    sources = [4 * BLOCK + place for place in (9, 7, 6, 5, 2)]
    engine = compacted(scanned, sources, [], pid=8)
    assert engine.counts()[16] == 0


def test_a_few_pages_that_the_kernel_had_are_no_migration():
    scanned = Scanned([(-512, 4)])
    engine = compacted(scanned, [4 * BLOCK + 3, 4 * BLOCK + 2], [])
    assert engine.counts()[16] == 0


def test_who_writes():
    for name in ("proc_sys_call_handler", "proc_sys_call_handler.isra.0"):
        assert re.fullmatch(WRITERS, name)
    assert not re.fullmatch(WRITERS, "proc_sys_call_handlers")


def written(mm, sizes, settings):
    """After writes of these sizes: zone 0's watermarks, and pcp->high."""
    buffer = int(mm.page_offset) + (5 << 12)
    made = events([("KMALLOC", 7, buffer, SITE), ("KFREE", 7, buffer)] * len(sizes))
    made["bytes_req"][::2] = sizes
    engine = Engine(mm, [0], [0] * 32, 8192, write_sites=[SITE], settings=settings)
    engine.run(made.ctypes.data, 0, len(made), len(made))
    return mm.view("zone")[0]["watermark"][:3].tolist(), int(mm.view("pcp")[0]["high"])


SETTINGS = [(6, 7, 0, 10, 12, 14, 30), (4, 4, 0, -1, -1, -1, 60)]


def test_settings_are_made_by_the_writes_that_are_as_long():
    mm = Scanned([]).mm
    before = int(mm.view("pcp")[0]["high"])
    assert written(mm, [5, 3], SETTINGS) == ([0, 0, 0], before)
    assert written(mm, [3, 6], SETTINGS) == ([10, 12, 14], 30)
    assert written(mm, [4], SETTINGS) == ([10, 12, 14], 60)
    assert written(mm, [6, 6, 4, 4], SETTINGS) == ([10, 12, 14], 60)  # each once


def zone(low, high, present=4000):
    numbers = {"min": low - 8, "low": low, "high": low + 8, "managed": present}
    return ZoneText(0, "DMA", numbers, [], [{"high": high, "batch": 1, "count": 0}])


def test_what_zoneinfo_shows_was_set():
    recording = SimpleNamespace(machine=None)
    mm = Scanned([]).mm
    names = {"profile_of": lambda _r: None, "zone_number": lambda *_a: 0}
    with mock.patch.multiple(write_sites, **names):
        same = write_sites.changes(recording, mm, [zone(42, 6)], [zone(42, 6)])
        marks = write_sites.changes(recording, mm, [zone(42, 6)], [zone(250, 6)])
    assert same == []
    assert marks == [(5, 5, 0, 242, 250, 258, -1)]  # 968 kB, a newline and the NUL


def test_the_pages_of_a_pageblock_scanned_to_its_end_do_not_move_to_the_next():
    # fewer than a full cluster: the migration scanner stands at the end of the pageblock, so the
    # free scanner leaves the next one
    scanned = Scanned([(-3 * BLOCK, 4)])
    sources = [scanned.end - 4 * BLOCK + place for place in (9, 7, 6, 5, 2)]
    assert compacted(scanned, sources, []).counts()[16] == 0
    scanned = Scanned([(-3 * BLOCK, 6)])
    sources = [scanned.end - 4 * BLOCK + 40 - n for n in range(32)]
    target = scanned.end - 3 * BLOCK
    engine = compacted(scanned, sources, [target + 31 - n for n in range(32)])
    assert engine.counts()[16] == 32
