"""Mappings without a file's pages: the vdso, whose pages are those of the kernel's image, vvar and
devices, whose memory has no struct page (mm/mmap.c: special_mapping_fault(),
arch/x86/entry/vdso/vma.c).
"""

import numpy as np

from mmtwin.kernel.constants import PG_hole, PG_reserved
from mmtwin.kernel.mman import VM_MIXEDMAP

VM_FAULT_SIGBUS, VM_FAULT_NOPAGE = 0x2, 0x100
# Device memory lies behind all RAM: the pfns that entries get where nobody says better.
DEVICE_PFN = 0xE0000


def image_page(machine, name, index):
    """A page of the kernel's image for a special mapping: the same whenever it is asked for, -1 if
    the machine has none reserved.
    """
    paging = machine.paging
    if not paging.special_pfns:
        flags = machine.view("page")["flags"][machine.min_pfn : machine.max_pfn]
        reserved = np.flatnonzero((flags & (PG_reserved | PG_hole)) == PG_reserved)
        paging.special_pfns = [machine.min_pfn + int(place) for place in reserved[-2:-66:-1]]
    key = (name, index)
    if key not in paging.specials:
        if not paging.special_pfns:
            return -1
        paging.specials[key] = paging.special_pfns.pop(0)
    return paging.specials[key]


def special_fault(vma, pgoff):
    """vm_ops->fault() of a special mapping or a device: (pfn, VM_FAULT_*).

    NOPAGE: the entry is inserted as it is, without counting (vmf_insert_pfn()).
    """
    machine = vma.vm_mm.machine
    index = (pgoff - vma.vm_pgoff) if vma.vm_file is None else pgoff
    if vma.vm_file is not None:
        return DEVICE_PFN + index, VM_FAULT_NOPAGE
    pfn = image_page(machine, vma.vm_name, index)
    if pfn < 0:
        return -1, VM_FAULT_SIGBUS
    if vma.vm_name.startswith("[vvar"):
        # vvar_fault(): its first page is the kernel's variables, the others depend on clocks
        if not vma.vm_flags & VM_MIXEDMAP:
            return pfn, VM_FAULT_NOPAGE
    machine.view("page")["refcount"][pfn] += 1
    return pfn, 0
