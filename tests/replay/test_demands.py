"""Demands told from events, and carried out on machines of any kind."""

import numpy as np
import pytest

from mmtwin.machine import Machine
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay.demand_book import CONSTANTS as ASK
from mmtwin.replay.demand_runner import CONSTANTS as RUN
from mmtwin.replay.demand_runner import DemandRunner
from mmtwin.replay.demands import DemandReader

BASE = 0xFFFF888000000000
FACTS = {
    "nr_pages": 4096, "page_offset": BASE, "page_shift": 12, "large": 8192,
    "gfp_bits": [1 << bit for bit in range(32)], "sizes": [64, 256, 0], "bulk_sites": [77],
    "bulk_unseen": True, "table_gfp": 0x400DC0, "table_spare_gfp": 0, "task_cache": 1,
    "cred_cache": -1, "stack_bytes": 16384, "area_sites": [78], "keeps_stacks": True,
}  # fmt: skip
KINDS = {
    "kmalloc": "KIND_KMALLOC", "alloc": "KIND_KMEM_CACHE_ALLOC", "kfree": "KIND_KFREE",
    "page": "KIND_MM_PAGE_ALLOC", "free": "KIND_MM_PAGE_FREE",
}  # fmt: skip


def events_of(*rows):
    events = np.zeros(len(rows), dtype=EVENT)
    events["cache"] = -1
    events["role"] = CONSTANTS["ROLE_DEMAND"]
    events["gfp"] = 0xCC0
    events["time"] = np.arange(len(rows)) + 1
    for event, (kind, address, fields) in zip(events, rows, strict=True):
        event["kind"], event["address"] = CONSTANTS[KINDS[kind]], address
        for name, value in fields.items():
            event[name] = value
    return events


def demands_of(*rows, **settings):
    reader = DemandReader({**FACTS, **settings.pop("facts", {})}, **settings)
    events = events_of(*rows)
    assert reader.read(events.ctypes.data, 0, len(events), len(events)) == len(events)
    demands = reader.take().copy()
    return reader, demands[demands["kind"] != ASK["ASK_GRACE_PERIOD"]]


def kinds(demands):
    names = {value: name for name, value in ASK.items() if name.startswith("ASK_")}
    return [names[int(kind)].removeprefix("ASK_") for kind in demands["kind"]]


def test_a_free_names_the_demand_not_the_address():
    object_ = BASE + 5 * 4096
    _, demands = demands_of(
        ("kmalloc", object_, {"bytes_req": 100}), ("page", 9, {"order": 1}),
        ("kfree", object_, {}), ("free", 9, {"order": 1}),
    )  # fmt: skip
    assert kinds(demands) == ["KMALLOC", "PAGES", "FREE", "FREE"]
    assert demands["id"].tolist() == [1, 2, 1, 2]
    assert demands["bytes"].tolist()[:2] == [100, 8192]


def test_a_split_block_goes_with_its_last_page():
    _, demands = demands_of(
        ("page", 8, {"order": 1}), ("free", 8, {"order": 0}), ("free", 9, {"order": 0})
    )
    assert kinds(demands) == ["PAGES", "FREE"]


def test_what_slub_did_by_itself_is_no_demand():
    slab = {"role": CONSTANTS["ROLE_SLAB"]}
    _, demands = demands_of(
        ("page", 8, slab), ("alloc", BASE + 8 * 4096, {"cache": 0}), ("free", 8, slab)
    )
    # the object's free was not seen, but its slab is gone
    assert kinds(demands) == ["OBJECT", "FREE"]


def test_a_slab_of_objects_that_no_event_names_is_full_of_them():
    reader, demands = demands_of(("page", 8, {"role": CONSTANTS["ROLE_SILENT"], "cache": 1}))
    assert kinds(demands) == ["OBJECT"] * 16
    assert reader.counts()[ASK["DEMANDS_UNSEEN_OBJECTS"]] == 16


def test_an_address_given_out_again_was_freed_unseen():
    reader, demands = demands_of(
        ("kmalloc", BASE, {"bytes_req": 8}), ("kmalloc", BASE, {"bytes_req": 16})
    )
    assert kinds(demands) == ["KMALLOC", "FREE", "KMALLOC"]
    assert reader.counts()[ASK["DEMANDS_UNSEEN_FREES"]] == 1


def test_the_array_of_a_vmalloc_brings_its_pages():
    array = BASE + 4096
    _, demands = demands_of(
        ("kmalloc", array, {"bytes_req": 24, "call_site": 77}), ("kfree", array, {})
    )
    assert kinds(demands) == ["KMALLOC", "AREA", "FREE", "FREE"]
    assert demands["bytes"][1] == 3 * 4096


def test_stacks_come_and_go_with_their_tasks():
    task = BASE + 4096
    _, demands = demands_of(
        ("alloc", task, {"cache": 1}),
        ("kmalloc", BASE, {"bytes_req": 32, "call_site": 77}),  # the stack's own array
        ("kfree", task, {}), ("kfree", BASE, {}), own_stacks=True,
    )  # fmt: skip
    assert kinds(demands) == ["OBJECT", "STACK", "FREE", "FREE"]


def test_a_new_stack_is_told_from_one_that_was_kept():
    """What a mapped stack's area needs the changed machine asks for itself."""
    first, second = BASE + 4096, BASE + 8192
    facts = {"cred_cache": 2, "bulk_unseen": False}
    _, demands = demands_of(
        ("alloc", first, {"cache": 1}),
        ("kmalloc", BASE, {"bytes_req": 64, "call_site": 78}),  # vm_struct
        ("kmalloc", BASE + 64, {"bytes_req": 32, "call_site": 77}),
        *(("page", 20 + n, {}) for n in range(4)),
        ("alloc", BASE + 128, {"cache": 2}), ("page", 30, {}),
        ("alloc", second, {"cache": 1}), ("alloc", BASE + 320, {"cache": 2}),
        own_stacks=True, facts=facts,
    )  # fmt: skip
    assert kinds(demands) == [
        "OBJECT", "STACK", "OBJECT", "PAGES", "OBJECT", "STACK", "OBJECT"
    ]
    assert demands["order"][demands["kind"] == ASK["ASK_STACK"]].tolist() == [0, 1]
    # without stacks of its own all of that is demanded as it was
    _, demands = demands_of(
        ("alloc", first, {"cache": 1}), ("kmalloc", BASE, {"bytes_req": 64, "call_site": 78}),
        facts=facts,
    )  # fmt: skip
    assert kinds(demands) == ["OBJECT", "KMALLOC"]


def test_what_lay_free_at_the_start_is_asked_for_and_given_back():
    reader = DemandReader(FACTS, own_stacks=True)
    reader.adopt_object(BASE + 64, 0, 64, False, False, 0xCC0)
    reader.adopt_object(BASE + 128, 0, 60, True, False, 0x400CC0)
    reader.give_back_object(BASE + 64)
    reader.give_back_object(BASE + 64)  # it is gone
    demands = reader.take()
    assert kinds(demands) == ["OBJECT", "KMALLOC", "FREE"]
    assert demands["gfp"].tolist() == [0xCC0, 0x400CC0, 0] and demands["id"][2] == demands["id"][0]


def test_nobody_asks_for_structures_that_a_release_has_not():
    runner = runner_of("x86_64-5.10", caches=[RUN["NOT_ASKED"]] * 3)
    _, demands = demands_of(("alloc", BASE, {"cache": 0}), ("kfree", BASE, {}))
    runner.carry_out(demands)
    assert runner.counts()[RUN["RUN_NOT_ASKED"]] == 1
    assert runner.counts()[RUN["RUN_FAILED_OBJECTS"]] == 0 and not len(runner.held_objects())


def runner_of(profile, shift=12, caches=(RUN["KMALLOC_ANY"],) * 3):
    runner = DemandRunner(Machine.boot(profile, memory="64M").mm, caches, shift)
    runner.reserve(1000)
    return runner


@pytest.mark.parametrize("profile", ["x86_64-5.10", "x86_64-6.18", "arm64-16k-6.12"])
def test_what_is_given_back_leaves_nothing(profile):
    runner = runner_of(profile)
    before = runner.used_pages()
    rows = [("kmalloc", BASE + n * 4096, {"bytes_req": 5000}) for n in range(40)]
    rows += [("page", 100 + 8 * n, {"order": n % 4}) for n in range(20)]
    rows += [("page", 400 + n, {"gfp": 0x100CCA, "pid": 5}) for n in range(21)]
    rows += [("kfree", BASE + n * 4096, {}) for n in range(40)]
    rows += [("free", 100 + 8 * n, {"order": n % 4}) for n in range(20)]
    rows += [("free", 400 + n, {}) for n in range(21)]
    _, demands = demands_of(*rows)
    runner.carry_out(demands[:81])
    held = runner.used_pages()
    assert held > before + 20
    runner.carry_out(demands[81:])
    assert runner.use_pages().tolist() == [0] * ASK["FOR_USES"]
    assert len(runner.held_objects()) == 0
    assert runner.used_pages() < held  # but for empty slabs that stay on lists
    assert Machine(runner.mm).validate() == []


def test_small_pages_of_one_task_share_a_larger_one():
    runner = runner_of("arm64-16k-6.12")
    _, demands = demands_of(
        *(("page", 50 + n, {"gfp": 0x100CCA, "pid": 1 + n // 6}) for n in range(12))
    )
    runner.carry_out(demands)
    assert runner.use_pages()[ASK["FOR_USER"]] == 4  # two tasks, six pages each
    assert runner.counts()[RUN["RUN_SHARED"]] == 8


def test_a_large_page_becomes_as_many_small_ones():
    runner = runner_of("x86_64-6.1", shift=14)
    _, demands = demands_of(
        ("page", 50, {"gfp": 0x100CCA}), ("page", 60, {"order": 1}), ("page", 70, {}),
        facts={"page_shift": 14},
    )  # fmt: skip
    runner.carry_out(demands)
    assert runner.use_pages()[ASK["FOR_USER"]] == 4
    assert runner.use_pages()[ASK["FOR_KERNEL"]] == 8 + 1


def test_a_demand_that_no_block_meets_fails_and_is_counted():
    runner = runner_of("x86_64-6.1")
    rows = [("page", 1024 * n, {"order": 10}) for n in range(30)]
    rows += [("free", 1024 * n, {"order": 10}) for n in range(30)]
    _, demands = demands_of(*rows, facts={"nr_pages": 30 * 1024})
    runner.carry_out(demands)
    assert 14 <= runner.counts()[RUN["RUN_FAILED_PAGES"]] < 30
    assert runner.use_pages().tolist() == [0] * ASK["FOR_USES"]
    assert Machine(runner.mm).validate() == []
