"""The steps of an strace log: what each system call that matters asked for and got.

One reader for each kind of call, from strace's text to numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mmtwin.recordings.descriptors import CLONE_VFORK, CLONE_VM
from mmtwin.recordings.strace_lines import Call
from mmtwin.recordings.strace_values import (
    fields_of,
    items_of,
    parse_number,
    parse_path,
    parse_result,
    parse_string,
)

# Calls whose arguments are numbers: (how many there must be, how many there may be).
NUMBERS = {
    "brk": (1, 1),
    "mmap": (6, 6),
    "mmap2": (6, 6),
    "munmap": (2, 2),
    "mprotect": (3, 3),
    "pkey_mprotect": (4, 4),
    "mremap": (4, 5),
    "madvise": (3, 3),
    "mlock": (2, 2),
    "mlock2": (3, 3),
    "munlock": (2, 2),
    "mlockall": (1, 1),
    "munlockall": (0, 0),
    "mseal": (3, 3),
    "msync": (3, 3),
    "remap_file_pages": (5, 5),
    "personality": (1, 1),
    "exit": (1, 1),
    "exit_group": (1, 1),
    "shmat": (3, 3),
    "shmdt": (1, 1),
    "shmget": (3, 3),
    "arch_prctl": (2, 2),
    "close": (1, 1),
    "close_range": (3, 3),
    "dup": (1, 1),
    "dup2": (2, 2),
    "dup3": (3, 3),
    "fchdir": (1, 1),
    "fcntl": (2, 3),
    "set_tid_address": (1, 1),
}
ADDRESS_MASK = (1 << 64) - 1
FORKS = {"fork": 0, "vfork": CLONE_VM | CLONE_VFORK}


@dataclass(slots=True)
class Step:
    """One step of a process.

    `name` is the system call, but "clone" for fork, vfork, clone and clone3, and "exited" when the
    process has ended. `args` are its numbers, addresses as unsigned 64-bit values:

    | step | args |
    |---|---|
    | clone | flags, address of the new stack (0: the parent's) |
    | execve | number of environment strings (-1: the log does not tell) |
    | prctl | option, second to fifth argument |
    | prlimit64 | pid (0: its own), resource, soft limit, hard limit |
    | unlink, rename, memfd_create | none; only those that were done |
    | exited | none |
    | others | the call's own, in order |

    `result` is what the kernel returned (below zero: -errno), None where the log does not tell.
    `file` is the absolute path of what execve runs, mmap maps, unlink or rename moves, None for
    none or an unknown one; `argv` and `envp` are execve's, cut where strace cut them; `text` is a
    name given by prctl, or the new path of rename.
    `line` is the line of the log on which the step came to its end, `time` what stood before it.
    """

    line: int
    pid: int
    time: float | None
    name: str
    args: tuple[int, ...]
    result: int | None
    file: str | None = None
    argv: tuple[str, ...] = ()
    envp: tuple[str, ...] = ()
    text: str | None = None
    started: int = 0  # the line on which it began
    directory: int = -100  # the descriptor that a relative `file` is relative to
    target: int = -100  # the same for the new path of rename


def _numbers(call: Call) -> tuple[int, ...]:
    least, most = NUMBERS[call.name]
    texts = [_bare(text) for text in call.arguments]
    if len(texts) < least or (len(texts) > most and call.name != "fcntl"):
        raise ValueError(f"{call.name} with {len(texts)} arguments")
    if call.name == "fcntl" and "DUPFD" not in texts[1] and "SETFD" not in texts[1]:
        return (parse_number(texts[0]), -1)
    values = [parse_number(text) for text in texts[:most]]
    return tuple(values + [0] * (most - len(values)))


def _int(value: int) -> int:
    # what the kernel takes as an int: raw logs print -1 as 0xffffffff
    return ((value & 0xFFFF_FFFF) ^ 1 << 31) - (1 << 31)


def _bare(text: str) -> str:
    # `flags=CLONE_VM` without its name; an address with what stands there, `[0x1]`, is a pointer
    name, equals, value = text.partition("=")
    return value if equals and name.isidentifier() else text


def _plain(call: Call, step: Step) -> None:
    step.args = _numbers(call)
    if call.name in ("mmap", "mmap2"):
        address, length, prot, flags, fd, offset = step.args
        step.args = (address & ADDRESS_MASK, length & ADDRESS_MASK, prot, flags, _int(fd), offset)
        step.name = "mmap"
        step.file = parse_path(call.arguments[4])
    elif call.name in ("munmap", "mprotect", "mremap", "madvise", "msync", "brk"):
        step.args = tuple(value & ADDRESS_MASK for value in step.args)
    elif call.name == "fchdir":
        step.file = parse_path(call.arguments[0])


def _execve(call: Call, step: Step) -> None:
    at = call.name == "execveat"
    arguments = call.arguments[1:] if at else call.arguments
    if len(arguments) < 3:
        raise ValueError(f"{call.name} with {len(call.arguments)} arguments")
    step.name = "execve"
    step.file = parse_string(arguments[0])
    if at:
        step.directory = _int(parse_number(call.arguments[0]))
        if not step.file:
            step.file = parse_path(call.arguments[0])
    step.argv = tuple(parse_string(text) or "" for text in items_of(arguments[1]))
    step.envp = tuple(parse_string(text) or "" for text in items_of(arguments[2]))
    step.args = (_count(arguments[2], step.envp),)


def _count(text: str, strings: tuple[str, ...]) -> int:
    # [/* 3 vars */] and 0x7ffc.../* 3 vars */
    _, comment, after = text.partition("/*")
    words = after.split()
    if comment and len(words) > 1 and words[1].startswith("var") and words[0].isdigit():
        return int(words[0][:9])
    return len(strings) if text.strip().startswith("[") else -1


def _clone(call: Call, step: Step) -> None:
    step.name = "clone"
    if call.name in FORKS:
        step.args = (FORKS[call.name], 0)
        return
    text = call.arguments[0] if call.arguments else ""
    fields = fields_of(text)
    if call.name == "clone" and not fields:
        fields = {}
        for position, argument in enumerate(call.arguments):
            name, equals, value = argument.partition("=")
            if equals:
                fields[name.removeprefix("child_")] = value
            else:  # all raw: the kernel's order of x86-64 and arm64
                fields[("flags", "stack")[position] if position < 2 else ""] = argument
    if "flags" not in fields:
        raise ValueError(f"{call.name} without flags")
    step.args = (parse_number(fields["flags"]), parse_number(fields.get("stack", "0")))


def _prctl(call: Call, step: Step) -> None:
    step.args = ()
    values = []
    for text in call.arguments[:5]:
        name = parse_string(text)
        if name is not None:
            step.text = name
        try:
            values.append(parse_number(text))
        except ValueError:
            values.append(0)  # a structure or a name: only PR_SET_VMA and PR_SET_MM are read
    step.args = tuple(values + [0] * (5 - len(values)))


def _limits(call: Call, step: Step) -> None:
    arguments = call.arguments
    if call.name == "setrlimit":
        arguments = ["0", *arguments]
    if len(arguments) < 3:
        raise ValueError(f"{call.name} with {len(call.arguments)} arguments")
    step.name = "prlimit64"
    limits = fields_of(arguments[2])
    if not limits:
        step.name = ""  # asks only
        return
    soft = parse_number(limits.get("rlim_cur", ""))
    hard = parse_number(limits.get("rlim_max", "RLIM_INFINITY"))
    step.args = (parse_number(arguments[0]), parse_number(arguments[1]), soft, hard)


def _open(call: Call, step: Step) -> None:
    """Opens a file: args are (closed by execve,)."""
    arguments = list(call.arguments)
    if call.name in ("openat", "openat2"):
        step.directory = _int(parse_number(arguments.pop(0))) if arguments else -100
    step.file = parse_path(call.result or "")
    if not step.file and arguments:
        step.file = parse_string(arguments[0])
    if call.name == "memfd_create" and step.file is not None and not step.file.startswith("/"):
        step.file = f"/memfd:{step.file} (deleted)"
    flags = " ".join(arguments[1:])
    step.args = (int("CLOEXEC" in flags),)
    if "0x" in flags or flags.isdigit():  # -X raw
        words = [word for word in flags.replace("{", " ").replace("flags=", " ").split() if word]
        bit = 1 if call.name == "memfd_create" else 0o2000000
        step.args = (int(bool(parse_number(words[0].strip(",}")) & bit)),)
    step.name = "open"


def _chdir(call: Call, step: Step) -> None:
    step.args = ()
    step.file = parse_string(call.arguments[0]) if call.arguments else None


def _unlink(call: Call, step: Step) -> None:
    arguments = list(call.arguments)
    at = call.name.endswith(("at", "at2"))
    step.name = call.name.removesuffix("2").removesuffix("at")
    if at and arguments:
        step.directory = _int(parse_number(arguments.pop(0)))
    step.file = parse_string(arguments.pop(0)) if arguments else None
    if step.name == "rename":
        if at and arguments:
            step.target = _int(parse_number(arguments.pop(0)))
        step.text = parse_string(arguments[0]) if arguments else None


READERS: dict[str, Callable[[Call, Step], None]] = {
    **dict.fromkeys(NUMBERS, _plain),
    **dict.fromkeys(("execve", "execveat"), _execve),
    **dict.fromkeys(("clone", "clone3", "fork", "vfork"), _clone),
    **dict.fromkeys(("prlimit64", "setrlimit"), _limits),
    **dict.fromkeys(("open", "openat", "openat2", "creat", "memfd_create"), _open),
    **dict.fromkeys(("unlink", "unlinkat", "rename", "renameat", "renameat2"), _unlink),
    "prctl": _prctl,
    "chdir": _chdir,
}
WANTED = frozenset(READERS)


def step_of(call: Call, pid: int) -> Step:
    """The step of a call of WANTED; its `file` may still be relative, its name "" for no step.

    Raises ValueError where the arguments are not what strace prints for this call.
    """
    result = parse_result(call.result)
    step = Step(call.line, pid, call.time, call.name, (), result, started=call.started)
    READERS[call.name](call, step)
    return step
