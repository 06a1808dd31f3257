"""Where KASAN's shadow lies, and what CONFIG_KASAN brings along."""

import pytest

from mmtwin.versions.kasan import kernel_start, shadow_offset, task_size, vmemmap_of
from mmtwin.versions.profiles import profile


@pytest.mark.parametrize(
    ("version", "arch", "bits", "offset"),
    [
        ("6.1", "x86_64", 48, 0xDFFFFC0000000000),
        ("5.10", "arm64", 48, 0xDFFFA00000000000),
        ("5.13", "arm64", 48, 0xDFFF800000000000),
        ("6.1", "arm64", 47, 0xDFFFC00000000000),
    ],
)
def test_shadow_offset_is_that_of_kconfig(
    version: str, arch: str, bits: int, offset: int
) -> None:
    assert shadow_offset(version, arch, bits) == offset


def test_the_first_address_with_a_shadow() -> None:
    assert kernel_start("x86_64", 48, 0xFFFF888000000000) == 0xFFFF800000000000
    assert kernel_start("x86_64", 48, 0xFF11000000000000) == 0xFF00000000000000
    assert kernel_start("arm64", 48, 0) == 0xFFFF000000000000
    assert task_size("x86_64", 48) == 0x7FFFFFFFF000
    assert vmemmap_of("x86_64", 48) == 0xFFFFEA0000000000


def test_kasan_brings_its_parts_and_what_is_given_stays() -> None:
    facts = profile("x86_64-6.1").with_config(KASAN=True)
    assert all(facts.on(f"KASAN_{part}") for part in ("GENERIC", "STACK", "VMALLOC"))
    assert facts.features["kasan"] and facts.features["kasan_vmalloc"]
    assert facts.features["vmap_stack"] and facts.features["thread_size"] == 32768
    without = profile("x86_64-6.1").with_config(KASAN=True, KASAN_VMALLOC=False)
    assert not without.features["kasan_vmalloc"] and not without.features["vmap_stack"]
    assert not profile("x86_64-6.1").with_config(KASAN=True, KASAN_STACK=False).features[
        "kasan_stack"]
    assert not profile("x86_64-6.1").features["kasan"]


def test_arm64_had_no_shadow_of_the_vmalloc_area_at_first() -> None:
    for name, there in (("arm64-5.10", 0), ("arm64-5.13", 1), ("arm64-6.1", 1)):
        facts = profile(name).with_config(KASAN=True)
        assert facts.features["kasan_vmalloc"] == there
        assert facts.features["vmap_stack"] == there


def test_tags_are_another_kasan() -> None:
    facts = profile("arm64-6.1").with_config(KASAN_HW_TAGS=True, KASAN=True)
    assert not facts.features["kasan"] and not facts.on("KASAN_GENERIC")


def test_sixteen_kib_pages_leave_no_room_with_48_bits() -> None:
    with pytest.raises(ValueError, match="no KASAN"):
        profile("arm64-16k-6.1").with_config(KASAN=True)
    assert profile("arm64-16k-6.12").with_config(KASAN=True).features["kasan"]
