"""Red zones and metadata in bytes, by hand."""

from types import SimpleNamespace

import pytest

from mmtwin.kernel.kasan_layout import (
    frame_layout,
    kasan_cache_create,
    optimal_redzone,
    variable_bytes,
)
from mmtwin.kernel.slub_defs import SLAB_KASAN, SLAB_TYPESAFE_BY_RCU
from mmtwin.versions.profiles import profile

LARGEST = 1 << 22


def features(version: str, **config: bool) -> SimpleNamespace:
    facts = profile(f"x86_64-{version}").with_config(KASAN=True, **config)
    return SimpleNamespace(**facts.features)


@pytest.mark.parametrize(
    ("size", "zone"),
    [(1, 16), (48, 16), (49, 32), (96, 32), (97, 64), (448, 64), (449, 128), (3968, 128),
     (3969, 256), (16128, 256), (16129, 512), (32256, 512), (32257, 1024), (65000, 2048)],
)
def test_optimal_redzone(size: int, zone: int) -> None:
    assert optimal_redzone(size) == zone


@pytest.mark.parametrize(
    ("version", "size", "bytes", "alloc_meta", "free_meta"),
    [
        ("5.10", 8, 40, 8, 24), ("6.1", 8, 40, 8, 24), ("6.12", 8, 32, 16, 0),
        ("5.10", 16, 32, 16, 0), ("6.12", 16, 32, 16, 0), ("6.1", 64, 96, 64, 0),
        ("6.1", 100, 164, 100, 0), ("7.3", 4000, 4256, 4000, 0),
    ],
)
def test_metadata_lies_behind_the_object(
    version: str, size: int, bytes: int, alloc_meta: int, free_meta: int
) -> None:
    made = kasan_cache_create(features(version), size, size, 0, False, LARGEST)
    assert made == {
        "size": bytes, "alloc_meta": alloc_meta, "free_meta": free_meta, "flags": SLAB_KASAN,
    }


def test_objects_that_stay_in_use_have_it_all_behind_them() -> None:
    for flags, ctor in ((SLAB_TYPESAFE_BY_RCU, False), (0, True)):
        made = kasan_cache_create(features("6.12"), 200, 208, flags, ctor, LARGEST)
        assert (made["alloc_meta"], made["free_meta"]) == (208, 224)


def test_never_past_the_largest_kmalloc() -> None:
    size = LARGEST - 16
    old = kasan_cache_create(features("5.10"), LARGEST, LARGEST, 0, False, LARGEST)
    assert old == {"size": LARGEST, "alloc_meta": 0, "free_meta": None, "flags": 0}
    new = kasan_cache_create(features("6.1"), LARGEST, LARGEST, 0, False, LARGEST)
    assert new == {"size": LARGEST, "alloc_meta": 0, "free_meta": 0, "flags": SLAB_KASAN}
    fits = kasan_cache_create(features("6.1"), size, size, SLAB_TYPESAFE_BY_RCU, False, LARGEST)
    assert (fits["size"], fits["alloc_meta"], fits["free_meta"]) == (LARGEST, size, None)


def test_extra_info_makes_tracks_larger() -> None:
    has = features("6.12", KASAN_EXTRA_INFO=True)
    made = kasan_cache_create(has, 8, 8, 0, False, LARGEST)
    assert made["size"] == 8 + 24 + 16 and made["alloc_meta"] == 24


@pytest.mark.parametrize(
    ("size", "bytes"),
    [(1, 16), (4, 16), (5, 32), (16, 32), (17, 49), (128, 160), (129, 193), (4096, 4224),
     (5000, 5256)],
)
def test_variables_take_their_red_zone(size: int, bytes: int) -> None:
    assert variable_bytes(size) == bytes


def test_a_frame_begins_and_ends_with_red_zones() -> None:
    total, places = frame_layout([("i", 4), ("buffer", 100)])
    assert (total, places) == (192, [("i", 32, 4), ("buffer", 48, 100)])
    assert frame_layout([]) == (32, [])
