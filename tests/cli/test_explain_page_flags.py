"""`mmtwin explain page-flags` as it is called."""

import io
import json

import pytest

from mmtwin.cli.main import main

DUMP = """\
CPU: 0 PID: 1 Comm: init Tainted: G    B   W          6.16.0-rc1 #1
page: refcount:0 mapcount:0 mapping:0000000000000000 index:0xffff8882125c5580 pfn:0x2125c0
head: order:3 mapcount:0 entire_mapcount:0 nr_pages_mapped:0 pincount:0
flags: 0x17ffffc0000040(head|node=0|zone=2|lastcpupid=0x1fffff)
page_type: f5(slab)
raw: 0017ffffc0000040 ffff88810221c640 0000000000000000 0000000000000001
page dumped because: kasan: bad access detected
"""


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["explain", "page-flags", *words])
    return status, *capsys.readouterr()


def test_json_of_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "0xfffffc0010200", "--kernel", "6.1.0-rc2", "--json")
    figures = json.loads(out)
    assert status == 0
    assert figures["text"] == "slab|head|node=0|zone=1|lastcpupid=0x1fffff"
    assert figures["fields"]["lastcpupid"] == 0x1FFFFF
    assert figures["config"]["NODES_SHIFT"] == "10"


def test_a_word_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "0x17ffffc0010200", "--kernel", "5.12")
    assert out.startswith("0x17ffffc0010200 in Linux 5.12, x86_64: slab|head\n")
    assert "| NODE 10 | ZONE 3 | LASTCPUPID 21 | unused 3 | FLAGS 27 |" in out
    _, out, _ = call(capsys, "0x17ffffc0010200")
    assert "4.20 to 5.12   slab|head\n" in out


def test_names_make_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "lru|head", "--kernel", "6.8", "--arch", "aarch64")
    assert out.startswith("0x60 in Linux 6.8, arm64: lru|head")


def test_a_dump_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(DUMP))
    status, out, _ = call(capsys, "--json")
    figures = json.loads(out)
    assert status == 0
    assert figures["kernel"] == "6.16.0-rc1"
    assert figures["text"] == "head|node=0|zone=2|lastcpupid=0x1fffff"
    assert figures["dumps"][0]["page_type"] == {"value": "0xf5", "names": ["slab"]}
    assert "printed" not in figures["dumps"][0]


def test_a_dump_of_another_configuration(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("logs") / "oops.txt"
    log.write_text(DUMP.replace("zone=2", "zone=77"))
    _, out, _ = call(capsys, str(log), "--kernel", "6.16")
    assert "printed     head|node=0|zone=77" in out
    assert "page_type   0xf5: slab" in out


def test_kpageflags(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "0x100000400", "--kpageflags", "--kernel", "6.1", "--json")
    assert json.loads(out)["text"] == "KPF_BUDDY|KPF_RESERVED"
    _, out, _ = call(capsys, str(1 << 63 | 1), "--kpageflags")
    assert "KPF_LOCKED|0x8000000000000000" in out


@pytest.mark.parametrize("words", [
    ["lru|hed"], ["0x1ffffffffffffffff"], ["0x100000000", "--arch", "arm"],
    ["0x10", "--arch", "foo"], ["0x10", "--kernel", "4.3"], ["0x10", "--pfn", "x"],
    ["x", "--kpageflags"], ["0x1ffffffffffffffff", "--kpageflags"], ["0", "--set", "NUMA"],
])  # fmt: skip
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    status, out, err = call(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith("mmtwin: error: ")
    assert err.count("\n") <= 2


def test_a_log_without_a_kernel(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(DUMP.replace("CPU", "")[30:]))
    assert "which kernel" in call(capsys, "-")[2]
    monkeypatch.setattr("sys.stdin", io.StringIO("nothing"))
    assert "no page dump" in call(capsys, "-", "--kernel", "6.1")[2]
