"""GFP masks against what kernels printed, and what a mask lets a kernel do."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtwin.explain.gfp import (
    UnknownFlag,
    all_names,
    effects,
    kernel_of,
    mask_of,
    parse_mask,
    printed,
    reading,
    readings,
    readings_of_names,
    zones,
)
from mmtwin.versions.profiles import profile
from mmtwin.versions.uname import UnknownKernel, releases

# Lines of public reports: the mask and the names that the kernel itself printed beside it.
LINES = [json.loads(line) for line in
         (Path(__file__).parent / "fixtures" / "gfp.jsonl").read_text().splitlines()]  # fmt: skip
# Masks of other reports, with the release.
OTHERS = (Path(__file__).parent / "fixtures" / "masks.txt").read_text().splitlines()
KERNEL = {"4.1": 0xD0, "4.4": 0x24000C0, "4.9": 0x24000C0, "4.10": 0x14000C0, "4.17": 0x14000C0,
          "4.18": 0x6000C0, "5.0": 0x6000C0, "5.2": 0xCC0, "7.3": 0xCC0}  # fmt: skip


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line['kernel']}-{line['raw']}")
def test_a_mask_reads_as_the_kernel_printed_it(line: dict[str, Any]) -> None:
    assert reading(int(line["raw"], 16), kernel_of(line["kernel"]), {}).text == line["decoded"]


@pytest.mark.parametrize("line", OTHERS)
def test_masks_of_other_reports(line: str) -> None:
    kernel, raw, text = line.split()
    assert reading(int(raw, 16), kernel_of(kernel), {}).text == text


def test_gfp_kernel_moved_often() -> None:
    for release, mask in KERNEL.items():
        assert mask_of(["GFP_KERNEL"], release, {}) == mask
        assert printed(mask, release, {}) == "GFP_KERNEL"


@given(st.sampled_from(releases((4, 1))), st.integers(0, (1 << 32) - 1))
def test_names_make_the_mask_again(release: str, value: int) -> None:
    off = {"CONFIG_KASAN_HW_TAGS": "n"}
    text = printed(value, release, off)
    names = parse_mask(text) if text else []
    names = [hex(names)] if isinstance(names, int) else names
    assert mask_of(names, release, off) == value


@given(st.text(max_size=12))
def test_any_text_is_a_mask_or_one_error(text: str) -> None:
    try:
        mask = parse_mask(text)
    except UnknownFlag:
        return
    assert isinstance(mask, int) or all(name for name in mask)


def test_readings_are_runs_of_releases() -> None:
    spans = [(first, last, each.text) for first, last, each in readings(0xCC0, {})]
    assert spans[-1] == ("5.1", "7.3", "GFP_KERNEL")
    assert len(spans) == 3
    masks = [(first, last, each.value) for first, last, each in readings_of_names(
        ["GFP_ATOMIC"], {})]  # fmt: skip
    assert masks[0] == ("4.1", "4.3", 0x20)
    assert masks[-2:] == [("5.1", "6.2", 0xA20), ("6.3", "7.3", 0x820)]


def test_names_of_switches_come_with_their_switch() -> None:
    assert printed(1 << 24, "6.18", {}) == "__GFP_NOLOCKDEP"
    assert printed(1 << 24, "6.12", {}) == "0x1000000"  # not in that release's table
    assert printed(1 << 24, "6.18", {"CONFIG_LOCKDEP": "n"}) == "__GFP_NO_OBJ_EXT"
    movable = mask_of(["GFP_HIGHUSER_MOVABLE"], "6.18", {"CONFIG_KASAN_HW_TAGS": "y"})
    assert movable == 0x2100CCA
    assert printed(movable, "6.18", {}) == "GFP_HIGHUSER_MOVABLE"
    assert printed(0x1100CCA, "5.15", {}) == "GFP_HIGHUSER_MOVABLE"
    assert printed(0, "6.1", {}) == ""


@pytest.mark.parametrize(("kernel", "mask", "text"), [
    ("5.14.0-70.el9.x86_64", 0xA20, "GFP_ATOMIC"),
    ("5.14.0-503.11.1.el9_5.x86_64", 0x820, "GFP_ATOMIC"),
    ("5.14.0-362.el9.x86_64", 0x140DCA, "GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO"),
    ("5.1.0-rc1", 0x6200CA, "GFP_HIGHUSER_MOVABLE"),
    ("6.14.0-09999-gabcdef012345", 0xDC0, "GFP_KERNEL|__GFP_ZERO"),
    ("5.15.0-rc1-syzkaller", 0x13D20CA, "GFP_TRANSHUGE_LIGHT|__GFP_NORETRY|__GFP_THISNODE"),
])  # fmt: skip
def test_kernels_that_carry_another_releases_flags(kernel: str, mask: int, text: str) -> None:
    assert reading(mask, kernel_of(kernel), {}).text == text


@pytest.mark.parametrize(("mask", "release", "sleeps", "io", "fs", "watermark"), [
    ("GFP_KERNEL", "6.1", True, True, True, "low at first, then min"),
    ("GFP_NOFS", "6.1", True, True, False, "low at first, then min"),
    ("GFP_NOIO", "4.3", True, False, False, "low at first, then min"),
    ("GFP_ATOMIC", "5.13", False, False, False, "3/8 of min (ALLOC_HIGH and ALLOC_HARDER)"),
    ("GFP_ATOMIC", "6.12", False, False, False, "3/8 of min (ALLOC_MIN_RESERVE"),
    ("GFP_NOWAIT", "6.12", False, False, False, "low at first, then min"),
    ("GFP_KERNEL|__GFP_HIGH", "6.12", True, True, True, "1/2 of min"),
    ("GFP_NOIO|__GFP_MEMALLOC", "6.1", True, False, False, "none: all of the reserves"),
])  # fmt: skip
def test_what_a_mask_lets_a_kernel_do(
    mask: str, release: str, sleeps: bool, io: bool, fs: bool, watermark: str
) -> None:
    found = effects(mask_of(mask.split("|"), release, {}), release, {})
    assert (found["may_sleep"], found["io"], found["fs"]) == (sleeps, io, fs)
    assert watermark in found["watermark"]


@pytest.mark.parametrize(("mask", "machine", "order"), [
    ("GFP_KERNEL", "x86_64-6.1", ["Normal", "DMA32", "DMA"]),
    ("GFP_HIGHUSER_MOVABLE", "x86_64-6.1", ["Movable", "Normal", "DMA32", "DMA"]),
    ("GFP_HIGHUSER", "arm64-5.13", ["Normal", "DMA32", "DMA"]),
    ("GFP_KERNEL|__GFP_DMA32", "x86_64-6.1", ["DMA32", "DMA"]),
    ("GFP_KERNEL|__GFP_DMA", "arm64-5.13", ["DMA"]),
])  # fmt: skip
def test_zones_in_their_fallback_order(mask: str, machine: str, order: list[str]) -> None:
    facts = profile(machine)
    value = mask_of(mask.split("|"), facts.version, {})
    assert zones(value, facts.version, facts.config) == order


def test_bad_input_names_the_nearest() -> None:
    with pytest.raises(UnknownFlag, match="nearest: GFP_KERNEL"):
        parse_mask("GFP_KERNAL")
    with pytest.raises(UnknownFlag, match="at most 32 bits"):
        parse_mask("0x100000000")
    with pytest.raises(UnknownFlag, match=r"5\.13 has no __GFP_WAIT \(before 4\.1 to 4\.3\)"):
        mask_of(["__GFP_WAIT"], "5.13", {})
    with pytest.raises(UnknownKernel, match=r"4\.1 to 7\.3 is 4\.1"):
        kernel_of("3.10.0-1160.el7.x86_64")
    with pytest.raises(UnknownKernel, match=r"5\.19 or 6\.0"):
        kernel_of("5.20")
    with pytest.raises(UnknownKernel, match="is no kernel release"):
        kernel_of("latest")
    with pytest.raises(UnknownFlag, match="no release has all"):
        readings_of_names(["__GFP_WAIT", "__GFP_ZEROTAGS"], {})
    facts = profile("x86_64-6.1")
    with pytest.raises(UnknownFlag, match="one zone modifier"):
        zones(5, facts.version, facts.config)
    assert "__GFP_WAIT" in all_names()
