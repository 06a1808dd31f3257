"""vm_map_ram(): pages mapped for a short while, out of blocks that each CPU keeps (mm/vmalloc.c).

A block is an area of `vmap_block_pages`. Requests of up to 64 pages, rounded up to a power of two,
take it from its start to its end; what is given back stays dirty. A block that is all dirty is
freed, one of which nothing is mapped (fragmented: `free + dirty` is all) is purged.

    block:  |  given back  | mapped | given back |      free      |
             `- dirty ---------------- dirty --'    <- next request
"""

from mmtwin.kernel.constants import CHECK_KASAN, COMPLAINT_VMAP
from mmtwin.kernel.kasan_hooks import kasan_poison_vmalloc, kasan_unpoison_vmalloc
from mmtwin.kernel.kasan_vmap import KasanVmap
from mmtwin.kernel.mm import report
from mmtwin.kernel.slab_common import __kmalloc_node as kmalloc_node
from mmtwin.kernel.slab_common import kfree
from mmtwin.kernel.vmalloc_defs import GFP_KERNEL, NUMA_NO_NODE

VMAP_MAX_ALLOC = 64  # pages: BITS_PER_LONG
PURGE_SHARE = 4  # VMAP_PURGE_THRESHOLD: a quarter of a block


class VmapBlock:
    """struct vmap_block: `area`, pages `free` and `dirty`, the `cpu` on whose list it is;
    `object`: the address of the kernel's structure; `used`: {first page: pages} that are mapped.
    """

    __slots__ = ("area", "cpu", "dirty", "free", "object", "used")

    def __init__(self, area, cpu, object, pages):
        self.area = area
        self.cpu = cpu
        self.object = object
        self.free = pages
        self.dirty = 0
        self.used = {}


class BlockVmap(KasanVmap):
    """vmalloc space of a machine with its blocks.

    `blocks`: {number: VmapBlock} (the xarray); `free_blocks`: the list of each CPU, whose blocks
    have something free.
    """

    def init_blocks(self, mm):
        """No blocks yet."""
        self.block_pages = int(mm.view("has")[0].vmap_block_pages)
        self.block_size = self.block_pages << self.page_shift
        self.blocks = {}
        self.free_blocks = [[] for _ in range(max(self.cpus, 1))]

    def block_number(self, address):
        """addr_to_vb_idx()"""
        return (address - (self.start & -self.block_size)) // self.block_size

    def reclaim(self):
        """Addresses ran out: purge_vmap_area_lazy(), reclaim_and_purge_vmap_areas()."""
        self.purge_fragmented(lambda block: True)
        return super().reclaim()

    def purge_fragmented(self, wanted):
        """purge_fragmented_blocks_allcpus(): blocks of which nothing is mapped, if `wanted`."""
        self.free_all([
            block for blocks in self.free_blocks for block in blocks
            if block.free + block.dirty == self.block_pages and wanted(block)
        ])  # fmt: skip

    def free_all(self, blocks):
        """free_purged_blocks()"""
        for block in blocks:
            self.free_blocks[block.cpu].remove(block)
            self.free_block(block)

    def free_block(self, block):
        """free_vmap_block(): its area waits for the next purge."""
        del self.blocks[self.block_number(block.area.start)]
        self.node_of(block.area.start).busy.remove(block.area)
        self.free_noflush(block.area)
        kfree(self.mm, block.object)

    def unmap_aliases(self):
        """_vm_unmap_aliases(): since 6.5 fragmented blocks that are nearly full go too, before all
        did.
        """
        most = self.block_pages
        if self.mm.view("has")[0].vmap_block_threshold:
            most //= PURGE_SHARE
        self.purge_fragmented(lambda block: block.free < most)
        return self.purge(full=False)

    def block_summary(self):
        """What checksums take in."""
        return [
            (number, block.cpu, block.free, block.dirty, block.object, sorted(block.used.items()))
            for number, block in sorted(self.blocks.items())
        ]  # fmt: skip


def vb_alloc(mm, state, count):
    """vb_alloc(): addresses for `count` pages out of a block of this CPU, 0 if there is no room
    for a new one.
    """
    pages = 1 << (count - 1).bit_length()
    blocks = state.free_blocks[state.cpu]
    block = next((each for each in blocks if each.free >= pages), None)
    if block is None:
        block = new_block(mm, state)
        if block is None:
            return 0
        blocks.append(block)
    first = state.block_pages - block.free
    block.free -= pages
    block.used[first] = pages
    if block.free == 0:
        blocks.remove(block)
    return block.area.start + (first << state.page_shift)


def new_block(mm, state):
    """new_vmap_block(): None without room or memory. The nodes of the xarray are not modelled."""
    object = kmalloc_node(mm, mm.view("has")[0].vmap_block_bytes, GFP_KERNEL, NUMA_NO_NODE)
    if not object:
        return None
    size = state.block_size
    area = state.alloc(size, size, state.start, state.end, GFP_KERNEL, NUMA_NO_NODE)
    if area is None:
        kfree(mm, object)
        return None
    area.ram = True
    block = VmapBlock(area, state.cpu, object, state.block_pages)
    state.blocks[state.block_number(area.start)] = block
    return block


def vm_map_ram(mm, pfns, node):
    """Maps pages to addresses in a row: the first, 0 if that cannot be. vm_map_ram().

    More than 64 pages have an area of their own, without a struct vm_struct.
    """
    state = mm.vmalloc
    if not pfns:
        report(mm, COMPLAINT_VMAP, 0, "WARNING: vb_alloc: size 0")
        return 0
    if len(pfns) <= VMAP_MAX_ALLOC:
        address = vb_alloc(mm, state, len(pfns))
    else:
        size = len(pfns) << state.page_shift
        area = state.alloc(size, state.page_size, state.start, state.end, GFP_KERNEL, node)
        address = 0
        if area is not None:
            area.ram = True
            address = area.start
    if not address:
        return 0
    if not state.tables.map_pages(address, pfns, state.page_shift):
        vm_unmap_ram(mm, address, len(pfns))
        return 0
    if mm.checkers & CHECK_KASAN:
        kasan_unpoison_vmalloc(mm, address, len(pfns) << state.page_shift)
    return address


def vm_unmap_ram(mm, address, count):
    """Gives up what vm_map_ram() gave for as many pages. vm_unmap_ram().

    What the kernel would die of is a complaint in mm.complaints, and nothing is changed.
    """
    state = mm.vmalloc
    end = address + (count << state.page_shift)
    if not state.start <= address <= state.end or address & (state.page_size - 1):
        text = f"kernel BUG at mm/vmalloc.c: vm_unmap_ram of {address:#x}"
        report(mm, COMPLAINT_VMAP, address, text)
        return
    if count > VMAP_MAX_ALLOC:
        area = state.find(address)
        if area is None or not area.ram or state.block_number(area.start) in state.blocks:
            report(mm, COMPLAINT_VMAP, address, f"WARNING: vm_unmap_ram: no area at {address:#x}")
            return
        poison(mm, address, end)
        state.node_of(area.start).busy.remove(area)
        state.tables.unmap(area.start, area.end)
        state.free_noflush(area)
        return
    block = state.blocks.get(state.block_number(address))
    first = address - block.area.start >> state.page_shift if block is not None else -1
    pages = 1 << max(count - 1, 0).bit_length()
    if block is None or block.used.get(first) != pages:
        text = f"BUG: vb_free: {count} pages at {address:#x} were not mapped by vm_map_ram()"
        report(mm, COMPLAINT_VMAP, address, text)
        return
    poison(mm, address, end)
    del block.used[first]
    state.tables.unmap(address, end)
    block.dirty += pages
    if block.dirty == state.block_pages:
        state.free_block(block)


def poison(mm, address, end):
    """kasan_poison_vmalloc() of what is given up."""
    if mm.checkers & CHECK_KASAN:
        kasan_poison_vmalloc(mm, address, end - address)


def block_problems(state):
    """What is wrong with the blocks, as sentences: counters, lists, mapped pages."""
    problems = []
    for number, block in state.blocks.items():
        used = sum(block.used.values())
        name = f"vmap block {number}"
        if block.free + block.dirty + used != state.block_pages:
            problems.append(f"{name}: {block.free} free, {block.dirty} dirty, {used} used")
        if state.find(block.area.start) is not block.area or not block.area.ram:
            problems.append(f"{name} has no area")
        listed = sum(blocks.count(block) for blocks in state.free_blocks)
        if listed != (block.free > 0) or (listed and block not in state.free_blocks[block.cpu]):
            problems.append(f"{name} is on {listed} lists with {block.free} pages free")
        inside = {page for at, pages in block.used.items() for page in range(at, at + pages)}
        pfns = state.tables.translations(block.area.start, block.area.end)
        for page, pfn in enumerate(pfns[: state.block_pages]):
            if pfn >= 0 and page not in inside:
                problems.append(f"{name}: page {page} is mapped and not used")
    blocks = [block for blocks in state.free_blocks for block in blocks]
    if any(block not in state.blocks.values() for block in blocks):
        problems.append("a freed vmap block is on a list")
    return problems
