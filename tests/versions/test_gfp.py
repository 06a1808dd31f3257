"""GFP tables against what kernels print, and against each other."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtwin.kernel.constants import load_constants
from mmtwin.versions.gfp import (
    decode_gfp,
    encode_gfp,
    from_twin_gfp,
    gfp_bits,
    gfp_masks,
    gfp_names,
    to_twin_gfp,
    translate_gfp,
)
from mmtwin.versions.profiles import profile
from mmtwin.versions.releases import RELEASES

# `print fmt` of events/kmem/mm_page_alloc/format of Debian kernels: "mask name", in order.
NAMES = json.loads((Path(__file__).parent / "fixtures" / "gfp_names.json").read_text())
TWIN = {name: value for name, value in load_constants("constants.pxd").items() if "__GFP" in name}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_print_fmt_in_its_order(name: str) -> None:
    facts = profile(name)
    mine = [f"{mask:#x} {text}" for mask, text in gfp_names(facts.version, facts.config)]
    assert mine == NAMES[name]


@pytest.mark.parametrize("release", RELEASES)
def test_single_flags_have_one_bit_each(release: str) -> None:
    masks = list(gfp_bits(release).values())
    assert all(mask.bit_count() == 1 for mask in masks)
    assert len(set(masks)) == len(masks)


@pytest.mark.parametrize("release", RELEASES)
def test_twin_bits_are_those_of_the_constants(release: str) -> None:
    table = to_twin_gfp(release)
    for name, mask in gfp_bits(release).items():
        assert translate_gfp(mask, table) == TWIN[name]


@given(st.sampled_from(RELEASES), st.integers(0, (1 << 32) - 1))
def test_text_and_number_are_the_same(release: str, value: int) -> None:
    assert encode_gfp(decode_gfp(value, release), release) == value


@given(st.sampled_from(RELEASES), st.integers(0, (1 << 32) - 1))
def test_translation_loses_only_bits_the_kernel_does_not_use(release: str, value: int) -> None:
    used = sum(gfp_bits(release).values())
    twin = translate_gfp(value, to_twin_gfp(release))
    assert translate_gfp(twin, from_twin_gfp(release)) == value & used


def test_decode_takes_the_largest_mask_first() -> None:
    assert decode_gfp(0xCC0, "6.1") == "GFP_KERNEL"
    assert decode_gfp(0xDC0, "6.1") == "GFP_KERNEL|__GFP_ZERO"
    assert decode_gfp(0x140CCA, "6.1") == "GFP_HIGHUSER_MOVABLE|__GFP_COMP"
    assert decode_gfp(0, "6.1") == "none"


def test_atomic_flag_ends_with_6_3() -> None:
    assert gfp_masks("5.10")["GFP_ATOMIC"] == 0xA20
    assert gfp_masks("6.12")["GFP_ATOMIC"] == 0x820
    assert "__GFP_ATOMIC" not in gfp_bits("6.12")


def test_enumerated_bits_follow_the_configuration() -> None:
    assert gfp_bits("6.12", {})["__GFP_ZEROTAGS"] == 1 << 23
    on = {"CONFIG_LOCKDEP": "y", "CONFIG_SLAB_OBJ_EXT": "y"}
    assert gfp_bits("6.12", on)["__GFP_NOLOCKDEP"] == 1 << 24
    assert gfp_bits("6.12", on)["__GFP_NO_OBJ_EXT"] == 1 << 25


def test_unknown_name_is_one_clear_error() -> None:
    with pytest.raises(ValueError, match=r"6\.12 has no gfp flag '__GFP_ATOMIC'"):
        encode_gfp("GFP_KERNEL|__GFP_ATOMIC", "6.12")
