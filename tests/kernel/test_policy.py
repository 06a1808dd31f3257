"""Policies that are swapped: asked when caches and zones are made, checked, and only then used."""

import ctypes

import pytest

from mmtwin.kernel.policy import FAILED, FALLBACK
from mmtwin.kernel.slub_cache import kmem_cache_create
from mmtwin.machine import Machine


def boot(**policy):
    return Machine.boot("x86_64-6.1", memory="64M", policy=policy)


def record(k, name):
    return k.mm.view("cache")[k.mm.cache_names.index(name)]


def test_limits_and_orders_are_the_policys():
    k = boot(
        calculate_order=lambda has, size, page, orders, present, ids: 4,
        cpu_partial=lambda size, objects, limit: limit + objects,
        min_partial=lambda size, limit: 2,
    )
    plain = record(boot(), "kmalloc-256")
    mine = record(k, "kmalloc-256")
    assert mine["oo_order"] == 4 and mine["oo_objects"] == 256 and mine["min_partial"] == 2
    assert mine["cpu_partial"] == plain["cpu_partial"] + 256
    assert mine["cpu_partial_slabs"] == -(-2 * int(mine["cpu_partial"]) // 256)
    assert k.kmalloc(200) and k.validate() == []


def test_per_cpu_page_lists_are_the_policys():
    k = boot(pcp_high_and_batch=lambda managed, batch, low, high: (3, 40, 50))
    pcp = k.mm.view("pcp")
    populated = k.mm.view("zone")["present_pages"] > 0
    assert set(pcp["batch"][populated]) == {3}
    pages = [k.alloc_pages(0) for _ in range(200)]
    for pfn in pages:
        k.free_pages(pfn)
    assert k.validate() == []
    assert 0 < pcp["count"].max() <= 40


def test_a_c_function_gets_plain_numbers():
    u32, s32 = ctypes.c_uint, ctypes.c_int
    c_type = ctypes.CFUNCTYPE(s32, u32, u32, s32, s32)
    seen = []

    @c_type
    def largest(size, page_size, nr_orders, cpus):
        seen.append((page_size, nr_orders, cpus))
        return 3

    k = boot(calculate_order=largest)
    assert set(seen) == {(4096, 11, 1)}
    assert set(k.mm.view("cache")["oo_order"][: k.mm.nr_caches]) == {3}


def test_slots_are_filled_and_emptied_on_a_running_machine():
    k = boot()
    k.policy["min_partial"] = lambda size, limit: limit + 1
    assert list(k.policy) == ["min_partial"] and len(k.policy) == 1
    number = kmem_cache_create(k.mm, "mine", 1000, 0, 0)
    assert k.mm.view("cache")[number]["min_partial"] == 6
    del k.policy["min_partial"]
    number = kmem_cache_create(k.mm, "other", 3000, 0, 0)
    assert k.mm.view("cache")[number]["min_partial"] == 5


def test_kmalloc_has_the_policys_sizes():
    k = boot(kmalloc_classes=lambda sizes, page: [*range(32, 257, 32), 1024, 4096, 8192])
    names = [name for name in k.mm.cache_names if name.startswith("kmalloc-")]
    assert "kmalloc-160" in names and not {"kmalloc-16", "kmalloc-2k"} & set(names)
    sizes = {100: 128, 129: 160, 300: 1024, 1: 32, 5000: 8192}
    for size, given in sizes.items():
        address = k.kmalloc(size)
        assert k.ksize(address) == given
        k.kfree(address)
    assert k.validate() == []
    with pytest.raises(ValueError, match="when the machine boots"):
        k.policy["kmalloc_classes"] = lambda sizes, page: sizes


@pytest.mark.parametrize("profile", ["x86_64-6.1", "x86_64-6.18"])
@pytest.mark.parametrize("c_function", [False, True])
def test_fallback_tries_what_the_policy_says(profile, c_function):
    seen = set()

    def none(start_type, place):
        seen.add((start_type, place))
        return -1

    function = FALLBACK(none) if c_function else none
    k = Machine.boot(profile, memory="64M", policy={"fallback": function})
    # all memory is movable, and nothing else may take it
    assert k.alloc_pages(0, "GFP_KERNEL") is None
    assert seen == {(0, 0)}
    k.policy["fallback"] = lambda start_type, place: [1, -1][place]
    assert k.alloc_pages(0, "GFP_KERNEL") is not None
    assert k.validate() == []


def test_a_fallback_that_fails_is_told():
    k = boot(fallback=lambda start_type, place: 1 // 0)
    k.alloc_pages(0, "GFP_KERNEL")
    assert "ZeroDivisionError" in k.mm.policy[FAILED] or "division" in k.mm.policy[FAILED]


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"nothing": max}, "there are: calculate_order"), ({"min_partial": 3}, "not a function"),
        ({"min_partial": lambda size, limit: -1}, "no number from 0"),
        ({"cpu_partial": lambda size, objects, limit: 1.5}, "no number from 0"),
        ({"calculate_order": lambda *_: 0}, "holds no object"),
        ({"calculate_order": lambda: 0}, "TypeError"),
        ({"kmalloc_classes": lambda *_: [64, 128]}, "must be among them"),
        ({"kmalloc_classes": lambda *_: [12, 8192]}, "multiples of 8"),
        ({"pcp_high_and_batch": lambda *_: (1, 2)}, "is not"),
    ],
)  # fmt: skip
def test_what_no_policy_can_be_is_said(policy, said):
    with pytest.raises(ValueError, match=said):
        boot(**policy)
