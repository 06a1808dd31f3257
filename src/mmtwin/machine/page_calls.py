"""A Machine's page allocator, and the bytes of its RAM."""

from mmtwin.kernel import page_alloc
from mmtwin.kernel.constants import CHECK_KASAN, PG_head, PG_hole
from mmtwin.kernel.vmalloc import vmalloc_to_pfn
from mmtwin.machine.calls import MASK64, Calls
from mmtwin.machine.views import Page


class PageCalls(Calls):
    """alloc_pages() and its like; reads and writes of simulated RAM."""

    def alloc_pages(
        self, order: int = 0, gfp: str | int = "GFP_KERNEL", node: int = -1
    ) -> Page | None:
        """A block of 2^order pages, its first page; None if there is none. alloc_pages()."""
        if order < 0:
            raise ValueError(f"order {order}")
        pfn = page_alloc.alloc_pages(self.mm, self._gfp[gfp], order, self._node(node))
        return None if pfn < 0 else Page(self.mm, pfn, order)

    def free_pages(self, page: Page | int, order: int | None = None) -> None:
        """Frees a block: __free_pages(). Unless given, its order is that of the Page which
        alloc_pages() gave, of a compound page its own, else 0.

        Raises Complaint for pages that are free already, ValueError for a pfn out of the machine.
        """
        pfn = self.page(page).pfn
        if order is None and isinstance(page, Page):
            order = page.block_order
        if order is None:
            compound = self.mm.view("page")["flags"][pfn] & PG_head
            order = int(self.mm.view("page")["order"][pfn]) if compound else 0
        before = len(self.mm.complaints)
        page_alloc.free_pages(self.mm, pfn, order)
        self._raise_new(before)

    def page(self, pfn: Page | int) -> Page:
        """The page of a pfn. Raises ValueError if the machine has none there."""
        number = int(pfn)
        if not self.mm.min_pfn <= number < self.mm.max_pfn:
            raise ValueError(f"pfn {number:#x}: the machine has no such page")
        return Page(self.mm, number)

    def virt_to_pfn(self, address: int) -> int:
        """The pfn of an address of the direct map. Raises ValueError for another address."""
        place = (address - self.mm.page_offset) & MASK64
        pfn = place >> int(self.mm.page_shift)
        if not self.mm.min_pfn <= pfn < self.mm.max_pfn:
            raise ValueError(f"address {address:#x} is not in the direct map of this machine")
        return int(pfn)

    def page_address(self, pfn: Page | int) -> int:
        """The address of a page's first byte (page_to_virt())."""
        return self.page(pfn).address

    # ---- RAM

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes at a kernel address: of simulated RAM, or through the page tables of what
        vmalloc() and vmap() mapped. Raises ValueError elsewhere, Complaint where KASAN reports
        the access.
        """
        before = len(self.mm.complaints)
        self._check_range(address, size, False)
        self._raise_new(before)
        ram = self.mm.view("ram").view("u1")
        return b"".join(
            bytes(ram[start:end]) for start, end in self._spans(self._address(address), size)
        )

    def write(self, address: int, data: bytes) -> None:
        """Writes bytes, as read() finds them. Raises ValueError where nothing is mapped, Complaint
        where KASAN reports the access; the bytes are written all the same, as in the kernel.
        """
        before = len(self.mm.complaints)
        good = self._check_range(address, len(data), True)
        try:
            self._store(self._address(address), data)
        except ValueError:
            if good:
                raise
        self._raise_new(before)

    def _store(self, address: int, data: bytes) -> None:
        ram = self.mm.view("ram").view("u1")
        done = 0
        for start, end in self._spans(address, len(data)):
            ram[start:end] = bytearray(data[done : done + end - start])
            done += end - start

    def _check_range(self, address: int, size: int, write: bool) -> bool:
        kasan = self.mm.kasan if self.mm.checkers & CHECK_KASAN else None
        return kasan is None or bool(kasan.check_range(self._address(address), size, write))

    def _spans(self, address: int, size: int) -> list[tuple[int, int]]:
        """Where in RAM the bytes are: (first, behind the last), one after the other."""
        if size < 0:
            raise ValueError(f"{size} bytes")
        mm = self.mm
        if not (mm.vmalloc_start <= address < mm.vmalloc_end
                or mm.modules_start <= address < mm.modules_end):
            start = self._span(address, size)
            return [(start, start + size)]
        spans, end = [], address + size
        while address < end:
            pfn = vmalloc_to_pfn(mm, address)
            if pfn < 0:
                raise ValueError(f"unable to handle page fault for address {address:#018x}")
            offset = address & (1 << int(mm.page_shift)) - 1
            length = min(end - address, (1 << int(mm.page_shift)) - offset)
            start = (pfn << int(mm.page_shift)) + offset
            spans.append((start, start + length))
            address += length
        return spans

    def _span(self, address: int, size: int) -> int:
        first = self.virt_to_pfn(address)
        last = self.virt_to_pfn(address + max(size, 1) - 1)
        if (self.mm.view("page")["flags"][first : last + 1] & PG_hole).any():
            raise ValueError(f"no RAM at {address:#x} to {address + size:#x}")
        return int((address - self.mm.page_offset) & MASK64)
