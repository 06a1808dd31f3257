"""The reports of SLUB's checks, as the machine's kernel words and lays them out.

mm/slub.c: slab_bug(), object_err(), slab_err(), slab_fix(), print_trailer(), print_track(),
print_section(), print_slab_info(); lib/hexdump.c. Plain Python: only errors come here, and the
tracks of SLAB_STORE_USER.
"""

import struct

import numpy as np

from mmtwin.kernel import slub_defs
from mmtwin.kernel.constants import (
    COMPLAINT_CORRUPT_FREELIST,
    COMPLAINT_INVALID_OBJECT,
    COMPLAINT_OBJECT_FREE,
    COMPLAINT_OVERWRITTEN,
    COMPLAINT_SLAB_STATE,
    COMPLAINT_WRONG_CACHE,
)
from mmtwin.kernel.slub_freelist import MASK64
from mmtwin.kernel.slub_options import current_frames, current_task

WIDTH = 77
TRACK_ADDRESSES = 16  # TRACK_ADDRS_COUNT
ZONES = {
    slub_defs.FOUND_LEFT_REDZONE: "Left Redzone",
    slub_defs.FOUND_RIGHT_REDZONE: "Right Redzone",
    slub_defs.FOUND_KMALLOC_REDZONE: "kmalloc Redzone",
    slub_defs.FOUND_ALIGNMENT_PADDING: "Alignment padding",
    slub_defs.FOUND_POISON: "Poison",
    slub_defs.FOUND_END_POISON: "End Poison",
    slub_defs.FOUND_OBJECT_PADDING: "Object padding",
}
# Errors of an object (object_err) and of a slab (slab_err): the words, and the complaint.
OBJECTS = {
    slub_defs.FOUND_FREEPOINTER: ("Freepointer corrupt", COMPLAINT_CORRUPT_FREELIST),
    slub_defs.FOUND_FREECHAIN: ("Freechain corrupt", COMPLAINT_CORRUPT_FREELIST),
    slub_defs.FOUND_BAD_NEXT: ("Freelist Pointer check fails", COMPLAINT_CORRUPT_FREELIST),
    slub_defs.FOUND_OBJECT_FREE: ("Object already free", COMPLAINT_OBJECT_FREE),
    slub_defs.FOUND_OTHER_CACHE: ("page slab pointer corrupt.", COMPLAINT_WRONG_CACHE),
}
SLABS = {
    slub_defs.FOUND_FREELIST_HEAD: ("Freepointer corrupt", COMPLAINT_CORRUPT_FREELIST),
    slub_defs.FOUND_FREELIST_CYCLE: ("Freelist cycle detected", COMPLAINT_CORRUPT_FREELIST),
    slub_defs.FOUND_INVALID_OBJECT: ("Invalid object pointer 0x{p}", COMPLAINT_INVALID_OBJECT),
    slub_defs.FOUND_OBJECTS_MAX: ("objects {a} > max {b}", COMPLAINT_SLAB_STATE),
    slub_defs.FOUND_INUSE_MAX: ("inuse {a} > max {b}", COMPLAINT_SLAB_STATE),
    slub_defs.FOUND_DISABLED: (
        "Slab disabled since SLUB metadata consistency check failed", COMPLAINT_SLAB_STATE,
    ),
    slub_defs.FOUND_OBJECTS_NUMBER: (
        "Wrong number of objects. Found {a} but should be {b}", COMPLAINT_SLAB_STATE,
    ),
    slub_defs.FOUND_OBJECT_COUNT: (
        "Wrong object count. Counter is {a} but counted were {b}", COMPLAINT_SLAB_STATE,
    ),
    slub_defs.FOUND_TOO_FEW: (
        "Slab has {a} allocated objects but {b} are to be freed\n", COMPLAINT_SLAB_STATE,
    ),
    slub_defs.FOUND_BULK_COUNT: (
        "Bulk free expected {a} objects but found {b}\n", COMPLAINT_SLAB_STATE,
    ),
}
OLD_BULK_COUNT = "Bulk freelist count({a}) invalid({b})\n"  # before debug_alloc_single
FIXES = {
    slub_defs.FIX_ALL_USED: "Marking all objects used",
    slub_defs.FIX_FREELIST_CLEARED: "Freelist cleared",
    slub_defs.FIX_OBJECTS_NUMBER: "Number of objects adjusted",
    slub_defs.FIX_OBJECT_COUNT: "Object count adjusted",
    slub_defs.FIX_ISOLATED: "Isolate corrupted freechain",
    slub_defs.FIX_NOT_FREED: "Object at 0x{p} not freed",
}
DOTTED = (slub_defs.FIX_OBJECTS_NUMBER, slub_defs.FIX_OBJECT_COUNT)  # before 5.14


def tell(mm, cache, pfn, object, what, a, b, c):
    """Reports one thing: `what` is FOUND_*, FIX_* or TELL_TRACE.

    `object`: its address (virt_t), 0 if it is about the slab at `pfn`. `a`, `b`: what the words
    name: addresses (first and behind the last byte), or numbers. `c`: the byte that should be
    there, with 0x100 if the object was printed before.
    """
    report = Report(mm, cache, pfn)
    if what in ZONES:
        report.overwritten(object, ZONES[what], a, b, c & 0xFF, c < 0x100)
    elif what == slub_defs.FOUND_SLAB_PADDING:
        report.padding_overwritten(a, b, c)
    elif what in OBJECTS:
        words, kind = OBJECTS[what]
        report.object_err(object, words)
        report.keep(kind, object)
    elif what in SLABS:
        words, kind = SLABS[what]
        if what == slub_defs.FOUND_BULK_COUNT and not mm.view("has")[0].debug_alloc_single:
            words = OLD_BULK_COUNT
        report.slab_err(words.format(p=mm.slub_debug.pointer(object), a=a, b=b))
        report.keep(kind, object or report.base)
    elif what == slub_defs.FOUND_WRONG_CACHE:
        report.wrong_cache(object)
    elif what in FIXES:
        words = FIXES[what].format(p=mm.slub_debug.pointer(a))
        dot = "." if what in DOTTED and not mm.view("has")[0].slub_fix_names else ""
        report.slab_fix(words + dot)
    else:
        report.trace(object, a)


class Report:
    """The lines of one report about a slab of a cache; `keep` puts it among the complaints."""

    def __init__(self, mm, cache, pfn):
        self.mm = mm
        self.debug = mm.slub_debug
        self.has = mm.view("has")[0]
        self.cache = cache
        self.name = mm.cache_names[cache]
        self.record = mm.view("cache")[cache]
        self.pfn = pfn
        self.base = (mm.page_offset + (pfn << mm.page_shift)) & MASK64
        self.info = "INFO: " if self.has.slub_info_prefix else ""
        self.lines = []

    def field(self, name):
        """A field of the cache's record."""
        return int(self.record[name])

    def bytes_at(self, address, size):
        """Bytes of simulated RAM; what lies outside is left out."""
        start = (address - self.mm.page_offset) & MASK64
        return bytes(self.mm.view("ram").view("u1")[start : start + size])

    def keep(self, kind, address):
        """Adds the report to the machine's complaints: kind is COMPLAINT_*."""
        text = "\n".join(self.lines) + "\n"
        self.mm.complaints.append({"kind": kind, "address": address, "detail": 0, "text": text})

    # ---- errors

    def slab_bug(self, words):
        """slab_bug(): the head of a report."""
        state = print_tainted(self.debug)
        self.lines += ["=" * WIDTH, f"BUG {self.name} ({state}): {words}", "-" * WIDTH, ""]
        if not self.has.slub_taints_late:
            self.debug.tainted.add("B")

    def object_err(self, object, words):
        """object_err()"""
        self.debug.errors += 1
        self.object_bug(object, words)

    def object_bug(self, object, words):
        """object_err() without counting: what it prints."""
        self.slab_bug(words)
        if self.is_object(object):
            self.print_trailer(object)
        else:
            self.print_slab_info()
            self.lines.append(f"Invalid pointer 0x{self.debug.pointer(object)}")
        self.debug.tainted.add("B")
        if self.has.slub_warns:
            self.warn()

    def slab_err(self, words):
        """slab_err()"""
        self.debug.errors += 1
        self.slab_bug(words)
        self.end_slab_err()

    def end_slab_err(self):
        """__slab_err()"""
        self.print_slab_info()
        if self.has.slub_warns:
            self.debug.tainted.add("B")
            self.warn()
        else:
            self.dump_stack()
        self.debug.tainted.add("B")

    def overwritten(self, object, zone, start, end, value, first):
        """check_bytes_and_report(), restore_bytes(): a zone of an object has other bytes."""
        pointer = self.debug.pointer
        self.debug.errors += 1
        where = (
            f"0x{pointer(start)}-0x{pointer(end - 1)} @offset={start - self.base}. "
            f"First byte 0x{self.bytes_at(start, 1)[0]:x} instead of 0x{value:x}"
        )
        if self.has.slub_checks_all:
            self.lines.append(f"[{zone} overwritten] {where}")
            if first:
                self.object_bug(object, "Object corrupt")
        else:
            self.slab_bug(f"{zone} overwritten")
            self.lines.append(self.info + where)
            self.print_trailer(object)
            self.debug.tainted.add("B")
        self.keep(COMPLAINT_OVERWRITTEN, object)
        self.restored(zone, start, end, value)

    def wrong_cache(self, object):
        """cache_from_obj(): a WARN, and who had the object of the other cache."""
        other = int(self.mm.view("page")["cache"][self.pfn])
        theirs = Report(self.mm, other, self.pfn)
        theirs.lines.append("------------[ cut here ]------------")
        theirs.lines.append(
            f"cache_from_obj: Wrong slab cache. {self.name} but object is from {theirs.name}"
        )
        theirs.dump_stack()
        theirs.lines.append("---[ end trace 0000000000000000 ]---")
        self.debug.tainted.add("W")
        if theirs.is_object(object):
            theirs.print_tracking(object)
        theirs.keep(COMPLAINT_WRONG_CACHE, object)
        self.mm.complaints[-1]["detail"] = self.cache

    def padding_overwritten(self, start, end, value):
        """slab_pad_check(): what a slab has left behind its objects has other bytes."""
        pointer = self.debug.pointer
        words = (
            f"Padding overwritten. 0x{pointer(start)}-0x{pointer(end - 1)} "
            f"@offset={start - self.base}"
        )
        size = 1 << (self.mm.page_shift + int(self.mm.view("page")["order"][self.pfn]))
        rest = size % self.field("size")
        if self.has.slub_warns:
            self.slab_bug(words)
            self.print_section("Padding ", self.base + size - rest, rest)
            self.end_slab_err()
        else:
            self.slab_err(words)
            self.print_section("Padding ", self.base + size - rest, rest)
        self.keep(COMPLAINT_OVERWRITTEN, start)
        self.restored("slab padding", start, end, value)

    def restored(self, zone, start, end, value):
        """restore_bytes(): says so; 1a88ef87f861 (5.14) names the zone."""
        pointer = self.debug.pointer
        what = f"{zone} " if self.has.slub_fix_names else ""
        text = f"Restoring {what}0x{pointer(start)}-0x{pointer(end - 1)}=0x{value:x}"
        self.slab_fix(text if self.has.slub_fix_names else text + "\n")

    def slab_fix(self, words):
        """slab_fix(): a line below the report before it."""
        self.debug.errors += 1
        line = f"FIX {self.name}: {words}\n"
        if self.mm.complaints and "text" in self.mm.complaints[-1]:
            self.mm.complaints[-1]["text"] += line

    def trace(self, object, taken):
        """trace(): an object of a SLAB_TRACE cache is taken or freed."""
        page = self.mm.view("page")[self.pfn]
        pointer = self.debug.pointer
        self.lines.append(
            f"TRACE {self.name} {'alloc' if taken else 'free'} 0x{pointer(object)} "
            f"inuse={int(page['inuse'])} fp=0x{pointer(int(page['freelist']))}"
        )
        if not taken:
            self.print_section("Object ", object, self.field("object_size"))
        self.dump_stack()
        self.debug.traced.append("\n".join(self.lines) + "\n")

    # ---- parts

    def is_object(self, object):
        """check_valid_pointer(), but not NULL."""
        offset = object - self.base - self.field("red_left_pad")
        objects = int(self.mm.view("page")["objects"][self.pfn])
        size = self.field("size")
        return 0 <= offset < objects * size and offset % size == 0

    def print_slab_info(self):
        """print_slab_info()"""
        page = self.mm.view("page")[self.pfn]
        self.lines.append(
            f"{self.info}Slab 0x{self.debug.slab_pointer(self.pfn)} "
            f"objects={int(page['objects'])} used={int(page['inuse'])} "
            f"fp=0x{self.debug.pointer(int(page['freelist']))} "
            f"flags={self.debug.page_flags(self.mm, self.pfn)}"
        )

    def print_trailer(self, object):
        """print_trailer(): who had the object, and all its bytes."""
        flags = self.field("flags")
        pad, size, inuse = (self.field(name) for name in ("red_left_pad", "object_size", "inuse"))
        self.print_tracking(object)
        self.print_slab_info()
        self.lines += [
            f"{self.info}Object 0x{self.debug.pointer(object)} @offset={object - self.base} "
            f"fp=0x{self.debug.pointer(self.freepointer(object))}", "",
        ]
        if flags & slub_defs.SLAB_RED_ZONE:
            self.print_section("Redzone  ", object - pad, pad)
        elif object > self.base + 16:
            self.print_section("Bytes b4 ", object - 16, 16)
        self.print_section("Object   ", object, min(size, 1 << self.mm.page_shift))
        if flags & slub_defs.SLAB_RED_ZONE:
            self.print_section("Redzone  ", object + size, inuse - size)
        end = self.field("size") - (pad if flags & slub_defs.SLAB_RED_ZONE else 0)
        first = self.metadata_end()
        if first < end:
            self.print_section("Padding  ", object + first, end - first)
        if not self.has.slub_warns:
            self.dump_stack()

    def info_end(self):
        """get_info_end()"""
        inuse = self.field("inuse")
        return inuse + 8 if self.field("offset") >= inuse else inuse

    def metadata_end(self):
        """Where padding begins in an object."""
        flags = self.field("flags")
        end = self.info_end()
        if flags & slub_defs.SLAB_STORE_USER:
            end += 2 * self.has.track_bytes
            if flags & slub_defs.SLAB_KMALLOC:
                end += self.has.orig_size_bytes
        return end

    def freepointer(self, object):
        """get_freepointer(), of bytes that may be anything."""
        place = (object + self.field("offset")) & MASK64
        value = int.from_bytes(self.bytes_at(place, 8), "little")
        if self.has.freelist_hardened:
            swapped = int.from_bytes(place.to_bytes(8, "little"), "big")
            value ^= int(self.record["random"]) ^ swapped
        return value

    def print_section(self, title, address, size):
        """print_section(): a hex dump, 16 bytes a line."""
        data = self.bytes_at(address, size)
        for start in range(0, len(data), 16):
            row = data[start : start + 16]
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
            where = self.debug.pointer(address + start)
            self.lines.append(f"{title}{where}: {row.hex(' '):<49}{text}")

    def print_tracking(self, object):
        """print_tracking()"""
        if not self.field("flags") & slub_defs.SLAB_STORE_USER:
            return
        for which, word in ((slub_defs.TRACK_ALLOC, "Allocated"), (slub_defs.TRACK_FREE, "Freed")):
            track = self.track(object, which)
            if not track.address:
                continue
            self.lines.append(
                f"{self.info}{word} in {self.debug.symbol(track.address)} "
                f"age={(self.mm.jiffies - track.when) & MASK64} cpu={track.cpu} pid={track.pid}"
            )
            indent = " " if self.has.track_bytes == 32 else "\t"
            self.lines += [indent + name for name in track.stack]

    def track(self, object, which):
        """get_track(): what is known of who took or freed an object."""
        place = object + self.info_end() + which * self.has.track_bytes
        return Track(self.debug, self.bytes_at(place, self.has.track_bytes))

    def dump_stack(self):
        """dump_stack(): who runs, and the functions it is in."""
        debug = self.debug
        pid, comm = current_task(self.mm)
        self.lines.append(
            f"CPU: {self.mm.cpu} PID: {pid} Comm: {comm} {print_tainted(debug)} {debug.uname}"
        )
        self.lines.append("Call Trace:")
        self.lines += [f" {name}" for name in current_frames(self.mm)]

    def warn(self):
        """WARN_ON(1), without the registers."""
        self.lines.append("------------[ cut here ]------------")
        self.dump_stack()
        self.lines.append("---[ end trace 0000000000000000 ]---")
        self.debug.tainted.add("W")


class Track:
    """struct track: where an object was taken or freed, `stack` innermost first; all 0: never."""

    def __init__(self, debug, data):
        if len(data) == 32:
            self.address, self.handle, self.cpu, self.pid, self.when = TRACK.unpack(data)
            self.stack = debug.stack(self.handle)
        else:
            self.address, *addresses, self.cpu, self.pid, self.when = OLD_TRACK.unpack(data)
            self.handle = 0
            self.stack = tuple(debug.symbol(address) for address in addresses if address)


TRACK = struct.Struct("<QIii4xQ")
OLD_TRACK = struct.Struct("<Q16QiiQ")  # before 5cf909c553e9 (5.19)


def set_track(mm, cache, object, which):
    """set_track(): writes who takes or frees an object into its metadata."""
    debug = mm.slub_debug
    record = mm.view("cache")[cache]
    frames = current_frames(mm)
    address = debug.symbol_address(frames[0])
    size = mm.view("has")[0].track_bytes
    now = mm.cpu, current_task(mm)[0], mm.jiffies
    if size == 32:
        data = TRACK.pack(address, debug.save_stack(frames), *now)
    else:
        stack = [debug.symbol_address(name) for name in frames[:TRACK_ADDRESSES]]
        stack += [0] * (TRACK_ADDRESSES - len(stack))
        data = OLD_TRACK.pack(address, *stack, *now)
    inuse = int(record["inuse"])
    place = object + (inuse + 8 if record["offset"] >= inuse else inuse) + which * size
    start = (place - mm.page_offset) & MASK64
    mm.view("ram").view("u1")[start : start + size] = np.frombuffer(data, dtype=np.uint8)


def print_tainted(debug):
    """print_tainted(): `Not tainted`, or the letters of all flags that are set."""
    if not debug.tainted:
        return "Not tainted"
    return "Tainted: " + "".join(
        letter if place == 0 or letter in debug.tainted else " "
        for place, letter in enumerate(debug.taints)
    )
