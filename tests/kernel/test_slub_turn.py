"""A new slab's free objects come to lie where another random start would have put them."""

import pytest

from mmtwin.kernel import slub_cache
from mmtwin.kernel.slub import kmem_cache_alloc
from mmtwin.kernel.slub_defs import GFP_KERNEL, SLAB_NO_MERGE
from mmtwin.kernel.slub_resync import slab_of
from mmtwin.kernel.slub_turn import is_turnable, place_of, top_of_slab, turn_slab, turned
from mmtwin.machine import Machine


def filled(profile):
    """A machine with a cache of its own and the first object of a new slab: machine, cache,
    object, slab.
    """
    k = Machine.boot(profile, memory="64M", seed=5)
    sheaves = 60 if profile.endswith("7.3") else 0
    cache = slub_cache.kmem_cache_create(
        k.mm, "turned", 104, 0, SLAB_NO_MERGE, sheaf_capacity=sheaves
    )
    object = kmem_cache_alloc(k.mm, cache, GFP_KERNEL)
    return k, cache, object, slab_of(k.mm, cache, object)


def sheaf_of(k, cache):
    """The CPU's main sheaf, -1 if it has none."""
    return int(k.mm.view("cache_cpu")["sheaf_main"][cache * k.mm.nr_cpus])


@pytest.mark.parametrize("profile", ["x86_64-6.1", "x86_64-7.3"])
def test_objects_after_the_turn_are_those_of_the_other_start(profile):
    k, cache, object, slab = filled(profile)
    assert is_turnable(k.mm, cache, slab)
    objects = int(k.mm.view("page")["objects"][slab])
    coming = [turned(k.mm, cache, slab, object, place) for place in range(1, objects)]
    assert len({object, *coming}) == objects
    if profile.endswith("7.3"):  # the sheaf gives the last object first
        coming = coming[::-1]
        top = top_of_slab(k.mm, slab, sheaf_of(k, cache))
        assert top == turned(k.mm, cache, slab, object, objects - 1)
    turn_slab(k.mm, cache, slab, sheaf_of(k, cache), 0)
    assert k.validate() == []
    seen = [kmem_cache_alloc(k.mm, cache, GFP_KERNEL) for _ in range(objects - 1)]
    same = [address for address in seen if slab_of(k.mm, cache, address) == slab]
    assert same == [address for address in coming if address in same]
    assert len(same) > 10


def test_a_slab_turned_by_three_begins_three_places_further():
    k, cache, object, slab = filled("x86_64-6.1")
    following = turned(k.mm, cache, slab, object, 1)
    turn_slab(k.mm, cache, slab, sheaf_of(k, cache), 3)
    assert kmem_cache_alloc(k.mm, cache, GFP_KERNEL) == turned(k.mm, cache, slab, following, 3)


def test_what_is_no_object_has_no_place():
    k, cache, object, slab = filled("x86_64-6.1")
    assert place_of(k.mm, cache, slab, object) >= 0
    assert place_of(k.mm, cache, slab, object + 1) == -1
    assert turned(k.mm, cache, slab, object + 1, 2) == object + 1
