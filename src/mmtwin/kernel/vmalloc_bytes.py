"""The pointers in vmalloc's structures, as bytes: struct vmap_area and struct vm_struct are slab
objects, and kmemleak follows what they hold (include/linux/vmalloc.h, mm/vmalloc.c).
"""

from mmtwin.kernel.constants import CHECK_KMEMLEAK

MASK64 = (1 << 64) - 1
VMAP_AREA_RB_NODE = 16
VMAP_AREA_VM = 56
VM_STRUCT_ADDR = 8
VM_STRUCT_PAGES = 32


def store_pointer(mm, object, offset, value):
    """Writes a field of a structure whose bytes are kept and which is modelled."""
    if mm.contents and object > 0:
        mm.view("ram")[(object + offset - mm.page_offset & MASK64) >> 3] = value


def setup_vmalloc_vm(mm, area, vm, gfp):
    """setup_vmalloc_vm(): the area and its vm_struct know each other. Of the vmap_area kmemleak
    scans what lies behind its bounds only (alloc_vmap_area()).
    """
    store_pointer(mm, area.object, VMAP_AREA_VM, vm.object)
    store_pointer(mm, vm.object, VM_STRUCT_ADDR, vm.address)
    if mm.checkers & CHECK_KMEMLEAK and area.object > 0:
        tracked = mm.kmemleak.tree.at.get(area.object)
        if tracked is not None and not tracked.areas:
            size = tracked.size - VMAP_AREA_RB_NODE
            mm.kmemleak.scan_area(area.object + VMAP_AREA_RB_NODE, size, gfp)


def forget_vm(mm, area):
    """find_unlink_vmap_area(): an area that is given up points to no vm_struct."""
    store_pointer(mm, area.object, VMAP_AREA_VM, 0)


def set_pages(mm, vm):
    """__vmalloc_area_node(): the vm_struct points to its array of pages."""
    store_pointer(mm, vm.object, VM_STRUCT_PAGES, vm.pages)


def kmemleak_vmalloc(mm, vm, size, gfp):
    """__vmalloc_node_range(): memory of whole pages is tracked."""
    if mm.checkers & CHECK_KMEMLEAK:
        page = 1 << mm.page_shift
        mm.kmemleak.vmalloc(vm.object, vm.address, -(-size // page) * page, gfp)


def kmemleak_vfree(mm, address):
    """vfree(): memory is tracked no longer."""
    if mm.checkers & CHECK_KMEMLEAK:
        mm.kmemleak.free(address)


def structure_addresses(mm):
    """What the kernel's trees of areas lead to: every vmap_area."""
    state = mm.vmalloc
    areas = [*state.busy(), *state.lazy(), *state.free]
    areas += [area for node in state.nodes for pool in node.pool.values() for area in pool]
    found = [area.object for area in areas]
    found += [object for object in state.spare.values() if object]
    return [address for address in found if address > 0]


def stack_addresses(mm, stack):
    """The pointers to a kernel stack: task->stack and, if it is mapped, task->stack_vm_area."""
    area = mm.vmalloc.find(stack.low) if stack.area and mm.vmalloc is not None else None
    return [stack.low] if area is None or area.vm is None else [stack.low, area.vm.object]
