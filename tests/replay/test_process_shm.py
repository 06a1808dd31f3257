"""shmat() and shmdt() of a recording: the segment's size is what the search for a place says."""

from types import SimpleNamespace

from mmtwin.kernel.walk import translate
from mmtwin.machine.boot import boot_mm
from mmtwin.machine.elf_image import elf_image
from mmtwin.recordings.process_events import Step
from mmtwin.replay.process_files import FileTable
from mmtwin.replay.process_shm import SHM_RDONLY, Segments
from mmtwin.replay.processes import Processes
from mmtwin.versions.profiles import profile

PAGE = 4096


def began(*args):
    return Step(1, 1, 7, "enter", args, "shmat")


def test_attach_and_detach():
    machine = boot_mm(profile("x86_64-6.1"), "64M")
    files = FileTable()
    program = files._file("/demo", "00:02", 5, 8192, elf_image())
    processes = Processes(machine, files)
    assert processes.exec_(7, "/demo", file=program) == 0
    process = processes.by_pid[7]
    segments = Segments(processes, SimpleNamespace(shown_at=lambda *_: None))
    place = process.mm.mmap_base
    assert segments.attach(process, began(3, 0, 0), [], place) is None  # no size is known
    search = Step(2, 2, 7, "vm_unmapped_area", (0, 0, 0, 4 * PAGE), "")
    first = segments.attach(process, began(3, 0, 0), [search], 0)
    second = segments.attach(process, began(3, 0, SHM_RDONLY), [search], 0)
    areas = [process.mm.tree.find_vma(address) for address in (first, second)]
    assert areas[0].vm_file is areas[1].vm_file
    assert [area.vm_end - area.vm_start for area in areas] == [4 * PAGE] * 2
    assert (areas[0].vm_file.ino, areas[0].vm_file.path) == (3, "/SYSV00000000 (deleted)")
    processes.touch(7, first, True)
    total = process.mm.total_vm
    segments.detach(process, second)
    assert process.mm.total_vm == total - 4
    segments.detach(process, second)  # nothing of a segment is there any more
    assert process.mm.total_vm == total - 4


def test_a_read_maps_no_neighbours():
    """shm_vm_ops has no map_pages(): of a segment one page at a time is mapped."""
    machine = boot_mm(profile("x86_64-6.12"), "64M")
    files = FileTable()
    processes = Processes(machine, files)
    processes.exec_(7, "/demo", file=files._file("/demo", "00:02", 5, 8192, elf_image()))
    process = processes.by_pid[7]
    segments = Segments(processes, SimpleNamespace(shown_at=lambda *_: None))
    search = Step(2, 2, 7, "vm_unmapped_area", (0, 0, 0, 4 * PAGE), "")
    written = segments.attach(process, began(3, 0, 0), [search], 0)
    for page in range(4):
        processes.touch(7, written + page * PAGE, True)
    read = segments.attach(process, began(3, 0, 0), [search], 0)
    processes.touch(7, read + PAGE, False)
    there = [translate(process.mm, read + page * PAGE) is not None for page in range(4)]
    assert there == [False, True, False, False]
