"""Prefetch operations: the five bits, by the architecture's table."""

import pytest

from mmtwin.cli.main import main
from mmtwin.explain.prfm import explain_prfm


@pytest.mark.parametrize(
    ("operation", "number"),
    [
        ("pldl1keep", 0b00000), ("pldl1strm", 0b00001), ("pldl2keep", 0b00010),
        ("pldl3strm", 0b00101), ("plil1keep", 0b01000), ("plil3keep", 0b01100),
        ("pstl1keep", 0b10000), ("PSTL2STRM", 0b10011), ("pldslckeep", 0b00110),
    ],
)  # fmt: skip
def test_numbers(operation: str, number: int) -> None:
    assert explain_prfm(operation)["number"] == number


def test_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "prfm"]) == 0
    out = capsys.readouterr().out
    assert "prefetch for load" in out
    assert '"p"' in out
    assert main(["explain", "prfm", "pldl4keep"]) == 2
    assert "no prefetch operation 'pldl4keep'" in capsys.readouterr().err
