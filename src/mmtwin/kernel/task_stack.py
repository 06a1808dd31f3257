"""Frames on a task's kernel stack: real bytes, growing downwards (sched/task_stack.h, arch/*).

A frame holds the return address, the caller's frame pointer and the automatic variables. On x86-64
the call pushes the return address and the function the frame pointer, and the variables lie below
them; on arm64 frame pointer and return address are a record at the frame's lower end, below the
variables. Stack pointers are multiples of 16. Functions have addresses of the twin's own, since no
kernel image is there: they only name who returns where.
"""

import re

from mmtwin.kernel.constants import CHECK_KASAN, COMPLAINT_STACK_OVERFLOW, PG_hole
from mmtwin.kernel.kasan_layout import FRAME_REDZONE, frame_layout
from mmtwin.kernel.mm import report
from mmtwin.kernel.sched import tasks_of
from mmtwin.kernel.thread_stack import MASK64, read_stack, write_stack
from mmtwin.kernel.tracepoint_path import tracepoint_paths
from mmtwin.kernel.vmalloc import vmalloc_to_pfn

# Where the kernel's text begins: __START_KERNEL_map, KIMAGE_VADDR of one arm64 layout.
TEXT_START = {"x86_64": 0xFFFFFFFF81000000, "arm64": 0xFFFF800010000000}
FIRST_FUNCTION = "ret_from_fork"  # where a new task's kernel stack begins
FUNCTION_BYTES = 0x100
CALL_OFFSET = 0x40
SYMBOL = re.compile(r"(?P<name>[^+\s]+)(\+(?P<offset>0x[0-9a-f]+)/(?P<size>0x[0-9a-f]+))?")
MOST_FRAME = 1 << 30


class Frame:
    """A function's frame: bytes `low` to `high` of the stack; `variables`: {name: (address, size)}
    of its automatic variables. `record`: where the saved frame pointer and the return address lie.
    `redzones`: with KASAN, where the red zones around the variables begin; 0 without.
    """

    def __init__(self, function, high):
        self.function = function
        self.high = self.low = self.record = high
        self.redzones = 0
        self.variables = {}

    def __getitem__(self, name):
        return self.variables[name][0]


def text_address(mm, function):
    """The address that a call made by `function` returns to. Gives the function a place in the
    kernel's text if it has none. Raises ValueError for what is no symbol.
    """
    text = tasks_of(mm).text
    if function not in text:
        if not SYMBOL.fullmatch(function):
            raise ValueError(f"{function!r} is no symbol: name or name+0x1f/0x90")
        start = TEXT_START.get(mm.profile.arch if mm.profile else "", TEXT_START["x86_64"])
        text[function] = start + (len(text) + 1) * FUNCTION_BYTES + CALL_OFFSET
    return text[function]


def symbol_at(mm, address):
    """A return address as %pB prints it, `func+0x40/0x100`; its number if no function is there."""
    for function, place in tasks_of(mm).text.items():
        if place == address:
            found = SYMBOL.fullmatch(function)
            if found["offset"]:
                return function
            return f"{function}+{CALL_OFFSET:#x}/{FUNCTION_BYTES:#x}"
    return None


def lay_out(mm, function, high, sizes):
    """The frame that a function called at stack pointer `high` makes: it writes nothing."""
    frame = Frame(function, high)
    on_arm64 = is_arm64(mm)
    place = high if on_arm64 else high - 16
    frame.record = place
    if sizes and mm.checkers & CHECK_KASAN and mm.kasan.has.kasan_stack:
        total, places = frame_layout(sizes.items())
        place = frame.redzones = place - total & -FRAME_REDZONE
        frame.variables = {name: (place + offset & MASK64, size) for name, offset, size in places}
        sizes = {}
    for name, size in sizes.items():
        place = place - size & ~(15 if size > 8 else 7)
        frame.variables[name] = (place & MASK64, size)
    if on_arm64:
        place = (place & ~15) - 16
        frame.record = place
    frame.low = place & ~15
    return frame


def is_arm64(mm):
    """Which of the two layouts frames have."""
    return mm.profile is not None and mm.profile.arch == "arm64"


def push_frame(mm, task, function, sizes):
    """The running task calls `function`, which has automatic variables of these sizes in bytes.

    The frame's record is written. A frame that goes beyond the end of the stack is an overflow:
    see overflow(). Returns the Frame. Raises ValueError for a size that is none.
    """
    for name, size in sizes.items():
        if not 0 < size <= MOST_FRAME:
            raise ValueError(f"variable {name} of {size} bytes")
    text_address(mm, function)
    caller = text_address(mm, task.names[-1] if task.names else FIRST_FUNCTION)
    frame = lay_out(mm, function, task.sp, sizes)
    record = task.fp.to_bytes(8, "little") + caller.to_bytes(8, "little")
    task.frames.append(frame)
    task.names.append(function)
    if lowest_access(mm, frame) < task.stack.low:
        overflow(mm, task, frame, record)
    elif mm.contents:
        write_stack(mm, task.stack, frame.record, record)
        if frame.redzones:
            mm.kasan.poison_frame(frame.redzones, function, sizes.items())
    if task.frames:
        task.sp, task.fp = frame.low, frame.record
    return frame


def lowest_access(mm, frame):
    """The lowest address that a function writes which calls another: on x86-64 the return address
    goes right below its frame, on arm64 its own record is the lowest.
    """
    return frame.low if is_arm64(mm) else frame.low - 8


def pop_frame(mm, task, frame):
    """The function returns: its bytes stay, the stack pointer goes back up. Nothing happens if the
    task died in it.
    """
    if frame not in task.frames:
        return
    while task.frames:
        last = task.frames.pop()
        task.names.pop()
        task.sp = last.high
        if last.redzones:
            mm.kasan.unpoison_frame(last.redzones)
        if last is frame:
            break
    task.fp = task.frames[-1].record if task.frames else 0


# ---- beyond the end


def overflow(mm, task, frame, record):
    """A frame takes bytes below its stack's end.

    Mapped virtually, the first access below faults on the guard page, and the fault cannot even be
    delivered on that stack: the task dies. Not mapped so, the bytes are the neighbouring page's;
    so they are where a frame is large enough to reach over the guard page into another mapping.
    """
    low = lowest_access(mm, frame)
    task.overflow = (low, min(frame.high, task.stack.low))
    if place_of(mm, task, low) < 0:
        die_of_overflow(mm, task, low)
    elif mm.contents:
        write_below(mm, task, frame.record, record)
        if low != frame.record:
            caller = text_address(mm, frame.function)
            write_below(mm, task, low, caller.to_bytes(8, "little"))


def place_of(mm, task, address):
    """Where in RAM an address at or below a stack is mapped to, -1 for nowhere."""
    if task.stack.area:
        pfn = vmalloc_to_pfn(mm, address) if address >= mm.vmalloc_start else -1
        offset = address & (1 << mm.page_shift) - 1
        return -1 if pfn < 0 else (pfn << mm.page_shift) + offset
    return address - mm.page_offset & MASK64 if all_ram(mm, address, task.stack.low) else -1


def write_below(mm, task, address, data):
    """Writes eight-byte words at or below a stack, where they are mapped."""
    ram = mm.view("ram").view("u1")
    for start in range(0, len(data), 8):
        place = place_of(mm, task, address + start)
        if place >= 0:
            ram[place : place + 8] = bytearray(data[start : start + 8])


def all_ram(mm, low, high):
    """Whether the direct map has RAM from `low` to `high`."""
    first = (low - mm.page_offset & MASK64) >> mm.page_shift
    last = (max(high, low + 8) - 1 - mm.page_offset & MASK64) >> mm.page_shift
    if not mm.min_pfn <= first <= last < mm.max_pfn:
        return False
    return not (mm.view("page")["flags"][first : last + 1] & PG_hole).any()


def die_of_overflow(mm, task, address):
    """The kernel's message of an overflow that was caught, and the end of the task.

    x86-64: the double fault's handler finds the guard page below the stack and the task is made
    dead; an access further down is a double fault that nothing explains (exc_double_fault()).
    arm64: the entry code finds the stack pointer's bit of THREAD_ALIGN changed and the kernel
    panics (handle_bad_stack()).
    """
    low, end = task.stack.low, task.stack.low + task.stack.size
    who = f"CPU: {mm.cpu} PID: {task.pid} Comm: {task.comm[:15]}"
    calls = [f" {symbol_at(mm, text_address(mm, name))}" for name in reversed(task.names)]
    if is_arm64(mm):
        lines = [
            "Insufficient stack space to handle exception!",
            f"FAR: {address & MASK64:#018x}",
            f"Task stack:     [{low:#018x}..{end:#018x}]",
            who,
            "Call trace:",
            *calls,
            "Kernel panic - not syncing: kernel stack overflow",
        ]
        tasks_of(mm).panic = "kernel stack overflow"
    elif low - (1 << mm.page_shift) <= address < low:
        named = mm.view("has")[0].stack_guard_named
        kind, last = ("TASK ", end) if named else ("", end - 1)
        lines = [
            f"BUG: {kind}stack guard page was hit at {address:016x} (stack is {low:016x}.."
            f"{last:016x})",
            who,
            "Call Trace:",
            *calls,
        ]
    else:
        lines = ["PANIC: double fault, error_code: 0x0", who, "Call Trace:", *calls]
    report(mm, COMPLAINT_STACK_OVERFLOW, address & MASK64, "\n".join(lines))
    from mmtwin.kernel.exit import do_exit  # with all that processes have: 0.03 s

    do_exit(mm, task)  # make_task_dead()


# ---- looking at a stack


def unwind(mm, task):
    """Return addresses on a task's stack, the innermost first: from where it is in its innermost
    function, then up the chain of frame pointers, as far as that leads.
    """
    if not task.names:
        return []
    found = [text_address(mm, task.names[-1])]
    fp, end = task.fp, task.stack.low + task.stack.size if task.stack else 0
    known = set(tasks_of(mm).text.values())
    while task.stack is not None and mm.contents and task.stack.low <= fp <= end - 16:
        record = read_stack(mm, task.stack, fp, 16)
        above = int.from_bytes(record[:8], "little")
        address = int.from_bytes(record[8:], "little")
        if address not in known:
            break
        found.append(address)
        if above <= fp:
            break  # the outermost function's caller was the last
        fp = above
    return found


def proc_pid_stack(mm, task, tracepoint=""):
    """/proc/PID/stack: a line for each function that a task is in (fs/proc/base.c).

    `tracepoint`: where it stands still, a name of tracepoint_paths(): the functions down to there
    get frames on the stack too. Raises ValueError for another name.
    """
    if tracepoint:
        paths = tracepoint_paths(mm)
        if tracepoint not in paths:
            raise ValueError(f"no tracepoint {tracepoint!r}; known: {', '.join(paths)}")
        frames = [push_frame(mm, task, name, {}) for name in paths[tracepoint]]
        text = proc_pid_stack(mm, task)
        pop_frame(mm, task, frames[0])
        return text
    return "".join(f"[<0>] {symbol_at(mm, address)}\n" for address in unwind(mm, task))


def stack_not_used(mm, task):
    """Bytes above the end of a stack that are still zero: what the task never used, by its own
    bytes (CONFIG_DEBUG_STACK_USAGE). The magic counts as one word, as in the kernel.
    """
    words = read_stack(mm, task.stack, task.stack.low, task.stack.size)
    used = len(words) - len(words[8:].lstrip(b"\0"))
    return min(used & ~7, task.stack.size)


def run(mm, task):
    """The task runs on this CPU from now on. Raises ValueError if it is dead."""
    if task.state in ("zombie", "dead"):
        raise ValueError(f"task {task.pid} is dead")
    from mmtwin.kernel.exit import schedule

    schedule(mm, task)
