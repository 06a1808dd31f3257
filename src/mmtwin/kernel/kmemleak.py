"""kmemleak: every object that slab, kmalloc and vmalloc give out is tracked, and found leaked when
no pointer leads to it.

mm/kmemleak.c: kmemleak_init(), kmemleak_alloc(), kmemleak_free(), kmemleak_not_leak() and the
like. The scan is kmemleak_scan.py, its texts are kmemleak_show.py. Plain Python: with kmemleak off
nothing here runs (CHECK_KMEMLEAK of `mm.checkers`).
"""

from mmtwin.kernel.constants import (
    __GFP_NOLOCKDEP,
    __GFP_NOMEMALLOC,
    __GFP_NORETRY,
    __GFP_NOWARN,
    CHECK_KMEMLEAK,
    COMPLAINT_KMEMLEAK,
)
from mmtwin.kernel.kmemleak_object import (
    KMEMLEAK_BLACK,
    KMEMLEAK_GREY,
    NO_CHECKSUM,
    OBJECT_ALLOCATED,
    OBJECT_FULL_SCAN,
    OBJECT_NO_SCAN,
    OBJECT_PHYS,
    OBJECT_REPORTED,
    KmemleakObject,
    ObjectTree,
)
from mmtwin.kernel.kmemleak_scan import kmemleak_scan
from mmtwin.kernel.kmemleak_show import object_info, print_unreferenced, stack_lines
from mmtwin.kernel.mm import report
from mmtwin.kernel.slub import kmem_cache_alloc, kmem_cache_free
from mmtwin.kernel.slub_cache import kmem_cache_create
from mmtwin.kernel.slub_defs import GFP_ATOMIC, GFP_KERNEL, SLAB_NOLEAKTRACE

MAX_TRACE = 16
MSECS_MIN_AGE = 5000
SECS_FIRST_SCAN = 60
SECS_SCAN_WAIT = 600
MEM_POOL_SIZE = 16000
SCAN_AREA_BYTES = 32  # sizeof(struct kmemleak_scan_area)
SIZE_MAX = (1 << 64) - 1
COLORS = {KMEMLEAK_GREY: "Grey", KMEMLEAK_BLACK: "Black"}
GFP_KEPT = GFP_KERNEL | GFP_ATOMIC | __GFP_NOLOCKDEP
GFP_ADDED = __GFP_NORETRY | __GFP_NOMEMALLOC | __GFP_NOWARN


def gfp_nested_mask(gfp):
    """gfp_nested_mask(), gfp_kmemleak_mask(): what kmemleak's own allocations keep of a gfp."""
    return (gfp & GFP_KEPT) | GFP_ADDED


class Kmemleak:
    """kmemleak of one machine.

    `object_list`: the tracked objects, oldest first; `tree` and `phys_tree`: the same by address;
    `log`: what it printed to the kernel's log; `percpu_sections`: (start, end) of memory that is
    scanned besides the grey objects; `debug`: also say what mm/kmemleak.c says if it is built with
    DEBUG (frees of unknown objects).
    """

    def __init__(self, mm, hz=250, pool=MEM_POOL_SIZE, auto_scan=True):
        self.mm = mm
        self.has = mm.view("has")[0]
        self.hz = hz
        self.object_list = {}
        self.tree = ObjectTree()
        self.phys_tree = ObjectTree()
        self.min_addr = SIZE_MAX
        self.max_addr = 0
        self.log = []
        self.percpu_sections = []
        self.debug = False
        self.enabled = True
        self.free_enabled = True
        self.error = False
        self.found_leaks = False
        self.stack_scan = True
        self.verbose = False
        self.min_unref_scans = 1
        self.jiffies_min_age = MSECS_MIN_AGE * hz // 1000
        self.jiffies_last_scan = 0
        self.jiffies_scan_wait = SECS_SCAN_WAIT * hz
        self.auto_scan = auto_scan
        self.first_run = auto_scan
        self.next_scan = None
        self.mem_pool_free_count = pool
        self.object_cache = -1
        self.scan_area_cache = -1

    def init(self):
        """kmemleak_init(): makes the caches, and tracks from now on."""
        size = self.has.kmemleak_object_bytes
        flags = SLAB_NOLEAKTRACE
        mm = self.mm
        self.object_cache = kmem_cache_create(mm, "kmemleak_object", size, 8, flags)
        area = kmem_cache_create(mm, "kmemleak_scan_area", SCAN_AREA_BYTES, 8, flags)
        self.scan_area_cache = area
        mm.checkers |= CHECK_KMEMLEAK

    def late_init(self):
        """kmemleak_late_init(): the scanning thread starts."""
        if self.error:
            self._cleanup()
            return
        if self.auto_scan:
            self.start_scan_thread()
        self.print(
            "Kernel memory leak detector initialized "
            f"(mem pool available: {self.mem_pool_free_count})"
        )

    # ---- what it says

    def print(self, line):
        """pr_info(), pr_warn(): a line of the kernel's log."""
        self.log.append(f"kmemleak: {line}")

    def warn(self, line, *more):
        """kmemleak_warn(): a complaint with the stack, and further lines."""
        lines = [f"kmemleak: {line}", *stack_lines(self.mm), *more]
        self.log.extend(lines)
        report(self.mm, COMPLAINT_KMEMLEAK, 0, "\n".join(lines) + "\n")

    # ---- tracked objects

    def alloc(self, pointer, size, min_count, gfp):
        """kmemleak_alloc(): tracks `size` bytes at `pointer`; `gfp` is that of its allocation.

        `min_count`: so many references make it no leak; 0: it never is one, -1: nor is it scanned.
        """
        if self.enabled and pointer:
            self.create_object(pointer, size, min_count, gfp)

    def vmalloc(self, area, pointer, size, gfp):
        """kmemleak_vmalloc(): an area needs two references, one of which its vm_struct (at `area`)
        holds; what points to the vm_struct besides is a reference to the area.
        """
        if self.enabled:
            self.create_object(pointer, size, 2, gfp)
            self.set_excess_ref(area, pointer)

    def alloc_phys(self, phys, size, gfp):
        """kmemleak_alloc_phys(): memory of memblock, by physical address; never a leak itself.

        By its address of the direct map before 0c24e061196c (6.0).
        """
        if not self.enabled:
            return
        if self.has.kmemleak_phys:
            self.create_object(phys, size, KMEMLEAK_GREY, gfp, OBJECT_PHYS)
        else:
            self.create_object(self.mm.page_offset + phys & SIZE_MAX, size, KMEMLEAK_GREY, gfp)

    def free(self, pointer):
        """kmemleak_free(): tracks the object that begins at `pointer` no longer."""
        if not self.free_enabled or not pointer:
            return
        object = self.lookup(pointer, False)
        if object is not None:
            self._delete(object)
        elif self.debug:
            self.warn(f"Freeing unknown object at 0x{pointer:08x}")

    def free_part(self, pointer, size, phys=False):
        """kmemleak_free_part(), kmemleak_free_part_phys(): what remains of the object before and
        behind becomes objects of their own.
        """
        if not self.enabled or not pointer:
            return
        tree = self.phys_tree if phys else self.tree
        object = tree.find(pointer)
        if object is None:
            if self.debug:
                line = f"Partially freeing unknown object at 0x{pointer:08x} (size {size})"
                self.warn(line)
            return
        self._delete(object)
        start, end = object.pointer, object.pointer + object.size
        flags = object.flags & OBJECT_PHYS
        if pointer > start:
            self.create_object(start, pointer - start, object.min_count, GFP_KERNEL, flags)
        if pointer + size < end:
            size_behind = end - pointer - size
            behind = pointer + size
            self.create_object(behind, size_behind, object.min_count, GFP_KERNEL, flags)

    def not_leak(self, pointer):
        """kmemleak_not_leak(): the object is grey for good: no leak, and scanned."""
        self._paint(pointer, KMEMLEAK_GREY)

    def ignore(self, pointer, phys=False):
        """kmemleak_ignore(), kmemleak_ignore_phys(): black: no leak, and not scanned."""
        self._paint(pointer, KMEMLEAK_BLACK, phys)

    def no_scan(self, pointer):
        """kmemleak_no_scan(): what the object holds does not count."""
        object = self._known(pointer, False, "Not scanning unknown object at 0x%08x")
        if object is not None:
            object.flags |= OBJECT_NO_SCAN

    def scan_area(self, pointer, size, gfp):
        """kmemleak_scan_area(): only such parts of an object are scanned; SIZE_MAX: to its end."""
        if not size:
            return
        object = self._known(pointer, True, "Adding scan area to unknown object at 0x%08x")
        if object is None:
            return
        area = kmem_cache_alloc(self.mm, self.scan_area_cache, gfp_nested_mask(gfp))
        if not area:
            self._print_once("Cannot allocate a scan area, scanning the full object")
            object.flags |= OBJECT_FULL_SCAN
            return
        end = object.pointer + object.size
        if size == SIZE_MAX:
            size = end - pointer
        elif pointer + size > end:
            kmem_cache_free(self.mm, self.scan_area_cache, area)
            self.warn(f"Scan area larger than object 0x{pointer:08x}", *object_info(self, object))
            return
        object.areas.insert(0, (pointer, size, area))

    def transient_leak(self, pointer):
        """kmemleak_transient_leak(): the next scan takes the object for a modified one."""
        object = self._known(
            pointer, False, "Not resetting the checksum of an unknown object at 0x%08x"
        )
        if object is not None:
            object.checksum = NO_CHECKSUM if self.has.kmemleak_first_crc else 0

    def update_trace(self, pointer):
        """kmemleak_update_trace(): the object was allocated here, as reports say."""
        object = self.lookup(pointer, True) if self.enabled else None
        if object is not None:
            object.trace = self._trace()

    def erase(self, place):
        """kmemleak_erase(): clears a pointer variable (its address)."""
        self.mm.view("ram")[(place - self.mm.page_offset & SIZE_MAX) >> 3] = 0

    def set_excess_ref(self, pointer, excess_ref):
        """object_set_excess_ref(): surplus references to `pointer` count for `excess_ref`."""
        object = self.lookup(pointer, False)
        if object is None:
            self.warn(f"Setting excess_ref on unknown object at 0x{pointer:08x}")
        else:
            object.excess_ref = excess_ref

    def lookup(self, pointer, alias):
        """lookup_object(): the object at an address, with `alias` also one that holds it."""
        if not alias:
            found = self.tree.at.get(pointer)
            if found is not None:
                return found
        found = self.tree.find(pointer)
        if found is not None and not alias:
            line = f"Found object by alias at 0x{pointer:08x}"
            self.warn(line, *object_info(self, found))
            return None
        return found

    def create_object(self, pointer, size, min_count, gfp, flags=0):
        """__create_object(): the object, or None if there is no memory for it or another is in its
        place; then kmemleak stops.
        """
        address = kmem_cache_alloc(self.mm, self.object_cache, gfp_nested_mask(gfp))
        if not address and not self._take_from_pool():
            self.print("Cannot allocate a kmemleak_object structure")
            self.disable()
            return None
        object = KmemleakObject(pointer, size, min_count, flags, address)
        if self.has.kmemleak_first_crc:
            object.checksum = NO_CHECKSUM
        object.jiffies = self.mm.jiffies
        object.comm, object.pid = self._task()
        object.trace = self._trace()
        tree = self.phys_tree if flags & OBJECT_PHYS else self.tree
        if not flags & OBJECT_PHYS:
            self.min_addr = min(self.min_addr, pointer)
            self.max_addr = max(self.max_addr, pointer + size)
        other = tree.overlapping(pointer, size)
        if other is not None:
            line = f"Cannot insert 0x{pointer:x} into the object search tree (overlaps existing)"
            info = object_info(self, other)
            self._put(object)
            self.warn(line, "kmemleak: Kernel memory leak detector disabled", *info)
            self.disable(said=True)
            return None
        tree.insert(object)
        self.object_list[object] = None
        return object

    def _delete(self, object):
        # __remove_object(), __delete_object()
        (self.phys_tree if object.flags & OBJECT_PHYS else self.tree).remove(object)
        del self.object_list[object]
        object.flags &= ~OBJECT_ALLOCATED
        for _start, _size, area in object.areas:
            kmem_cache_free(self.mm, self.scan_area_cache, area)
        self._put(object)

    def _put(self, object):
        # mem_pool_free(); its grace period is over at once
        if object.address:
            kmem_cache_free(self.mm, self.object_cache, object.address)
        else:
            self.mem_pool_free_count += 1

    def _take_from_pool(self):
        if self.mem_pool_free_count:
            self.mem_pool_free_count -= 1
            return True
        self._print_once(
            "Memory pool empty, consider increasing CONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE"
        )
        return False

    def _print_once(self, line):
        if f"kmemleak: {line}" not in self.log:
            self.print(line)

    def _paint(self, pointer, color, phys=False):
        if not self.enabled or not pointer:
            return
        object = self.phys_tree.at.get(pointer) if phys else self.lookup(pointer, False)
        if object is not None:
            object.paint(color)
        elif self.has.kmemleak_color_warns:
            self.warn(
                f"Trying to color unknown object at 0x{pointer:08x} as {COLORS[color]}"
            )

    def _known(self, pointer, alias, words):
        # an object that a caller names; a complaint if there is none
        if not self.enabled or not pointer:
            return None
        object = self.lookup(pointer, alias)
        if object is None:
            self.warn(words % pointer)
        return object

    def _task(self):
        tasks = self.mm.tasks
        if tasks is None:
            return f"swapper/{self.mm.cpu}", 0
        task = tasks.current[self.mm.cpu]
        return task.comm, task.pid

    def _trace(self):
        return tuple(reversed(self.mm.frames[-MAX_TRACE:]))

    # ---- scanning

    def scan(self):
        """kmemleak_scan(): looks for objects to which no pointer leads; how many new ones it
        found.
        """
        if not self.enabled:
            return 0
        found = kmemleak_scan(self)
        leaks = len(found)
        if self.verbose:
            for object in found:
                self.log.extend(
                    f"kmemleak: {line}" for line in print_unreferenced(self, object).splitlines()
                )
        if leaks:
            self.found_leaks = True
            self.print(
                f"{leaks} new suspected memory leaks (see /sys/kernel/debug/kmemleak)"
            )
        return leaks

    def is_unreferenced(self, object):
        """unreferenced_object(): white, and old enough in the last scan."""
        return (
            object.is_white()
            and object.flags & OBJECT_ALLOCATED
            and object.jiffies + self.jiffies_min_age <= self.jiffies_last_scan
        )

    def start_scan_thread(self):
        """start_scan_thread(): the first scan of all comes a minute later."""
        if self.next_scan is None:
            wait = SECS_FIRST_SCAN * self.hz if self.first_run else 0
            self.first_run = False
            self.next_scan = self.mm.jiffies + wait
            self.print("Automatic memory scanning thread started")

    def stop_scan_thread(self):
        """stop_scan_thread()"""
        if self.next_scan is not None:
            self.next_scan = None
            self.print("Automatic memory scanning thread ended")

    def run_until(self, jiffies):
        """Lets time pass: the scanning thread does what falls due. kmemleak_scan_thread()"""
        mm = self.mm
        while self.enabled and self.next_scan is not None and self.next_scan <= jiffies:
            mm.jiffies = max(mm.jiffies, self.next_scan)
            self.scan()
            self.next_scan = mm.jiffies + max(self.jiffies_scan_wait, 1)
        mm.jiffies = max(mm.jiffies, jiffies)

    def show(self):
        """/sys/kernel/debug/kmemleak: a text."""
        return "".join(
            print_unreferenced(self, object)
            for object in self.object_list
            if object.flags & OBJECT_REPORTED and self.is_unreferenced(object)
        )

    # ---- off

    def clear(self):
        """kmemleak_clear(): what was reported is grey from now on."""
        for object in self.object_list:
            if object.flags & OBJECT_REPORTED and self.is_unreferenced(object):
                object.paint(KMEMLEAK_GREY)
        self.found_leaks = False

    def disable(self, said=False):
        """kmemleak_disable(): for good; the objects stay if there are leaks to be seen."""
        if self.error:
            return
        self.error = True
        self.enabled = False
        if not said:
            self.print("Kernel memory leak detector disabled")
        if self.object_cache >= 0:
            self._cleanup()
        else:
            self.free_enabled = False

    def _cleanup(self):
        # kmemleak_do_cleanup()
        self.stop_scan_thread()
        self.free_enabled = False
        self.mm.checkers &= ~CHECK_KMEMLEAK
        if not self.found_leaks:
            self.forget()
        else:
            self.print(
                "Kmemleak disabled without freeing internal data. Reclaim the memory with "
                '"echo clear > /sys/kernel/debug/kmemleak".'
            )

    def forget(self):
        """__kmemleak_do_cleanup(): frees every kmemleak_object."""
        for object in list(self.object_list):
            self._delete(object)
