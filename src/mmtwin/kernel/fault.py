"""The way into a page fault: what the CPU reports, which area it is in, whether the access is
allowed, and the signal if it is not (arch/x86/mm/fault.c: do_user_addr_fault();
arch/arm64/mm/fault.c: do_page_fault()).
"""

from dataclasses import dataclass

from mmtwin.kernel import rss_stat
from mmtwin.kernel.expand_stack import expand_downwards
from mmtwin.kernel.memory import handle_mm_fault
from mmtwin.kernel.memory_defs import (
    FAULT_FLAG_INSTRUCTION,
    FAULT_FLAG_USER,
    FAULT_FLAG_WRITE,
    VM_FAULT_MAJOR,
    VM_FAULT_OOM,
    VM_FAULT_SIGBUS,
)
from mmtwin.kernel.mman import VM_EXEC, VM_READ, VM_WRITE

# arch/x86/include/asm/trap_pf.h
X86_PF_PROT, X86_PF_WRITE, X86_PF_USER, X86_PF_INSTR = 0x1, 0x2, 0x4, 0x10
# ESR_ELx: exception class in bits 26 to 31, WnR, CM, fault status code
ESR_EC_SHIFT, ESR_WNR, ESR_CM, ESR_FSC = 26, 0x40, 0x100, 0x3F
EC_IABT_LOW, EC_IABT_CUR, EC_DABT_LOW, EC_DABT_CUR = 0x20, 0x21, 0x24, 0x25
SIGBUS, SIGSEGV, SIGKILL = 7, 11, 9
SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR = 1, 2, 2


@dataclass(frozen=True)
class FaultResult:
    """What became of a fault: `major` if a file was read; else a signal with its si_code, or 0.

    `minor` and `major` are both False where a signal came.
    """

    signal: int = 0
    si_code: int = 0
    major: bool = False

    @property
    def minor(self):
        """Whether the page was there and only had to be mapped."""
        return not self.signal and not self.major


def decode_x86(error_code):
    """(write, instruction, user) of an x86 page fault's error code."""
    return (
        bool(error_code & X86_PF_WRITE),
        bool(error_code & X86_PF_INSTR),
        bool(error_code & X86_PF_USER),
    )


def decode_esr(esr):
    """(write, instruction, user) of arm64's ESR_EL1. A cache maintenance is a read."""
    kind = esr >> ESR_EC_SHIFT & 0x3F
    write = kind in (EC_DABT_LOW, EC_DABT_CUR) and esr & ESR_WNR and not esr & ESR_CM
    return bool(write), kind in (EC_IABT_LOW, EC_IABT_CUR), kind in (EC_DABT_LOW, EC_IABT_LOW)


def access_error(vma, write, instruction, present, arm64):
    """access_error(): whether an area forbids an access.

    x86 lets any access right do for a read of what is not present; a read that faulted on a page
    that is present is forbidden. arm64 asks for the right that the access needs, a read may have
    any but, on CPUs with execute-only mappings, VM_EXEC.
    """
    if write:
        return not vma.vm_flags & VM_WRITE
    if arm64:
        wanted = VM_EXEC if instruction else VM_READ | VM_WRITE | VM_EXEC
        return not vma.vm_flags & wanted
    return bool(present) or not vma.vm_flags & (VM_READ | VM_WRITE | VM_EXEC)


def current_rss(task):
    """The TaskRss of a task, or of an mm without one; made when it is first asked for."""
    rss = getattr(task, "task_rss", None)
    if rss is None:
        mm = getattr(task, "mm", task)
        rss = rss_stat.TaskRss(mm)
        task.task_rss = rss
    return rss


def set_current(machine, task):
    """`task` (a fork.Task, an mm_struct, or None for a kernel thread) runs on: faults and changes
    of rss_stat are its.
    """
    if task is None:
        rss_stat.set_current(machine, None)
        return
    rss = current_rss(task)
    rss.mm = getattr(task, "mm", task)
    rss_stat.set_current(machine, rss)


def do_user_addr_fault(task, address, error_code):
    """A page fault at a user address: do_user_addr_fault(), do_page_fault().

    `task`: a fork.Task with an mm_struct, or the mm_struct; `error_code`: x86's, or arm64's ESR.
    Returns a FaultResult; the area's stack may have grown.
    """
    mm = getattr(task, "mm", task)
    set_current(mm.machine, task)
    arm64 = mm.paging.arm64
    write, instruction, user = decode_esr(error_code) if arm64 else decode_x86(error_code)
    present = not arm64 and error_code & X86_PF_PROT
    vma = mm.tree.find_vma(address)
    if vma is None:
        return FaultResult(SIGSEGV, SEGV_MAPERR)
    if vma.vm_start > address:
        if expand_downwards(vma, address):
            return FaultResult(SIGSEGV, SEGV_MAPERR)
    if access_error(vma, write, instruction, present, arm64):
        return FaultResult(SIGSEGV, SEGV_ACCERR)
    flags = FAULT_FLAG_USER if user else 0
    flags |= FAULT_FLAG_WRITE if write else 0
    flags |= FAULT_FLAG_INSTRUCTION if instruction else 0
    result = handle_mm_fault(mm, vma, address, flags)
    if result & VM_FAULT_OOM:
        return FaultResult(SIGKILL, 0)  # pagefault_out_of_memory()
    if result & VM_FAULT_SIGBUS:
        return FaultResult(SIGBUS, BUS_ADRERR)
    return FaultResult(major=bool(result & VM_FAULT_MAJOR))
