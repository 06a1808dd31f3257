"""execve(): which format loads a program (fs/exec.c, fs/binfmt_script.c).

The new address space with the arguments on its stack: binprm.py; what an ELF file then puts into
it: binfmt_elf.py.
"""

from mmtwin.kernel.binfmt_elf import load_elf_binary
from mmtwin.kernel.binprm import (
    BINPRM_BUF_SIZE,
    EIO,
    acct_arg_size,
    bprm_mm_init,
    bprm_stack_limits,
    copy_string,
    copy_strings,
    linux_binprm,
    open_exec,
    remove_arg_zero,
)
from mmtwin.kernel.elf import kernel_read
from mmtwin.kernel.fault import set_current
from mmtwin.kernel.fork_mm import mmput
from mmtwin.kernel.mman import (
    ENOENT,
    ENOEXEC,
)

ELOOP = 40
MAX_REWRITES = 5  # exec_binprm(): scripts that name scripts


class ExecContext:
    """What exec takes from the world around it.

    `open_exec(path)`: a File, or -ERRNO. `randomize`: as in randomize.py, 0 for no ASLR.
    `auxv`: values that differ from a root process's on the twin's own CPU, by AT_* number:
    AT_HWCAP, AT_UID ... `random_bytes`: the 16 of AT_RANDOM, drawn if None; `rlimits`: RLIMIT_* ->
    value, changes to those of the old address space.
    `drawn`: what a kernel drew, where it is known, so that it is not drawn here: addresses
    "mmap_base", "stack_top" (end of the stack's area), "first_page" (of the program),
    "start_brk", "vdso" (lowest page of its areas), "platform" (AT_PLATFORM, 0: not moved) and
    with it "stack_pointer" (0: in the same page).
    """

    def __init__(
        self, open_exec, randomize=0, auxv=None, random_bytes=None, rlimits=None, drawn=None
    ):
        self.open_exec = open_exec
        self.randomize = randomize
        self.auxv = auxv or {}
        self.random_bytes = random_bytes
        self.rlimits = rlimits or {}
        self.drawn = drawn or {}


def load_script(bprm):
    """#! files: the interpreter's name, its one argument and the script's name come first
    (load_script()). 0 with `bprm.interpreter`, or -ERRNO.
    """
    if bprm.buf[:2] != b"#!":
        return -ENOEXEC
    line, newline, _ = bprm.buf[2:].partition(b"\n")
    if not newline:
        text = line.lstrip(b" \t")
        if not text or not any(byte in b" \t\0" for byte in text):
            return -ENOEXEC
        line = line[:-1]
    line = line.rstrip(b" \t").lstrip(b" \t")
    name = line
    argument = None
    for place, byte in enumerate(line):
        if byte in b" \t\0":
            name = line[:place]
            if byte:
                argument = line[place:].lstrip(b" \t").split(b"\0")[0]
            break
    if not line:
        return -ENOEXEC
    error = remove_arg_zero(bprm)
    for text in (bprm.interp.encode(), argument, name):
        if text is None:
            continue
        error = error or copy_string(bprm, text)
        if error:
            return error
        bprm.argc += 1
    bprm.interp = name.decode("utf-8", "surrogateescape")
    file = open_exec(bprm, bprm.interp)
    if isinstance(file, int):
        return file
    bprm.interpreter = file
    return 0


def search_binary_handler(bprm):
    """The format that knows the file's first bytes loads it: 0 or -ERRNO."""
    head = kernel_read(bprm.file, 0, min(BINPRM_BUF_SIZE, bprm.file.size))
    if head is None:
        return -EIO
    bprm.buf = head.ljust(BINPRM_BUF_SIZE, b"\0")
    result = -ENOENT
    for load_binary in (load_script, load_elf_binary):
        result = load_binary(bprm)
        if bprm.point_of_no_return or result != -ENOEXEC:
            break
    return result


def exec_binprm(bprm):
    """The file is loaded, or the interpreter that it names, or that one's. 0 or -ERRNO."""
    for _ in range(MAX_REWRITES + 1):
        result = search_binary_handler(bprm)
        if result < 0 or bprm.interpreter is None:
            return result
        bprm.file, bprm.interpreter = bprm.interpreter, None
    return -ELOOP


def bprm_strings(bprm, argv, envp):
    """File name, environment and arguments on the new stack. 0 or -ERRNO."""
    bprm.argc, bprm.envc = len(argv), len(envp)
    error = bprm_stack_limits(bprm)
    error = error or copy_string(bprm, bprm.filename.encode("utf-8", "surrogateescape"))
    bprm.exec = bprm.p
    error = error or copy_strings(bprm, envp) or copy_strings(bprm, argv)
    if not error and not bprm.argc:  # dcd46d897adb, 5.18 and stable: argv[0] always exists
        error = copy_string(bprm, b"")
        bprm.argc = 1
    return error


def do_execve(machine, task, filename, argv, envp, context, file=None):
    """`task` runs the program `filename` from now on: do_execveat_common().

    `task`: has `mm` (an mm_struct or None) and `comm`; `argv`, `envp`: lists of bytes or str;
    `context`: an ExecContext; `file`: the File, if it is open already. Returns 0, or -ERRNO; the
    task is to die of SIGSEGV if the error came too late to undo: `task.mm` is the new one then.
    """
    if file is None:
        file = context.open_exec(filename)
    if isinstance(file, int):
        return file
    bprm = linux_binprm(machine, task, file, filename, context)
    error = bprm_mm_init(bprm)
    set_current(machine, task)
    error = error or bprm_strings(bprm, as_bytes(argv), as_bytes(envp)) or exec_binprm(bprm)
    if bprm.mm is not None and not bprm.point_of_no_return:
        acct_arg_size(bprm, 0)
        mmput(machine, bprm.mm)
    return error


def exec_file(machine, file, argv, envp, context, task=None, filename=None):
    """A File, whole or known by its head, is executed by `task` or by nobody's task.

    Returns the new mm_struct, or -ERRNO. `filename`: as execve() was given it.
    """
    task = task or Nobody()
    error = do_execve(machine, task, filename or file.path, argv, envp, context, file)
    return error or task.mm


class Nobody:
    """A task that is only its address space."""

    def __init__(self):
        self.mm = None
        self.comm = ""


def as_bytes(strings):
    """Texts as the kernel sees them; they end at their first NUL."""
    return [
        (text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text))
        .split(b"\0")[0]
        for text in strings
    ]
