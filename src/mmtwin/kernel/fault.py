"""The way into a page fault: what the CPU reports, which area it is in, whether the access is
allowed, and the signal if it is not (arch/x86/mm/fault.c: do_user_addr_fault();
arch/arm64/mm/fault.c: do_page_fault()).
"""

import cython

from mmtwin.kernel.expand_stack import expand_downwards
from mmtwin.kernel.mm_types import mm_struct
from mmtwin.kernel.rss_stat import TaskRss

if not cython.compiled:
    from mmtwin.kernel.memory import handle_mm_fault
    from mmtwin.kernel.memory_defs import (
        FAULT_FLAG_INSTRUCTION,
        FAULT_FLAG_USER,
        FAULT_FLAG_WRITE,
        VM_FAULT_MAJOR,
        VM_FAULT_OOM,
        VM_FAULT_SIGBUS,
        VM_FAULT_SIGSEGV,
    )
    from mmtwin.kernel.mman import VM_EXEC, VM_GROWSDOWN, VM_READ, VM_WRITE
    from mmtwin.kernel.vma_tree import mm_find_vma

SIGBUS, SIGSEGV, SIGKILL = 7, 11, 9
SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR = 1, 2, 2


class FaultResult:
    """What became of a fault: `major` if a file was read, `minor` if it was only mapped; or a
    `signal` with its `si_code`, 0 for none.
    """

    def __init__(self, signal=0, si_code=0, major=False):
        self.signal = signal
        self.si_code = si_code
        self.major = major
        self.minor = not signal and not major

    def __repr__(self):
        if self.signal:
            return f"<fault: signal {self.signal}, si_code {self.si_code}>"
        return "<fault: major>" if self.major else "<fault: minor>"


MINOR, MAJOR = FaultResult(), FaultResult(major=True)


def decode_x86(error_code):
    """FAULT_FLAG_* of an x86 page fault's error code: X86_PF_WRITE 0x2, _USER 0x4, _INSTR 0x10,
    and _PROT 0x1, the page was present (arch/x86/include/asm/trap_pf.h).
    """
    flags = FAULT_FLAG_USER if error_code & 0x4 else 0
    if error_code & 0x2:
        flags |= FAULT_FLAG_WRITE
    return flags | FAULT_FLAG_INSTRUCTION if error_code & 0x10 else flags


def decode_esr(esr):
    """FAULT_FLAG_* of arm64's ESR_EL1: exception class in bits 26 to 31 (0x20, 0x21 instruction
    aborts, 0x24, 0x25 data aborts, the odd ones from the kernel), WnR 0x40. A cache maintenance
    (CM 0x100) is a read.
    """
    kind = esr >> 26 & 0x3F
    flags = 0 if kind & 1 else FAULT_FLAG_USER
    if kind & 0x3E == 0x20:
        return flags | FAULT_FLAG_INSTRUCTION
    return flags | FAULT_FLAG_WRITE if esr & 0x40 and not esr & 0x100 else flags


def access_error(vma, flags, present, arm64):
    """access_error(): whether an area forbids an access.

    x86 lets any access right do for a read of what is not present; a read that faulted on a page
    that is present is forbidden. arm64 asks execution for VM_EXEC, a read for any right.
    """
    if flags & FAULT_FLAG_WRITE:
        return not vma.vm_flags & VM_WRITE
    if arm64:
        wanted = VM_READ | VM_WRITE | VM_EXEC
        if flags & FAULT_FLAG_INSTRUCTION:
            wanted = VM_EXEC
        return not vma.vm_flags & wanted
    return present or not vma.vm_flags & (VM_READ | VM_WRITE | VM_EXEC)


def mm_of(task):
    """The mm_struct of a task, or the mm_struct itself."""
    if isinstance(task, mm_struct):
        return task
    return task.mm


def current_rss(task):
    """The TaskRss of a task, or of an mm without one; made when it is first asked for."""
    rss = getattr(task, "task_rss", None)
    if rss is None:
        rss = TaskRss(mm_of(task))
        task.task_rss = rss
    return rss


def set_current(machine, task):
    """`task` (a sched.Task, an mm_struct, or None for a kernel thread) runs on: faults and changes
    of rss_stat are its.
    """
    if task is None:
        machine.paging.current = None
        return
    rss = current_rss(task)
    rss.mm = mm_of(task)
    machine.paging.current = rss


def grow_stack(vma, address):
    """expand_stack(): whether an area that grows down reaches an address now."""
    return bool(vma.vm_flags & VM_GROWSDOWN) and expand_downwards(vma, address) == 0


def do_user_addr_fault(task, address, error_code):
    """A page fault at a user address: do_user_addr_fault(), do_page_fault().

    `task`: a sched.Task with an mm_struct, or the mm_struct; `error_code`: x86's, or arm64's ESR.
    Returns a FaultResult; the area's stack may have grown.
    """
    mm = mm_of(task)
    p = mm.paging
    rss = current_rss(task)
    rss.mm = mm
    p.current = rss
    flags = decode_esr(error_code) if p.arm64 else decode_x86(error_code)
    present = not p.arm64 and error_code & 0x1 != 0
    vma = mm_find_vma(mm, address)
    if vma is None:
        return FaultResult(SIGSEGV, SEGV_MAPERR)
    if vma.vm_start > address and not grow_stack(vma, address):
        return FaultResult(SIGSEGV, SEGV_MAPERR)
    if access_error(vma, flags, present, p.arm64 != 0):
        return FaultResult(SIGSEGV, SEGV_ACCERR)
    result = handle_mm_fault(mm, vma, address, flags)
    if result & VM_FAULT_OOM:
        return FaultResult(SIGKILL, 0)  # pagefault_out_of_memory()
    if result & VM_FAULT_SIGBUS:
        return FaultResult(SIGBUS, BUS_ADRERR)
    if result & VM_FAULT_SIGSEGV:
        return FaultResult(SIGSEGV, SEGV_MAPERR)
    return MAJOR if result & VM_FAULT_MAJOR else MINOR
