"""Bad input of every command: one clear line, what is valid near it, exit status 2."""

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from mmtwin.cli.draw import THINGS as DRAWN
from mmtwin.cli.explain import THINGS as EXPLAINED
from mmtwin.cli.main import COMMANDS, main

RECORDING = "x86_64-6.1"  # the one that comes with mmtwin
LONGEST = 260
TAKING_A_FILE = (
    ["replay", "FILE"], ["what-if", "FILE"], ["info", "FILE"], ["import", "FILE", "out"],
    ["at", "FILE", "1"], ["maps", "FILE"], ["explain", "kmalloc", "100", "--state", "FILE@end"],
    ["explain", "page", "FILE", "0x3000"], ["explain", "struct", "page", "--btf", "FILE"],
    ["explain", "page-flags", "FILE", "--kernel", "6.1"], ["explain", "prefetch", "FILE"],
    ["draw", "memory", "FILE"], ["draw", "process", "FILE"], ["replay", "--policy", "FILE"],
    ["what-if", "--against", "FILE"], ["boot", "x86_64-6.1", "FILE"],
    ["maps", RECORDING, "--files", "FILE"],
)  # fmt: skip
# what is typed -> what the answer names
CASES = {
    "explain cache 100 --align 0": "nearest is 1",
    "explain cache 100 --align 24": "nearest is 16",
    "explain cache 100 --align 99999999999": "nearest is 4194304",
    "draw slab kmalloc-128 --align 3": "nearest is",
    "draw page-flags -o no-such-picture": "the name ends with .svg",
    "draw slab 64 -o no-such-picture": "the name ends with .svg",
    "draw kmalloc 100 -o no-such-picture": "the name ends with .svg",
    "draw memory -o no-such-picture": "the name ends with .svg",
    "draw process --profile arm64-5.13 -o no-such-picture": "the name ends with .svg",
    "explain cache 100 --cpus 999999": "1 to 8192",
    "explain cache ²": "no cache '²'",
    "explain cache 100 --allocator slab --slab-max-order 11": "0 to 10",
    "explain cache 100 --append slub_debgu=F": "nearest: slub_debug",
    "explain kmalloc 100 --append slub_min_order=99": "0 to 10",
    "explain kmalloc 100 --append slub_min_order=x": "takes a number",
    "explain kmalloc 100 --append init_on_alloc=maybe": "0 or 1",
    "boot x86_64-6.1 --append init-on-aloc=1 -c 1": "nearest: init_on_alloc",
    "explain kmalloc 100 --cpu 999999": "CPUs 0 to 511",
    "explain kmalloc 100 --cpu -1": "CPUs 0 to 511",
    f"explain kmalloc 100 --state {RECORDING}@end --cpu 7": "CPUs 0 to 0",
    "explain kmalloc 100 --state warmer": "nearest: warm",
    f"explain kmalloc 100 --state {RECORDING}@0.1": "'#101335' is the first instant",
    "explain page-flags 0x1234567890123456789": "at most 0xffffffffffffffff",
    "explain page-flags 0x123456789abcdef --arch arm": "--arch x86_64",
    "explain page-flags --kpageflags 0x1234567890123456789": "at most 0xffffffffffffffff",
    "explain page-flags 0x200 --pfn 99999999999999999999": "52 bits",
    "explain page-flags 0x200 --set nodes_shift=3": "in capitals",
    "explain page-flags 0x200 --set NODES_SHIFTS=3": "nearest: NODES_SHIFT",
    "explain kmalloc 100 --set SLUB_CPU_PARTIALS=n": "nearest: SLUB_CPU_PARTIAL",
    "draw page-flags --set NODES_SHIFT=²": "from 0 to 10",
    f"at {RECORDING} 99999": "last instant is 'end'",
    f"at {RECORDING} #99999999": "the last is #244703",
    f"at {RECORDING} 0.1": "--from empty",
    f"maps {RECORDING} 99999": "docs/recording-format.md",
    "what-if --set slub_min_orde=1": "nearest: slub_min_order",
    "what-if --set slub_min_order=99": "0 to 10",
    "what-if --set 6.9=1": "what-if --help",
    "explain cache kmalloc-64 --profile x86_64-6.1@end": "--profile x86_64-6.1 is the nearest",
    "explain kmalloc 100 --profile x86_64-6.1@SNAP": "a recording is no profile",
    "draw slab kmalloc-64 --profile x86_64-6.1@end": "a recording is no profile",
    "explain cache kmalloc-64 --profile x86_64-6.2": "nearest: x86_64-6.12, x86_64-6.1",
    "explain cache kmalloc-64 --profile arm-6.1": "nearest: arm64-6.1",
    "explain cache kmaloc-256": "nearest: kmalloc-256",
    "explain cache kmalloc-64 --flags HWCACHE_ALGIN": "nearest: SLAB_HWCACHE_ALIGN",
    "explain cache 99999999999": "fit into no block",
    "explain cache kmalloc-64 --allocator slob": "'slub', 'slab', 'slab-bufctl'",
    "explain cache 100 --cpus 0": "1 to 8192",
    "explain gfp GFP_KERNAL": "nearest: GFP_KERNEL",
    "explain gfp GFP_KERNEL|__GFP_ZER0 --kernel 6.1": "nearest: __GFP_ZERO",
    "explain gfp 0x1ffffffffffffffff": "at most 32 bits",
    "explain gfp 0xcg0": "one is GFP_KERNEL, 0xcc0",
    "explain gfp 0xcc0 --kernel 3.99": "the nearest of 4.1 to 7.3 is 4.1",
    "explain gfp 0xcc0 --kernel 99.1": "the nearest of 4.1 to 7.3 is 7.3",
    "explain gfp 0xcc0 --kernel foo": "such are 6.1, 5.15.0-1034-aws",
    "explain gfp 0xcc0 --profile arm-6.1": "nearest: arm64-6.1",
    "explain page-flags locked|dirtyy": "nearest: PG_dirty",
    "explain page-flags 0xzz": "no page flag '0xzz'",
    "explain page-flags 0x200 --kernel 1.0": "the nearest of 4.4 to 7.3 is 4.4",
    "explain page-flags 0x200 --kernel 6.1 --arch vax": "there are: x86_64",
    "explain page-flags --kpageflags locked": "an entry is a u64",
    "explain page-flags 0x200 --set NODES_SHIFT=99": "from 0 to 10",
    "explain struct page --view tale": "there are: cache, pool, slab, tail",
    "explain struct page --kernel 9.9": "the nearest of 5.10 to 7.3 is 7.3",
    "explain struct page --kernel 2.4": "the nearest of 5.10 to 7.3 is 5.10",
    "explain struct kmem_cache --kernel 6.1": "--btf FILE",
    "explain struct page --arch vax": "there are: ",
    f"explain page {RECORDING} 0x99999999": "the machine has no such page",
    f"explain page {RECORDING} xyz": "as 0x4321 or 17185",
    f"explain page {RECORDING} -1": "unsigned 64-bit",
    f"explain page {RECORDING}@nomark 0x3000": "nearest markers",
    f"explain page {RECORDING}@DUMP 0x3000": "'DUMP end'",
    f"explain page {RECORDING} 0x3000 --profile x86_64-6.1": "a recording has its own",
    "explain kmalloc 100 GFP_KERNAL": "nearest: GFP_KERNEL",
    "explain kmalloc 100 --constant --runtime": "not allowed with",
    "explain kmalloc 1e3": "'1e3' is no number of bytes",
    "explain kmalloc 100 --memory 1K": "64 MiB to 16 TiB",
    "explain kmalloc 100 --memory lots": "like 256M or 4G",
    f"explain kmalloc 100 --state {RECORDING} --memory 64M": "--memory with a recording",
    f"explain kmalloc 100 --state {RECORDING} --append slub_debug=F": "--append with a recording",
    f"explain kmalloc 100 --state {RECORDING} --set NUMA=n": "--set with a recording",
    f"explain kmalloc 100 --state {RECORDING} --profile x86_64-6.1": "--profile with a recording",
    "explain kfree 99999999": "explain limits --try",
    "explain kfree dentri": "nearest: dentry",
    "explain kfree 100 --state barn": "has no sheaves in this release",
    "explain kmem_cache_alloc dentri": "nearest: dentry",
    "explain alloc_pages x": "invalid int value",
    "explain free_pages 0 --full --state no-memory": "no block of order 0 to free",
    "explain free_pages 0 --block movable": "'highatomic', 'isolate'",
    "explain vmalloc 99999999999999999999999": "0 to 2^64 - 1",
    "explain kvmalloc abc": "is no number of bytes",
    "explain page-fault writee": "there are: write",
    "explain page-fault write --profile x86_64-9.9": "nearest: x86_64-7.3",
    "explain prfm pldl9keep": "as pldl1keep",
    "explain page-size --memory 0": "64 MiB to 16 TiB",
    "explain limits --profile foo": "nearest: ",
    "explain gpf 0xcc0": "did you mean gfp?",
    "draw proces": "did you mean process?",
    "draw slab dentri": "nearest: dentry",
    "draw slab 0": "objects of 0 bytes",
    "draw memory nosuch": "as FOLDER, 'FOLDER@SNAP end' or FOLDER@1.25",
    f"draw memory {RECORDING}@nomark": "nearest markers",
    f"draw memory {RECORDING} --profile x86_64-6.1": "a recording has its own",
    "draw page-flags --kernel 99": "is no kernel release",
    "draw page-flags --arch vax": "there are: x86_64",
    "draw kmalloc 100 --state nowhere": "there are: fresh, warm",
    "draw kmalloc 100 -o /nonexistent/x.svg": "names a file that can be written",
    "draw process --pid 999999999": "no process 999999999",
    "draw process --pid abc": "it is the number of a process",
}


def refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    """What standard error says of a command line that cannot be."""
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    lines = told.err.splitlines()
    assert lines[0].startswith("mmtwin: error: ")
    assert len(lines) <= 2
    assert all(len(line) <= LONGEST for line in lines), told.err
    assert "Traceback" not in told.err
    return told.err


@pytest.mark.parametrize("line", CASES)
def test_the_nearest_that_is_valid(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert CASES[line] in refused(capsys, line.split())


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (b"", ""),
        (b"\x9f\xeb\x01\x00\x18", ""),  # BTF's magic, cut inside its header
        (bytes(range(256)) * 20, "not BTF"),
        # a header whose sections lie behind the end of all files
        (struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0xFFFFFFF0, 0xFFFFFFF0, 0xFFFFFFFF)
         + bytes(100), "ends before its last section"),
        # types that would name strings far away
        (struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 12, 12, 1)
         + struct.pack("<III", 0x7FFFFFFF, 4 << 24 | 0xFFFF, 8) + b"\0", ""),
    ],
)  # fmt: skip
def test_type_information_that_is_none(
    what: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "btf").write_bytes(what)
    told = refused(capsys, ["explain", "struct", "page", "--btf", str(tmp_path / "btf")])
    assert message in told
    assert "btf, byte " in told


@pytest.mark.parametrize("what", ["nothing", "folder", "empty", "bytes", "dangling", ""])
@pytest.mark.parametrize("words", TAKING_A_FILE, ids=" ".join)
def test_a_file_that_is_none(
    words: list[str], what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("empty").touch()
    Path("bytes").write_bytes(bytes(range(256)) * 8)
    Path("dangling").symlink_to("nowhere")
    typed = [word.replace("FILE", what) for word in words]
    if what == "empty" and words[0] == "boot":
        assert main(typed) == 0  # an empty script
        return
    refused(capsys, typed)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "words",
    [*([name] for name in COMMANDS), *(["explain", name] for name in EXPLAINED),
     *(["draw", name] for name in DRAWN)],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("more", [["--no-such-option"], ["a", "b", "c", "d", "e"]])
def test_more_than_there_is(
    words: list[str], more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if words == ["boot"] and len(more) > 1:
        more = ["--cpus", "x"]  # a script takes any
    refused(capsys, [*words, *more])


def test_an_option_that_changes_nothing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "cache", "100", "--append", "quiet"]) == 0
    assert "--append quiet changes nothing" in capsys.readouterr().err
    assert main(["explain", "kmalloc", "100", "--set", "DRM=y"]) == 0
    assert "--set DRM changes nothing" in capsys.readouterr().err


def test_a_recording_alone_is_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "kmalloc", "100", "--state", RECORDING]) == 0
    alone = capsys.readouterr().out
    assert main(["explain", "kmalloc", "100", "--state", f"{RECORDING}@end"]) == 0
    assert alone == capsys.readouterr().out


SAYING = (
    ["info"], ["at", RECORDING, "end", "slabinfo"], ["explain", "gfp", "0xcc0"],
    ["draw", "page-flags"],
)  # fmt: skip


@pytest.mark.parametrize("words", SAYING, ids=" ".join)
@pytest.mark.parametrize(
    ("shell", "status", "said"),
    [
        ('"$@" >&-', 2, "standard output is closed"),
        ('"$@" >/dev/full', 2, "No space left"),
        ('"$@" | true', 141, ""),
        ('"$@" <&- >/dev/null', 0, ""),
        ('"$@" 2>&- >/dev/null', 0, ""),
    ],
)
def test_standard_files(words: list[str], shell: str, status: int, said: str) -> None:
    program = [sys.executable, "-m", "mmtwin", *words]
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell}", "bash", *program],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == status or (status == 141 and ended.returncode == 0)
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_interrupt_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_given: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("mmtwin.cli.info.run", interrupted)
    # a shell starts what it runs in the background with interrupts ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["info"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "\n"


def test_a_picture_is_written_to_a_pipe_and_through_a_link(tmp_path: Path) -> None:
    pipe, real, link = (tmp_path / name for name in ("pipe", "real.svg", "link.svg"))
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert main(["draw", "page-flags", "-o", str(pipe)]) == 0
    assert os.read(reader, 100).startswith(b"<svg")
    os.close(reader)
    assert pipe.is_fifo()
    real.touch()
    link.symlink_to(real)
    assert main(["draw", "page-flags", "-o", str(link)]) == 0
    assert link.is_symlink()
    assert real.read_text().startswith("<svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.svg", "pipe", "real.svg"]
