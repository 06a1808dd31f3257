"""Profiles, their limits, zones and boot options."""

import json
from pathlib import Path

import pytest

from mmtwin.versions.kernel_image import image_of
from mmtwin.versions.limits import limits_of, nr_page_orders
from mmtwin.versions.options import overrides, slub_debug_of, slub_debug_options
from mmtwin.versions.profiles import DEFAULT, profile, profile_names
from mmtwin.versions.slab_flags import slab_flag_bits, slab_flag_names

FLAG_BITS = json.loads((Path(__file__).parent / "fixtures" / "slab_flag_bits.json").read_text())


def test_the_default_is_the_decks() -> None:
    assert DEFAULT == "arm64-5.13"
    assert (profile().arch, profile().version, profile().page_size) == ("arm64", "5.13", 4096)


def test_there_is_a_profile_for_each_release_architecture_and_page_size() -> None:
    assert len(profile_names()) == 24
    assert all(profile(name).name == name for name in profile_names())


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no profile 'x86-6\.1'; nearest: x86_64-6\.1"):
        profile("x86-6.1")
    for name in ("", "arm64", "6.1", "arm64-16k-5.9", "-", "x86_64-6.1-6.1"):
        with pytest.raises(ValueError, match="no profile"):
            profile(name)


@pytest.mark.parametrize(
    ("name", "orders", "pageblock", "largest_kmalloc", "smallest"),
    [
        ("x86_64-5.10", 11, 9, 4 << 20, 8),
        ("arm64-5.13", 11, 9, 4 << 20, 128),
        ("arm64-6.1", 11, 9, 4 << 20, 128),
        ("arm64-6.12", 11, 9, 4 << 20, 8),
        ("arm64-16k-6.12", 12, 11, 32 << 20, 8),
        ("arm64-16k-7.3", 12, 11, 32 << 20, 8),
        ("arm64-64k-6.1", 14, 13, 512 << 20, 128),
        ("arm64-64k-6.18", 14, 13, 512 << 20, 8),
    ],
)
def test_limits(
    name: str, orders: int, pageblock: int, largest_kmalloc: int, smallest: int
) -> None:
    limits = profile(name).limits
    assert (limits.nr_orders, limits.pageblock_order) == (orders, pageblock)
    assert 1 << limits.kmalloc_shift_max == largest_kmalloc
    assert limits.kmalloc_min_size == smallest
    assert 1 << limits.kmalloc_shift_high == 2 * profile(name).page_size


def test_max_order_became_inclusive_in_6_4() -> None:
    assert nr_page_orders("6.1", {"CONFIG_ARCH_FORCE_MAX_ORDER": "11"}) == 11
    assert nr_page_orders("6.12", {"CONFIG_ARCH_FORCE_MAX_ORDER": "11"}) == 12
    with pytest.raises(ValueError, match="no x86_64 kernel has pages of 16384 bytes"):
        limits_of("6.1", "x86_64", 16384, {})


def test_migratetypes_and_zones_follow_the_configuration() -> None:
    assert profile("x86_64-6.1").migratetypes[-1] == "Isolate"
    assert profile("x86_64-6.1").migratetypes.index("Isolate") == 4
    assert profile("x86_64-7.3").migratetypes.index("CMA") == 4
    zones = [name for name, _ in profile("arm64-6.1").zones]
    assert zones == ["DMA", "DMA32", "Normal", "Movable"]
    assert profile("arm64-6.12").zones[-1] == ("Device", 5)


def test_switches_may_be_changed() -> None:
    facts = profile("x86_64-6.1").with_config(SLAB_FREELIST_RANDOM=False, NR_CPUS=4)
    assert not facts.on("SLAB_FREELIST_RANDOM")
    assert facts.config["CONFIG_NR_CPUS"] == "4"
    assert facts.features["freelist_random"] == 0
    with pytest.raises(ValueError, match="not a configuration switch: 'cma'"):
        facts.with_config(cma=True)


def test_the_command_line_overrides_features() -> None:
    options = {"slub_debug": "FZPU", "slab_nomerge": "", "init_on_alloc": "0"}
    facts = profile("x86_64-6.1").with_cmdline(**options)
    assert facts.features["slub_debug_flags"] == 0x10D00
    assert facts.features["slab_merge"] == 0
    assert facts.features["init_on_alloc"] == 0
    given = {"slub_max_order": "1", "slub_min_objects": "x"}
    assert overrides(given, "6.1") == {"slub_max_order": 1}
    assert overrides({"quiet": "", "init_on_free": "on"}, "6.1") == {"init_on_free": 1}


@pytest.mark.parametrize(
    ("text", "flags"),
    [("", 0x10D00), ("-", 0), ("F", 0x100), ("FZ,dentry", 0), ("Z;P,kmalloc-64", 0x400),
     ("fz", 0x500)],
)
def test_slub_debug_texts(text: str, flags: int) -> None:
    assert slub_debug_options(text).flags == flags


def test_slub_debug_blocks() -> None:
    options = slub_debug_options("FZ,kmalloc-64,dentry;;P,*;uo;,last")
    assert options.blocks == (
        (0x500, ("kmalloc-64", "dentry")), (0x800, ("*",)), (0x10D00, ("last",)),
    )
    assert (options.flags, options.spares_orders) == (0x10000, True)
    assert slub_debug_of({"quiet": ""}, "6.9") is None
    assert slub_debug_of({"slab_debug": "F-Z"}, "6.9") == slub_debug_options("Z")
    assert slub_debug_of({"slab_debug": "F-Z"}, "6.8") is None
    assert slub_debug_of({"slub_debug": "F-Z"}, "6.8") == slub_debug_options("Z")
    assert overrides({"slab_max_order": "1"}, "6.9") == {"slub_max_order": 1}
    assert overrides({"slab_max_order": "1", "slab_nomerge": ""}, "6.8") == {"slab_merge": 0}


@pytest.mark.parametrize("name", FLAG_BITS)
def test_slab_flags_are_those_of_the_kernels_enum(name: str) -> None:
    facts = profile(name)
    expected = {flag: 1 << bit for flag, bit in FLAG_BITS[name].items()}
    assert slab_flag_bits(facts.version, facts.config) == expected


def test_slab_flags_come_with_their_release() -> None:
    memcg = {"CONFIG_MEMCG": "y"}
    for flag, before, since in (
        ("SLAB_KMALLOC", "6.0", "6.1"), ("SLAB_NO_USER_FLAGS", "5.18", "6.0"),
        ("SLAB_MAY_ACCOUNT", "7.2", "7.3"), ("SLAB_NO_SHEAVES", "7.1", "7.2"),
    ):  # fmt: skip
        assert flag not in slab_flag_bits(before, memcg), flag
        assert flag in slab_flag_bits(since, memcg), flag


def test_literal_slab_flags() -> None:
    # kmalloc-64 and filp of a 6.1 kernel
    assert slab_flag_names(1073745920, "6.1", {}) == ["SLAB_KMALLOC", "SLAB_CMPXCHG_DOUBLE"]
    names = slab_flag_names(1141121024, "5.10", {})
    assert "SLAB_ACCOUNT" in names
    assert "SLAB_HWCACHE_ALIGN" in names


def test_every_profile_has_an_image() -> None:
    for name in profile_names():
        facts = profile(name)
        image = image_of(facts.version, facts.arch, facts.page_size)
        assert 0 < image.init < image.size
