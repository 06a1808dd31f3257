"""What a first user tries: every example of every --help text, and bad input to each command."""

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest

from mmtwin.cli.main import COMMANDS, main
from mmtwin.kernel import mm

# Examples that need something of the reader's own, or wait for input.
OWN = re.compile(r"FOLDER|LOG\b|FILE\b|--pid|smaps|--btf|struct kmem_cache$|/bin/cat"
                 r"|trace\.txt|^import|script\.py")  # fmt: skip
WHOLE = re.compile(r"^replay|^what-if|^explain prefetch|SNAP end")
HUGE = "99999999999999999999999"
BAD = (
    "replay nothere", "replay --top 0", "replay --expect zone=101", "import nothere out",
    "what-if nothere", "what-if --set nope=1", "what-if --set page_size=16K", "what-if --set x",
    "what-if --profile nope", "what-if --set struct:nope=+8", "replay --profile nope",
    "info nothere", "at x86_64-6.1 nomark slabinfo", "at x86_64-6.1 'SNAP start' nofile",
    "at x86_64-6.1 'SNAP start' vmallocinf", "maps nothere 1", "boot nonsense",
    "boot nothere.py", "boot --memory x", "boot --set FOO", "explain nothing",
    "explain gfp 0x1ffffffff", "explain gfp GFP_KERNAL", "explain gfp 0 --kernel ''",
    "explain page-flags 1 --pfn -5", "explain page-flags 1 --set NODES_SHIFT=x",
    "explain page-flags 1 --set NR_CPUS=0", "explain page-flags 1 --arch vax",
    "explain struct nothing --kernel 1.0", "explain page zz", "explain page nothere@x 1",
    "explain page 1 --memory x", "explain cache nothere", "explain cache 100 --align 3",
    f"explain kmalloc {HUGE}", "explain kmalloc 100 0xfffffffff", "explain kmalloc x",
    "explain kmalloc 100 --node 5", "explain kmalloc 100 --memory x", "explain kfree 99999999999",
    f"explain vmalloc {HUGE}", f"explain kvmalloc {HUGE}", "explain alloc_pages 3 FOO",
    "explain kmem_cache_alloc nope", "explain page-fault nope", "explain page-size --memory x",
    "explain limits --profile foo", "explain prfm foo", "draw nothing", "draw memory x86_64-6.1@x",
    "draw memory -o x.gif", "draw slab nope", "draw kmalloc -5", "draw page-flags zz",
    "draw page-flags --set NODES_SHIFT=99", "draw process nothere",
    "draw process --exec /nonexist",
)  # fmt: skip


def modules() -> Iterator[str]:
    for module, _ in COMMANDS.values():
        things = getattr(import_module(f"mmtwin.cli.{module}"), "THINGS", None)
        yield from ([each for each, _ in things.values()] if things else [module])


def examples() -> list[str]:
    """The command lines of every EXAMPLES that any machine can run."""
    found = []
    for module in modules():
        for line in import_module(f"mmtwin.cli.{module}").EXAMPLES.splitlines():
            command = re.split(r" {3,}|  (?=>>>)", line.strip())[0].strip()
            if command.startswith("mmtwin "):
                words = command.removeprefix("mmtwin ")
                if not OWN.search(words):
                    found.append(words)
    return found


@pytest.mark.parametrize("command", examples())
def test_every_example_runs(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if mm.__file__.endswith(".py") and WHOLE.search(command):
        pytest.skip("a whole replay, uncompiled")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", StringIO("print(k)"))
    assert main(shlex.split(command)) == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", BAD)
def test_bad_input_is_one_clear_error(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if "running uncompiled" not in line]
    assert out == ""
    assert lines[0].startswith("mmtwin: error: ") and len(lines) <= 2
    assert "invalid literal" not in err and "Traceback" not in err


def test_every_thing_has_examples() -> None:
    for module in modules():
        text = import_module(f"mmtwin.cli.{module}").EXAMPLES
        assert "mmtwin" in text, module
