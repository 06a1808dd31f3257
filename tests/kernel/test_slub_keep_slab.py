"""A slab that the twin gave up and the kernel did not leaves the queue for the grace period."""

import pytest

from mmtwin.kernel import slub_cache
from mmtwin.kernel.slub import kmem_cache_alloc, kmem_cache_free
from mmtwin.kernel.slub_defs import GFP_KERNEL, SLAB_NO_MERGE, SLAB_TYPESAFE_BY_RCU
from mmtwin.kernel.slub_resync import make_cpu_slab, take_object
from mmtwin.kernel.slub_slab import rcu_free_slabs
from mmtwin.machine import Machine

SLABS = 40


def given_up(profile):
    """A machine, a cache and the objects of slabs that all were given back, some of them wait for
    the end of a grace period.
    """
    k = Machine.boot(profile, memory="64M", seed=5)
    flags = SLAB_TYPESAFE_BY_RCU | SLAB_NO_MERGE
    cache = slub_cache.kmem_cache_create(k.mm, "kept", 1024, 0, flags)
    per_slab = int(k.mm.view("cache")[cache]["oo_objects"])
    objects = [kmem_cache_alloc(k.mm, cache, GFP_KERNEL) for _ in range(SLABS * per_slab)]
    for object in objects:
        kmem_cache_free(k.mm, cache, object)
    return k, cache, objects


def waiting(k):
    """The slabs that wait, by pfn."""
    found, pfn = [], k.mm.rcu_slab_first
    while pfn >= 0 and len(found) < SLABS:
        found.append(pfn)
        pfn = int(k.mm.view("page")[pfn]["next"])
    return found


def object_of(k, objects, pfn):
    """An object in that slab."""
    shift = k.mm.page_shift
    return next(o for o in objects if o - k.mm.page_offset >> shift == pfn)


@pytest.mark.parametrize("profile", ["x86_64-5.10", "x86_64-6.1", "x86_64-6.12"])
def test_a_slab_whose_object_is_used_waits_no_more(profile):
    k, cache, objects = given_up(profile)
    slabs = waiting(k)
    assert len(slabs) > 2
    object = object_of(k, objects, slabs[-1])
    assert take_object(k.mm, cache, object)
    assert waiting(k) == slabs[:-1]
    assert k.validate() == []
    kmem_cache_free(k.mm, cache, object)
    assert rcu_free_slabs(k.mm, SLABS) <= len(slabs)
    assert k.validate() == []


@pytest.mark.parametrize("profile", ["x86_64-5.10", "x86_64-6.1", "x86_64-6.12"])
def test_a_slab_that_a_cpu_allocates_from_waits_no_more(profile):
    k, cache, objects = given_up(profile)
    slabs = waiting(k)
    assert make_cpu_slab(k.mm, cache, object_of(k, objects, slabs[1]))
    rest = [slabs[0], *slabs[2:]]
    assert waiting(k)[: len(rest)] == rest  # the CPU's old one may follow
    assert k.validate() == []
