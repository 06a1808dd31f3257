"""Symbols: functions by address and by what their names are like."""

from mmtwin.recordings.symbols import parse_kallsyms

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
