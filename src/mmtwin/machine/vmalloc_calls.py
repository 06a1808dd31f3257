"""A Machine's vmalloc(), vmap() and kvmalloc()."""

from collections.abc import Sequence

from mmtwin.kernel import ioremap, kvmalloc, vmalloc, vmap_block
from mmtwin.kernel.vmalloc import __vmalloc_node_range as node_range
from mmtwin.kernel.vmalloc_defs import VM_ALLOW_HUGE_VMAP, VM_MAP, VM_MAP_PUT_PAGES
from mmtwin.kernel.vmap_resync import known_ranges
from mmtwin.machine.calls import Calls
from mmtwin.machine.views import Page


class VmallocCalls(Calls):
    """Memory whose addresses are in a row and whose pages need not be.

    `areas`: of a machine at an instant of a recording, the ranges that vmalloc space has (first
    address, the one behind the last, whether it was freed and waits to be purged); None where they
    are not known. They are there from the first call that takes addresses.
    """

    areas: Sequence[tuple[int, int, bool]] | None = None

    def vmalloc(self, size: int, gfp: str | int = "GFP_KERNEL", huge: bool = False) -> int:
        """Allocates `size` bytes in vmalloc space; their address, 0 (NULL) if that cannot be: what
        the kernel would print then is in `complaints`. vmalloc(), __vmalloc().

        `huge`: entries of the page tables may map more than a page, where the release has that
        (vmalloc_huge()).
        """
        return self._vmalloc(size, gfp, -1, huge)

    def vzalloc(self, size: int) -> int:
        """vmalloc() of zeroed memory: vzalloc()."""
        return self._vmalloc(size, "GFP_KERNEL|__GFP_ZERO", -1, False)

    def vmalloc_node(self, size: int, node: int) -> int:
        """vmalloc() with pages of one node: vmalloc_node(). Raises ValueError for no such node."""
        if not 0 <= node < self.mm.nr_nodes:
            raise ValueError(f"node {node}: the machine has {self.mm.nr_nodes}")
        return self._vmalloc(size, "GFP_KERNEL", node, False)

    def vmalloc_user(self, size: int) -> int:
        """Zeroed memory that user space may map: vmalloc_user()."""
        self._space()
        address: int = vmalloc.vmalloc_user(self.mm, self._size(size), self._caller())
        return address

    def vfree(self, address: int) -> None:
        """Frees what vmalloc() gave; 0 is nothing. vfree().

        Raises Complaint where the kernel would print an error: no area is there.
        """
        before = len(self.mm.complaints)
        vmalloc.vfree(self.mm, self._address(address))
        self._raise_new(before)

    def vmap(self, pages: Sequence[Page | int], put_pages: bool = False) -> int:
        """Maps pages to addresses in a row: the first, 0 if that cannot be. vmap().

        `put_pages`: vfree() gives the pages back too (VM_MAP_PUT_PAGES). Raises ValueError for a
        pfn that the machine does not have.
        """
        flags = VM_MAP | (VM_MAP_PUT_PAGES if put_pages else 0)
        self._space()
        address: int = vmalloc.vmap(self.mm, self._pfns(pages), flags, self._caller())
        return address

    def vunmap(self, address: int) -> None:
        """Gives up the addresses that vmap() gave. vunmap(). Raises Complaint as vfree() does."""
        before = len(self.mm.complaints)
        vmalloc.vunmap(self.mm, self._address(address))
        self._raise_new(before)

    def vm_map_ram(self, pages: Sequence[Page | int], node: int = -1) -> int:
        """Maps pages to addresses in a row for a short while: the first, 0 if that cannot be. Up
        to 64 pages come from a block that this CPU keeps. vm_map_ram().

        Raises ValueError as vmap() does.
        """
        self._space()
        vmalloc.vmalloc_of(self.mm)
        address: int = vmap_block.vm_map_ram(self.mm, self._pfns(pages), self._node(node))
        return address

    def vm_unmap_ram(self, address: int, count: int) -> None:
        """Gives up what vm_map_ram() gave for `count` pages. vm_unmap_ram().

        Raises Complaint where the kernel would print an error: nothing like it was mapped.
        """
        before = len(self.mm.complaints)
        vmalloc.vmalloc_of(self.mm)
        vmap_block.vm_unmap_ram(self.mm, self._address(address), self._size(count))
        self._raise_new(before)

    def ioremap(self, phys: int, size: int) -> int:
        """Maps `size` bytes of a device at a physical address: their address, 0 (NULL) if that
        cannot be; RAM is refused with a line in `complaints`. ioremap().
        """
        self._space()
        address: int = ioremap.ioremap(
            self.mm, self._size(phys), self._size(size), self._caller()
        )
        return address

    def iounmap(self, address: int) -> None:
        """Gives up what ioremap() gave. iounmap(). Raises Complaint for another address."""
        before = len(self.mm.complaints)
        ioremap.iounmap(self.mm, self._address(address))
        self._raise_new(before)

    def kvmalloc(self, size: int, gfp: str | int = "GFP_KERNEL", node: int = -1) -> int:
        """kmalloc() if it has a block as large, else vmalloc(); 0 if neither has. kvmalloc()."""
        self._space()
        address: int = kvmalloc.kvmalloc_node(
            self.mm, self._size(size), self._gfp[gfp], self._node(node), self._caller()
        )
        return address

    def kvzalloc(self, size: int, gfp: str | int = "GFP_KERNEL") -> int:
        """kvmalloc() of zeroed memory: kvzalloc()."""
        return self.kvmalloc(size, self._gfp[gfp] | self._gfp["__GFP_ZERO"])

    def kvfree(self, address: int) -> None:
        """Frees what kmalloc(), vmalloc() or kvmalloc() gave. kvfree()."""
        before = len(self.mm.complaints)
        vmalloc.kvfree(self.mm, self._address(address))
        self._raise_new(before)

    def vmalloc_to_pfn(self, address: int) -> int:
        """The pfn that an address is mapped to by the page tables, -1 if it is not.
        vmalloc_to_pfn().
        """
        pfn: int = vmalloc.vmalloc_to_pfn(self.mm, self._address(address))
        return pfn

    def vm_area(self, address: int) -> range | None:
        """The addresses of the area that an address lies in, its guard page among them; None if
        it lies in none. find_vmap_area().
        """
        if self.mm.vmalloc is None:
            return None
        area = self.mm.vmalloc.find(self._address(address))
        return None if area is None else range(area.start, area.end)

    def is_vmalloc_addr(self, address: int) -> bool:
        """Whether an address lies in vmalloc space: is_vmalloc_addr()."""
        return bool(vmalloc.is_vmalloc_addr(self.mm, self._address(address)))

    def vm_unmap_aliases(self) -> int:
        """Makes addresses that were given up free for good; how many areas. vm_unmap_aliases()."""
        return int(vmalloc.vm_unmap_aliases(self.mm))

    def _vmalloc(self, size: int, gfp: str | int, node: int, huge: bool) -> int:
        mm, flags = self.mm, VM_ALLOW_HUGE_VMAP if huge else 0
        self._space()
        address: int = node_range(
            mm, self._size(size), 1, mm.vmalloc_start, mm.vmalloc_end, self._gfp[gfp], flags,
            node, self._caller(),
        )  # fmt: skip
        return address

    def _space(self) -> None:
        """Vmalloc space has what a recording's has."""
        if self.mm.vmalloc is None and self.areas:
            known_ranges(vmalloc.vmalloc_of(self.mm), self.areas)

    def _pfns(self, pages: Sequence[Page | int]) -> list[int]:
        pfns = [int(page) for page in pages]
        for pfn in pfns:
            if not self.mm.min_pfn <= pfn < self.mm.max_pfn:
                raise ValueError(f"pfn {pfn:#x}: the machine has no such page")
        return pfns

    def _caller(self) -> str:
        """The function that calls, as vmallocinfo prints it."""
        return str(self.mm.frames[-1]) if self.mm.frames else ""

    def _size(self, size: int) -> int:
        if not 0 <= size < 1 << 64:
            raise ValueError(f"{size} bytes: not an unsigned 64-bit number")
        return size
