"""System V shared memory of a recording's processes: shmat() and shmdt() (ipc/shm.c).

The size of a segment is not among a call's arguments: the search for its address tells it
(mmap:vm_unmapped_area), or a snapshot that shows it.
"""

from mmtwin.kernel.mm_types import FMODE_READ, FMODE_WRITE, File
from mmtwin.kernel.mman import MAP_FIXED, MAP_SHARED, PROT_EXEC, PROT_READ, PROT_WRITE
from mmtwin.kernel.mmap import SHMEM_DEVICE
from mmtwin.recordings.process_events import Step
from mmtwin.replay.process_files import DELETED
from mmtwin.replay.process_names import Names
from mmtwin.replay.processes import Process, Processes

SHM_RDONLY, SHM_EXEC = 0o10000, 0o100000
PRIVATE_NAME = f"/SYSV00000000{DELETED}"
LENGTH = 3  # of a search's fields


class Segments:
    """The segments of one replay; `processes`: its twin, `names`: its files."""

    def __init__(self, processes: Processes, names: Names) -> None:
        self.processes = processes
        self.names = names
        self.by_id: dict[int, File] = {}
        self.attached: dict[tuple[int, int], int] = {}  # (mm.id, address): bytes

    def length(self, step: Step, searches: list[Step], result: int) -> int:
        """Bytes of the segment that a shmat() attached, 0 where nobody tells."""
        if searches:
            return searches[-1].args[LENGTH]
        area = self.names.shown_at(step, result, 0)
        return area.end - area.start if area is not None else 0

    def attach(
        self, process: Process, step: Step, searches: list[Step], result: int
    ) -> int | None:
        """shmat(): the twin's address, None where the size is not known. `step`: its beginning."""
        shmid, address, flags = (argument & 0xFFFFFFFF if number != 1 else argument
                                 for number, argument in enumerate(step.args))
        length = self.length(step, searches, result)
        if not length:
            return None
        file = self.by_id.get(shmid)
        if file is None:
            area = self.names.shown_at(step, result, 0)
            name = area.name if area is not None else PRIVATE_NAME
            file = self.by_id[shmid] = File(name, SHMEM_DEVICE, shmid, length, shmem=True)
            file.vm_close = 1
        file.f_mode = FMODE_READ if flags & SHM_RDONLY else FMODE_READ | FMODE_WRITE
        prot = PROT_READ if flags & SHM_RDONLY else PROT_READ | PROT_WRITE
        prot |= PROT_EXEC if flags & SHM_EXEC else 0
        kind = MAP_SHARED | (MAP_FIXED if address else 0)
        asked = (result if address else 0, length, prot, kind, 0, 0)
        got = self.processes.syscall(process.pid, "mmap", asked, file)
        if got == result:
            self.attached[process.mm.id, got] = length
        return got

    def detach(self, process: Process, address: int) -> None:
        """shmdt(): the areas of one attachment go."""
        mm = process.mm
        vma = mm.tree.vma_lookup(address)
        if vma is not None and vma.vm_file is not None and vma.vm_file.vm_close:
            length = self.attached.pop((mm.id, address), vma.vm_file.size)
            self.processes.syscall(process.pid, "munmap", (address, length))
