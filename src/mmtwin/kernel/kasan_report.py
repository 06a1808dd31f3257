"""KASAN's reports, in the words and the order of the machine's release.

mm/kasan/report.c and report_generic.c; lib/dump_stack.c; mm/debug.c dump_page(). What the twin
does not know is left out: offsets of functions, raw words of struct page, the name of the
hardware.
"""

from mmtwin.kernel.constants import COMPLAINT_KASAN, PG_head, PG_large_kmalloc, PG_slab
from mmtwin.kernel.kasan_shadow import GRANULE
from mmtwin.kernel.mm import report

LINE = "=" * 66
ROW_BYTES = 16  # META_BYTES_PER_ROW
ROW_COVERS = ROW_BYTES * GRANULE  # META_MEM_BYTES_PER_ROW
ROWS_AROUND = 2  # META_ROWS_AROUND_ADDR
MASK64 = (1 << 64) - 1
SLAB_FREE_META = 0xFA
# get_shadow_bug_type(): by shadow byte
SHADOW_BUGS = {
    0xFE: "slab-out-of-bounds", 0xFC: "slab-out-of-bounds", 0xF9: "global-out-of-bounds",
    0xF1: "stack-out-of-bounds", 0xF2: "stack-out-of-bounds", 0xF3: "stack-out-of-bounds",
    0xF4: "stack-out-of-bounds", 0xFF: "use-after-free", 0xFB: "use-after-free",
    0xFA: "use-after-free", 0xCA: "alloca-out-of-bounds", 0xCB: "alloca-out-of-bounds",
    0xF8: "vmalloc-out-of-bounds",
}  # fmt: skip
SLAB_FREED = (0xFB, SLAB_FREE_META)
STACK_LEFT = 0xF1
TAINTED = "Tainted: G    B            "


class Access:
    """struct kasan_report_info: what was done. `kind`: of a free that is none; else empty."""

    def __init__(self, address, size, write, kind):
        self.address = address
        self.size = size
        self.write = write
        self.kind = kind


class Report:
    """One report: complete_report_info(), print_report()."""

    def __init__(self, kasan, access):
        self.kasan = kasan
        self.mm = kasan.mm
        self.has = kasan.has
        self.access = access
        self.shadow = kasan.shadow
        self.in_kernel = access.address >= self.shadow.kernel_start
        self.first_bad = access.address
        if access.size and self.in_kernel and access.address + access.size <= MASK64:
            bad = self.shadow.first_bad(access.address, access.size)
            self.first_bad = access.address if bad is None else bad
        self.cache, self.object = self._object()
        self.bug = access.kind or self.bug_type()

    def keep(self):
        """Keeps the report among the machine's complaints."""
        text = "\n".join(self.lines())
        report(self.mm, COMPLAINT_KASAN, self.access.address, text)

    def _object(self):
        pfn = self.kasan.page_of(self.access.address) if self.in_kernel else -1
        if pfn < 0 or not int(self.mm.view("page")["flags"][pfn]) & PG_slab:
            return -1, 0
        object = self.kasan.nearest_obj(pfn, self.access.address)
        return int(self.mm.view("page")["cache"][pfn]), object

    def bug_type(self):
        """get_bug_type()"""
        address = self.access.address
        if address + self.access.size > MASK64:
            return "out-of-bounds"
        if not self.in_kernel:
            if address < 1 << self.mm.page_shift:
                return "null-ptr-deref"
            if address < self.shadow.task_size:
                return "user-memory-access"
            return "wild-memory-access"
        value = self.shadow.byte(self.first_bad)
        if 0 < value < GRANULE:
            value = self.shadow.byte(self.first_bad + GRANULE)
        if value in SLAB_FREED and self.has.kasan_infers_size:
            return "slab-use-after-free"
        if value < GRANULE:
            return "out-of-bounds"
        return SHADOW_BUGS.get(value, "unknown-crash")

    # ---- the text

    def lines(self):
        """The whole report."""
        found = [LINE, *self.description(), ""]
        if not self.in_kernel:
            return [*found, *self.dump_stack(), LINE, *self.panic()]
        found += [*self.dump_stack(), ""]
        gap = [""] if self.has.kasan_report_blocks else []
        if self.object:
            found += [*self.object_stacks(), *self.object_place(), *gap]
        stack = self.stack_frame()
        if gap and stack:
            found += [*stack, ""]
        pfn = self.kasan.page_of(self.access.address)
        if gap and self.mm.vmalloc_start <= self.access.address < self.mm.vmalloc_end:
            area, pfn = self.vmalloc_area()
            found.append(area)
        if pfn >= 0:
            found += [*self.page_dump(pfn), *gap]
        if not gap:
            found += [*(["", *stack] if stack else []), ""]
        return [*found, *self.memory_state(), LINE, *self.panic()]

    def description(self):
        """print_error_description()"""
        access, has = self.access, self.has
        where = self.mm.frames[-1] if self.mm.frames else "0x0"
        name, pid = self.kasan.task()
        lines = [f"BUG: KASAN: {self.bug} in {where}"]
        if access.kind:
            if has.kasan_prints_free_addr:
                lines.append(f"Free of addr {access.address:016x} by task {name}/{pid}")
            return lines
        done = "Write" if access.write else "Read"
        size = f" of size {access.size}"
        return [*lines, f"{done}{size} at addr {access.address:016x} by task {name}/{pid}"]

    def dump_stack(self):
        """dump_stack(): who runs, and the call path, innermost first."""
        name, pid = self.kasan.task()
        uid = "UID: 0 " if self.has.dump_stack_uid else ""
        taint = TAINTED if self.kasan.reports else "Not tainted"
        uname = self.shadow.uname
        lines = [f"CPU: {self.mm.cpu} {uid}PID: {pid} Comm: {name} {taint} {uname}"]
        if self.has.dump_stack_uid and self.kasan.reports:
            lines.append("Tainted: [B]=BAD_PAGE")
        arm64 = self.shadow.arch == "arm64"
        blocks = self.has.kasan_report_blocks
        own = ["dump_stack_lvl", "print_report"] if blocks else ["dump_stack"]
        if self.access.kind:
            own += ["kasan_report_invalid_free", "__kasan_slab_free", "kfree"]
        else:
            own += ["kasan_report", "kasan_check_range" if blocks else "check_memory_region"]
        lines.append("Call trace:" if arm64 else "Call Trace:")
        task = blocks and not arm64
        lines += [" <TASK>"] if task else []
        lines += [f" {function}" for function in (*own, *reversed(self.mm.frames))]
        return [*lines, *([" </TASK>"] if task else [])]

    def object_stacks(self):
        """describe_object_stacks(): who allocated the object, and who freed it."""
        lines = []
        meta = self.kasan.alloc_meta(self.cache, self.object)
        if meta:
            lines += self.track("Allocated", self.kasan.track(meta))
        meta = self.kasan.free_meta(self.cache, self.object)
        if meta and self.shadow.byte(self.object) == SLAB_FREE_META:
            lines += self.track("Freed", self.kasan.track(meta + GRANULE))
        return lines

    def track(self, prefix, track):
        """print_track()"""
        if track is None:
            return []
        who, path = track
        frames = ["(stack is not available)"] if path is None else [f" {name}" for name in path]
        return [f"{prefix} by task {who}:", *frames, ""]

    def alloc_size(self):
        """kasan_get_alloc_size(): the bytes asked for, as far as the shadow tells."""
        full = int(self.mm.view("cache")["object_size"][self.cache])
        if not self.has.kasan_infers_size:
            return full
        size = 0
        while size < full:
            value = self.shadow.byte(self.object + size)
            if value:
                return size + value if value < GRANULE else size or full
            size += GRANULE
        return full

    def object_place(self):
        """describe_object_addr()"""
        size, address, object = self.alloc_size(), self.access.address, self.object
        name = self.mm.cache_names[self.cache]
        full = int(self.mm.view("cache")["object_size"][self.cache])
        if address < object:
            place = f"{object - address} bytes to the left"
        elif address >= object + size:
            place = f"{address - object - size} bytes to the right"
        else:
            place = f"{address - object} bytes inside"
        state = ""
        if self.has.kasan_infers_size:
            words = {"slab-out-of-bounds": "allocated ", "slab-use-after-free": "freed "}
            state = words.get(self.bug, "")
        return [
            f"The buggy address belongs to the object at {object:016x}",
            f" which belongs to the cache {name} of size {full}",
            f"The buggy address is located {place} of",
            f" {state}{size}-byte region [{object:016x}, {object + size:016x})",
        ]

    def stack_frame(self):
        """kasan_print_address_stack_frame(): the frame that an address of a stack lies in."""
        frames = self.kasan.frames
        below = [start for start in frames if start <= self.access.address]
        if not self.bug.startswith("stack") or not below:
            return []
        start = max(below)
        function, places, total = frames[start]
        if self.access.address >= start + total:
            return []
        name, pid = self.kasan.task()
        offset = self.access.address - start
        many = f"frame has {len(places)} object{'s' if len(places) != 1 else ''}:"
        objects = [f" [{first}, {first + size}) '{name}'" for name, first, size in places]
        if self.has.kasan_report_blocks:
            return [
                f"The buggy address belongs to stack of task {name}/{pid}",
                f" and is located at offset {offset} in frame:", f" {function}", "",
                f"This {many}", *objects,
            ]  # fmt: skip
        return [
            f"addr {self.access.address:016x} is located in stack of task {name}/{pid} at offset "
            f"{offset} in frame:", f" {function}", "", f"this {many}", *objects,
        ]  # fmt: skip

    def vmalloc_area(self):
        """vmalloc_dump_obj(): what the address belongs to, and the pfn it is mapped to or -1."""
        address, state = self.access.address, self.mm.vmalloc
        area = state.find(address) if state is not None else None
        pfn = state.tables.translate(address) if area is not None else -1
        words = "The buggy address belongs to a"
        if area is None or area.vm is None:
            return f"{words} vmalloc virtual mapping", pfn
        vm = area.vm
        return (
            f"{words} {len(vm.pfns)}-page vmalloc region starting at {vm.address:#x} allocated at "
            f"{vm.caller or '0x0'}"
        ), pfn

    def page_dump(self, pfn):
        """dump_page() of the head page, as far as the twin knows its words."""
        page = self.mm.view("page")[pfn]
        here = (self.access.address - self.mm.page_offset & MASK64) >> self.mm.page_shift
        here = here if here < self.mm.max_pfn else pfn
        physical = "physical " if self.has.kasan_report_blocks else ""
        place = "" if self.has.dump_page_snapshot else f"{self.shadow.vmemmap(here):016x} "
        lines = [
            f"The buggy address belongs to the {physical}page:",
            f"page:{place or ' '}refcount:{int(page['refcount'])} "
            f"mapcount:{max(int(page['mapcount']), 0)} mapping:{0:016x} index:0x0 pfn:{here:#x}",
        ]
        flags = int(page["flags"])
        if flags & PG_head:
            order = int(page["order"])
            lines.append(
                f"head:{self.shadow.vmemmap(pfn):016x} order:{order} compound_mapcount:0 "
                "compound_pincount:0" if place else
                f"head: order:{order} mapcount:0 entire_mapcount:0 nr_pages_mapped:0 pincount:0"
            )
        bits = self.shadow.page_flags
        names = [name for name, bit in (("slab", PG_slab), ("head", PG_head))
                 if flags & bit and name in bits]
        value = sum(bits[name] for name in names)
        lines.append(f"flags: {value:#x}({'|'.join(names)})")
        types = self.shadow.page_types
        kind = "slab" if flags & PG_slab else "large_kmalloc" if flags & PG_large_kmalloc else ""
        if kind in types:
            lines.append(f"page_type: {types[kind]:x}({kind})")
        return [*lines, "page dumped because: kasan: bad access detected"]

    def memory_state(self):
        """print_memory_metadata(): shadow rows around the first bad byte, and the caret."""
        address = self.first_bad
        first = address // ROW_COVERS * ROW_COVERS - ROWS_AROUND * ROW_COVERS
        lines = ["Memory state around the buggy address:"]
        for number in range(2 * ROWS_AROUND + 1):
            row = (first + number * ROW_COVERS) & MASK64
            mark = ">" if number == ROWS_AROUND else " "
            text = " ".join(f"{value:02x}" for value in self.shadow.bytes(row, ROW_BYTES))
            lines.append(f"{mark}{row:016x}: {text}")
            if number == ROWS_AROUND:
                lines.append(" " * (19 + (address - row) // GRANULE * 3) + "^")
        return lines

    def panic(self):
        """end_report(): kasan.fault="""
        if self.kasan.fault == "panic":
            return ["Kernel panic - not syncing: kasan.fault=panic set ..."]
        if self.kasan.fault == "panic_on_write" and self.access.write:
            return ["Kernel panic - not syncing: kasan.fault=panic_on_write set ..."]
        return []
