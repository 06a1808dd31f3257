"""Words and dumps of pages against what kernels printed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtwin.explain.page_dump import read_dumps
from mmtwin.explain.page_flags import Evidence, read_dump, read_page_flags, readings
from mmtwin.versions.uname import kernel_name, releases

# Page dumps of public reports, with what the kernel itself printed in the brackets.
FIXTURE = Path(__file__).parent / "fixtures" / "pageflags.jsonl"
LINES = [json.loads(line) for line in FIXTURE.read_text().splitlines()]
# Words that two usual configurations read differently, the pfn notwithstanding (and 0x10200 of
# an arm64 kernel with a node of no bits set).
AMBIGUOUS = {"0x4000000000000040", "0x4000000000000000"}


def wanted(line: dict[str, Any]) -> str:
    return "|".join(part for part in (line["decoded"], line["extra"]) if part)


def by_name(line: dict[str, Any]) -> str:
    return f"{line['kernel']}-{line['raw']}"


def arch_of(line: dict[str, Any]) -> str:
    return line["arch"] or ("arm" if len(line["raw"]) <= 10 else "x86_64")


@pytest.mark.parametrize("line", LINES, ids=by_name)
def test_a_dump_reads_as_the_kernel_printed_it(line: dict[str, Any]) -> None:
    dumps, _ = read_dumps("\n".join(line["dump"]))
    evidence = Evidence(dumps[0].pfn, dumps[0].printed)
    found = read_dump(dumps[0].flags or 0, kernel_name(line["kernel"]), line["arch"],
                      dumps[0].word_bits, {}, evidence)  # fmt: skip
    assert found.text == dumps[0].printed == wanted(line)


@pytest.mark.parametrize("line", LINES, ids=by_name)
def test_a_bare_word_has_the_flags_that_the_kernel_printed(line: dict[str, Any]) -> None:
    found = read_page_flags(
        int(line["raw"], 16), kernel_name(line["kernel"]), arch_of(line), {}, Evidence()
    )
    assert "|".join(found.names) == line["decoded"]


@pytest.mark.parametrize(
    "line",
    [line for line in LINES if line["raw"] not in AMBIGUOUS and line["kernel"] != "5.18.0-rc5"],
    ids=by_name,
)
def test_a_word_and_its_pfn_have_the_fields(line: dict[str, Any]) -> None:
    pfn = int(line["pfn"], 16) if line["pfn"] else None
    found = read_page_flags(
        int(line["raw"], 16), kernel_name(line["kernel"]), arch_of(line), {}, Evidence(pfn)
    )
    assert found.text == wanted(line)


# Words of other reports, with the release, the architecture and the pfn where it is known.
OTHERS = (FIXTURE.parent / "words.txt").read_text()


@pytest.mark.parametrize("line", OTHERS.splitlines())
def test_words_of_other_reports(line: str) -> None:
    kernel, arch, raw, pfn, text = line.split()
    evidence = Evidence(None if pfn == "-" else int(pfn, 16))
    found = read_page_flags(int(raw, 16), kernel_name(kernel), arch, {}, evidence)
    assert found.text == ("" if text == "-" else text)


def test_tagged_pointers_tell_of_kasan_tags() -> None:
    # arm64 with hardware tags: the word has a tag of 0, the pointers below it have others
    dumps, _ = read_dumps(
        "page:00000000 refcount:1 mapcount:0 mapping:0000000000000000 index:0x0 pfn:0x42c00\n"
        "raw: 01ffc00000010200 0000000000000000 dead000000000122 fdff000002c01600\n"
    )
    assert dumps[0].tagged
    found = read_dump(dumps[0].flags or 0, kernel_name("6.0"), None, 64, {},
                      Evidence(dumps[0].pfn, None, dumps[0].tagged))  # fmt: skip
    assert found.text == "slab|head|node=0|zone=0|lastcpupid=0x7ff|kasantag=0x0"
    assert found.arch == "arm64"


def test_what_is_said_of_the_configuration_holds() -> None:
    said = {"CONFIG_NODES_SHIFT": "6", "CONFIG_ZONE_DMA": "y", "CONFIG_ZONE_DMA32": "y",
            "CONFIG_ZONE_DEVICE": "n", "CONFIG_NUMA_BALANCING": "n"}  # fmt: skip
    found = read_page_flags(0x100000000000040, kernel_name("6.17"), "x86_64", said, Evidence())
    assert found.text == "head|node=0|zone=1"
    said["CONFIG_ZONE_DEVICE"] = "y"
    found = read_page_flags(0x100000000000040, kernel_name("6.17"), "x86_64", said, Evidence())
    assert found.text == "head|node=0|zone=2"


@settings(deadline=None)
@given(st.sampled_from(releases()), st.integers(0, (1 << 64) - 1))
def test_any_word_has_a_reading(release: str, value: int) -> None:
    found = read_page_flags(value, kernel_name(release), "x86_64", {}, Evidence())
    rebuilt = sum(number << first for (_, first, _), number in
                  zip(found.layout.fields, found.layout.numbers(value).values(), strict=True))
    rebuilt |= value & (1 << len(found.layout.flags)) - 1
    assert value & ~rebuilt & ~((1 << found.layout.lowest) - 1) == 0


def test_words_wider_than_the_machine() -> None:
    with pytest.raises(ValueError, match="wider than arm's 32-bit"):
        read_page_flags(1 << 32, kernel_name("6.1"), "arm", {}, Evidence())
    with pytest.raises(ValueError, match="wider than x86_64's 64-bit"):
        readings(1 << 64, "x86_64", {}, Evidence())


def test_runs_of_releases() -> None:
    spans = [(first, last, each.text) for first, last, each in
             readings(0x17FFFFC0010200, "x86_64", {}, Evidence())]  # fmt: skip
    assert ("4.20", "5.12", "slab|head") in spans
    assert ("5.13", "6.5", "slab|head|node=0|zone=2|lastcpupid=0x1fffff") in spans


LOG = """\
[   95.1] BUG: KASAN: use-after-free in foo
[   95.2] CPU: 1 PID: 5 Comm: syz Not tainted 5.18.0-rc4-syzkaller #0
[   95.3] page:ffffea0000977fc0 refcount:1 mapcount:0 mapping:0000000000000000 index:0 pfn:0x25dff
[   95.4] head:ffffea0000977fc0 order:3 compound_mapcount:0 compound_pincount:0
[   95.5] anon flags: 0xfff00000010200(slab|head|node=0|zone=1|lastcpupid=0x7ff) CMA
[   95.6] raw: 00fff00000010200 0000000000000000 dead000000000001 ffff888011842a00
[   95.7] page dumped because: kasan: bad access detected
[   95.8] page: refcount:2 mapcount:-1 mapping:(null) index:0x7 pfn:0x9
[   95.9] page_type: 0xffffff7f(buddy)
[   96.0] raw: 00fff00000000000 ffffea0000977f88 ffffea0000978008 0000000000000000
"""


def test_a_whole_log() -> None:
    dumps, kernel = read_dumps(LOG)
    assert kernel == "5.18.0-rc4-syzkaller"
    first, second = dumps
    assert (first.flags, first.kind, first.order, first.pfn) == (
        0xFFF00000010200, "anon", 3, 0x25DFF)  # fmt: skip
    assert first.items["pageblock"] == "CMA"
    assert first.reason == "kasan: bad access detected"
    assert (second.flags, second.printed, second.page_type) == (0xFFF00000000000, None, 0xFFFFFF7F)
    assert second.word_bits == 64


@given(st.text(alphabet="page:rfcount flx0123(|)-\n", max_size=200))
def test_any_text_gives_dumps_or_one_error(text: str) -> None:
    try:
        dumps, _ = read_dumps(text)
    except ValueError as error:
        assert "no page dump" in str(error)
    else:
        assert all(dump.flags is not None for dump in dumps)


def test_a_log_whose_brackets_are_lost() -> None:
    lines = [re.sub(r"\(.*\)", "", line) for line in LOG.splitlines()]
    dumps, _ = read_dumps("\n".join(lines))
    assert dumps[0].flags == 0xFFF00000010200  # the first raw word


@pytest.mark.parametrize("line", OTHERS.splitlines())
def test_what_the_brackets_say_decides(line: str) -> None:
    kernel, arch, raw, _, text = line.split()
    printed = "" if text == "-" else text
    found = read_dump(int(raw, 16), kernel_name(kernel), arch, None, {}, Evidence(None, printed))
    assert (found.text, found.arch) == (printed, arch)


def test_kernels_that_print_fields_before_5_13() -> None:
    word = 0x17FFFFC0010200
    fields = "slab|head|node=0|zone=2|lastcpupid=0x1fffff"
    for kernel in ("5.12.0-syzkaller", "5.10.0-60.18.0.50.h602.kasan.eulerosv2r11.x86_64"):
        assert read_page_flags(word, kernel_name(kernel), "x86_64", {}, Evidence()).text == fields
    for kernel in ("5.12.0", "5.10.0-32-amd64"):
        found = read_page_flags(word, kernel_name(kernel), "x86_64", {}, Evidence())
        assert found.text == "slab|head"
        found = read_dump(word, kernel_name(kernel), None, 64, {}, Evidence(None, fields))
        assert found.text == fields  # as it was printed


def test_a_line_that_a_mailer_broke() -> None:
    dumps, _ = read_dumps("> page:00 refcount:1 mapcount:0\n> flags: 0x17ffffc0010200(slab|\n"
                          "> head|node=0|zone=2|lastcpupid=0x1fffff)\n")  # fmt: skip
    assert dumps[0].printed == "slab|head|node=0|zone=2|lastcpupid=0x1fffff"
    dumps, _ = read_dumps("page:00 refcount:1 mapcount:0\nflags: 0x17ffffc0010200\n")
    assert (dumps[0].flags, dumps[0].printed) == (0x17FFFFC0010200, None)
