"""Symbols: functions by address and by what their names are like."""

import pytest

from mmtwin.recordings.symbols import TextSymbols, parse_any, parse_kallsyms, parse_regular

LINES = """\
ffffffff81000000 T _text
ffffffff81000040 t mas_destroy.isra.0
ffffffff81000080 t mas_destroyed
ffffffff810000c0 T __get_vm_area_node
ffffffff81000100 t mas_destroy
ffffffff81000140 d mas_destroy
ffffffff81000180 T kfree\t[some_module]
"""


def test_functions_by_name_with_the_compilers_variants() -> None:
    symbols = parse_kallsyms(LINES, "kallsyms")
    base = 0xFFFFFFFF81000000
    assert list(symbols.functions("mas_destroy|kfree")) == [
        (base + 0x40, base + 0x80, "mas_destroy"),
        (base + 0x100, base + 0x180, "mas_destroy"),
        (base + 0x180, 1 << 64, "kfree"),
    ]
    assert list(symbols.functions("get_vm_area_node")) == []
    assert symbols.find(base + 0x5C) == ("mas_destroy.isra.0", 0x1C)


def test_names_cut_out_of_the_text_are_those_of_the_lines() -> None:
    regular, any_form = parse_regular(LINES), parse_any(LINES, "kallsyms")
    assert isinstance(regular, TextSymbols)
    assert len(regular) == len(any_form)
    for field in ("addresses", "names", "ends"):
        assert getattr(regular, field) == getattr(any_form, field)
    for address in (0, 1, *(start + by for start in any_form.addresses for by in (-1, 0, 9)),
                    (1 << 64) - 1):  # fmt: skip
        assert regular.find(address) == any_form.find(address)
    for pattern in ("mas_destroy|kfree", "mas_.*", "_text"):
        assert list(regular.functions(pattern)) == list(any_form.functions(pattern))


@pytest.mark.parametrize(
    "line", ["ffffffff81000200 T two words", "ffffffff81000200  T x", "ffff T x", "ffffffff81 T"]
)
def test_lines_of_another_form_are_left_to_parse_any(line: str) -> None:
    assert parse_regular(LINES + line) is None
