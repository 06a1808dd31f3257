"""mmtwin import: what a text does not say of its machine is told."""

import json

import pytest

from mmtwin.cli.main import main

EVENTS = "".join(
    f"     a-1   [000] ..... {n}.000000: kmalloc: call_site=do_it+0x10/0x20 "
    f"ptr=0xffff8880010{n:02}000 bytes_req=100 bytes_alloc=128 gfp_flags=GFP_KERNEL node=-1 "
    "accounted=false\n"
    for n in range(10, 40)
)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "trace.txt"
    path.write_text("# tracer: nop\n#\n" + EVENTS)
    return path


def test_a_text_with_its_kernel_can_be_asked_what_if(text, tmp_path, capsys):
    target = str(tmp_path / "mine")
    told = ["--kernel", "6.12.107", "--memory", "256M"]
    assert main(["import", str(text), target, *told]) == 0
    capsys.readouterr()
    assert main(["info", target]) == 0
    assert "6.12.107 x86_64, 1 CPU, 4 KiB pages, 256 MiB" in capsys.readouterr().out
    assert main(["what-if", target, "--json"]) == 0
    recorded, _ = json.loads(capsys.readouterr().out)["machines"]
    rows = {row["name"]: row["objects"] for row in recorded["caches"]}
    assert recorded["profile"] == "x86_64-6.12" and rows["kmalloc-128"] == 30


def test_what_cannot_be_done_with_a_text_says_what_can(text, tmp_path, capsys):
    assert main(["replay", str(text)]) != 0
    assert "mmtwin import --kernel" in capsys.readouterr().err
    target = str(tmp_path / "mine")
    assert main(["import", str(text), target, "--kernel", "6.12"]) == 0
    assert main(["replay", target]) != 0
    assert "mmtwin what-if" in capsys.readouterr().err
    assert main(["info", str(text)]) == 0
    assert "an unknown kernel x86_64, 1 CPU, 4 KiB pages\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (["--kernel", "nonsense"], "not a kernel release"), (["--memory", "3"], "64 MiB"),
    ],
)  # fmt: skip
def test_what_is_told_wrongly_is_said(text, tmp_path, capsys, told, said):
    target = tmp_path / "mine"
    assert main(["import", str(text), str(target), *told]) != 0
    assert said in capsys.readouterr().err and not target.exists()


def test_a_trace_of_another_release(text, tmp_path, capsys):
    text.write_text(text.read_text().replace("GFP_KERNEL", "GFP_KERNEL|__GFP_ATOMIC"))
    assert main(["import", str(text), str(tmp_path / "mine"), "--kernel", "6.12"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert "6.12 has no gfp flag '__GFP_ATOMIC'" in told[-2]
    assert "a trace of another release?" in told[-1]


def test_what_a_recording_says_itself_is_not_told(tmp_path, capsys):
    assert main(["import", "x86_64-6.1", str(tmp_path / "mine"), "--kernel", "6.12"]) != 0
    assert "says itself that it is 6.1.0-50-amd64" in capsys.readouterr().err
