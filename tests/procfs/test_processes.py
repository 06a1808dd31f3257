"""maps, smaps, status, statm and stat of real processes: printed as they were, byte for byte; the
twin's mm_struct printed as each kernel prints it; damaged texts give one clear error.
"""

import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmtwin.kernel.mm_types import File
from mmtwin.procfs import maps, smaps, status
from mmtwin.procfs.errors import ProcError
from mmtwin.procfs.text import encode
from mmtwin.versions.process_items import mnemonics, smaps_fields
from mmtwin.versions.profiles import profile

# Processes of the lab's recordings, at their end.
PROCESSES = Path(__file__).parent / "processes"
KERNELS = {
    "x86-5.10": "x86_64-5.10",
    "x86-6.1": "x86_64-6.1",
    "x86-6.18": "x86_64-6.18",
    "x86-7.3": "x86_64-7.3",
    "arm64-6.1": "arm64-6.1",
    "arm64-16k-6.12": "arm64-16k-6.12",
}
AGAIN = {
    "maps": lambda data: maps.format_maps(maps.parse(data)),
    "smaps": lambda data: smaps.format_smaps(smaps.parse(data)),
    "status": lambda data: status.format_status(status.parse(data)),
    "statm": lambda data: status.format_statm(status.parse_statm(data)),
    "stat": lambda data: status.format_stat(status.parse_stat(data)),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("file", AGAIN)
def test_prints_what_it_parsed(kernel, file):
    data = (PROCESSES / kernel / file).read_bytes()
    assert encode(AGAIN[file](data)) == data


@pytest.mark.parametrize("file", AGAIN)
def test_damage_gives_a_result_or_one_error(file):
    rng = random.Random(file)
    for _ in range(300):
        data = bytearray((PROCESSES / rng.choice(list(KERNELS)) / file).read_bytes())
        place = rng.randrange(len(data))
        data[place : place + rng.choice((0, 1, 30))] = rng.randbytes(rng.choice((0, 1, 20)))
        try:
            AGAIN[file](bytes(data))
        except ProcError as error:
            assert str(error).startswith(file)


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        ("maps", b"0-1 r--p\n", "maps, line 1: no 'start-end perms"),
        ("maps", b"00002000-00001000 r--p 00000000 00:00 0 \n", "ends before it begins"),
        ("maps", b"00001000-00002000 r--p 00000000 00:00 0   [heap]\n", "not as the kernel"),
        ("smaps", b"00001000-00002000 r--p 00000000 00:00 0 \nRss:  4 kB\n", "line 2: not as"),
        ("smaps", b"00001000-00002000 r--p 00000000 00:00 0 \nVmFlags: x\n", "no VmFlags"),
        ("status", b"VmRSS:\t1 kB\n", "line 1: no size"),
        ("statm", b"1 2\n", "2 numbers, not 7"),
        ("stat", b"1 (a) S 1\n", "2 words behind the name"),
    ],
)
def test_names_the_line(file, data, message):
    with pytest.raises(ProcError) as caught:
        AGAIN[file](data)
    assert message in str(caught.value)


def area_of(start, end, flags, pgoff=0, file=None, name=None):
    """What maps asks of an area."""
    return SimpleNamespace(
        vm_start=start, vm_end=end, vm_flags=flags, vm_pgoff=pgoff, vm_file=file, vm_name=name
    )


def tree_of(areas):
    """What maps asks of a process's tree."""
    following = dict(zip(map(id, areas), [*areas[1:], None], strict=True))
    return SimpleNamespace(first=lambda: areas[0], next=lambda vma: following[id(vma)])


def twin_of(shown, stat, facts):
    """What looks like an mm_struct: areas of a smaps text, addresses of a stat text."""
    bits = {letters: bit for bit, letters in mnemonics(facts).items() if letters}
    bits["??"] = 1 << 19  # VM_LOCKONFAULT
    areas = []
    for item in shown:
        area, file, name = item.area, None, None
        if area.name.startswith("/"):
            file = File(area.name, area.dev, area.inode)
        elif area.name not in ("", "[heap]", "[stack]"):
            name = area.name
        flags = sum(bits[letters] for letters in item.flags)
        pgoff = area.offset // facts.page_size
        areas.append(area_of(area.start, area.end, flags, pgoff, file, name))
    start_brk = int(stat["start_brk"])
    heap = [item.area.end for item in shown if item.area.name == "[heap]"]
    mm = SimpleNamespace(
        machine=SimpleNamespace(profile=facts), tree=tree_of(areas), start_brk=start_brk,
        start_stack=int(stat["startstack"]), brk=heap[-1] if heap else start_brk,
    )  # fmt: skip
    return mm, areas


@pytest.mark.parametrize("kernel", KERNELS)
def test_shows_an_address_space_as_the_kernel_does(kernel):
    facts = profile(KERNELS[kernel])
    text = (PROCESSES / kernel / "smaps").read_bytes()
    shown = smaps.parse(text)
    stat = status.parse_stat((PROCESSES / kernel / "stat").read_bytes())
    mm, areas = twin_of(shown, stat, facts)
    sizes = dict(zip(map(id, areas), (item.sizes for item in shown), strict=True))
    assert encode(maps.format_maps(maps.show(mm))) == (PROCESSES / kernel / "maps").read_bytes()
    assert list(shown[0].sizes) == smaps_fields(facts)

    def counts(vma):
        return {name: kb << 10 for name, kb in sizes[id(vma)].items()}

    assert encode(smaps.format_smaps(smaps.show(mm, counts))) == text


@pytest.mark.parametrize(("version", "named"), [("x86_64-5.10", True), ("x86_64-6.12", False)])
def test_what_only_touches_the_heap(version, named):
    facts = profile(version)
    mm = SimpleNamespace(start_stack=0, start_brk=0x5000, brk=0x7000)
    mm.machine = SimpleNamespace(profile=facts)
    mm.tree = tree_of([area_of(0x4000, 0x5000, 0x73)])
    (area,) = maps.show(mm)
    assert (area.name == "[heap]") == named


def test_gate_area_by_command_line():
    facts = profile("x86_64-6.1").with_cmdline(vsyscall="xonly")
    assert str(maps.gate_area(facts)) == (
        "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"
    )
    assert maps.gate_area(facts.with_cmdline(vsyscall="emulate")).perms == "r-xp"
    assert maps.gate_area(profile("x86_64-6.1")) is None
    assert maps.gate_area(profile("arm64-6.1")) is None


def test_sizes_of_an_mm(monkeypatch):
    counters = [10, 20, 0, 3]
    monkeypatch.setattr(status, "get_mm_counter", lambda _mm, member: counters[member])
    facts = profile("x86_64-6.1")
    mm = SimpleNamespace(
        machine=SimpleNamespace(profile=facts),
        total_vm=500, hiwater_vm=600, locked_vm=1, pinned_vm=0, hiwater_rss=0, data_vm=44,
        stack_vm=33, exec_vm=390, start_code=0x401000, end_code=0x584999, pgtables_bytes=28672,
    )  # fmt: skip
    sizes = status.show_sizes(mm)
    assert (sizes["VmPeak"], sizes["VmRSS"], sizes["VmSwap"]) == (2400, 132, 0)
    assert (sizes["VmExe"], sizes["VmLib"], sizes["VmPTE"]) == (1552, 8, 28)
    assert status.show(mm).splitlines()[1] == "VmSize:\t    2000 kB"
    assert status.format_statm(status.show_statm(mm)) == "500 33 13 388 0 77 0\n"
