"""What the kernel drew at random for each exec of a recording: taken from the first events that
tell it, so that all the rest of an address space can be predicted. One pass over the events.

| what is drawn | kernel function | told by, first that is there |
|---|---|---|
| mmap_base | arch_mmap_rnd() | the first top-down vm_unmapped_area; the interpreter's entry |
| end of the stack | randomize_stack_top(), arch_align_stack() | vma_store; a snapshot; a fault |
| the program's place | load_elf_binary() | vma_store; a fault of padzero(); first page used |
| brk | arch_randomize_brk() | what brk(0) said |
| vdso | vdso_addr() | vma_store; a snapshot; the first read above the stack: its ELF header |
| stack pointer | arch_align_stack() | the faults of writing AT_PLATFORM and argc |
"""

from dataclasses import dataclass, field
from itertools import takewhile

from mmtwin.kernel.binfmt_elf import et_dyn_base
from mmtwin.kernel.binprm import STACK_EXPAND, default_map_window
from mmtwin.kernel.elf import ET_DYN, PT_INTERP, read_header
from mmtwin.kernel.mm import MM
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.randomize import stack_rnd_mask
from mmtwin.procfs import maps
from mmtwin.procfs.maps import MapsArea
from mmtwin.recordings.process_events import Step, process_steps
from mmtwin.recordings.recording import Recording
from mmtwin.replay.process_files import FileTable, program_headers, segments
from mmtwin.replay.process_names import snapshot_indexes

TOPDOWN = 1  # VM_UNMAPPED_AREA_TOPDOWN
PF_PRESENT, PF_WRITE, PF_USER = 1, 2, 4
EXECS = ("execve", "execveat")


@dataclass(slots=True)
class ExecTrace:
    """What the events tell of one exec: `entry`: the first instruction fetched behind it, `brk`:
    what brk(0) then said, 0 where nobody tells; `base`: where top-down searches began; `stores`:
    areas that it stored, first and last address; `wrote`: where the kernel's writes faulted, with
    their error codes; `lowest`: the lowest page used where programs are loaded; `pushed`:
    the first fault of the program on its stack; `reads`: where its reads faulted up there;
    `shown`: the map of a snapshot, of the program or a child of it.
    """

    entry: int = 0
    brk: int = 0
    base: int = 0
    stores: list[tuple[int, int]] = field(default_factory=list)
    wrote: list[tuple[int, int]] = field(default_factory=list)
    lowest: int = 0
    pushed: int = 0
    reads: list[int] = field(default_factory=list)
    shown: list[MapsArea] = field(default_factory=list)


class ExecTraces:
    """All execs of a recording, by the number of their sched_process_exec event."""

    def __init__(self, recording: Recording, machine: MM) -> None:
        self.by_index: dict[int, ExecTrace] = {}
        self.dyn_base = et_dyn_base(machine)
        bits = machine.view("has")[0].mmap_rnd_bits
        self.dyn_end = self.dyn_base + (1 << (int(bits) + machine.page_shift)) + (1 << 30)
        self.stack = lowest_stack(machine)
        self.running: dict[int, ExecTrace] = {}  # of each task, the exec that it came out of
        self.coming: dict[int, ExecTrace] = {}  # the exec that it is in
        self.brk_asked: dict[int, int] = {}
        snapshots = snapshot_indexes(recording)
        for step in process_steps(recording):
            while snapshots and snapshots[0][1] <= step.index:
                self._shown(recording, snapshots.pop(0)[0])
            self._take(step)
        for name, _index in snapshots:
            self._shown(recording, name)

    def _shown(self, recording: Recording, name: str) -> None:
        snapshot = recording.snapshots[name]
        for pid in snapshot.processes:
            trace = self.running.get(pid)
            if trace is not None and not trace.shown and f"proc/{pid}/maps" in snapshot:
                trace.shown = snapshot.parsed_bytes(f"proc/{pid}/maps", maps.parse)

    def _take(self, step: Step) -> None:
        what, pid = step.what, step.pid
        if what == "page_fault_user" or what == "page_fault_kernel":
            self._fault(step)
        elif what == "vma_store":
            trace = self.coming.get(pid)
            if trace is not None:
                trace.stores.append((step.args[1], step.args[2]))
        elif what == "vm_unmapped_area":
            trace = self.coming.get(pid) or self.running.get(pid)
            if trace is not None and not trace.base and step.args[2] & TOPDOWN:
                trace.base = step.args[5]
        elif what == "sched_process_exec":
            pid = step.args[0]
            self.by_index[step.index] = self.running[pid] = self.coming.pop(pid, ExecTrace())
        elif what == "task_newtask":
            child = step.args[0]
            self.running.pop(child, None)
            self.coming[child] = ExecTrace()  # of the kernel's own helpers, who call no execve()
            if pid in self.running:
                self.running[child] = self.running[pid]
        elif what == "enter":
            self._entered(step)
        elif what == "exit":
            self._left(step)

    def _entered(self, step: Step) -> None:
        if step.name in EXECS:
            self.coming[step.pid] = ExecTrace()
        elif step.name == "brk":
            self.coming.pop(step.pid, None)
            self.brk_asked[step.pid] = step.args[0]
        else:
            self.coming.pop(step.pid, None)

    def _left(self, step: Step) -> None:
        if step.name in EXECS:
            self.coming.pop(step.pid, None)
        elif step.name == "brk" and not self.brk_asked.pop(step.pid, 1):
            trace = self.running.get(step.pid)
            if trace is not None and not trace.brk:
                trace.brk = step.args[0]

    def _fault(self, step: Step) -> None:
        address, error = step.args
        if step.what == "page_fault_user":
            self.coming.pop(step.pid, None)  # a child that runs
        trace = self.coming.get(step.pid)
        if trace is not None and error & PF_WRITE:
            trace.wrote.append((address, error))
        trace = trace or self.running.get(step.pid)
        if trace is None:
            return
        if step.what == "page_fault_user" and not trace.entry:
            trace.entry = address
        if self.dyn_base <= address < self.dyn_end:
            trace.lowest = min(address, trace.lowest or address)
        pushed = address >= self.stack and not address >> 63 and not error & PF_PRESENT
        if pushed and not trace.pushed and step.pid not in self.coming:
            trace.pushed = address
        if address >= self.stack and error == PF_USER:
            trace.reads.append(address)


def drawn_by(trace: ExecTrace, file: File, files: FileTable, machine: MM) -> dict[str, int]:
    """ExecContext.drawn of an exec: what its events tell of what was drawn."""
    page, drawn, lowest = 1 << machine.page_shift, {}, lowest_stack(machine)
    interpreter = interpreter_of(file, files)
    base = trace.base or base_of(trace, interpreter, page)
    lowest = max(lowest, base)
    # the stack is the first that exec stores
    stack = takewhile(lambda store: store[0] >= lowest, trace.stores)
    large = [store for store in stack if store[1] - store[0] >= STACK_EXPAND]
    wrote = [place for place in trace.wrote if place[0] >= lowest]
    if base:
        drawn["mmap_base"] = base
    if trace.brk:
        drawn["start_brk"] = trace.brk
    if trace.wrote:
        drawn |= pointers(wrote)
    shown = {area.name: area for area in reversed(trace.shown)}
    if large:
        drawn["stack_top"] = large[-1][1] + 1
        behind = trace.stores[trace.stores.index(large[-1]) + 1 :]
        above = [start for start, _last in behind if start > large[-1][1]]
        if above:
            drawn["vdso"] = min(above)
    elif "[stack]" in shown:
        drawn["stack_top"] = shown["[stack]"].end
    elif wrote:
        # the strings lie in the last page; the pointer was moved by less than two below them
        address, error = wrote[0]
        drawn["stack_top"] = (address & -page) + (page if error & PF_PRESENT else 2 * page)
    elif trace.pushed:
        drawn["stack_top"] = (trace.pushed & -page) + 2 * page
    special = [area.start for area in trace.shown if area.name in ("[vvar]", "[vdso]")]
    if special and "vdso" not in drawn and "stack_top" in drawn:
        drawn["vdso"] = min(special)
    if "vdso" not in drawn:
        drawn |= vdso_read(trace, drawn.get("stack_top", 0), machine)
    first = first_page(trace, file, large, page) if interpreter is not None else 0
    if first:
        drawn["first_page"] = first
    return drawn


def vdso_read(trace: ExecTrace, stack_top: int, machine: MM) -> dict[str, int]:
    """Where the vdso went above a stack: a C library that starts reads its ELF header, whose
    address the kernel gives it (AT_SYSINFO_EHDR), before it calls anything in it. Its data lies
    before it (map_vdso()).
    """
    has = machine.view("has")[0]
    above = [address for address in trace.reads if stack_top and address >= stack_top]
    if not above or not has.vdso_above_stack:
        return {}
    data = int(has.vvar_pages) + int(has.vvar_vclock_pages)
    page = above[0] >> machine.page_shift
    return {"vdso": (page - data) << machine.page_shift}


def lowest_stack(machine: MM) -> int:
    """Above it lie only stacks and what is mapped above them."""
    pages = stack_rnd_mask(machine) + 64
    return int(default_map_window(machine)) - (pages << machine.page_shift)


def pointers(wrote: list[tuple[int, int]]) -> dict[str, int]:
    """AT_PLATFORM and the stack pointer, from the faults of writing them (create_elf_tables()):
    the name of the platform ends at 16 bytes, the pointer is one of them. What did not fault lies
    in the page of what did, or in that of the strings.
    """
    names = [address for address, _error in wrote if address & 15]
    tables = [address for address, _error in wrote if not address & 15]
    return {"platform": names[0] if names else 0, "stack_pointer": tables[-1] if tables else 0}


def first_page(
    trace: ExecTrace, file: File, large: list[tuple[int, int]], page: int
) -> int:
    """Where the first segment of a program went that may lie anywhere; 0: nobody tells."""
    if large:
        behind = trace.stores[trace.stores.index(large[-1]) + 1 :]
        return behind[0][0] if behind else 0
    shown = [area.start for area in trace.shown if area.name == file.path]
    if shown:
        return min(shown)
    bss = end_of_data(file)
    for address, _error in trace.wrote:
        if bss and not (address - bss) & (page - 1):
            return address - bss
    return trace.lowest & -page


def base_of(trace: ExecTrace, interpreter: File | None, page: int) -> int:
    """mmap_base, where the first thing that was mapped is the interpreter: just below it."""
    if interpreter is None or not trace.entry:
        return 0
    loads, start = segments(interpreter.head), trace.entry - read_header(interpreter.head).e_entry
    if not loads or start & (page - 1):
        return 0
    return start + -(-max(phdr.p_vaddr + phdr.p_memsz for phdr in loads) // page) * page


def end_of_data(file: File) -> int:
    """Where a program's bss begins: what padzero() clears from; 0 without bss."""
    with_bss = [phdr for phdr in segments(file.head) if phdr.p_memsz > phdr.p_filesz]
    return int(with_bss[-1].p_vaddr + with_bss[-1].p_filesz) if with_bss else 0


def interpreter_of(file: File, files: FileTable) -> File | None:
    """The interpreter of a program that may lie anywhere; None if it has none or is fixed."""
    headers = program_headers(file.head)
    if not headers or read_header(file.head).e_type != ET_DYN:
        return None
    for phdr in headers:
        if phdr.p_type == PT_INTERP:
            name = file.head[phdr.p_offset : phdr.p_offset + phdr.p_filesz].split(b"\0")[0]
            return files.find(name.decode("utf-8", "surrogateescape"))
    return None
