"""Names of files by where a program keeps them: a constant string of a program is the same in each
run of it, so a name that a snapshot shows for one open() names all those of the same string.
"""

from mmtwin.kernel.elf import ET_DYN, PF_W, read_header
from mmtwin.kernel.mm import MM
from mmtwin.procfs.maps import MapsArea
from mmtwin.recordings.descriptors import Descriptors
from mmtwin.recordings.process_events import Step, process_steps
from mmtwin.recordings.recording import Recording
from mmtwin.replay.process_files import DELETED, SHARED_ANONYMOUS, segments
from mmtwin.replay.process_names import MAP_ANONYMOUS, Names, signed
from mmtwin.replay.process_starts import ExecTrace, drawn_by

NAME_ARGUMENT = {"open": 0, "openat": 1, "creat": 0, "openat2": 1}
Key = tuple[str, int]  # a program's path, and where in it, before it is moved


class OpenedStrings:
    """One pass over the opens of a recording. `lines`: a line of maps by an open's token, where
    another open of the same string tells it.
    """

    def __init__(
        self, recording: Recording, names: Names, traces: dict[int, ExecTrace], machine: MM
    ) -> None:
        self.names = names
        self.traces = traces
        self.machine = machine
        self.descriptors = Descriptors()
        self.programs: dict[int, tuple[str, int]] = {}  # path, and by how much it was moved
        self.entered: dict[int, Step] = {}
        self.keys: dict[str, Key] = {}
        self.by_key: dict[Key, MapsArea] = {}
        for step in process_steps(recording):
            self._take(step)
        self.lines = {
            token: self.by_key[key] for token, key in self.keys.items() if key in self.by_key
        }

    def _take(self, step: Step) -> None:
        if step.what == "enter":
            self.entered[step.pid] = step
        elif step.what == "exit":
            entered = self.entered.pop(step.pid, None)
            if entered is not None and entered.name == step.name:
                self._left(entered, step.args[0])
        elif step.what == "task_newtask":
            child, flags = step.args
            self.descriptors.fork(step.pid, child, flags)
            if step.pid in self.programs:
                self.programs[child] = self.programs[step.pid]
        elif step.what == "sched_process_exec":
            self._executed(step)
        elif step.what == "sched_process_exit":
            self.descriptors.exit(step.args[0])

    def _executed(self, step: Step) -> None:
        pid, path = step.args[0], step.text
        self.descriptors.execve(pid)
        self.programs.pop(pid, None)
        file, trace = self.names.files.find(path), self.traces.get(step.index)
        header = read_header(file.head) if file is not None else None
        if file is None or header is None or trace is None:
            return
        moved = 0
        if header.e_type == ET_DYN:
            moved = drawn_by(trace, file, self.names.files, self.machine).get("first_page", 0)
        self.programs[pid] = file.path, moved

    def _left(self, entered: Step, result: int) -> None:
        """A call came back: of those that open, copy, close or map a file."""
        pid, name, args = entered.pid, entered.name, entered.args
        if result < 0:
            return
        if name in NAME_ARGUMENT and not entered.text:
            token = f"open:{entered.index}"
            self.descriptors.open(pid, result, token, False)
            key = self._key(pid, args[NAME_ARGUMENT[name]])
            if key is not None:
                self.keys[token] = key
        elif name == "close":
            self.descriptors.close_range(pid, signed(args[0]), signed(args[0]))
        elif name in ("dup", "dup2", "dup3"):
            self.descriptors.dup(pid, signed(args[0]), result)
        elif name == "mmap" and not args[3] & MAP_ANONYMOUS:
            key = self.keys.get(self.descriptors.file(pid, signed(args[4])) or "")
            area = self.names.shown_at(entered, result, args[5]) if key is not None else None
            told = area is not None and (
                area.name == SHARED_ANONYMOUS or not area.name.endswith(DELETED))
            if key is not None and area is not None and told:
                self.by_key.setdefault(key, area)

    def _key(self, pid: int, pointer: int) -> Key | None:
        """The string at an address, if it is one of the program's constants."""
        path, moved = self.programs.get(pid, ("", 0))
        file = self.names.files.find(path) if path else None
        if file is None:
            return None
        place = pointer - moved
        for phdr in segments(file.head):
            if not phdr.p_flags & PF_W and phdr.p_vaddr <= place < phdr.p_vaddr + phdr.p_filesz:
                return path, place
        return None
