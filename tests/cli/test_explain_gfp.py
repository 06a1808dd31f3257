"""`mmtwin explain gfp` as it is called."""

import json

import pytest

from mmtwin.cli.main import main


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["explain", "gfp", *words])
    return status, *capsys.readouterr()


def test_json_has_the_text_the_kernel_prints(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "0x24080c0", "--kernel", "4.9.24", "--json")
    figures = json.loads(out)
    assert status == 0
    assert figures["text"] == "GFP_KERNEL|__GFP_ZERO"
    assert figures["release"] == "4.9"
    assert figures["may_sleep"] is True


def test_without_a_kernel_every_reading(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "GFP_ATOMIC")
    assert status == 0
    assert "4.4 to 4.9     0x2080020" in out
    assert "6.3 to 7.3     0x820" in out


def test_a_machine_without_the_zone(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "GFP_KERNEL", "--kernel", "5.13", "--profile", "arm64-5.13")
    assert "Normal, DMA32, DMA (in this order, on arm64-5.13)" in out
    _, out, _ = call(capsys, "0x5", "--kernel", "5.13")
    assert "GFP_ZONE_BAD" in out


@pytest.mark.parametrize("words", [
    ["GFP_KERNAL"], ["0xcc0", "--kernel", "3.10.0-1160.el7.x86_64"], ["0x1ffffffff"],
    ["0xcc0", "--profile", "nope"], ["0xcc0", "--set", "LOCKDEP"], [""],
])  # fmt: skip
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    status, out, err = call(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith("mmtwin: error: ")
    assert err.count("\n") <= 2
