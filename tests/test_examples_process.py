"""The examples about processes print what docs/process.md says of them."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINES = {
    "alloca_vla": ["array:    1000 turns", "alloca(): SIGSEGV in turn 511"],
    "malloc_calls": ["  brk(0x424000) = 0x424000", "  mremap(", "  munmap(", "heap: "],
    "zero_pages": ["read:    63 faults, 1 page of RAM", "written: 63 faults, 63 pages of RAM"],
    "copy_on_write": ["after fork(): 256 of 256 pages", "the same now: 255", "validate():   []"],
}


@pytest.mark.parametrize("name", LINES)
def test_example(name, capsys):
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main()
    printed = capsys.readouterr().out
    assert all(line in printed for line in LINES[name]), printed
