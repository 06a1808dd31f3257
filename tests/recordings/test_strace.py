"""strace logs become steps: every way in which strace prints them, and damaged ones."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strace_logs import LOGS

from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.strace import StraceLog, is_strace, open_strace, read_strace
from mmtwin.recordings.strace_lines import split_arguments
from mmtwin.recordings.strace_steps import NUMBERS, Step
from mmtwin.recordings.strace_values import parse_number, parse_result, parse_string

WITH_PIDS, ON_A_TERMINAL = LOGS["with-pids"], LOGS["on-a-terminal"]
MANY_OPTIONS = LOGS["many-options"]
ENOENT, EINVAL = 2, 22


def read(text: str) -> StraceLog:
    return read_strace(text.splitlines(keepends=True))


def of(text: str, name: str, pid: int | None = None) -> list[Step]:
    return [s for s in read(text).steps if s.name == name and pid in (None, s.pid)]


def test_numbers_and_results() -> None:
    maps = of(WITH_PIDS, "mmap", 100)
    assert maps[0].args == (0, 8192, 3, 0x22, -1, 0)
    assert maps[0].result == 0x7FFFF7FC0000
    assert maps[2].args[5] == 0x1000
    assert maps[3].args[3] == 0x40002 | 21 << 26
    assert maps[3].result == -EINVAL
    assert of(WITH_PIDS, "madvise")[0].args[2] == 0x99
    assert of(WITH_PIDS, "mremap")[0].args == (0x7FFFF7FC0000, 8192, 4096, 3, 0x7FFFF7000000)
    limits = [step.args for step in of(WITH_PIDS, "prlimit64")]
    assert limits == [(0, 2, 1 << 20, (1 << 64) - 1)]
    name = of(WITH_PIDS, "prctl")[0]
    assert (name.args, name.text) == ((0x53564D41, 0, 0x7FFFF7000000, 4096, 0), "my heap")


def test_descriptors_become_paths() -> None:
    files = [step.file for step in of(WITH_PIDS, "mmap", 100)]
    # a thread's open file is its group's too; a directory holds from chdir on
    assert files == [
        None,
        "/etc/ld.so.cache",
        '/tmp/a"ä b',
        None,
        "/memfd:notes (deleted)",
        "/tmp/shared",
    ]
    assert [step.file for step in of(WITH_PIDS, "memfd_create")] == ["/memfd:notes (deleted)"]
    # descriptor 10 was closed by execve, 3 was not
    assert [step.file for step in of(WITH_PIDS, "mmap", 101)] == [None, '/tmp/a"ä b']


def test_exec_and_fork_stand_before_the_child() -> None:
    log = read(WITH_PIDS)
    assert log.pids == [100, 101, 102]
    names = [(step.pid, step.name) for step in log.steps]
    assert names.index((100, "clone")) < names.index((101, "execve"))
    programs = of(WITH_PIDS, "execve")
    assert [(step.file, step.argv, step.args) for step in programs] == [
        ("/bin/cat", ("cat", "notes"), (3,)),
        ("/tmp/tool", ("tool",), (3,)),
    ]
    forks = [(step.args, step.result) for step in of(WITH_PIDS, "clone")]
    assert forks == [((0x1200000, 0), 101), ((0x50F00, 0x7FFFF6000000), 102)]
    assert [step.pid for step in of(WITH_PIDS, "exited")] == [101, 102, 100]


def test_a_terminal_names_processes_only_while_there_are_several() -> None:
    log = read(ON_A_TERMINAL)
    assert log.pids == [200, 201, 202]
    assert [(s.pid, s.name, s.result) for s in log.steps if s.name in ("clone", "brk")] == [
        (200, "brk", 0x555555560000),
        (200, "clone", 201),
        (201, "clone", 202),
        (200, "brk", 0x555555580000),
    ]
    assert [step.pid for step in of(ON_A_TERMINAL, "exited")] == [202, 201, 200]


def test_options_of_strace() -> None:
    steps = read(MANY_OPTIONS).steps
    assert [(s.name, s.file, s.time) for s in steps[:3]] == [
        ("mmap", "/a/b<c, d", 37230.123456),
        ("mmap", "/tmp/x", 1700000000.000001),
        ("mmap", None, None),
    ]
    assert steps[2].args[4] == -1
    assert steps[3].args == (0x1200011, 0)
    assert steps[3].result == 301
    assert (steps[4].name, steps[4].result) == ("munmap", None)  # killed in it


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("0600", 0o600), ("-1", -1), ("8192*1024", 8 << 20), ("~0", -1), ("NULL", 0),
     ("PROT_READ|0x8 /* PROT_??? */", 9), ("AT_FDCWD</tmp>", -100), ("3</a b>", 3),
     ("0xffffffffffffffff", (1 << 64) - 1)],
)  # fmt: skip
def test_number(text: str, value: int) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize("text", ["", "x", "1e9", "0x", "9" * 21, "1<<", "PROT_ALL", "{}", "1||2"])
def test_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="is no number"):
        parse_number(text)


def test_strings_and_results() -> None:
    assert parse_string(r'"a\tb\x41\101\"\\"') == 'a\tbAA"\\'
    assert parse_string('"cut"...') == "cut"
    assert parse_string("0x7ffe") is None
    assert parse_result("-1 ENOENT (No such file or directory)") == -ENOENT
    assert parse_result("? ERESTARTSYS (To be restarted if SA_RESTART is set)") is None
    assert parse_result("?") is None
    assert parse_result("3</etc/passwd> <0.000010>") == 3


def test_arguments_are_split_at_their_commas() -> None:
    text = r'"a,\")b", [1, {x=2, y=3}], 3<a, b>, f(1, 2) /* ), */) = 0'
    assert split_arguments(text) == (
        [r'"a,\")b"', "[1, {x=2, y=3}]", "3<a, b>", "f(1, 2) /* ), */"],
        " = 0",
    )
    assert split_arguments("1, 2") == (["1", "2"], None)
    with pytest.raises(ValueError, match="does not end"):
        split_arguments('"open')


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 mmap(1, 2, 3) = 0\n", "line 2: mmap with 3 arguments"),
        ("1 munmap(here, 4096) = 0\n", "line 2: 'here' is no number"),
        ('1 execve("a) = 0\n', "line 2: a string or comment does not end"),
        ("1 clone3({stack=1}, 88) = 2\n", "line 2: clone3 without flags"),
    ],
)
def test_error_names_the_line(line: str, said: str) -> None:
    with pytest.raises(RecordingError, match=said):
        read("1 brk(NULL) = 0x1000\n" + line + "1 brk(NULL) = 0x1000\n")


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no line of an strace log"):
        read("hello\n")
    with pytest.raises(RecordingError, match="cannot be opened"):
        open_strace(tmp_path / "missing")
    assert not is_strace("# tracer: nop\n")
    assert all(is_strace(text) for text in LOGS.values())


@pytest.mark.parametrize("text", LOGS.values(), ids=LOGS)
def test_a_log_may_end_anywhere(text: str) -> None:
    whole = read(text).steps
    for end in range(text.index(") = ", 300), len(text), 7):
        assert len(read(text[:end].rpartition("\n")[0] + "\n").steps) <= len(whole)
        assert len(read("1 brk(NULL) = 1\n" + text[:end]).steps) <= len(whole) + 1


WORDS = [
    "1 ", "[pid 2] ", "mmap(", "clone(", "execve(", "{", "}", "[", "]", ")", ") = ", "= ", "0x1",
    ", ", '"', "\\", "/*", "*/", "<", ">", "->", "|", "flags=", "<unfinished ...>", "\n",
    "<... mmap resumed>", "+++ exited with 0 +++", "strace: Process 3 attached", "9" * 30,
]  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from([*WORDS, *NUMBERS]), st.text(max_size=3)), max_size=60))
def test_any_text_gives_steps_or_one_error(words: list[str]) -> None:
    try:
        log = read("1 brk(NULL) = 0x1000\n" + "".join(words))
    except RecordingError as error:
        assert "line" in str(error)
    else:
        assert all(isinstance(step.pid, int) and step.name for step in log.steps)


def test_hostile_lines_take_linear_time() -> None:
    # each would take minutes if a pattern went over it again and again
    for piece in ('\\"', "/*", "<->", "3<", "(", "1|", "{a=", '"a"', "1<<"):
        line = f"1 mmap({piece * 200_000}\n"
        try:
            read("1 brk(NULL) = 0x1000\n" + line)
        except RecordingError:
            continue
