"""The steps of processes: raw and text alike, from whichever events a recording has."""

from pathlib import Path

import pytest
from recording_sets import FIXTURES

from mmtwin.recordings import RecordingError, open_recording
from mmtwin.recordings.process_events import check_process_events, missing, process_steps

HEADER = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 5/5   #P:1\n#\n"
# Lines as kernels print them, and the step that each is.
LINES = [
    ("task_newtask: pid=78 comm=init clone_flags=1200011 oom_score_adj=0",
     ("task_newtask", (78, 0x1200011), "", "init")),
    ("task_rename: pid=78 oldcomm=init newcomm=busybox oom_score_adj=0",
     ("task_rename", (78,), "", "busybox")),
    ("sched_process_fork: comm=init pid=1 child_comm=init child_pid=78",
     ("sched_process_fork", (1, 78), "", "")),
    ("sched_process_exec: filename=/bin/busybox pid=78 old_pid=78",
     ("sched_process_exec", (78, 78), "", "/bin/busybox")),
    ("page_fault_user: address=0x4018a0 ip=0x4018a0 error_code=0x14",
     ("page_fault_user", (0x4018A0, 0x14), "", "")),
    ("page_fault_kernel: address=0x4ca2f0 ip=clear_user_rep_good+0x1/0x4 error_code=0x2",
     ("page_fault_kernel", (0x4CA2F0, 2), "", "")),
    ("vma_store: mt_mod ffff88800485c480, (ffff8880070e91c8), STORE, 140737488347136, "
     "140737488351231,", ("vma_store", (0xFFFF88800485C480, 0x7FFFFFFFE000, 0x7FFFFFFFEFFF),
     "", "")),
    ("exit_mmap: mt_mod ffff88800485c480, DESTROY", ("exit_mmap", (0xFFFF88800485C480,), "", "")),
    ("vm_unmapped_area: addr=0x7ffff7ff9000 err=0 total_vm=0x206 flags=0x1 len=0x6000 lo=0x1000 "
     "hi=0x7ffff7fff000 mask=0x0 ofs=0x0",
     ("vm_unmapped_area",
      (0x7FFFF7FF9000, 0x206, 1, 0x6000, 0x1000, 0x7FFFF7FFF000, 0, 0), "", "")),
    ("sys_mmap(addr: 0, len: 10000, prot: 3, flags: 22, fd: ffffffff, off: 0)",
     ("enter", (0, 0x10000, 3, 0x22, 0xFFFFFFFF, 0), "mmap", "")),
    ("sys_mmap -> 0x7ffff7fe9000", ("exit", (0x7FFFF7FE9000,), "mmap", "")),
    ("sys_brk -> 0xfffffffffffffff4", ("exit", (-12,), "brk", "")),
    ("rss_stat: mm_id=7 curr=1 type=MM_ANONPAGES size=-4096B",
     ("rss_stat", (7, 1, 1, -4096), "", "")),
    ("tracing_mark_write: SNAP start", ("marker", (), "", "SNAP start")),
]  # fmt: skip


def text_of(lines: list[str]) -> str:
    """An ftrace text."""
    return HEADER + "".join(
        f"            init-78      [000] .....     3.{number:06}: {line}\n"
        for number, line in enumerate(lines)
    )


def test_lines(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text(text_of([line for line, _step in LINES]))
    steps = list(process_steps(open_recording(tmp_path / "trace")))
    assert [(step.what, step.args, step.name, step.text) for step in steps] == [
        step for _line, step in LINES
    ]
    assert {step.pid for step in steps} == {78}
    assert [step.index for step in steps] == list(range(len(LINES)))


def test_raw_events() -> None:
    recording = open_recording(FIXTURES / "x86-6.1-process")
    check_process_events(recording)
    steps = list(process_steps(recording))
    assert [step.index for step in steps] == sorted(step.index for step in steps)
    calls = [(step.what, step.name) for step in steps if step.name == "mmap"]
    assert calls == [("enter", "mmap"), ("exit", "mmap")]
    (executed,) = [step for step in steps if step.what == "sched_process_exec"]
    assert (executed.pid, executed.text) == (286, "/proc/self/exe")
    assert missing(recording) == [
        "forks (task:task_newtask)", "exits (sched:sched_process_exit)",
    ]  # fmt: skip


def test_too_few_events() -> None:
    with pytest.raises(RecordingError, match=r"no process events: forks, .* says what to record"):
        check_process_events(open_recording(FIXTURES / "x86-6.1-text"))


@pytest.mark.parametrize(
    "line",
    [
        "vma_store: nonsense",
        "task_newtask: pid=x comm=init clone_flags=1200011",
        "sched_process_exec: filename=/x pid=" + "9" * 5000 + " old_pid=1",
        "vm_unmapped_area: addr=0x1 err=0",
    ],
)
def test_damage_is_one_error(tmp_path: Path, line: str) -> None:
    (tmp_path / "trace").write_text(text_of([line, "kfree: call_site=x+0x1/0x2 ptr=0xffff8880"]))
    with pytest.raises(RecordingError, match="event 0 or one behind it"):
        list(process_steps(open_recording(tmp_path / "trace")))
