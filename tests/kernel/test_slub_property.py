"""SLUB against a naive model and its own validate(), step by step, on every version."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from slub_machine import GFP_KERNEL, VERSIONS, kmalloc_machine

from mmtwin.kernel import slub, slub_cache, slub_pcs, slub_shrink
from mmtwin.kernel.slab_common import __kmalloc_node as kmalloc_node
from mmtwin.kernel.slab_common import kfree
from mmtwin.kernel.slub_defs import DEFS
from mmtwin.kernel.slub_slab import rcu_free_slabs
from mmtwin.kernel.slub_state import live_objects
from mmtwin.kernel.slub_validate import validate

COMPILED = not (slub.__file__ or "").endswith(".py")
LONG = bool(os.environ.get("MMTWIN_LONG"))
RUNS, STEPS = (5000, 200) if LONG else (200, 50) if COMPILED else (25, 40)
FLAGS = [0, DEFS["SLAB_TYPESAFE_BY_RCU"], DEFS["SLAB_RED_ZONE"] | DEFS["SLAB_STORE_USER"]]


class Slub(RuleBasedStateMachine):
    """The model: a set of live objects for each cache, and what kmalloc gave."""

    @initialize(
        version=st.sampled_from(VERSIONS),
        cpus=st.sampled_from([1, 2]),
        size=st.sampled_from([24, 200, 700, 3000]),
        flags=st.sampled_from(FLAGS),
        sheaf=st.sampled_from([0, 8]),
    )
    def boot(self, version: str, cpus: int, size: int, flags: int, sheaf: int) -> None:
        self.mm = kmalloc_machine(version, 512, cpus=cpus)
        self.mm.complaints.clear()
        flags |= DEFS["SLAB_NO_MERGE"]
        self.cache = slub_cache.kmem_cache_create(
            self.mm, "thing", size, 0, flags, sheaf_capacity=sheaf
        )
        self.live: list[int] = []
        self.kmalloced: list[int] = []
        self.deferred: list[int] = []

    @rule(cpu=st.integers(0, 1))
    def run_on(self, cpu: int) -> None:
        self.mm.cpu = min(cpu, self.mm.nr_cpus - 1)

    @rule(count=st.integers(1, 40))
    def alloc(self, count: int) -> None:
        for _ in range(count):
            address = slub.kmem_cache_alloc(self.mm, self.cache, GFP_KERNEL | 0x2000)
            if address:
                assert address not in self.live
                self.live.append(address)

    @rule(count=st.integers(1, 60))
    def alloc_bulk(self, count: int) -> None:
        objects = slub.kmem_cache_alloc_bulk(self.mm, self.cache, GFP_KERNEL | 0x2000, count)
        assert len(objects) in (0, count) and not set(objects) & set(self.live)
        self.live += objects

    @precondition(lambda self: self.live)
    @rule(data=st.data(), count=st.integers(1, 40))
    def free(self, data: st.DataObject, count: int) -> None:
        for _ in range(min(count, len(self.live))):
            place = data.draw(st.integers(0, len(self.live) - 1))
            slub.kmem_cache_free(self.mm, self.cache, self.live.pop(place))

    @precondition(lambda self: self.live)
    @rule(count=st.integers(1, 60))
    def free_bulk(self, count: int) -> None:
        slub.kmem_cache_free_bulk(self.mm, self.cache, self.live[:count])
        del self.live[:count]

    @precondition(lambda self: self.live)
    @rule()
    def free_by_rcu(self) -> None:
        if slub_pcs.kfree_rcu_sheaf(self.mm, self.cache, self.live[-1]):
            self.live.pop()

    @rule(size=st.integers(0, 9000))
    def kmalloc(self, size: int) -> None:
        address = kmalloc_node(self.mm, size, GFP_KERNEL | 0x2000, -1)
        if address > 16:
            self.kmalloced.append(address)

    @precondition(lambda self: self.kmalloced)
    @rule(data=st.data())
    def kfree(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.kmalloced) - 1))
        kfree(self.mm, self.kmalloced.pop(place))

    @rule()
    def shrink(self) -> None:
        slub_shrink.kmem_cache_shrink(self.mm, self.cache)

    @rule()
    def grace_period(self) -> None:
        rcu_free_slabs(self.mm, -1)
        slub_pcs.rcu_free_sheaves(self.mm, -1)

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "mm"):
            return
        validate(self.mm, [self.cache])
        waiting = set()
        number = self.mm.rcu_sheaf_first
        while number >= 0:
            sheaf = self.mm.view("sheaf")[number]
            waiting |= {int(entry) for entry in sheaf["objects"][: int(sheaf["size"])]}
            number = int(sheaf["next"])
        assert set(live_objects(self.mm, self.cache)) - waiting == set(self.live)
        assert not self.mm.complaints

    def teardown(self) -> None:
        if hasattr(self, "mm"):
            validate(self.mm)


Slub.TestCase.settings = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestSlub = Slub.TestCase
