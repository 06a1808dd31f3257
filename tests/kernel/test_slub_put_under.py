"""An object that the kernel did not give out makes way for the one that it gave out instead."""

import pytest

from mmtwin.kernel import slub_cache
from mmtwin.kernel.slub import kmem_cache_alloc, kmem_cache_free
from mmtwin.kernel.slub_defs import GFP_KERNEL, SLAB_NO_MERGE
from mmtwin.kernel.slub_resync import put_back, put_under
from mmtwin.machine import Machine

CAPACITY = 12


class Sheaves:
    """A machine with a cache whose objects come from sheaves."""

    def __init__(self, objects):
        self.k = Machine.boot("x86_64-7.3", memory="64M", seed=5)
        self.cache = slub_cache.kmem_cache_create(
            self.k.mm, "under", 1024, 0, SLAB_NO_MERGE, sheaf_capacity=CAPACITY
        )
        taken = [self.alloc() for _ in range(objects)]
        for object in taken:
            kmem_cache_free(self.k.mm, self.cache, object)

    def alloc(self):
        return kmem_cache_alloc(self.k.mm, self.cache, GFP_KERNEL)

    def sheaf(self, name):
        """The objects of one of the CPU's sheaves, the next one first."""
        number = self.k.mm.view("cache_cpu")[name][self.cache * self.k.mm.nr_cpus]
        sheaf = self.k.mm.view("sheaf")[number]
        return sheaf["objects"][: sheaf["size"]].tolist()[::-1]

    def instead(self, object):
        """The kernel gave out this object where the twin gives another."""
        mine = self.alloc()
        assert put_back(self.k.mm, self.cache, mine)
        put_under(self.k.mm, self.cache, object)
        assert self.k.validate() == []
        return mine


def test_the_one_on_top_goes_under_all_others():
    s = Sheaves(5)
    before = s.sheaf("sheaf_main")
    s.instead(before[1])
    assert s.sheaf("sheaf_main") == [*before[1:], before[0]]


def test_one_further_up_stays_where_it_is():
    s = Sheaves(5)
    before = s.sheaf("sheaf_main")
    s.instead(before[2])
    assert s.sheaf("sheaf_main") == before


@pytest.mark.parametrize("place", [0, 3])
def test_alone_it_leaves_the_main_sheaf_to_the_spare_one(place):
    s = Sheaves(2 * CAPACITY)
    for _ in range(CAPACITY - 1):
        s.alloc()
    spare = s.sheaf("sheaf_spare")
    assert len(s.sheaf("sheaf_main")) == 1 and len(spare) == CAPACITY
    mine = s.instead(spare[place])
    assert s.sheaf("sheaf_main") == spare and s.sheaf("sheaf_spare") == [mine]


def less_one(s, number):
    """A sheaf's last object is in use: its number of objects, the next one first."""
    sheaf = s.k.mm.view("sheaf")[number : number + 1]
    sheaf["size"] -= 1
    return sheaf["objects"][0][: sheaf["size"][0]].tolist()[::-1]


def test_alone_it_goes_under_those_of_a_spare_sheaf_with_room():
    s = Sheaves(2 * CAPACITY)
    for _ in range(CAPACITY - 1):
        s.alloc()
    number = s.k.mm.view("cache_cpu")["sheaf_spare"][s.cache * s.k.mm.nr_cpus]
    spare = less_one(s, number)
    mine = s.instead(spare[0])
    assert s.sheaf("sheaf_main") == [*spare, mine] and s.sheaf("sheaf_spare") == []


@pytest.mark.parametrize("room", [False, True])
def test_alone_it_goes_under_those_of_a_barn_s_sheaf_with_room(room):
    s = Sheaves(4 * CAPACITY)
    for _ in range(2 * CAPACITY - 1):
        s.alloc()
    n = s.k.mm.view("cache_node")[s.cache * s.k.mm.nr_nodes :]
    number, full = int(n["barn_full"][0]), int(n["nr_full"][0])
    main = s.sheaf("sheaf_main")
    assert full and len(main) == 1 and not s.sheaf("sheaf_spare")
    objects = less_one(s, number) if room else s.k.mm.view("sheaf")["objects"][number].tolist()
    mine = s.instead(objects[0])
    assert s.sheaf("sheaf_main") == ([*objects, mine] if room else main)
    assert int(n["nr_full"][0]) == full - room
