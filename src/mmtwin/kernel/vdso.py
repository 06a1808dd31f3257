"""What exec maps beside the program: the vDSO and its data (arch/x86/entry/vdso/vma.c,
arch/arm64/kernel/vdso.c, lib/vdso/datastore.c).
"""

from mmtwin.kernel.expand_stack import install_special_mapping
from mmtwin.kernel.mman import (
    VM_DONTDUMP,
    VM_EXEC,
    VM_IO,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYWRITE,
    VM_MIXEDMAP,
    VM_PFNMAP,
    VM_READ,
    VM_SEALED,
)
from mmtwin.kernel.munmap import do_munmap
from mmtwin.kernel.randomize import get_random_long
from mmtwin.kernel.unmapped_area import get_unmapped_area

VDSO_FLAGS = VM_READ | VM_EXEC | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC
CLOCK_FLAGS = VM_READ | VM_MAYREAD | VM_IO | VM_DONTDUMP | VM_PFNMAP
PMD_SIZE = 1 << 21


def vvar_flags(has):
    """vm_flags of [vvar]."""
    if has.vvar_mixedmap:
        return VM_READ | VM_MAYREAD | VM_DONTDUMP | VM_MIXEDMAP
    return CLOCK_FLAGS if has.vvar_io else VM_READ | VM_MAYREAD | VM_PFNMAP


def vdso_addr(mm, start, length, end_of_map, level):
    """Where x86-64 asks for the vDSO: above the stack, in the same PMD (vdso_addr()).

    `start`: the stack pointer; `length` in bytes.
    """
    page = 1 << mm.machine.page_shift
    start = (start + page - 1) & -page
    end = min((start + length + PMD_SIZE - 1) & -PMD_SIZE, end_of_map) - length
    if end <= start:
        return start
    pages = ((end - start) >> mm.machine.page_shift) + 1
    # prandom draws whether or not addresses are randomized; the stack is there then
    return start + (get_random_long(mm.machine) % pages << mm.machine.page_shift if level else 0)


def arch_setup_additional_pages(mm, start_stack, end_of_map, level, drawn=None):
    """Maps vDSO and data, lowest first: [vvar], [vvar_vclock], [vdso]. 0 or -ERRNO.

    `start_stack`: the stack pointer as it is before the auxiliary vector is written; `end_of_map`:
    DEFAULT_MAP_WINDOW; `drawn`: the address that x86-64 asked for, if known.
    arch_setup_additional_pages(), map_vdso().
    """
    has = mm.machine.view("has")[0]
    page = 1 << mm.machine.page_shift
    vvar, clocks, text = (
        pages * page for pages in (has.vvar_pages, has.vvar_vclock_pages, has.vdso_pages)
    )
    length = vvar + clocks + text
    hint = 0
    if has.vdso_above_stack:
        hint = vdso_addr(mm, start_stack, length, end_of_map, level)
        hint = hint if drawn is None else drawn
    address = get_unmapped_area(mm, None, hint, length, 0, 0)
    if address < 0:
        return address
    sealed = VM_SEALED if has.sealed_sysmap else 0
    parts = [
        (address + vvar + clocks, text, VDSO_FLAGS | sealed, "[vdso]"),
        (address, vvar, vvar_flags(has) | sealed, "[vvar]"),
        (address + vvar, clocks, CLOCK_FLAGS | sealed, "[vvar_vclock]"),
    ]
    if has.pgtable_arm64:
        parts[:2] = parts[1], parts[0]
    done = []
    for start, size, flags, name in parts:
        if not size:
            continue
        error = install_special_mapping(mm, start, size, flags, name)
        if isinstance(error, int) and error < 0:
            for begin, bytes_ in done:
                do_munmap(mm, begin, bytes_)
            return error
        done.append((start, size))
    mm.vdso = address + vvar + clocks
    return 0
