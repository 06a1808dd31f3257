"""Layouts of caches, against what kernels showed in /sys/kernel/slab."""

from types import SimpleNamespace

import pytest

from mmtwin.kernel import slub_layout
from mmtwin.kernel.slub_defs import DEFS
from mmtwin.versions.features import features_of

CONFIG = {f"CONFIG_{name}": "y" for name in ("SLUB_CPU_PARTIAL", "MEMCG", "SLAB_OBJ_EXT")}
HWCACHE, RCU, KMALLOC = (
    DEFS[f"SLAB_{n}"] for n in ("HWCACHE_ALIGN", "TYPESAFE_BY_RCU", "KMALLOC")
)
DEBUG = sum(DEFS[f"SLAB_{n}"] for n in ("CONSISTENCY_CHECKS", "RED_ZONE", "POISON", "STORE_USER"))


def features(version: str, arch: str = "x86_64", page_size: int = 4096) -> SimpleNamespace:
    return SimpleNamespace(**features_of(version, arch, page_size, CONFIG))


def geometry(version, object_size, align, flags=0, ctor=False, cpus=1, page=4096, arch="x86_64"):
    has = features(version, arch, page)
    size = slub_layout.object_layout(has, object_size, align, flags, ctor)["size"]
    order = slub_layout.calculate_order(has, size, page, 11, cpus, cpus)
    objects = (page << order) // size
    partial = slub_layout.cpu_partial_limits(has, size, page, objects, flags)[0]
    return size, order, objects, partial, slub_layout.minimum_partial(size)


# (release, object_size, align, flags, constructor) and what the kernel computed, one CPU:
# slab_size, order, objs_per_slab, cpu_partial, min_partial.
SHOWN = [
    ("6.1", 1328, 8, 0, False, 1328, 2, 12, 24, 5),
    ("6.1", 2400, 64, HWCACHE | RCU, False, 2432, 3, 13, 24, 5),
    ("6.1", 736, 64, HWCACHE, False, 768, 1, 10, 52, 5),
    ("6.1", 1200, 64, HWCACHE, False, 1216, 2, 13, 24, 5),
    ("6.1", 184, 64, HWCACHE, False, 192, 0, 21, 120, 5),
    ("5.10", 5824, 64, 0, False, 5824, 3, 5, 2, 6),
    ("7.3", 192, 64, HWCACHE, False, 192, 0, 21, 0, 5),
]


@pytest.mark.parametrize("row", SHOWN, ids=lambda row: f"{row[0]}-{row[1]}")
def test_geometry_as_kernels_showed_it(row) -> None:
    assert geometry(*row[:5]) == row[5:]


def test_order_follows_the_number_of_cpus() -> None:
    assert geometry("6.1", 256, 256, cpus=1)[1:3] == (0, 16)
    assert geometry("6.1", 256, 256, cpus=4)[1:3] == (0, 16)
    assert geometry("6.1", 256, 256, cpus=16)[1:3] == (1, 32)


def test_larger_pages_hold_more_objects() -> None:
    assert geometry("6.12", 192, 64, page=16384, arch="arm64")[1:3] == (0, 85)


def test_waste_of_a_half_is_accepted_since_6_7() -> None:
    has_old, has_new = features("6.1"), features("6.12")
    size = 21000  # one in 32 KiB wastes more than a quarter
    assert slub_layout.calculate_order(has_old, size, 4096, 11, 1, 1) == 3
    assert slub_layout.calculate_order(has_new, size, 4096, 11, 1, 1) == 3
    assert slub_layout.calculate_order(has_new, 40000, 4096, 11, 1, 1) == 4
    assert slub_layout.calculate_order(has_new, 40000, 4096, 3, 1, 1) == -1


def test_free_pointer_lies_in_the_middle_or_outside() -> None:
    has = features("6.1")
    assert slub_layout.object_layout(has, 256, 8, 0, False)["offset"] == 128
    assert slub_layout.object_layout(has, 250, 8, 0, False)["offset"] == 120
    outside = slub_layout.object_layout(has, 256, 8, RCU, False)
    assert (outside["offset"], outside["size"]) == (256, 264)
    assert slub_layout.object_layout(has, 100, 8, 0, True)["offset"] == 104
    own = slub_layout.object_layout(features("6.12"), 192, 64, RCU, False, 16)
    assert (own["offset"], own["size"]) == (16, 192)


def test_debug_flags_enlarge_objects() -> None:
    layout = slub_layout.object_layout(features("6.1"), 192, 64, DEBUG, False)
    # object, right red zone, free pointer, two tracks, padding, left red zone
    assert layout["red_left_pad"] == 64
    assert layout["offset"] == 200
    assert layout["size"] == 384
    kmalloc = slub_layout.object_layout(features("6.1"), 8, 8, DEBUG | KMALLOC, False)
    assert kmalloc["size"] == 8 + 8 + 8 + 64 + 4 + 4 + 8 + 8


@pytest.mark.parametrize(("size", "align"), [(8, 8), (32, 32), (33, 64), (64, 64), (200, 64)])
def test_small_objects_share_a_cache_line(size: int, align: int) -> None:
    assert slub_layout.calculate_alignment(features("6.1"), HWCACHE, 0, size) == align


def test_sheaf_capacity_fills_a_kmalloc_size() -> None:
    has = features("7.3")

    def roundup(size: int) -> int:
        return 1 << (size - 1).bit_length()

    capacities = [
        slub_layout.sheaf_capacity(has, size, 4096, 0, 0, roundup)
        for size in (64, 256, 1024, 4096)
    ]
    assert capacities == [60, 28, 12, 4]
    assert slub_layout.sheaf_capacity(has, 64, 4096, DEBUG, 0, roundup) == 0
    assert slub_layout.sheaf_capacity(features("6.18"), 64, 4096, 0, 0, roundup) == 0
    assert slub_layout.sheaf_capacity(features("6.18"), 64, 4096, 0, 32, roundup) == 32
