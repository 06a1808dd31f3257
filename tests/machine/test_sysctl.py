"""Files of /proc/sys/vm by Machine.boot(), by the command line and by --set."""

from typing import Any

import pytest

from mmtwin.cli.main import main
from mmtwin.kernel.commit import commit_of
from mmtwin.machine import Machine
from mmtwin.machine.sysctl import of_cmdline
from mmtwin.procfs import meminfo

ENOMEM, EPERM = 12, 1
MAP_PRIVATE_ANON_FIXED = 0x32


def boot(name: str = "x86_64-6.1", **settings: Any) -> Machine:
    return Machine.boot(name, "256M", **settings)


def line(machine: Machine, name: str) -> int:
    """A line of its meminfo, in kB."""
    return meminfo.parse(machine.proc["meminfo"])[name].value


@pytest.mark.parametrize("name", ["x86_64-5.10", "x86_64-7.3", "arm64-16k-6.12"])
def test_what_meminfo_says_of_promises(name: str) -> None:
    k = boot(name)
    page = k.describe()["page_size"] >> 10
    assert line(k, "CommitLimit") == line(k, "MemTotal") // page // 2 * page
    assert line(k, "Committed_AS") == 0
    p = k.exec()
    before = line(k, "Committed_AS")
    assert before > 0
    area = p.mmap(1 << 20)
    assert line(k, "Committed_AS") == before + 1024
    child = p.fork()
    assert line(k, "Committed_AS") == 2 * (before + 1024), "the child's are its own"
    child.exit()
    p.mprotect(area, 1 << 20, "r")
    p.munmap(area, 1 << 19)
    p.exit()
    assert line(k, "Committed_AS") == 0


def test_the_limit() -> None:
    total = line(boot(), "MemTotal") // 4
    by_ratio = boot(sysctl={"vm.overcommit_ratio": 80})
    assert line(by_ratio, "CommitLimit") == total * 80 // 100 * 4
    assert line(boot(sysctl={"vm.overcommit_kbytes": 10001}), "CommitLimit") == 10000
    both = boot(sysctl={"vm.overcommit_kbytes": 10000, "vm.overcommit_ratio": 20})
    assert line(both, "CommitLimit") == total * 20 // 100 * 4, "the later one counts"


def test_the_modes() -> None:
    for mode, fits in ((0, False), (1, True), (2, False)):
        p = boot(sysctl={"vm.overcommit_memory": mode}).exec()
        if fits:
            assert p.mmap(1 << 30) > 0
        else:
            with pytest.raises(OSError, match=r"\[Errno 12\]"):
                p.mmap(1 << 30)
    guess, never = boot().exec(), boot(sysctl={"vm.overcommit_memory": 2}).exec()
    assert guess.mmap(200 << 20) > 0
    with pytest.raises(OSError, match=r"\[Errno 12\]"):
        never.mmap(200 << 20)
    assert not guess.libc.may_shrink_heap and never.libc.may_shrink_heap


def test_the_lowest_address() -> None:
    p = boot(sysctl={"vm.mmap_min_addr": 8192}).exec()
    p.mm.privileged = False
    assert p.mmap(4096, flags=MAP_PRIVATE_ANON_FIXED, address=8192) == 8192
    with pytest.raises(PermissionError):
        p.mmap(4096, flags=MAP_PRIVATE_ANON_FIXED, address=4096)
    arm = boot("arm64-5.13", sysctl={"vm.mmap_min_addr": 0}, LSM_MMAP_MIN_ADDR=32768)
    assert commit_of(arm.mm).mmap_min_addr == 32768, "the configuration's is larger"


def test_other_files() -> None:
    k = boot(sysctl={"vm.max_map_count": "20", "vm.min_free_kbytes": 9000})
    assert int(k.mm.min_free_kbytes) == 9000
    p = k.exec()
    flags = 0x22  # MAP_PRIVATE | MAP_ANONYMOUS
    with pytest.raises(OSError, match=r"\[Errno 12\]"):
        for number in range(30):
            p.mmap(4096, "r" if number & 1 else "rw", flags)
    assert p.mm.map_count == 21


@pytest.mark.parametrize(("setting", "said"), [
    ({"vm.overcommit_memory": 3}, "from 0 to 2"), ({"vm.overcommit_memory": -1}, "from 0 to 2"),
    ({"vm.overcommit_memory": "x"}, "takes a number"),
    ({"vm.overcommit_memry": 1}, "nearest: vm.overcommit_memory"),
    ({"vm.percpu_pagelist_high_fraction": 7}, "takes a number"),
    ({"vm.mmap_min_addr": "9" * 40}, "takes a number"),
])  # fmt: skip
def test_refused(setting: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        boot(sysctl=setting)


def test_a_command_line() -> None:
    given = {"sysctl.vm.overcommit_memory": "9", "sysctl.vm/mmap_min_addr": "4096",
             "sysctl.net.x": "1", "quiet": ""}  # fmt: skip
    assert of_cmdline(given) == {"vm.mmap_min_addr": 4096}, "the kernel passes over the others"
    k = boot(cmdline={"sysctl.vm.overcommit_memory": "1"})
    assert commit_of(k.mm).overcommit_memory == 1


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    code = "c = __import__('mmtwin.kernel.commit').kernel.commit.commit_of(k.mm); " \
           "print(c.overcommit_memory, c.mmap_min_addr)"  # fmt: skip
    assert main(["boot", "x86_64-6.1", "--set", "vm.overcommit_memory=2", "--set",
                 "vm.mmap_min_addr=131072", "-c", code]) == 0  # fmt: skip
    assert capsys.readouterr().out == "2 131072\n"
    assert main(["boot", "x86_64-6.1", "--append", "sysctl.vm.overcommit_memory=1", "-c",
                 code]) == 0  # fmt: skip
    assert capsys.readouterr() == ("1 65536\n", "")
    for words, said in (
        (["--set", "vm.overcommit_memory=3"], "from 0 to 2"),
        (["--set", "vm.overcommit_memory"], "takes a number"),
        (["--set", "vm.overcommit_memry=1"], "nearest: vm.overcommit_memory"),
        (["--append", "sysctl.vm.overcommit_memory=x"], "from 0 to 2"),
    ):
        assert main(["boot", "x86_64-6.1", *words, "-c", "1"]) == 2
        assert said in capsys.readouterr().err
