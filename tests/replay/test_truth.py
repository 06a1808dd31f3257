"""What a truth says, in the form in which the twin's own lists are held against it."""

import pytest

from mmtwin.machine import Machine
from mmtwin.replay.truth import (
    lists_of_cache,
    lists_of_truth,
    live_count,
    sheaves_of,
    slabs_by_cache,
)


@pytest.mark.parametrize("profile", ["x86_64-5.10", "x86_64-6.18", "x86_64-7.3"])
def test_objects_that_wait_on_cpus_and_in_sheaves_are_not_live(profile):
    k = Machine.boot(profile, memory="128M")
    cache = k.kmem_cache_create("held", 200, sheaf_capacity=28)
    objects = [k.kmem_cache_alloc(cache) for _ in range(90)]
    for address in objects[:37]:
        k.kmem_cache_free(cache, address)
    slabs = slabs_by_cache(k.mm)[cache.number]
    assert live_count(k.mm, cache.number, slabs) == 53


def test_lists_name_what_a_kernel_has():
    new, old = (Machine.boot(f"x86_64-{version}", memory="128M") for version in ("7.3", "6.1"))
    for k in (new, old):
        address = k.kmalloc(100)
        k.kfree(address)
        number = k.cache("kmalloc-128").number
        lists = lists_of_cache(k.mm, number, slabs_by_cache(k.mm)[number])
        if k is new:
            assert lists["cpu"] == []
            assert lists["sheaves"] == sheaves_of(k.mm, number)
            assert address in lists["sheaves"][0][0]
        else:
            assert lists["sheaves"] == []
            assert lists["cpu"][0][1][0] == address


def test_the_bootstrap_sheaf_is_none():
    sheaves = [{"main": [], "spare": [], "rcu_free": []}]
    truth = {"slabs": [], "sheaves": sheaves, "sheaf_capacity": 0}
    assert lists_of_truth(truth)["sheaves"] == []
    assert lists_of_truth({**truth, "sheaf_capacity": 28})["sheaves"] == [([], [])]
