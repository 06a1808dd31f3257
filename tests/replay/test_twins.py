"""The two machines of a what-if: how each is made, and its figures."""

import pytest

from mmtwin.kernel.slub_cache import kmem_cache_create
from mmtwin.machine import Machine
from mmtwin.machine.boot import boot_mm
from mmtwin.machine.memory_map import make_map, map_of
from mmtwin.replay.changes import Changes, changes_of
from mmtwin.replay.demand_runner import CONSTANTS as RUN
from mmtwin.replay.errors import ReplayError
from mmtwin.replay.twins import Stacks, Twin, boot_twin, caches_by_name, free_in_blocks, slab_pages
from mmtwin.versions.profiles import profile

MIB = 1 << 20


def made(name="x86_64-6.1", **settings):
    return changes_of(profile(name), None, settings)


def caches_of(mm):
    return {name: mm.view("cache")[number] for number, name in enumerate(mm.cache_names)}


# ---- kernel stacks


def stacks_of(name="x86_64-6.1", **config):
    k = Machine.boot(name, memory="64M", **config)
    return k, Stacks(k.mm)


def test_a_stack_that_comes_back_serves_the_next_task():
    k, stacks = stacks_of()
    assert stacks.take(1, 0, False)
    pages = list(stacks.held[1].pages)
    stacks.give_back(1, 0)
    assert stacks.take(2, 0, True)
    assert list(stacks.held[2].pages) == pages and stacks.pages == 4
    assert k.validate() == []


def test_a_task_is_owed_the_stack_of_one_that_is_gone():
    """Its stack is free before its task_struct is: put_task_stack() in finish_task_switch()."""
    _, stacks = stacks_of()
    assert stacks.take(1, 0, False) and stacks.take(2, 0, True)
    assert stacks.pages == 4 and stacks.held[2] is None
    first = stacks.held[1]
    stacks.give_back(1, 0)  # its task_struct goes only now
    assert stacks.held == {2: first} and stacks.pages == 4 and not stacks.owed
    stacks.give_back(2, 0)
    assert stacks.pages == 0


def test_a_task_that_is_owed_a_stack_may_go_first():
    _, stacks = stacks_of()
    stacks.take(1, 0, False)
    stacks.take(2, 0, True)
    stacks.give_back(2, 0)
    assert not stacks.owed and stacks.pages == 4
    stacks.give_back(1, 0)
    assert stacks.pages == 0 and not stacks.held


def test_nobody_can_owe_where_nobody_has_a_stack():
    _, stacks = stacks_of()
    assert stacks.take(1, 0, True)
    assert stacks.held[1] is not None


# ---- machines


def test_a_machine_has_the_recorded_memory_and_limits():
    known = boot_mm(profile("x86_64-6.1"), "128M")
    zone = known.view("zone")[1]
    zone["watermark"][:] = (11, 22, 33, 44)
    known.view("pcp")["high"][:] = 77
    mm = boot_twin(made(), 64 * MIB, 1, known, True)
    managed = known.view("zone")["managed_pages"].tolist()
    assert mm.view("zone")["managed_pages"].tolist() == managed
    assert mm.view("zone")[1]["watermark"].tolist() == [11, 22, 33, 44]
    assert set(mm.view("pcp")["high"].tolist()) == {77}
    # as much memory as asked for, if that was changed
    mm = boot_twin(made(memory="256M"), 64 * MIB, 1, known, True)
    assert mm.view("zone")["present_pages"].sum() > 60000


def test_another_release_reserves_as_much_more_as_its_image_takes():
    memory = 128 * MIB
    old, new = (boot_mm(profile(name), memory) for name in ("x86_64-6.1", "x86_64-5.10"))
    mm = boot_twin(made(kernel="5.10"), memory, 1, old, False)
    theirs, ours = (int(m.view("zone")["managed_pages"].sum()) for m in (new, mm))
    assert abs(theirs - ours) <= 16


def test_two_nodes_stay_two():
    known = boot_mm(profile("x86_64-6.1"), "256M", cpus=2, nodes=2)
    mm = boot_twin(made(), 256 * MIB, 2, known, True)
    assert mm.nr_nodes == 2
    assert mm.view("cpu_node").tolist() == known.view("cpu_node").tolist()


def test_a_memory_map_is_that_of_its_machine():
    memory_map = make_map(profile("arm64-6.1"), 256 * MIB, 1, 1)
    mm = boot_mm(profile("arm64-6.1"), "256M", memory_map=memory_map)
    found = map_of(mm)
    assert found.ram == memory_map.ram and found.cma == memory_map.cma
    assert found.zones == memory_map.zones
    pages = sum(r.end - r.start for r in memory_map.reserved)
    assert sum(r.end - r.start for r in found.reserved) == pages


def test_caches_that_only_the_recorded_machine_has_are_made():
    known = boot_mm(profile("x86_64-6.1"), "64M")
    kmem_cache_create(known, "drivers_own", 312, 8, 0)
    mm = boot_twin(made(), 64 * MIB, 1, known, True)
    assert caches_of(mm)["drivers_own"]["object_size"] == 312


def test_a_structure_is_as_large_as_recorded_only_in_its_release():
    known = boot_mm(profile("x86_64-6.1"), "64M")
    number = known.cache_names.index("dentry")
    known.view("cache")[number]["object_size"] = 232
    assert caches_of(boot_twin(made(), 64 * MIB, 1, known, True))["dentry"]["object_size"] == 232
    later = boot_twin(made(kernel="6.12"), 64 * MIB, 1, known, False)
    assert caches_of(later)["dentry"]["object_size"] == 192


@pytest.mark.parametrize("settings", [{"slub_nomerge": True}, {"slub_debug": "Z"}])
def test_caches_that_are_not_merged_are_as_large_as_was_asked(settings):
    """slab_unmergeable(); sizes of a real 6.1 with slab_nomerge."""
    known = boot_mm(profile("x86_64-6.1"), "64M")
    mm = boot_twin(made(**settings), 64 * MIB, 1, known, True)
    caches = caches_of(mm)
    assert not any(mm.cache_aliases.values())
    sizes = {"filp": 232, "pid": 112, "fib6_nodes": 72, "sgpool-8": 256, "UDP": 1152}
    assert {name: int(caches[name]["object_size"]) for name in sizes} == sizes
    plain = caches_of(boot_twin(made(), 64 * MIB, 1, known, True))
    assert plain["filp"]["object_size"] == 256 and "sgpool-8" not in plain


def test_checks_alone_do_not_keep_caches_apart():
    known = boot_mm(profile("x86_64-6.1"), "64M")
    mm = boot_twin(made(slub_debug="F"), 64 * MIB, 1, known, True)
    assert any(mm.cache_aliases.values())


def test_names_that_other_releases_have_or_have_not():
    known = boot_mm(profile("x86_64-6.1"), "64M")
    names = ["maple_node", "cred_jar", "kmalloc-64", "dentry", "nobodys"]
    mm = boot_twin(made(kernel="5.10"), 64 * MIB, 1, known, False)
    found = caches_by_name(mm, names, known)
    assert found[0] == RUN["NOT_ASKED"] and "maple_node" not in mm.cache_names
    assert mm.cache_names[found[1]] == "cred_jar"
    assert found[2] == found[4] == RUN["KMALLOC_ANY"]
    assert mm.cache_names[found[3]] == "dentry"
    mm = boot_twin(made(kernel="6.12"), 64 * MIB, 1, known, False)
    assert mm.cache_names[caches_by_name(mm, ["cred_jar"], known)[0]] == "cred"
    assert "cred_jar" not in mm.cache_names


def test_what_cannot_be_made_is_said():
    with pytest.raises(ReplayError, match="nearest: dentry"):
        boot_twin(made(order={"dentrie": 1}), 64 * MIB, 1, None, True)


# ---- its figures


def test_figures_of_a_machine_that_did_nothing():
    mm = boot_twin(Changes(profile("x86_64-6.1")), 64 * MIB, 1, None, True)
    twin = Twin("recorded", mm, [], 12, True)
    twin.sample(5)
    figures = twin.figures()
    assert figures["demands"] == 0 and figures["stacks"] == figures["user"] == 0
    assert figures["slab"]["bytes"] == slab_pages(mm) << 12
    assert figures["used"] + figures["free"]["bytes"] == figures["managed"]
    assert twin.samples[0]["time"] == 5 and twin.samples[0]["used"] == figures["used"]
    sizes = [free_in_blocks(mm, 1 << shift) for shift in (12, 16, 21)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == figures["free"]["bytes"]
