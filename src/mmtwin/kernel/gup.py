"""Pages got on a process's behalf: populate, and reads and writes of its memory through its tables
(mm/gup.c, mm/memory.c: __access_remote_vm()).
"""

from mmtwin.kernel.memory import handle_mm_fault
from mmtwin.kernel.memory_defs import FAULT_FLAG_REMOTE, FAULT_FLAG_WRITE, VM_FAULT_ERROR
from mmtwin.kernel.mman import (
    EFAULT,
    ENOMEM,
    VM_EXEC,
    VM_IO,
    VM_LOCKONFAULT,
    VM_MAYREAD,
    VM_MAYWRITE,
    VM_PFNMAP,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
)
from mmtwin.kernel.walk import page_of, translate, translate_slot


def faultin_page(mm, vma, address, write, flags=0):
    """faultin_page(): faults until an address can be used; 0, -EFAULT or -ENOMEM."""
    for _ in range(3):
        entry = translate(mm, address)
        if entry is not None and (not write or entry & mm.paging.write):
            return 0
        result = handle_mm_fault(mm, vma, address, flags | (FAULT_FLAG_WRITE if write else 0))
        if result & VM_FAULT_ERROR:
            return -ENOMEM if result & 1 else -EFAULT
        if write and not vma.vm_flags & VM_WRITE:
            return 0
    return 0


def populate_vma_page_range(vma, start, end):
    """populate_vma_page_range(): every page of a range is brought in, as mlock and MAP_POPULATE
    want it; how many pages, or the error of the first that cannot be.

    Private writable areas break copy on write at once; areas that must not be touched are not.
    """
    mm = vma.vm_mm
    if vma.vm_flags & VM_LOCKONFAULT or vma.vm_flags & (VM_IO | VM_PFNMAP):
        return 0
    if not vma.vm_flags & (VM_READ | VM_WRITE | VM_EXEC):
        return -EFAULT
    write = vma.vm_flags & (VM_WRITE | VM_SHARED) == VM_WRITE
    size = mm.paging.page_size
    for address in range(start, end, size):
        result = faultin_page(mm, vma, address, write)
        if result:
            return result if address == start else (address - start) // size
    return (end - start) // size


def access_process_vm(mm, address, what, write=None):
    """Reads or writes memory of a process (`access_process_vm()`): `what` is a number of bytes to
    read, or the bytes to write.

    Faults as the CPU would. Returns the bytes, or how many were written; fewer where the next
    page cannot be got. `write`: FOLL_WRITE, by default whether there are bytes to write.
    """
    data = None if isinstance(what, int) else bytes(what)
    write = data is not None if write is None else write
    length = what if data is None else len(data)
    size = mm.paging.page_size
    ram = mm.machine.view("ram").view("u1")
    parts, done = [], 0
    while done < length:
        here = address + done
        part = min(length - done, size - here % size)
        vma = mm.tree.find_vma(here)
        wanted = (VM_WRITE if write else VM_READ) | (VM_MAYWRITE if write else VM_MAYREAD)
        if vma is None or vma.vm_start > here or not vma.vm_flags & wanted:
            break
        if faultin_page(mm, vma, here, write, FAULT_FLAG_REMOTE):
            break
        pfn = page_of(mm, here)
        if not 0 <= pfn < mm.machine.max_pfn:
            break
        place = pfn * size + here % size
        if data is None:
            parts.append(bytes(ram[place : place + part]))
        else:
            ram[place : place + part] = memoryview(data[done : done + part])
            mark_written(mm, here)
        done += part
    return b"".join(parts) if data is None else done


def mark_written(mm, address):
    """What the CPU does to an entry that it writes through: young and dirty."""
    slot, entry = translate_slot(mm, address)
    mm.machine.view("ram")[slot] = entry | mm.paging.young | mm.paging.dirty
