"""A Machine's checkers: KASAN, kmemleak, and the clock by which it goes."""

from typing import TYPE_CHECKING, Any

from mmtwin.kernel.mm import MM
from mmtwin.kernel.slub_defs import DEFS as SLUB_DEFS
from mmtwin.machine.arguments import Checked
from mmtwin.machine.calls import Calls

if TYPE_CHECKING:
    from mmtwin.kernel.kasan import Kasan
    from mmtwin.kernel.kmemleak_object import KmemleakObject
    from mmtwin.machine.memory_map import MemoryMap

WORD = 8
GFP_KERNEL = SLUB_DEFS["GFP_KERNEL"]


class KmemleakCalls(Checked):
    """kmemleak of a machine, as its users call it. Addresses are kernel virtual addresses."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._kmemleak: Any = calls.mm.kmemleak

    # ---- /sys/kernel/debug/kmemleak

    def scan(self) -> int:
        """Scans memory for leaks; how many new ones it found. `echo scan > kmemleak`."""
        leaks: int = self._kmemleak.scan()
        return leaks

    def report(self) -> str:
        """/sys/kernel/debug/kmemleak as it reads now."""
        text: str = self._kmemleak.show()
        return text

    def write(self, command: str) -> int:
        """Writes a command into /sys/kernel/debug/kmemleak: off, stack=on, stack=off, scan=on,
        scan=off, scan=SECONDS, scan, clear, dump=ADDRESS.

        Returns the bytes taken, or what the kernel returns: -22 (EINVAL) for another command, -1
        (EPERM) when kmemleak is off.
        """
        from mmtwin.kernel.kmemleak_show import kmemleak_write

        result: int = kmemleak_write(self._kmemleak, command)
        return result

    def clear(self) -> None:
        """Forgets what was reported: `echo clear > kmemleak`."""
        self.write("clear")

    @property
    def log(self) -> list[str]:
        """What kmemleak printed to the kernel's log so far, line by line."""
        return list(self._kmemleak.log)

    @property
    def enabled(self) -> bool:
        """Whether objects are tracked: not after `off`, nor after an error."""
        return bool(self._kmemleak.enabled)

    # ---- the objects

    @property
    def objects(self) -> "list[KmemleakObject]":
        """Every tracked object, oldest first."""
        return list(self._kmemleak.object_list)

    def find(self, address: int) -> "KmemleakObject | None":
        """The tracked object that holds an address, None if none does."""
        found: KmemleakObject | None = self._kmemleak.tree.find(self._calls._address(address))
        return found

    def alloc(self, address: int, size: int, min_count: int = 1) -> None:
        """Tracks memory that no allocator reported, such as pages. kmemleak_alloc().

        `min_count`: so many references make it no leak, 0: it never is one, -1: nor is it scanned.
        """
        self._check(self._kmemleak.alloc, address, self._size(size), min_count, GFP_KERNEL)

    def alloc_phys(self, address: int, size: int) -> None:
        """Tracks memory by its physical address. kmemleak_alloc_phys()."""
        self._check(self._kmemleak.alloc_phys, address, self._size(size), GFP_KERNEL)

    def free(self, address: int) -> None:
        """Tracks an object no longer. kmemleak_free()."""
        self._check(self._kmemleak.free, address)

    def free_part(self, address: int, size: int) -> None:
        """Tracks a part of an object no longer. kmemleak_free_part()."""
        self._check(self._kmemleak.free_part, address, self._size(size))

    def not_leak(self, address: int) -> None:
        """The object is no leak, and what it points to is none. kmemleak_not_leak()."""
        self._check(self._kmemleak.not_leak, address)

    def transient_leak(self, address: int) -> None:
        """The next scan takes the object for a modified one. kmemleak_transient_leak()."""
        self._check(self._kmemleak.transient_leak, address)

    def ignore(self, address: int) -> None:
        """The object is no leak, and is not scanned. kmemleak_ignore()."""
        self._check(self._kmemleak.ignore, address)

    def no_scan(self, address: int) -> None:
        """The object is not scanned. kmemleak_no_scan()."""
        self._check(self._kmemleak.no_scan, address)

    def scan_area(self, address: int, size: int) -> None:
        """Of the object that holds `address` only such areas are scanned. kmemleak_scan_area()."""
        self._check(self._kmemleak.scan_area, address, self._size(size), GFP_KERNEL)

    def update_trace(self, address: int) -> None:
        """Reports say that the object was allocated here. kmemleak_update_trace()."""
        self._check(self._kmemleak.update_trace, address)

    def erase(self, place: int) -> None:
        """Clears a pointer variable at an address of the direct map. kmemleak_erase()."""
        mm = self._calls.mm
        if not 0 <= place - int(mm.page_offset) < mm.max_pfn << int(mm.page_shift):
            raise ValueError(f"address {place:#x} is not in the direct map of this machine")
        self._kmemleak.erase(place)

    def add_root(self, address: int, size: int) -> None:
        """Memory whose pointers count, as those of the data section do: a grey object."""
        self._check(self._kmemleak.alloc, address, self._size(size), 0, GFP_KERNEL)

    def _check(self, work: Any, address: int, *arguments: int) -> None:
        before = len(self._calls.mm.complaints)
        work(self._calls._address(address), *arguments)
        self._calls._raise_new(before)

    def _size(self, size: int) -> int:
        if not 0 <= size < 1 << 64:
            raise ValueError(f"{size} bytes")
        return size


class CheckerCalls(Calls):
    """Bad accesses, leak detection, time, and global variables for what shall not leak."""

    def __init__(self, mm: MM) -> None:
        super().__init__(mm)
        self.memory_map: MemoryMap | None = None
        self._globals: dict[str, tuple[int, int]] = {}

    @property
    def kmemleak(self) -> KmemleakCalls:
        """kmemleak. Raises ValueError if the kernel was not built with it."""
        if self.mm.kmemleak is None:
            raise ValueError("no kmemleak in this kernel: boot it with DEBUG_KMEMLEAK=True")
        return KmemleakCalls(self)

    @property
    def jiffies(self) -> int:
        """The kernel's clock: ticks, CONFIG_HZ a second. It stands still but for `sleep`."""
        return int(self.mm.jiffies)

    def sleep(self, seconds: float) -> None:
        """Lets time pass; kmemleak's thread scans when its time has come (a minute after boot,
        then every ten). Raises ValueError for less than nothing.
        """
        if not 0 <= seconds < 1 << 32:
            raise ValueError(f"{seconds} seconds")
        from mmtwin.machine.boot import hz_of

        hz = hz_of(self.profile) if self.profile else 250
        end = self.jiffies + round(seconds * hz)
        if self.mm.kmemleak is not None:
            self.mm.kmemleak.run_until(end)
        self.mm.jiffies = end

    def global_variable(self, name: str, size: int = WORD) -> int:
        """The address of a variable of the kernel's data section, zero at first, the same for the
        same name; with KASAN a red zone follows it. Raises ValueError if the machine was not
        booted, or has no room for it.
        """
        if self.memory_map is None:
            raise ValueError("only a booted machine knows where its data section lies")
        from mmtwin.kernel.kasan_layout import FRAME_REDZONE as GLOBAL_ALIGN
        from mmtwin.kernel.kasan_layout import padded_global
        from mmtwin.machine.boot import data_section

        start, end = data_section(self.mm, self.memory_map)
        taken = self._globals
        if name not in taken:
            place = max((first + length for first, length in taken.values()), default=start)
            length = -(-size // WORD) * WORD
            if self.kasan is not None:
                length = padded_global(size)
                place = -(-place // GLOBAL_ALIGN) * GLOBAL_ALIGN
            if size < 1 or place + length > end:
                raise ValueError(f"no room for {size} bytes in the data section")
            taken[name] = place, length
            if self.kasan is not None:
                self.kasan.register_global(place, size)
        return taken[name][0]

    @property
    def kasan(self) -> "Kasan | None":
        """KASAN of a machine that was booted with it (`Machine.boot(..., KASAN=True)`), else None.

        `kasan.memory()`: what it costs in bytes; `kasan.shadow`: the shadow bytes;
        `kasan.quarantine`: freed objects that wait.
        """
        found: Kasan | None = self.mm.kasan
        return found

    def check_memory_region(self, address: int, size: int, write: bool = False) -> bool:
        """Whether KASAN lets an access of `size` bytes pass; always without KASAN.

        kasan_check_range(), check_memory_region() before 5.12. Raises Complaint with the report.
        """
        if self.kasan is None:
            return True
        before = len(self.mm.complaints)
        good = bool(self.kasan.check_range(self._address(address), size, write))
        self._raise_new(before)
        return good

    def shadow(self, address: int, size: int) -> bytes:
        """The shadow bytes of the granules that `size` bytes touch. Raises ValueError without
        KASAN.
        """
        if self.kasan is None:
            raise ValueError("the machine has no KASAN: boot it with KASAN=True")
        granules: int = ((address + max(size, 1) - 1) >> 3) - (address >> 3) + 1
        found: Any = self.kasan.shadow.bytes(self._address(address), granules)
        return bytes(found)
