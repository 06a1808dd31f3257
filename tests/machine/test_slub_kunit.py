"""The kernel's own test of SLUB's checks, lib/slub_kunit.c, and its counts of errors.

Each bug is made in a cache of its own, which no boot option touches. An error is a report or a
repair (slab_add_kunit_errors()). The suite came with 5.14; the same must hold in 5.13 and 5.10,
whose checks are the same but count nothing.
"""

import pytest

from mmtwin import Machine
from mmtwin.kernel.slab_common import kmalloc_trace
from mmtwin.kernel.slub_pcs import kfree_rcu_sheaf
from mmtwin.machine.views import Cache

PROFILES = ["x86_64-5.10", "arm64-5.13", "x86_64-6.1", "arm64-16k-6.12", "x86_64-6.12",
            "x86_64-6.18", "x86_64-7.3", "arm64-7.3"]
SINCE_6_2 = PROFILES[3:]
SINCE_6_13 = PROFILES[5:]
KMALLOC = "SLAB_KMALLOC|SLAB_STORE_USER|SLAB_RED_ZONE"
RED_ACTIVE = b"\xcc"


class Suite:
    """A machine, and what each test begins with."""

    def __init__(self, name: str) -> None:
        self.k = Machine.boot(name, memory="64M")
        self._begin = 0

    def create(self, name: str, size: int, flags: str) -> Cache:
        return self.k.kmem_cache_create(name, size, flags=f"{flags}|SLAB_NO_USER_FLAGS")

    def kmalloc(self, cache: Cache, size: int, gfp: str = "GFP_KERNEL") -> int:
        return int(kmalloc_trace(self.k.mm, cache.number, size, self.k._gfp[gfp], -1))

    @property
    def errors(self) -> int:
        """slab_errors since they were last asked for."""
        begin, self._begin = self._begin, self.k.slab_errors
        return self._begin - begin

    def validate(self, cache: Cache) -> int:
        self.k.validate_slabs(cache)
        return self.errors

    def end(self, cache: Cache) -> None:
        """Nothing is left: the cache can go, without another error."""
        self.k.kmem_cache_destroy(cache)
        assert self.errors == 0
        assert self.k.validate() == []


@pytest.fixture(scope="module", params=PROFILES)
def suite(request: pytest.FixtureRequest) -> Suite:
    return Suite(request.param)


def test_clobber_zone(suite: Suite) -> None:
    s = suite.create("TestSlub_RZ_alloc", 64, "SLAB_RED_ZONE")
    p = suite.k.kmem_cache_alloc(s)
    suite.k.write(p + 64, b"\x12")
    assert suite.validate(s) == 2
    suite.k.kmem_cache_free(s, p)
    suite.end(s)


def test_next_pointer(suite: Suite) -> None:
    k = suite.k
    s = suite.create("TestSlub_next_ptr_free", 64, "SLAB_POISON")
    p = k.kmem_cache_alloc(s)
    k.kmem_cache_free(s, p)
    pointer = k.read(p + s.offset, 8)
    k.write(p + s.offset, bytes([pointer[0] ^ 0xFF]))
    # the chain, the count of objects in use, and its repair
    assert suite.validate(s) == 3
    k.write(p + s.offset, pointer)
    # the count is wrong again, and repaired
    assert suite.validate(s) == 2
    assert suite.validate(s) == 0
    suite.end(s)


@pytest.mark.parametrize(
    "name, flag, offset, byte",
    [
        ("TestSlub_1th_word_free", "SLAB_POISON", 0, b"\x78"),  # test_first_word
        ("TestSlub_50th_word_free", "SLAB_POISON", 50, b"\x9a"),  # test_clobber_50th_byte
        ("TestSlub_RZ_free", "SLAB_RED_ZONE", 64, b"\xab"),  # test_clobber_redzone_free
    ],
)
def test_a_byte_written_after_the_free(
    suite: Suite, name: str, flag: str, offset: int, byte: bytes
) -> None:
    s = suite.create(name, 64, flag)
    p = suite.k.kmem_cache_alloc(s)
    suite.k.kmem_cache_free(s, p)
    suite.k.write(p + offset, byte)
    assert suite.validate(s) == 2
    suite.end(s)


@pytest.mark.parametrize("name", SINCE_6_2)
def test_kmalloc_redzone_access(name: str) -> None:
    suite = Suite(name)
    s = suite.create("TestSlub_RZ_kmalloc", 32, KMALLOC)
    p = suite.kmalloc(s, 18)
    suite.k.write(p + 18, b"\xab\xab")
    assert suite.validate(s) == 2
    suite.k.kmem_cache_free(s, p)
    suite.end(s)


@pytest.mark.parametrize("name", ["x86_64-5.10", "x86_64-6.1"])
def test_a_kmalloc_is_as_large_as_its_class_before_6_2(name: str) -> None:
    suite = Suite(name)
    s = suite.create("TestSlub_RZ_kmalloc", 32, KMALLOC)
    p = suite.kmalloc(s, 18)
    suite.k.write(p + 18, b"\xab\xab")
    assert suite.validate(s) == 0
    suite.k.kmem_cache_free(s, p)
    suite.end(s)


def test_kfree_rcu(suite: Suite) -> None:
    s = suite.create("TestSlub_kfree_rcu", 16, "SLAB_NO_MERGE")
    p = suite.k.kmem_cache_alloc(s)
    if not s.sheaf_capacity or not kfree_rcu_sheaf(suite.k.mm, s.number, p):
        suite.k.kmem_cache_free(s, p)  # kfree_rcu_cpu's batch, which destroy waits for
    suite.end(s)


def test_kfree_rcu_wq_destroy(suite: Suite) -> None:
    for _ in range(50):  # the cache goes from a work item, after a pause or at once
        s = suite.create("TestSlub_kfree_rcu_wq_destroy", 16, "SLAB_NO_MERGE")
        p = suite.k.kmem_cache_alloc(s)
        if not s.sheaf_capacity or not kfree_rcu_sheaf(suite.k.mm, s.number, p):
            suite.k.kmem_cache_free(s, p)
        suite.end(s)


@pytest.mark.parametrize(("name", "errors"), [
    ("x86_64-6.1", 1),  # one report; the objects are listed, not counted
    ("x86_64-6.12", 2), ("x86_64-6.18", 2), ("x86_64-7.3", 2),
])
def test_leak_destroy(name: str, errors: int) -> None:
    suite = Suite(name)
    s = suite.create("TestSlub_leak_destroy", 64, "SLAB_NO_MERGE")
    p = suite.k.kmem_cache_alloc(s)
    with pytest.raises(ValueError, match="Objects remaining"):
        suite.k.kmem_cache_destroy(s)
    assert suite.errors == errors
    texts = "".join(complaint.report for complaint in suite.k.complaints)
    assert texts.count("Object 0x") == 1
    assert f"@offset={p & 0xfff}" in texts
    assert "TestSlub_leak_destroy: Slab cache still has objects when called from" in texts


@pytest.mark.parametrize("name", SINCE_6_13)
def test_krealloc_redzone_zeroing(name: str) -> None:
    suite = Suite(name)
    k = suite.k
    s = suite.create("TestSlub_krealloc", 64, KMALLOC)
    p = suite.kmalloc(s, 48)
    k.write(p, b"\xff" * 48)
    assert k.krealloc(p, 40, "GFP_KERNEL|__GFP_ZERO") == p
    assert k.read(p + 40, 24) == RED_ACTIVE * 24
    assert k.krealloc(p, 56, "GFP_KERNEL|__GFP_ZERO") == p
    assert k.read(p + 40, 24) == bytes(16) + RED_ACTIVE * 8
    assert suite.validate(s) == 0
    k.write(p, b"\xff" * 56)
    larger = k.krealloc(p, 112, "GFP_KERNEL|__GFP_ZERO")
    assert larger != p
    assert k.read(larger, 112) == b"\xff" * 56 + bytes(56)
    k.kfree(larger)
    suite.end(s)
