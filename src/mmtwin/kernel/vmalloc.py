"""vmalloc(): memory whose addresses are in a row and whose pages need not be (mm/vmalloc.c).

An area is a range of vmalloc space (vmap_space.py) with a guard page behind it, its structures
(struct vm_struct and struct vmap_area, slab objects), an array of pages, and the entries in the
kernel's page tables (vmalloc_pgtable.py) that lead to them. `kvmalloc()` is in kvmalloc.py.

`mm.vmalloc` is the state, made when it is first needed.
"""

from mmtwin.kernel.constants import (
    COMPLAINT_VFREE,
    COMPLAINT_VMALLOC_ZERO,
    COMPLAINT_VMAP,
    USE_VMALLOC,
)
from mmtwin.kernel.kasan_vmap import kasan_map, kasan_unmap
from mmtwin.kernel.mm import report
from mmtwin.kernel.page_alloc import (
    alloc_pages,
    alloc_pages_bulk,
    free_contig_range,
    free_pages,
    split_page,
)
from mmtwin.kernel.slab_common import __kmalloc_node as kmalloc_node
from mmtwin.kernel.slab_common import kfree
from mmtwin.kernel.slub import kmem_cache_alloc_node, kmem_cache_free
from mmtwin.kernel.trace import STEPS, put_step
from mmtwin.kernel.vmalloc_bytes import (
    forget_vm,
    kmemleak_vfree,
    kmemleak_vmalloc,
    set_pages,
    setup_vmalloc_vm,
)
from mmtwin.kernel.vmalloc_complaints import warn_no_pages, warn_pages, warn_range
from mmtwin.kernel.vmalloc_defs import (
    GFP_DIRECT_RECLAIM,
    GFP_HIGHMEM,
    GFP_KERNEL,
    GFP_NOFAIL,
    GFP_NOWAIT,
    GFP_NOWARN,
    GFP_RECLAIM_MASK,
    GFP_ZERO,
    GFP_ZONES,
    NUMA_NO_NODE,
    POINTER,
    VM_ALLOC,
    VM_ALLOW_HUGE_VMAP,
    VM_FLUSH_RESET_PERMS,
    VM_MAP,
    VM_MAP_PUT_PAGES,
    VM_NO_GUARD,
    VM_UNINITIALIZED,
    VM_USERMAP,
)
from mmtwin.kernel.vmalloc_pgtable import KernelTables
from mmtwin.kernel.vmap_block import BlockVmap

BULK_REQUEST = 100  # pages that vm_area_alloc_pages() asks for at a time
CONT_PTE_BITS = {12: 16, 14: 21, 16: 21}  # CONT_PTE_SHIFT of arm64 by PAGE_SHIFT


class VmStruct:
    """struct vm_struct: what an area of vmalloc space is for.

    `address`, `size` (bytes, the guard page included), `flags` VM_*, `caller` as vmallocinfo
    prints it or "", `pfns` its pages, `phys` of an ioremap; `object` and `pages` are the addresses
    of the structure and of the array of pages (0: not modelled).
    """

    __slots__ = (
        "address", "caller", "flags", "object", "page_order", "pages", "pfns", "phys", "size",
    )  # fmt: skip

    def __init__(self, address=0, size=0, flags=0, caller="", object=0):
        self.address = address
        self.size = size
        self.flags = flags
        self.caller = caller
        self.pfns = []
        self.phys = 0
        self.page_order = 0
        self.object = object
        self.pages = 0

    def area_size(self, page_size):
        """get_vm_area_size(): bytes without the guard page."""
        return self.size if self.flags & VM_NO_GUARD else self.size - page_size


class Vmalloc(BlockVmap):
    """vmalloc space of a machine, with the memory of its structures and its page tables."""

    def __init__(self, mm):
        has = mm.view("has")[0]
        super().__init__(mm.vmalloc_start, mm.vmalloc_end, mm.page_shift, mm.nr_cpus, has)
        self.mm = mm
        self.on_step = self.put
        self.tables = KernelTables(mm)
        self.nr_pages = 0  # nr_vmalloc_pages: VmallocUsed
        self.nr_lost = 0  # of these, pages of areas that vunmap() took instead of vfree()
        self.drain_pending = False
        names = mm.cache_names
        self.cache = names.index("vmap_area") if "vmap_area" in names else -1
        self.init_blocks(mm)
        self.init_free_space()

    def put(self, name, *fields):
        """A tracepoint's step, if such steps are kept."""
        kind = STEPS[f"STEP_{name.upper()}"]
        if self.mm.step_mask >> kind & 1:
            signed = [value - (1 << 64) if value >> 63 else value for value in fields]
            put_step(self.mm, kind, *signed, *[0] * (6 - len(signed)))

    def summary(self):
        """Everything it holds as text, for checksums."""
        busy = [(a.start, a.end, a.object) for a in self.busy()]
        areas = [(a.vm.flags, a.vm.object, a.vm.pages, a.vm.pfns) for a in self.busy() if a.vm]
        rest = [[(a.start, a.end, a.object) for a in areas] for areas in (self.free, self.lazy())]
        pools = [[(n, a.start) for n, pool in sorted(node.pool.items()) for a in pool]
                 for node in self.nodes]
        spare = sorted(self.spare.items())
        return repr((busy, areas, rest, pools, spare, self.tables.pages, self.block_summary()))

    def new_object(self, gfp, node):
        """A struct vmap_area of its cache, -1 if there is no memory."""
        if self.cache < 0:
            return 0
        return kmem_cache_alloc_node(self.mm, self.cache, gfp or GFP_NOWAIT, node) or -1

    def free_object(self, area):
        """Gives a struct vmap_area back."""
        if area.object and self.cache >= 0:
            kmem_cache_free(self.mm, self.cache, area.object)
            area.object = 0


def vmalloc_of(mm):
    """The state of vmalloc: `mm.vmalloc`, made now if need be. Raises ValueError for a machine
    without vmalloc space.
    """
    if mm.vmalloc is None:
        if not mm.vmalloc_start:
            raise ValueError("this machine was made without vmalloc space")
        mm.vmalloc = Vmalloc(mm)
    mm.vmalloc.cpu = mm.cpu
    return mm.vmalloc


def totalram_pages(mm):
    """totalram_pages()."""
    return int(mm.view("zone")["managed_pages"].sum())


def is_vmalloc_addr(mm, address):
    """is_vmalloc_addr(): whether an address lies in vmalloc space."""
    return mm.vmalloc_start <= address < mm.vmalloc_end


def __get_vm_area_node(mm, size, align, shift, flags, start, end, node, gfp, caller):
    """Takes a range of addresses for `size` bytes and its structure: a VmStruct, None if there is
    no room or no memory. __get_vm_area_node().

    `shift`: bits that the size is rounded up to; a guard page follows unless VM_NO_GUARD.
    """
    state = vmalloc_of(mm)
    size = -(-size >> shift) << shift
    if not size:
        return None
    bytes = mm.view("has")[0].vm_struct_bytes
    object = kmalloc_node(mm, bytes, gfp & GFP_RECLAIM_MASK | GFP_ZERO, node)
    if not object:
        return None
    if not flags & VM_NO_GUARD:
        size += 1 << mm.page_shift
    area = state.alloc(size, align, start, end, gfp & GFP_RECLAIM_MASK, node)
    if area is None:
        kfree(mm, object)
        return None
    vm = VmStruct(area.start, size, flags, caller, object)
    area.vm = vm
    setup_vmalloc_vm(mm, area, vm, gfp)
    if not flags & VM_ALLOC:
        kasan_map(mm, vm, vm.area_size(1 << mm.page_shift))
    return vm


def remove_vm_area(mm, address):
    """Unmaps an area and gives its addresses up, not its pages: its VmStruct, None for no area.
    remove_vm_area().
    """
    state = vmalloc_of(mm)
    area = state.find(address)
    if area is None or area.vm is None:
        return None
    vm = area.vm
    forget_vm(mm, area)
    kasan_unmap(mm, vm)
    state.node_of(area.start).busy.remove(area)
    state.tables.unmap(area.start, area.end)
    if state.free_noflush(area):
        state.drain_pending = True
        if not state.purge_by_work:
            drain_vmap_area_work(mm)
    return vm


def drain_vmap_area_work(mm):
    """Purges, if so much address space was given up that it is time: the worker's turn since
    690467c81b1a (5.18), the freeing task's before.
    """
    state = vmalloc_of(mm)
    if state.drain_pending:
        state.drain_pending = False
        state.purge(full=False)


def vm_unmap_aliases(mm):
    """vm_unmap_aliases(): addresses that were given up are free for good; how many areas."""
    return vmalloc_of(mm).unmap_aliases()


def _large_blocks(mm, gfp, node, order, nr_pages, pfns):
    """a06157804399 (7.0): the largest blocks that fit, as long as there are such without reclaim;
    split into pages.
    """
    gfp = (gfp | GFP_NOWARN) & ~GFP_NOFAIL & ~GFP_DIRECT_RECLAIM
    most = mm.nr_orders - 1
    large = min(most, nr_pages.bit_length() - 1)
    while large > order and len(pfns) < nr_pages:
        pfn = alloc_pages(mm, gfp, large, node)
        if pfn < 0:
            large -= 1
            most = large
            continue
        split_page(mm, pfn, large)
        pfns.extend(range(pfn, pfn + (1 << large)))
        large = min(most, (nr_pages - len(pfns)).bit_length() - 1)


def vm_area_alloc_pages(mm, gfp, node, order, nr_pages):
    """Pages for an area, in blocks of 2^order that lie together: a list of pfns, shorter if memory
    runs out. vm_area_alloc_pages(); before 5.14 a loop in __vmalloc_area_node().
    """
    has = mm.view("has")[0]
    pfns = []
    if has.vmalloc_large_orders:
        _large_blocks(mm, gfp, node, order, nr_pages, pfns)
    if order == 0 and (has.vmalloc_bulk or has.vmalloc_large_orders):
        while len(pfns) < nr_pages:
            wanted = min(BULK_REQUEST, nr_pages - len(pfns))
            taken = alloc_pages_bulk(mm, gfp, node, wanted)
            pfns.extend(mm.view("bulk_page")[:taken].tolist())
            if taken != wanted:
                break
    while len(pfns) < nr_pages:
        pfn = alloc_pages(mm, gfp, order, node)
        if pfn < 0:
            break
        if order:
            split_page(mm, pfn, order)
        pfns.extend(range(pfn, pfn + (1 << order)))
    return pfns


def __vmalloc_area_node(mm, vm, gfp, shift, node):
    """Gives an area its pages and maps them; whether it could. __vmalloc_area_node().

    The array of pages is a kmalloc object, of more than a page an area of its own.
    """
    state = vmalloc_of(mm)
    page_size = 1 << mm.page_shift
    size = vm.area_size(page_size)
    nr_pages = size >> mm.page_shift
    bytes = nr_pages * POINTER
    nested = gfp & GFP_RECLAIM_MASK | GFP_ZERO
    said = gfp
    if not gfp & GFP_ZONES:
        gfp |= GFP_HIGHMEM
    if bytes > page_size:
        vm.pages = __vmalloc_node_range(
            mm, bytes, 1, mm.vmalloc_start, mm.vmalloc_end, nested, 0, node, vm.caller
        )
    else:
        vm.pages = kmalloc_node(mm, bytes, nested, node)
    if not vm.pages:
        warn_pages(mm, said, f"size {size}, failed to allocated page array size {bytes}")
        kfree(mm, remove_vm_area(mm, vm.address).object)
        return False
    set_pages(mm, vm)
    vm.page_order = shift - mm.page_shift
    wanted = gfp | GFP_NOWARN
    if vm.page_order:
        wanted &= ~GFP_NOFAIL
    vm.pfns = vm_area_alloc_pages(mm, wanted, node, vm.page_order, nr_pages)
    state.nr_pages += len(vm.pfns)
    mm.view("page")["users"][vm.pfns] = USE_VMALLOC
    if len(vm.pfns) == nr_pages and state.tables.map_pages(vm.address, vm.pfns, shift):
        return True
    if len(vm.pfns) != nr_pages:
        warn_no_pages(mm, said, vm, size)
    else:
        warn_pages(mm, said, f"size {size}, failed to map pages")
    _free_behind(mm, remove_vm_area(mm, vm.address))
    return False


def huge_shift(mm, size, node, vm_flags):
    """How many address bits each entry of a mapping is to cover: a page, contiguous PTEs or a PMD
    for those who may have it (VM_ALLOW_HUGE_VMAP). Until 6.12 each node's share (`node` -1: of
    all) must be as large.
    """
    has = mm.view("has")[0]
    if has.huge_vmalloc and vm_flags & VM_ALLOW_HUGE_VMAP:
        if has.huge_vmalloc == 1 and node < 0:
            size //= mm.nr_nodes
        tables = vmalloc_of(mm).tables
        if size >= tables.pmd_size:
            return tables.shifts[1]
        contiguous = CONT_PTE_BITS[mm.page_shift]
        if has.vmap_cont_pte and size >= 1 << contiguous:
            return contiguous
    return mm.page_shift


def __vmalloc_node_range(mm, size, align, start, end, gfp, vm_flags, node, caller):
    """Memory of `size` bytes in [start, end): its address, 0 (NULL) if that cannot be.
    __vmalloc_node_range().

    `align`: a power of two (1: pages); `gfp`: the twin's bits; `vm_flags`: VM_*; `node`: -1 for
    any; `caller`: text for vmallocinfo, or "". What the kernel would print is in mm.complaints.
    A request that must not fail (__GFP_NOFAIL) and does is not tried for ever.
    """
    vmalloc_of(mm)
    has = mm.view("has")[0]
    says, rounds = has.vmalloc_says_why, has.vmalloc_rounds_size
    if size <= 0 and says:
        report(mm, COMPLAINT_VMALLOC_ZERO, 0, "WARNING: __vmalloc_node_range: size 0")
        return 0
    rounded = -(-size >> mm.page_shift) if rounds else size >> mm.page_shift
    if size <= 0 or rounded > totalram_pages(mm):
        warn_range(mm, gfp, size, f"size {size}, exceeds total pages")
        return 0
    shift = huge_shift(mm, size, node, vm_flags)
    while True:
        flags = VM_ALLOC | VM_UNINITIALIZED | vm_flags
        aligned = align if shift == mm.page_shift else max(align, 1 << shift)
        vm = __get_vm_area_node(mm, size, aligned, shift, flags, start, end, node, gfp, caller)
        if vm is None:
            asked = f"size {size}, align {aligned:#x}" if says == 5 else f"size {size}"
            warn_range(mm, gfp, size, f"{asked}, vm_struct allocation failed")
        elif __vmalloc_area_node(mm, vm, gfp, shift, node):
            vm.flags &= ~VM_UNINITIALIZED
            kasan_map(mm, vm, size)
            kmemleak_vmalloc(mm, vm, size, gfp)
            return vm.address
        if shift == mm.page_shift:
            return 0
        shift = mm.page_shift


def vmalloc_user(mm, size, caller):
    """Zeroed memory that may be mapped into user space, on SHMLBA (a page). vmalloc_user()."""
    return __vmalloc_node_range(
        mm, size, 1 << mm.page_shift, mm.vmalloc_start, mm.vmalloc_end, GFP_KERNEL | GFP_ZERO,
        VM_USERMAP, NUMA_NO_NODE, caller,
    )  # fmt: skip


def free_area_pages(mm, pfns):
    """The pages of an area, one after the other; from 7.2 on runs of them as blocks."""
    if not mm.view("has")[0].vfree_contig:
        for pfn in pfns:
            free_pages(mm, pfn, 0)
        return
    first = 0
    for place in range(1, len(pfns) + 1):
        if place == len(pfns) or pfns[place] != pfns[place - 1] + 1:
            free_contig_range(mm, pfns[first], place - first)
            first = place


def _free_behind(mm, vm):
    """What lies behind an area that is not mapped any more: pages, array, structure."""
    if not vm.flags & VM_MAP_PUT_PAGES:
        vmalloc_of(mm).nr_pages -= len(vm.pfns)
    free_area_pages(mm, vm.pfns)
    vm.pfns = []
    kvfree(mm, vm.pages)
    kfree(mm, vm.object)


def vfree(mm, address):
    """Frees what vmalloc() gave (virt_t); NULL is nothing. vfree().

    Any address of the area will do, if it is a page's first byte. What is no area is left alone,
    with a complaint in mm.complaints.
    """
    if not address:
        return
    kmemleak_vfree(mm, address)
    vm = _remove(mm, address, "vfree")
    if vm is None:
        return
    _free_behind(mm, vm)
    drain_vmap_area_work(mm)


def vunmap(mm, address):
    """Gives up the addresses that vmap() gave, not the pages. vunmap()."""
    if not address:
        return
    own = mm.view("has")[0].vunmap_own_words
    vm = _remove(mm, address, "vunmap" if own else "vfree")
    if vm is None:
        return
    if not vm.flags & VM_MAP_PUT_PAGES:
        vmalloc_of(mm).nr_lost += len(vm.pfns)
    kfree(mm, vm.object)
    drain_vmap_area_work(mm)


def _remove(mm, address, function):
    vm = None
    if address & (1 << mm.page_shift) - 1:
        report(mm, COMPLAINT_VFREE, address, f"Trying to vfree() bad address ({address:016x})")
        if not mm.view("has")[0].vunmap_own_words:
            return None
    else:
        vm = remove_vm_area(mm, address)
    if vm is None:
        text = f"Trying to {function}() nonexistent vm area ({address:016x})"
        report(mm, COMPLAINT_VFREE, address, text)
    return vm


def kvfree(mm, address):
    """Frees what kmalloc(), vmalloc() or kvmalloc() gave. kvfree()."""
    if is_vmalloc_addr(mm, address):
        vfree(mm, address)
    else:
        kfree(mm, address)


def vmap(mm, pfns, flags, caller):
    """Maps pages that somebody has to addresses in a row: the first address, 0 if that cannot be.
    vmap().

    `flags`: VM_MAP, and VM_MAP_PUT_PAGES if vfree() is to give the pages back too.
    """
    if flags & (VM_NO_GUARD | VM_FLUSH_RESET_PERMS):
        report(mm, COMPLAINT_VMAP, 0, f"WARNING: vmap: flags {flags:#x}")
        if flags & VM_FLUSH_RESET_PERMS:
            return 0
        flags &= ~VM_NO_GUARD
    if len(pfns) > totalram_pages(mm):
        return 0
    state = vmalloc_of(mm)
    vm = __get_vm_area_node(
        mm, len(pfns) << mm.page_shift, 1, mm.page_shift, flags | VM_MAP, mm.vmalloc_start,
        mm.vmalloc_end, NUMA_NO_NODE, GFP_KERNEL, caller,
    )  # fmt: skip
    if vm is None:
        return 0
    if not state.tables.map_pages(vm.address, pfns, mm.page_shift):
        vunmap(mm, vm.address)
        return 0
    if flags & VM_MAP_PUT_PAGES:
        vm.pfns = list(pfns)
    return vm.address


def area_pages(mm, address):
    """The pfns of the area that an address lies in, in the order of their addresses; [] for no
    area. vmalloc_to_page() of each page.
    """
    area = vmalloc_of(mm).find(address)
    return list(area.vm.pfns) if area is not None and area.vm is not None else []


def vmalloc_to_pfn(mm, address):
    """The pfn that an address of vmalloc space is mapped to, -1 for none. vmalloc_to_pfn()."""
    return vmalloc_of(mm).tables.translate(address)
