"""ioremap(): addresses of vmalloc space for the registers of a device (mm/ioremap.c,
arch/x86/mm/ioremap.c, arch/arm64/mm/ioremap.c). Its size decides the alignment of an area.
"""

from mmtwin.kernel.align import align_up
from mmtwin.kernel.constants import COMPLAINT_VMAP, PG_hole
from mmtwin.kernel.mm import report
from mmtwin.kernel.slab_common import kfree
from mmtwin.kernel.vmalloc import __get_vm_area_node as get_vm_area_node
from mmtwin.kernel.vmalloc import drain_vmap_area_work, remove_vm_area, vmalloc_of
from mmtwin.kernel.vmalloc_defs import GFP_KERNEL, NUMA_NO_NODE, VM_IOREMAP

MASK64 = (1 << 64) - 1


def is_ram(mm, first, last):
    """Whether any page from pfn `first` to `last` is RAM of the machine (System RAM)."""
    low, high = max(first, mm.min_pfn), min(last + 1, mm.max_pfn)
    return low < high and bool(((mm.view("page")["flags"][low:high] & PG_hole) == 0).any())


def ioremap(mm, phys, size, caller):
    """Maps `size` bytes at a physical address: their address, 0 if that cannot be. ioremap().

    RAM is refused, with a complaint in mm.complaints; 0 bytes and what wraps around are refused
    in silence.
    """
    state = vmalloc_of(mm)
    last = phys + size - 1
    if not size or last > MASK64:
        return 0
    arm64 = mm.view("has")[0].pgtable_arm64
    if last >> (48 if arm64 else 52):
        if not arm64:
            report(mm, COMPLAINT_VMAP, phys, f"ioremap: invalid physical address {phys:x}")
        return 0
    if is_ram(mm, phys >> mm.page_shift, last >> mm.page_shift):
        text = f"ioremap on RAM at {phys:#018x} - {last:#018x}"
        report(mm, COMPLAINT_VMAP, phys, "WARNING: ioremap of RAM" if arm64 else text)
        return 0
    offset = phys & (1 << mm.page_shift) - 1
    phys -= offset
    size = align_up(size + offset, 1 << mm.page_shift)
    vm = get_vm_area_node(
        mm, size, ioremap_align(state, size), mm.page_shift, VM_IOREMAP, mm.vmalloc_start,
        mm.vmalloc_end, NUMA_NO_NODE, GFP_KERNEL, caller,
    )  # fmt: skip
    if vm is None:
        return 0
    vm.phys = phys
    if not map_range(mm, state.tables, vm.address, phys, size):
        kfree(mm, remove_vm_area(mm, vm.address).object)
        return 0
    return vm.address + offset


def ioremap_align(state, size):
    """__get_vm_area_node(): the size rounded up to a power of two, IOREMAP_MAX_ORDER at most."""
    order = max((size - 1).bit_length(), state.page_shift)
    return 1 << min(order, state.tables.shifts[min(2, state.tables.levels - 1)])


def map_range(mm, tables, address, phys, size):
    """ioremap_page_range(): by entries of the second level where both addresses and the rest are
    aligned (CONFIG_HAVE_ARCH_HUGE_VMAP); those of the third are not used.
    """
    end = address + size
    while address < end:
        huge = not (address | phys) % tables.pmd_size and end - address >= tables.pmd_size
        if huge:
            step, shift = tables.pmd_size, tables.shifts[1]
        else:
            stop = min(end, (address // tables.pmd_size + 1) * tables.pmd_size)
            step, shift = stop - address, mm.page_shift
        first = phys >> mm.page_shift
        if not tables.map_pages(address, range(first, first + (step >> mm.page_shift)), shift):
            return False
        address += step
        phys += step
    return True


def iounmap(mm, address):
    """Gives up what ioremap() gave. iounmap(). What is no such address is a complaint."""
    page = address & -(1 << mm.page_shift)
    state = vmalloc_of(mm)
    area = state.find(page)
    inside = mm.vmalloc_start <= page < mm.vmalloc_end
    if area is None or area.vm is None or not area.vm.flags & VM_IOREMAP:
        if inside or not mm.view("has")[0].pgtable_arm64:
            report(mm, COMPLAINT_VMAP, address, f"iounmap: bad address {address:016x}")
        return
    kfree(mm, remove_vm_area(mm, page).object)
    drain_vmap_area_work(mm)
