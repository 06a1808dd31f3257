"""Writes to /proc/sys: what compaction takes unseen is known by the pages that it frees."""

import re

import numpy as np

from mmtwin.recordings.event import CONSTANTS, EVENT
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
    rows += [("MM_PAGE_FREE", pid, page) for page in sources + released]
    rows += [("KFREE", 7, buffer)]
    made = events(rows)
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
