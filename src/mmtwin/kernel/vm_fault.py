"""A page fault on its way (struct vm_fault), and what every kind of fault needs: its table of
PTEs, a page, an entry (mm/memory.c).
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import __GFP_COMP, __GFP_ZERO, PG_referenced
    from mmtwin.kernel.memory_defs import GFP_HIGHUSER_MOVABLE
    from mmtwin.kernel.mman import VM_RAND_READ, VM_SEQ_READ, VM_SHARED, VM_WRITE
    from mmtwin.kernel.page_alloc import alloc_pages
    from mmtwin.kernel.paging import pte_mkdirty, pte_mkwrite, pte_pfn, vm_get_page_prot
    from mmtwin.kernel.pgtable import table_alloc, table_populate
    from mmtwin.kernel.rmap import linear_page_index
    from mmtwin.kernel.swap import lru_cache_add


class vm_fault:
    """struct vm_fault: one fault on its way; see memory.pxd."""

    def __init__(self, paging):
        self.paging = paging
        self.machine = paging.machine


def take_vmf(mm, vma, address, flags):
    """The machine's vm_fault, set up for a fault."""
    paging = mm.paging
    if paging.vmf is None:
        paging.vmf = vm_fault(paging)
    vmf = paging.vmf
    vmf.mm = mm
    vmf.vma = vma
    vmf.address = address & paging.page_mask
    vmf.flags = flags
    vmf.pgoff = linear_page_index(vma, address)
    vmf.prealloc_pte = -1
    vmf.page = -1
    vmf.cow_page = -1
    return vmf


def alloc_pte(vmf):
    """pte_alloc(): whether there is a table of PTEs now."""
    if vmf.pte >= 0:
        return True
    vmf.prealloc_pte = table_alloc(vmf.paging, 0)
    if vmf.prealloc_pte < 0:
        return False
    install_pte(vmf)
    return True


def install_pte(vmf):
    """pmd_install(): the table in reserve is hung in."""
    table_populate(vmf.mm, vmf.pmd, vmf.prealloc_pte, 0)
    vmf.prealloc_pte = -1
    vmf.pte = pte_slot(vmf, vmf.address)


def pte_slot(vmf, address):
    """pte_offset_map(): the slot of the PTE of an address in the fault's own table."""
    paging = vmf.paging
    table = pte_pfn(paging, vmf.machine.ram[vmf.pmd])
    return (table << paging.bits) + ((address >> paging.page_shift) & paging.masks[0])


def prealloc(vmf):
    """vmf->prealloc_pte: a table in reserve where none hangs; False without memory."""
    if vmf.pte >= 0 or vmf.prealloc_pte >= 0:
        return True
    vmf.prealloc_pte = table_alloc(vmf.paging, 0)
    return vmf.prealloc_pte >= 0


def alloc_user_page(vmf, zeroed):
    """alloc_zeroed_user_highpage_movable(), alloc_page_vma(GFP_HIGHUSER_MOVABLE)."""
    gfp = GFP_HIGHUSER_MOVABLE
    if vmf.machine.has.user_gfp_comp:
        gfp |= __GFP_COMP
    if zeroed:
        gfp |= __GFP_ZERO
    return alloc_pages(vmf.machine, gfp, 0, -1)


def lru_cache_add_vma(vma, pfn):
    """folio_add_lru_vma(): a new page onto the LRU lists; where MGLRU marks it, in areas that are
    read neither in order nor at random (lru_gen_in_fault()).
    """
    machine = vma.vm_mm.machine
    if machine.has.lru_fault_referenced and not vma.vm_flags & (VM_SEQ_READ | VM_RAND_READ):
        machine.page[pfn].flags |= PG_referenced
    lru_cache_add(machine, pfn)


def copy_user_page(machine, to, source):
    """copy_user_highpage(), where the machine keeps contents."""
    if not machine.contents:
        return
    base = to << machine.page_shift >> 3
    other = source << machine.page_shift >> 3
    for place in range(1 << (machine.page_shift - 3)):
        machine.ram[base + place] = machine.ram[other + place]


def page_prot(vmf):
    """vma->vm_page_prot: without write where the file must hear of the first write
    (vma_wants_writenotify()).
    """
    flags = vmf.vma.vm_flags
    if flags & VM_SHARED and flags & VM_WRITE and vmf.vma.vm_file is not None:
        if not vmf.vma.vm_file.shmem and not vmf.vma.vm_file.device:
            flags &= ~VM_SHARED
    return vm_get_page_prot(vmf.paging, flags)


def maybe_mkwrite(vmf, entry):
    """maybe_mkwrite(pte_mkdirty()): writable where the area is."""
    entry = pte_mkdirty(vmf.paging, entry)
    if vmf.vma.vm_flags & VM_WRITE:
        return pte_mkwrite(vmf.paging, entry)
    return entry
