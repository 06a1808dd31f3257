"""Generic KASAN: shadow memory, red zones in objects, and a check of every access.

One shadow byte tells of a granule of eight bytes: 0, all may be used; 1 to 7, so many; else why
not (KASAN_* below). mm/kasan/common.c, generic.c, shadow.c; reports: `kasan_report`, freed objects
that wait: `kasan_quarantine`. Compiled code comes here through `kasan_hooks`, and only if
`mm.checkers` has CHECK_KASAN; `mm.kasan` is the one `Kasan` of a machine.
"""

from mmtwin.kernel import kasan_layout, slub_layout
from mmtwin.kernel.constants import __GFP_DIRECT_RECLAIM as GFP_DIRECT_RECLAIM
from mmtwin.kernel.constants import __GFP_ZERO as GFP_ZERO
from mmtwin.kernel.constants import PG_head, PG_hole, PG_slab, PG_tail
from mmtwin.kernel.kasan_quarantine import Quarantine
from mmtwin.kernel.kasan_report import Access, Report
from mmtwin.kernel.kasan_shadow import GRANULE, Shadow, round_up
from mmtwin.kernel.page_alloc import alloc_pages, alloc_pages_bulk, free_pages
from mmtwin.kernel.slub_defs import (
    GFP_KERNEL,
    SLAB_KASAN,
    SLAB_KMALLOC,
    SLAB_RED_ZONE,
    SLAB_TYPESAFE_BY_RCU,
)

MASK64 = (1 << 64) - 1

KASAN_PAGE_FREE = 0xFF
KASAN_PAGE_REDZONE = 0xFE
KASAN_SLAB_REDZONE = 0xFC
KASAN_SLAB_FREE = 0xFB
KASAN_SLAB_FREE_META = 0xFA  # KASAN_SLAB_FREETRACK before 6.8
KASAN_VMALLOC_INVALID = 0xF8
KASAN_STACK_LEFT, KASAN_STACK_MID, KASAN_STACK_RIGHT = 0xF1, 0xF2, 0xF3
KASAN_GLOBAL_REDZONE, KASAN_ALLOCA_LEFT, KASAN_ALLOCA_RIGHT = 0xF9, 0xCA, 0xCB
FRAME_MAGIC = 0x41B58AB3  # KASAN_CURRENT_STACK_FRAME_MAGIC
CPU_BITS, CLOCK_SHIFT = 20, 9  # of struct kasan_track with CONFIG_KASAN_EXTRA_INFO
NSEC_PER_SEC = 10**9
TRACK_BYTES = 8  # the pid and the handle of struct kasan_track


class Kasan:
    """KASAN of one machine: its shadow, its quarantine, its stack depot.

    `where`: what versions/ knows of the address space, see `Shadow`. `multi_shot`:
    kasan_multi_shot, every bug is reported, not only the first. `fault`: kasan.fault=.
    """

    def __init__(self, mm, where, multi_shot=False, fault=""):
        self.mm = mm
        self.has = mm.view("has")[0]
        self.shadow = Shadow(mm, where)
        self.quarantine = Quarantine(self)
        self.multi_shot = multi_shot
        self.fault = fault
        self.reported = False
        self.reports = 0
        self.frames = {}  # of poison_frame(): address -> (function, variables)
        self._layouts = {}  # cache -> (offset of alloc meta or 0, of free meta or None)
        self._depot = {}  # call path, innermost first -> handle
        self._stacks = [()]

    # ---- caches

    def set_layout(self, cache, alloc_meta, free_meta):
        """kasan_info of a cache: offsets in bytes from the object; 0 and None for none."""
        self._layouts[cache] = alloc_meta, free_meta

    def alloc_meta(self, cache, object):
        """kasan_get_alloc_meta(): the address of an object's struct kasan_alloc_meta, or 0."""
        offset = self._layouts.get(cache, (0, None))[0]
        return object + offset if offset else 0

    def free_meta(self, cache, object):
        """kasan_get_free_meta(): the address of its struct kasan_free_meta, or 0."""
        offset = self._layouts.get(cache, (0, None))[1]
        return 0 if offset is None else object + offset

    # ---- the stack depot

    def save_stack(self, *functions):
        """kasan_save_stack(): the handle of the running call path; `functions`, innermost first,
        lie inside mm.frames.
        """
        path = (*functions, *reversed(self.mm.frames))
        handle = self._depot.get(path)
        if handle is None:
            handle = self._depot[path] = len(self._stacks)
            self._stacks.append(path)
        return handle

    def stack(self, handle):
        """stack_depot_fetch(): the call path of a handle, innermost first; None if unknown."""
        return self._stacks[handle] if 0 < handle < len(self._stacks) else None

    def task(self):
        """(name, pid) of the running task."""
        tasks = self.mm.tasks
        if tasks is None:
            return f"swapper/{self.mm.cpu}", 0
        task = tasks.current[self.mm.cpu]
        return task.comm[:15], task.pid

    def set_track(self, place, *functions):
        """kasan_set_track(): who runs, as struct kasan_track at an address."""
        handle = self.save_stack(*functions)
        self.shadow.write(place, self.task()[1].to_bytes(4, "little"))
        self.shadow.write(place + 4, handle.to_bytes(4, "little"))
        if self.has.kasan_track_bytes > TRACK_BYTES:
            clock = self.mm.jiffies * NSEC_PER_SEC // self.shadow.hz >> CLOCK_SHIFT
            extra = self.mm.cpu | clock << CPU_BITS
            self.shadow.write(place + TRACK_BYTES, (extra & MASK64).to_bytes(8, "little"))

    def track(self, place):
        """(who: "1", or "1 on cpu 0 at 3.000000s" with CONFIG_KASAN_EXTRA_INFO; call path or None)
        of the struct kasan_track at an address; None for an empty one.
        """
        data = self.shadow.read(place, self.has.kasan_track_bytes)
        handle = int.from_bytes(data[4:TRACK_BYTES], "little")
        who = str(int.from_bytes(data[:4], "little"))
        if len(data) > TRACK_BYTES:
            extra = int.from_bytes(data[TRACK_BYTES:], "little")
            usec = (extra >> CPU_BITS << CLOCK_SHIFT) // 1000
            who += f" on cpu {extra & (1 << CPU_BITS) - 1} at {usec // 10**6}.{usec % 10**6:06}s"
        return (who, self.stack(handle)) if handle else None

    # ---- pages

    def unpoison_pages(self, pfn, order):
        """kasan_unpoison_pages(): a block that the page allocator gave out."""
        self.shadow.poison(self.page_address(pfn), 1 << (order + self.mm.page_shift), 0)

    def poison_pages(self, pfn, order):
        """kasan_poison_pages(): a block that was freed."""
        size = 1 << (order + self.mm.page_shift)
        self.shadow.poison(self.page_address(pfn), size, KASAN_PAGE_FREE)

    def poison_slab(self, cache, pfn, order):
        """kasan_poison_slab(), kasan_init_slab_obj(): a new slab is one red zone; no object has
        been allocated.
        """
        mm = self.mm
        start = self.page_address(pfn)
        self.shadow.poison(start, 1 << (order + mm.page_shift), KASAN_SLAB_REDZONE)
        if not self.alloc_meta(cache, start):
            return
        record = mm.view("cache")[cache]
        size = int(record["size"])
        meta = self.alloc_meta(cache, start + int(record["red_left_pad"]))
        zeros = bytes(kasan_layout.alloc_meta_bytes(self.has))
        for place in range(((1 << order) << mm.page_shift) // size):
            self.shadow.write(meta + place * size, zeros)

    # ---- objects

    def slab_alloc(self, cache, object, gfp):
        """kasan_slab_alloc(): all of an object becomes accessible."""
        if gfp & GFP_DIRECT_RECLAIM:
            self.quarantine.reduce()
        if not object:
            return
        record = self.mm.view("cache")[cache]
        self.shadow.unpoison(object, int(record["object_size"]))
        if not int(record["flags"]) & SLAB_KMALLOC:
            self._save_alloc_info(cache, object, "__kasan_slab_alloc", "kmem_cache_alloc")

    def kmalloc(self, cache, object, size, gfp, entry="__kmalloc"):
        """kasan_kmalloc(): only the bytes that were asked for stay accessible."""
        if gfp & GFP_DIRECT_RECLAIM:
            self.quarantine.reduce()
        if object:
            self._poison_kmalloc_redzone(cache, object, size, entry)

    def kmalloc_large(self, object, size, gfp):
        """kasan_kmalloc_large(): what the block holds beyond `size` is a red zone."""
        if gfp & GFP_DIRECT_RECLAIM:
            self.quarantine.reduce()
        if object:
            self._poison_large_redzone(object, size)

    def krealloc(self, object, size, gfp):
        """kasan_krealloc(): an object that stays where it is gets its new size."""
        if gfp & GFP_DIRECT_RECLAIM:
            self.quarantine.reduce()
        self.shadow.unpoison(object, size)
        page = self.mm.view("page")[self._head(object)]
        if int(page["flags"]) & PG_slab:
            self._poison_kmalloc_redzone(int(page["cache"]), object, size, "krealloc")
        else:
            self._poison_large_redzone(object, size)

    def slab_free(self, cache, object):
        """kasan_slab_free(): whether SLUB must not free the object now: it waits in the
        quarantine, or it is none that may be freed, and that was reported.
        """
        if self.nearest_obj(self._head(object), object) != object:
            self._report_invalid_free(object, "invalid-free")
            return True
        record = self.mm.view("cache")[cache]
        by_rcu = int(record["flags"]) & SLAB_TYPESAFE_BY_RCU
        if by_rcu and not self.has.kasan_quarantines_rcu:
            return False  # may be used until the grace period is over
        if not self.byte_accessible(object):
            self._report_invalid_free(object, "double-free")
            return True
        if not by_rcu:
            size = round_up(int(record["object_size"]), GRANULE)
            self.shadow.poison(object, size, KASAN_SLAB_FREE)
            meta = self.free_meta(cache, object)
            if meta:
                entry = "kfree" if int(record["flags"]) & SLAB_KMALLOC else "kmem_cache_free"
                names = "kasan_save_free_info", "__kasan_slab_free", entry
                self.set_track(meta + GRANULE, *self.save_functions(), *names)
                self.shadow.set_byte(object, KASAN_SLAB_FREE_META)
        return self.quarantine.put(cache, object)

    def kfree_large(self, object):
        """kasan_kfree_large(): whether a large object was reported as none that may be freed."""
        pfn = self._head(object)
        if object != self.page_address(pfn):
            self._report_invalid_free(object, "invalid-free")
            return True
        if self.has.kasan_checks_byte and not self.byte_accessible(object):
            self._report_invalid_free(object, "double-free")
            return True
        return False

    def byte_accessible(self, address):
        """kasan_byte_accessible()"""
        return self.shadow.byte(address) < GRANULE

    def check_byte(self, address):
        """kasan_check_byte(): whether the byte may be read; if not, that is reported."""
        if self.byte_accessible(address):
            return True
        self._report(Access(address, 1, False, ""))
        return False

    def unpoison_range(self, address, size):
        """kasan_unpoison_range()"""
        self.shadow.unpoison(address, size)

    # ---- accesses

    def check_range(self, address, size, write):
        """kasan_check_range(): whether `size` bytes may be read or written; reports if not."""
        if not size:
            return True
        wild = address + size > MASK64 or address < self.shadow.kernel_start
        if not wild and not self.poisoned(address, size):
            return True
        self._report(Access(address, size, write, ""))
        return False

    def poisoned(self, address, size):
        """memory_is_poisoned(): whether any of the bytes is inaccessible."""
        return self.shadow.first_bad(address, size) is not None

    # ---- vmalloc and stacks

    def populate_vmalloc(self, address, size):
        """kasan_populate_vmalloc(): pages for the shadow of a new area, where it has none yet.

        Whether there was memory for them. Without KASAN_VMALLOC the early shadow serves.
        """
        if not self.has.kasan_vmalloc:
            return True
        page_size = 1 << self.mm.page_shift
        first = self.shadow.address(address) & ~(page_size - 1)
        last = round_up(self.shadow.address(address + size), page_size)
        places = range(first, last, page_size)
        if self.has.kasan_populates_in_bulk:
            return self._populate_in_bulk(places)
        for place in places:
            if place in self.shadow.vmalloc_pages:
                continue
            pfn = alloc_pages(self.mm, GFP_KERNEL, 0, -1)
            if pfn < 0:
                return False
            self._map_shadow(place, pfn)
        return True

    def _map_shadow(self, place, pfn):
        # kasan_populate_vmalloc_pte()
        invalid = bytes([KASAN_VMALLOC_INVALID])
        self.shadow.write(self.page_address(pfn), invalid * (1 << self.mm.page_shift))
        self.shadow.vmalloc_pages[place] = pfn

    def _populate_in_bulk(self, places):
        # __kasan_populate_vmalloc_do(): an array of pages, as many as it holds at a time; those
        # for places that have their shadow are given back
        mm, most = self.mm, (1 << self.mm.page_shift) // 8
        array = alloc_pages(mm, GFP_KERNEL | GFP_ZERO, 0, -1)
        good = array >= 0
        while good and places:
            taken = []
            while good and len(taken) < min(most, len(places)):
                count = alloc_pages_bulk(mm, GFP_KERNEL, -1, min(most, len(places)) - len(taken))
                taken += mm.view("bulk_page")[:count].tolist()
                good = count > 0
            for place, pfn in zip(places, taken, strict=False):
                if not good or place in self.shadow.vmalloc_pages:
                    free_pages(mm, pfn, 0)
                else:
                    self._map_shadow(place, pfn)
            places = places[len(taken) :]
        if array >= 0:
            free_pages(mm, array, 0)
        return good

    def depopulate_vmalloc(self, start, end, free_start, free_end):
        """kasan_release_vmalloc(): gives back shadow pages of the area [start, end), which lies
        in the free region [free_start, free_end), that no other area uses.
        """
        page_size = 1 << self.mm.page_shift
        covered = page_size * GRANULE  # KASAN_MEMORY_PER_SHADOW_PAGE
        first, last = round_up(start, covered), end // covered * covered
        if start != first and round_up(free_start, covered) < first:
            first -= covered
        if end != last and free_end // covered * covered > last:
            last += covered
        for address in range(first, last, covered):
            pfn = self.shadow.vmalloc_pages.pop(self.shadow.address(address), None)
            if pfn is not None:
                free_pages(self.mm, pfn, 0)

    def unpoison_vmalloc(self, address, size):
        """kasan_unpoison_vmalloc(): the bytes of a new area, not its guard page."""
        self.shadow.unpoison(address, size)

    def poison_vmalloc(self, address, size):
        """kasan_poison_vmalloc(): an area that was freed."""
        self.shadow.poison(address, round_up(size, GRANULE), KASAN_VMALLOC_INVALID)

    def poison_frame(self, address, function, variables):
        """What the compiler adds to a function: red zones around its variables.

        `address`: of the lowest byte, a multiple of 32; `variables`: (name, bytes). Returns
        {name: address}. See `kasan_layout.frame_layout` for how many bytes it takes.
        """
        total, places = kasan_layout.frame_layout(variables)
        shadow = self.shadow
        shadow.poison(address, kasan_layout.FRAME_REDZONE, KASAN_STACK_LEFT)
        end = address + total
        for name, offset, size in places:
            shadow.unpoison(address + offset, size)
        ends = [address + offset + size for _, offset, size in places]
        starts = [address + offset for _, offset, _ in places[1:]]
        for stop, start in zip(ends, starts, strict=False):
            shadow.poison(round_up(stop, GRANULE), start - round_up(stop, GRANULE),
                          KASAN_STACK_MID)
        last = round_up(ends[-1], GRANULE) if ends else address + kasan_layout.FRAME_REDZONE
        shadow.poison(last, end - last, KASAN_STACK_RIGHT)
        shadow.write(self._direct(address), FRAME_MAGIC.to_bytes(8, "little"))
        self.frames[address] = function, places, total
        return {name: address + offset for name, offset, _ in places}

    def unpoison_frame(self, address):
        """What the function does before it returns: its frame is plain stack again."""
        total = self.frames.pop(address, ("", (), 0))[-1]
        self.shadow.poison(address, total, 0)

    def poison_alloca(self, address, size):
        """__asan_alloca_poison(): red zones around `size` bytes that a function took of its stack
        by alloca(), at an address that is a multiple of 32.
        """
        redzone, behind = kasan_layout.ALLOCA_REDZONE, round_up(address + size, GRANULE)
        self.shadow.unpoison(address, size)
        self.shadow.poison(address - redzone, redzone, KASAN_ALLOCA_LEFT)
        end = round_up(address + size, redzone) + redzone
        self.shadow.poison(behind, end - behind, KASAN_ALLOCA_RIGHT)

    def register_global(self, address, size):
        """register_global(): a red zone behind a variable of `size` bytes."""
        behind = round_up(size, GRANULE)
        end = kasan_layout.padded_global(size)
        self.shadow.unpoison(address, size)
        self.shadow.poison(address + behind, end - behind, KASAN_GLOBAL_REDZONE)

    def unpoison_stack(self, address, size):
        """kasan_unpoison_range() of a stack that another task gets: the frames on it are gone."""
        self.shadow.unpoison(address, size)
        for frame in [each for each in self.frames if address <= each < address + size]:
            del self.frames[frame]

    def _direct(self, address):
        # the same byte's address in the direct map, of what vmalloc mapped too
        if not self.mm.vmalloc_start <= address < self.mm.vmalloc_end:
            return address
        pfn = self.mm.vmalloc.tables.translate(address)
        return self.page_address(pfn) + (address & (1 << self.mm.page_shift) - 1)

    # ---- its cost

    def memory(self):
        """What KASAN costs, in bytes: `shadow` of RAM and of vmalloc, `caches`: {name: (size with
        its red zone, without)}, `stacks`: (THREAD_SIZE, the same without), `quarantine` now.
        """
        mm = self.mm
        records = mm.view("cache")
        caches = {}
        for cache, name in enumerate(mm.cache_names):
            if records["alive"][cache]:
                caches[name] = int(records["size"][cache]), self.size_without(cache)
        page_size, stack = 1 << mm.page_shift, int(self.has.thread_size)
        return {
            "shadow": self.shadow.pages() * page_size,
            "vmalloc_shadow": len(self.shadow.vmalloc_pages) * page_size,
            "caches": caches,
            "stacks": (stack, max(stack // 2, page_size) if self.has.vmap_stack else stack // 2),
            "quarantine": self.quarantine.bytes(),
        }

    def size_without(self, cache):
        """The size that a cache's objects would have without KASAN, in bytes."""
        record = self.mm.view("cache")[cache]
        has = type(self.has).from_buffer_copy(self.has)
        has.kasan = 0
        flags, offset = int(record["flags"]), int(record["offset"])
        own_place = offset if offset < int(record["object_size"]) else None
        layout = slub_layout.object_layout(
            has, int(record["object_size"]), int(record["align"]), flags & ~SLAB_KASAN,
            bool(record["ctor"]), own_place,
        )  # fmt: skip
        return layout["size"]

    # ---- inside

    def nearest_obj(self, pfn, address):
        """nearest_obj(): the object of a slab that an address lies in, or the last before it."""
        page = self.mm.view("page")[pfn]
        record = self.mm.view("cache")[int(page["cache"])]
        start, size = self.page_address(pfn), int(record["size"])
        last = start + (int(page["objects"]) - 1) * size
        object = min(address - (address - start) % size, last)
        return object + (int(record["red_left_pad"]) if record["flags"] & SLAB_RED_ZONE else 0)

    def page_of(self, address):
        """virt_to_head_page(): the pfn of the head page, -1 where there is no RAM."""
        pfn = ((address - self.mm.page_offset) & MASK64) >> self.mm.page_shift
        if not self.mm.min_pfn <= pfn < self.mm.max_pfn:
            return -1
        page = self.mm.view("page")[pfn]
        if int(page["flags"]) & PG_hole:
            return -1
        return int(page["compound_head"]) if int(page["flags"]) & PG_tail else pfn

    def save_functions(self):
        """The functions of KASAN itself that a saved call path begins with."""
        track = "kasan_save_track" if self.has.kasan_splits_free_meta else "kasan_set_track"
        return "kasan_save_stack", track

    def _head(self, address):
        return max(self.page_of(address), 0)

    def page_address(self, pfn):
        """page_to_virt()"""
        return (self.mm.page_offset + (pfn << self.mm.page_shift)) & MASK64

    def _save_alloc_info(self, cache, object, *functions):
        meta = self.alloc_meta(cache, object)
        if meta:
            self.shadow.write(meta, bytes(kasan_layout.alloc_meta_bytes(self.has)))
            self.set_track(meta, *self.save_functions(), *functions)

    def _poison_kmalloc_redzone(self, cache, object, size, entry):
        record = self.mm.view("cache")[cache]
        end = round_up(object + int(record["object_size"]), GRANULE)
        self.shadow.unpoison(object, size)
        start = round_up(object + size, GRANULE)
        self.shadow.poison(start, end - start, KASAN_SLAB_REDZONE)
        self._save_alloc_info(cache, object, "__kasan_kmalloc", entry)

    def _poison_large_redzone(self, object, size):
        page = self.mm.view("page")[self._head(object)]
        order = int(page["order"]) if int(page["flags"]) & PG_head else 0
        end = object + (1 << (order + self.mm.page_shift))
        self.shadow.unpoison(object, size)
        start = round_up(object + size, GRANULE)
        self.shadow.poison(start, end - start, KASAN_PAGE_REDZONE)

    def _report_invalid_free(self, object, kind):
        if not self.has.kasan_names_double_free:
            kind = "double-free or invalid-free"
        self._report(Access(object, 0, True, kind))

    def _report(self, access):
        # report_enabled(): one report, unless kasan_multi_shot
        if self.reported and not self.multi_shot:
            return
        Report(self, access).keep()
        self.reported = True
        self.reports += 1
