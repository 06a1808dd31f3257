"""Every text prints again, byte for byte; damaged ones give one clear error."""

import importlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtwin.procfs.errors import ProcError
from mmtwin.procfs.text import encode

# What real kernels printed in a guest; long texts are trimmed.
FIXTURES = Path(__file__).parent / "fixtures"
KERNELS = sorted(path.name for path in FIXTURES.iterdir())

FILES = (
    "slabinfo", "buddyinfo", "pagetypeinfo", "zoneinfo", "meminfo", "vmstat", "vmallocinfo",
    "sys_kernel_slab",
)  # fmt: skip


def again(file, data):
    """A text parsed and printed."""
    module = importlib.import_module(f"mmtwin.procfs.{file}")
    return encode(getattr(module, f"format_{file}")(module.parse(data)))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("file", FILES)
def test_prints_what_it_parsed(kernel, file):
    data = (FIXTURES / kernel / file).read_bytes()
    assert again(file, data) == data


@pytest.mark.parametrize("file", FILES)
def test_parses_text_as_bytes(file):
    module = importlib.import_module(f"mmtwin.procfs.{file}")
    data = (FIXTURES / KERNELS[0] / file).read_bytes()
    assert module.parse(data.decode()) == module.parse(data)


@st.composite
def damaged(draw):
    """A text with some bytes changed, cut off or put in twice."""
    file = draw(st.sampled_from(FILES))
    data = bytearray((FIXTURES / draw(st.sampled_from(KERNELS)) / file).read_bytes())
    start = draw(st.integers(0, len(data) - 1))
    kind = draw(st.sampled_from(("cut", "change", "drop", "repeat", "insert")))
    if kind == "cut":
        del data[start:]
    elif kind == "change":
        data[start] = draw(st.integers(0, 255))
    elif kind == "drop":
        del data[start : start + draw(st.integers(1, 200))]
    elif kind == "repeat":
        data[start:start] = data[start : start + draw(st.integers(1, 200))]
    else:
        data[start:start] = draw(st.binary(max_size=40))
    return file, bytes(data)


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_damage_gives_a_result_or_one_error(case):
    file, data = case
    try:
        again(file, data)
    except ProcError as error:
        assert str(error).startswith(file)


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        ("slabinfo", b"slabinfo - version: 1.1\n", "slabinfo, line 1: not version 2.1"),
        ("slabinfo", b"", "slabinfo: the text ends where"),
        ("buddyinfo", b"Node 0, zone DMA 1 2\nNode 0, zone DMA32 1\n", "line 2: the zones have"),
        ("buddyinfo", b"Node 0, zone DMA \xff\n", "line 1: '\\udcff' is no number of free blocks"),
        ("buddyinfo", "Node 0, zone DMA \u0661\n", "is no number of free blocks"),
        ("vmstat", b"a 1\na 2\n", "vmstat, line 2: a stands there twice"),
        ("vmstat", b"a -1\n", "line 1: '-1' is no counter"),
        ("vmstat", b"a " + b"9" * 5000 + b"\n", "is no counter"),
        ("meminfo", b"MemTotal: 1 MB\n", "line 1: unknown unit 'MB'"),
        ("zoneinfo", b"Node 0, zone DMA\n  pages free 1\n", "line 2: the text ends where"),
        ("pagetypeinfo", b"Page block order: 9\n", "line 1: the text ends where"),
        ("vmallocinfo", b"0x1-0x2 8 a b c\n", "line 1: unknown words: 'a b c'"),
        ("sys_kernel_slab", b"a order 1\nb order 1\na align 8\n", "line 3: 'a' stands"),
    ],
)
def test_names_the_line(file, data, message):
    with pytest.raises(ProcError) as caught:
        again(file, data)
    assert message in str(caught.value)
