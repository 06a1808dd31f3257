"""A program while exec loads it, and its new address space (fs/exec.c).

The new mm_struct is made beside the old one, with a stack that holds the program's arguments, and
takes its place once the file is known to be good (begin_new_exec()): an error before leaves the
task as it was, one behind it kills the task (`linux_binprm.point_of_no_return`).
"""

from mmtwin.kernel.expand_stack import expand_downwards, insert_vm_struct
from mmtwin.kernel.fault import set_current
from mmtwin.kernel.fork_mm import complete_vfork_done, mm_alloc, mmput
from mmtwin.kernel.gup import access_process_vm
from mmtwin.kernel.memory_copy import change_protection, move_page_tables
from mmtwin.kernel.memory_unmap import free_table_range
from mmtwin.kernel.mm_types import vm_area_struct
from mmtwin.kernel.mman import (
    EACCES,
    EFAULT,
    ENOMEM,
    MM_ANONPAGES,
    RLIMIT_STACK,
    VM_ACCOUNT,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYWRITE,
    VM_RAND_READ,
    VM_READ,
    VM_SEQ_READ,
    VM_SOFTDIRTY,
    VM_WRITE,
)
from mmtwin.kernel.randomize import (
    arch_align_stack,
    arch_mmap_rnd,
    randomize_stack_top,
    stack_rnd_mask,
)
from mmtwin.kernel.rss_stat import add_mm_counter, sync_mm_rss
from mmtwin.kernel.unmapped_area import setup_mmap_base

E2BIG, EIO = 7, 5
BINPRM_BUF_SIZE = 256
MAX_ARG_STRLEN_PAGES = 32
ARG_MAX = 131072
_STK_LIM = 8 << 20
STACK_EXPAND = 131072  # setup_arg_pages(): room that a stack has from the start
MMAP_MIN_ADDR = 65536

VM_STACK_FLAGS = (
    VM_GROWSDOWN | VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_ACCOUNT
)
VM_STACK_INCOMPLETE_SETUP = VM_RAND_READ | VM_SEQ_READ
EXSTACK_DEFAULT, EXSTACK_DISABLE_X, EXSTACK_ENABLE_X = range(3)


class linux_binprm:
    """struct linux_binprm: what exec knows of the program while it loads it.

    `p`: the stack pointer; `exec`: address of the file's name on the stack; `mm`: the new
    mm_struct until the task has it; `buf`: the file's first bytes.
    """

    def __init__(self, machine, task, file, filename, context):
        self.machine = machine
        self.task = task
        self.file = file
        self.filename = self.interp = filename
        self.context = context
        self.mm = self.vma = self.interpreter = None
        self.p = self.exec = self.argmin = self.acct_pages = 0
        self.argc = self.envc = 0
        self.rlim_stack = _STK_LIM
        self.buf = b""
        self.point_of_no_return = False


def default_map_window(machine):
    """DEFAULT_MAP_WINDOW: where addresses end for those who do not ask for more."""
    if machine.view("has")[0].pgtable_arm64:
        return 1 << min(machine.va_bits, 48)
    return (1 << 47) - (1 << machine.page_shift)


def stack_top_max(machine):
    """STACK_TOP_MAX: where the stack is while its place is not known yet."""
    if machine.view("has")[0].pgtable_arm64 or machine.va_bits <= 48:
        return default_map_window(machine)
    return (1 << (machine.va_bits - 1)) - (1 << machine.page_shift)


# ---- the new stack


def bprm_mm_init(bprm):
    """The new mm_struct with a stack of one page at the top of all addresses. 0 or -ERRNO.

    bprm_mm_init(), __bprm_mm_init(); create_init_stack_vma() since 6.16.
    """
    machine, old = bprm.machine, bprm.task.mm
    mm = bprm.mm = mm_alloc(machine, bprm.task)
    if mm is None:
        return -ENOMEM
    if old is not None:
        mm.rlimits = dict(old.rlimits)
    mm.rlimits |= bprm.context.rlimits
    bprm.rlim_stack = mm.rlimits[RLIMIT_STACK]
    page = 1 << machine.page_shift
    end = stack_top_max(machine)
    mm.task_size = end
    bprm.vma = vma = vm_area_struct(
        mm, end - page, end, VM_SOFTDIRTY | VM_STACK_FLAGS | VM_STACK_INCOMPLETE_SETUP
    )
    error = insert_vm_struct(mm, vma)
    if error:
        return error
    mm.stack_vm = mm.total_vm = 1
    bprm.p = end - 8
    return 0


def bprm_stack_limits(bprm):
    """How far down strings may go: a quarter of the stack's limit less the pointers to them."""
    limit = max(min(_STK_LIM // 4 * 3, bprm.rlim_stack // 4), ARG_MAX)
    pointers = (max(bprm.argc, 1) + bprm.envc) * 8
    if limit <= pointers:
        return -E2BIG
    bprm.argmin = bprm.p - (limit - pointers)
    return 0


def get_arg_page(bprm, address):
    """The stack reaches down to an address; whether it could (get_arg_page())."""
    if address >= bprm.vma.vm_start:
        return True
    return expand_downwards(bprm.vma, address) == 0


def copy_string(bprm, text):
    """A string onto the stack, below what is there: a page at a time, the highest first.

    `text`: bytes without the final NUL. 0 or -ERRNO (copy_strings(), copy_string_kernel()).
    """
    page = 1 << bprm.machine.page_shift
    data = text + b"\0"
    if len(data) > MAX_ARG_STRLEN_PAGES * page:
        return -E2BIG
    end = bprm.p
    bprm.p -= len(data)
    if bprm.p < bprm.argmin:
        return -E2BIG
    while end > bprm.p:
        start = max(bprm.p, (end - 1) & -page)
        if not get_arg_page(bprm, start):
            return -E2BIG
        piece = data[start - bprm.p : end - bprm.p]
        if access_process_vm(bprm.mm, start, piece, True) != len(piece):
            return -E2BIG
        acct_arg_size(bprm, (bprm.vma.vm_end - bprm.vma.vm_start) // page)
        end = start
    return 0


def acct_arg_size(bprm, pages):
    """The pages of the new stack count as the old address space's until that is left
    (acct_arg_size()).
    """
    old, change = bprm.task.mm, pages - bprm.acct_pages
    if old is not None and change:
        bprm.acct_pages = pages
        add_mm_counter(old, MM_ANONPAGES, change)


def copy_strings(bprm, strings):
    """Strings onto the stack, the last first. 0 or -ERRNO."""
    for text in reversed(strings):
        error = copy_string(bprm, text)
        if error:
            return error
    return 0


def remove_arg_zero(bprm):
    """The first argument, which lies lowest, is dropped (remove_arg_zero())."""
    page = 1 << bprm.machine.page_shift
    while bprm.argc:
        size = page - bprm.p % page
        piece = access_process_vm(bprm.mm, bprm.p, size, False)
        if len(piece) != size:
            return -EFAULT
        end = piece.find(b"\0")
        bprm.p += size if end < 0 else end + 1
        if end >= 0:
            bprm.argc -= 1
            break
    return 0


def shift_arg_pages(bprm, shift):
    """The stack's area and pages move down by `shift` bytes: shift_arg_pages(),
    relocate_vma_down() since 6.12.
    """
    mm, vma = bprm.mm, bprm.vma
    start, end = vma.vm_start, vma.vm_end
    if mm.tree.find_vma(start - shift) is not vma:
        return -EFAULT
    mm.tree.adjust(vma, start - shift, end, vma.vm_pgoff)
    if move_page_tables(vma, start, vma, start - shift, end - start) != end - start:
        return -ENOMEM
    low = end - shift if end - shift > start else start
    free_table_range(mm, low, end, end - shift, 0)
    mm.tree.adjust(vma, start - shift, end - shift, vma.vm_pgoff)
    return 0


def setup_arg_pages(bprm, stack_top, executable_stack, level):
    """The stack goes to its place, gets its final flags and 128 KiB of room. 0 or -ERRNO.

    `stack_top`: where it should end; `executable_stack`: EXSTACK_*; `level`: see randomize.py.
    setup_arg_pages().
    """
    mm, vma, machine = bprm.mm, bprm.vma, bprm.machine
    page = 1 << machine.page_shift
    stack_top = (arch_align_stack(machine, stack_top, level) + page - 1) & -page
    if stack_top < MMAP_MIN_ADDR or vma.vm_end - vma.vm_start >= stack_top - MMAP_MIN_ADDR:
        return -ENOMEM
    shift = vma.vm_end - stack_top
    bprm.p -= shift
    mm.arg_start = bprm.p
    bprm.exec -= shift
    flags = VM_STACK_FLAGS | mm.def_flags
    if executable_stack == EXSTACK_ENABLE_X:
        flags |= VM_EXEC
    if vma.vm_flags != flags | VM_STACK_INCOMPLETE_SETUP:
        # mprotect_fixup(): no neighbours to merge with; it loses VM_SOFTDIRTY
        vma.vm_flags = flags | VM_STACK_INCOMPLETE_SETUP
        change_protection(vma, vma.vm_start, vma.vm_end, vma.vm_flags)
    if shift:
        error = shift_arg_pages(bprm, shift)
        if error:
            return error
    vma.vm_flags = flags
    size = vma.vm_end - vma.vm_start
    expand = min(size + STACK_EXPAND, bprm.rlim_stack & -page)
    mm.start_stack = bprm.p
    return -EFAULT if expand_downwards(vma, vma.vm_end - expand) else 0


# ---- the point of no return


def begin_new_exec(bprm):
    """The task leaves its old address space for the new one, which it may share with nobody
    (exec_mmap()): a vfork()ed child so wakes its parent. Behind it, errors kill.
    """
    task, old = bprm.task, bprm.task.mm
    bprm.point_of_no_return = True
    bprm.mm.exe_file = bprm.file
    bprm.mm.owner = task
    acct_arg_size(bprm, 0)
    complete_vfork_done(task)
    if old is not None:
        sync_mm_rss(old)
    task.mm = bprm.mm
    set_current(bprm.machine, task)
    task.comm = bprm.filename.rsplit("/", 1)[-1][:15]
    if old is not None:
        mmput(bprm.machine, old)


def setup_new_exec(bprm):
    """Where mmap begins and addresses end (setup_new_exec())."""
    mm, level = bprm.mm, bprm.context.randomize
    mm.task_size = default_map_window(bprm.machine)
    if bprm.machine.va_bits > 48:
        mm.task_size = stack_top_max(bprm.machine)
    stack = stack_rnd_mask(bprm.machine) << bprm.machine.page_shift if level else 0
    setup_mmap_base(mm, bprm.rlim_stack, arch_mmap_rnd(bprm.machine, level), stack)
    mm.randomized = bool(level)
    base = bprm.context.drawn.get("mmap_base", mm.mmap_base)
    mm.mmap_legacy_base += mm.mmap_base - base  # both are moved by the same, the other way
    mm.mmap_base = base


def final_stack(bprm, executable_stack):
    """setup_arg_pages() at randomize_stack_top(STACK_TOP)."""
    level = bprm.context.randomize
    top = randomize_stack_top(bprm.machine, default_map_window(bprm.machine), level)
    if "stack_top" in bprm.context.drawn:
        top, level = bprm.context.drawn["stack_top"], 0
    return setup_arg_pages(bprm, top, executable_stack, level)


def open_exec(bprm, name):
    """The File of a program, or -ERRNO; no name at all is the working directory: no program."""
    return bprm.context.open_exec(name) if name else -EACCES
