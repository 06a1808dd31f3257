"""The values in a line of an strace log: numbers, flags by name, strings, structures.

A number may be decimal, octal, hexadecimal, a product (8192*1024), a shift (1<<21), or names and
numbers joined by `|`; a comment behind it (-X verbose) and a descriptor's path in <> (-y) are no
part of it.
"""

import re

from mmtwin.kernel import mman

NUMBER = re.compile(r"-?(?:0x[0-9a-fA-F]{1,16}|0[0-7]{1,22}|\d{1,20})")
NAME = re.compile(r"[A-Z][A-Za-z0-9_]{1,40}")
COMMENT = re.compile(r"/\*.*?\*/", re.S)
ERROR = re.compile(r"-1 (E[A-Z0-9]+)\b|-1(?: |$)|\? (ERESTART\w+)")
ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))", re.S)
LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}
U64 = 1 << 64
LONGEST = 1 << 13  # a descriptor with its path is the longest number: PATH_MAX, escaped

# Numbers that no file of the twin has: uapi/linux/*.h, asm-generic/resource.h
OTHERS = {
    "NULL": 0, "AT_FDCWD": -100,
    "CSIGNAL": 0xFF, "CLONE_VM": 0x100, "CLONE_FS": 0x200, "CLONE_FILES": 0x400,
    "CLONE_SIGHAND": 0x800, "CLONE_PIDFD": 0x1000, "CLONE_PTRACE": 0x2000, "CLONE_VFORK": 0x4000,
    "CLONE_PARENT": 0x8000, "CLONE_THREAD": 0x10000, "CLONE_NEWNS": 0x20000,
    "CLONE_SYSVSEM": 0x40000, "CLONE_SETTLS": 0x80000, "CLONE_PARENT_SETTID": 0x100000,
    "CLONE_CHILD_CLEARTID": 0x200000, "CLONE_DETACHED": 0x400000, "CLONE_UNTRACED": 0x800000,
    "CLONE_CHILD_SETTID": 0x1000000, "CLONE_NEWCGROUP": 0x2000000, "CLONE_NEWUTS": 0x4000000,
    "CLONE_NEWIPC": 0x8000000, "CLONE_NEWUSER": 0x10000000, "CLONE_NEWPID": 0x20000000,
    "CLONE_NEWNET": 0x40000000, "CLONE_IO": 0x80000000, "CLONE_CLEAR_SIGHAND": 1 << 32,
    "CLONE_INTO_CGROUP": 1 << 33, "CLONE_NEWTIME": 0x80,
    "O_RDONLY": 0, "O_WRONLY": 1, "O_RDWR": 2, "O_CLOEXEC": 0o2000000, "FD_CLOEXEC": 1,
    "F_DUPFD": 0, "F_GETFD": 1, "F_SETFD": 2, "F_DUPFD_CLOEXEC": 1030,
    "CLOSE_RANGE_UNSHARE": 2, "CLOSE_RANGE_CLOEXEC": 4,
    "MFD_CLOEXEC": 1, "MFD_ALLOW_SEALING": 2, "MFD_HUGETLB": 4,
    "PR_SET_VMA": 0x53564D41, "PR_SET_VMA_ANON_NAME": 0, "PR_SET_MM": 35,
    "PR_SET_MM_START_CODE": 1, "PR_SET_MM_END_CODE": 2, "PR_SET_MM_START_DATA": 3,
    "PR_SET_MM_END_DATA": 4, "PR_SET_MM_START_STACK": 5, "PR_SET_MM_START_BRK": 6,
    "PR_SET_MM_BRK": 7, "PR_SET_MM_ARG_START": 8, "PR_SET_MM_ARG_END": 9,
    "PR_SET_MM_ENV_START": 10, "PR_SET_MM_ENV_END": 11, "PR_SET_MM_AUXV": 12,
    "PR_SET_MM_EXE_FILE": 13, "PR_SET_MM_MAP": 14, "PR_SET_MM_MAP_SIZE": 15,
    "PER_LINUX": 0, "PER_LINUX32": 8, "ADDR_NO_RANDOMIZE": 0x40000, "MMAP_PAGE_ZERO": 0x100000,
    "ADDR_COMPAT_LAYOUT": 0x200000, "READ_IMPLIES_EXEC": 0x400000, "ADDR_LIMIT_32BIT": 0x800000,
    "SHORT_INODE": 0x1000000, "WHOLE_SECONDS": 0x2000000, "STICKY_TIMEOUTS": 0x4000000,
    "ADDR_LIMIT_3GB": 0x8000000, "UNAME26": 0x20000, "FDPIC_FUNCPTRS": 0x80000,
    "SHM_RDONLY": 0o10000, "SHM_RND": 0o20000, "SHM_REMAP": 0o40000, "SHM_EXEC": 0o100000,
    "IPC_PRIVATE": 0, "IPC_CREAT": 0o1000, "IPC_EXCL": 0o2000, "SHM_HUGETLB": 0o4000,
    "SHM_NORESERVE": 0o10000,
    "RLIM_INFINITY": U64 - 1, "RLIM64_INFINITY": U64 - 1, "MAP_FILE": 0, "MAP_HUGE_SHIFT": 26,
    "PROT_NONE": 0, "MAP_ANON": 0x20, "MADV_HWPOISON": 100, "MADV_SOFT_OFFLINE": 101,
}  # fmt: skip
LIMITS = (
    *("CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS"),
    *("LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"),
)
OTHERS |= {f"RLIMIT_{name}": number for number, name in enumerate(LIMITS)}
# What may stand for a bit nobody asks for: flags of open, signals, ARCH_ codes.
FREE = ("O_", "SIG", "ARCH_", "PER_", "S_I", "PR_", "F_", "IPC_", "SHM_", "PKEY_", "FD_")
ERRNO = {
    name: value for name, value in vars(mman).items() if name.startswith("E") and name.isupper()
} | {"EINTR": 4, "EIO": 5, "ESRCH": 3, "ENOSYS": 38, "EMFILE": 24, "ENFILE": 23, "ENOTDIR": 20}
UNKNOWN_ERROR = 4095  # MAX_ERRNO: an error of a name that nothing here compares


def parse_number(text: str) -> int:
    """A number, or flags by name. Raises ValueError for anything else, and beyond 64 bits."""
    if len(text) > LONGEST:
        raise ValueError(f"{text[:40]!r} is no number")
    text = COMMENT.sub("", _split_descriptor(text)[0]).strip()
    value = 0
    for term in text.split("|"):
        value |= _term(term.strip())
    return value


def _split_descriptor(text: str) -> tuple[str, str]:
    # ("3", "/etc/passwd") of 3</etc/passwd>
    number, less, path = text.strip().partition("<")
    if less and path.endswith(">") and number and not path.startswith("<"):
        return number, path[:-1]
    return text, ""


def _term(text: str) -> int:
    inverted = text.startswith("~")
    left, shift, right = text.removeprefix("~").partition("<<")
    value = 1
    for factor in left.split("*"):
        value *= _factor(factor.strip())
        if not -U64 < value < U64:
            raise ValueError(f"{text[:40]!r} is above 64 bits")
    if shift:
        value = (value << min(_factor(right.strip()), 64)) & (U64 - 1)
    return ~value if inverted else value


def _factor(text: str) -> int:
    if NUMBER.fullmatch(text):
        digits = text.removeprefix("-")
        octal = digits[0] == "0" and digits.isdigit()
        value = int(digits, 8) if octal else int(digits, 0)
        if value >= U64:
            raise ValueError(f"{text[:40]!r} is above 64 bits")
        return -value if text[0] == "-" else value
    if NAME.fullmatch(text):
        known = OTHERS.get(text, vars(mman).get(text))
        if isinstance(known, int):
            return known
        if text.startswith(FREE):
            return 0
    raise ValueError(f"{text[:40]!r} is no number")


def unescape(text: str) -> bytes:
    """The bytes of a string as strace quotes it, without its quotes."""

    def plain(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return bytes([int(match[1], 16)])
        if match[2]:
            return bytes([int(match[2], 8) & 0xFF])
        return LETTERS.get(match[3], match[3])

    return ESCAPE.sub(plain, text.encode("latin-1", "replace"))


def parse_string(text: str) -> str | None:
    """A quoted string as text (bytes that are no UTF-8 stay as surrogates); None for an address.

    Where strace cut it ("..." behind it), what there is of it.
    """
    text = text.strip().removesuffix("...")
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return None
    return unescape(text[1:-1]).decode("utf-8", "surrogateescape")


def parse_path(text: str) -> str | None:
    """The path that -y prints behind a descriptor; None without one, or for what is no path."""
    path = unescape(_split_descriptor(text)[1]).decode("utf-8", "surrogateescape")
    if "<" in path and path.endswith(">"):  # -yy adds <char 1:3>
        path = path[: path.rindex("<")]
    return path if path.startswith("/") else None


def parse_result(text: str | None) -> int | None:
    """What a call returned: a number, -errno, or None where the log does not tell."""
    if text is None:
        return None
    match = ERROR.match(text)
    if match:
        if match[2]:
            return None
        return -ERRNO.get(match[1] or "EPERM", UNKNOWN_ERROR)
    word = text.split(" ", 1)[0].split("<", 1)[0]
    return _factor(word) if NUMBER.fullmatch(word) else None


def fields_of(text: str) -> dict[str, str]:
    """The members of a structure {a=1, b=2} as text; empty for an address."""
    from mmtwin.recordings.strace_lines import split_arguments

    text = text.strip()
    if not text.startswith("{"):
        return {}
    parts, _ = split_arguments(text[1:].removesuffix("}"))
    pairs = (part.partition("=") for part in parts)
    return {name.strip(): value for name, equals, value in pairs if equals}


def items_of(text: str) -> list[str]:
    """The items of an array [a, b] as text; empty for an address."""
    from mmtwin.recordings.strace_lines import split_arguments

    text = text.strip()
    if not text.startswith("["):
        return []
    return split_arguments(text[1:].removesuffix("]"))[0]
