"""/proc/slabinfo: a line for each slab cache.

Kernel: mm/slab_common.c, print_slabinfo_header and cache_show.
"""

from dataclasses import dataclass
from typing import Any

from mmtwin.procfs.state import cache_numbers, mm_of, node_slabs, profile_of
from mmtwin.procfs.text import Lines, shortened
from mmtwin.versions.proc_items import most_partial_scanned

FILE = "slabinfo"
VERSION = "slabinfo - version: 2.1"
COLUMNS = (
    "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
    " : tunables <limit> <batchcount> <sharedfactor>"
    " : slabdata <active_slabs> <num_slabs> <sharedavail>"
)
HEADER = f"{VERSION}\n{COLUMNS}\n"


@dataclass(frozen=True)
class SlabInfo:
    """A cache's line.

    `active_objs` is `num_objs` less the free objects of slabs on the nodes' partial lists: free
    objects of CPU slabs, CPU partial slabs and sheaves count as active. `objsize` is the bytes
    from object to object (`s->size`). The tunables and `sharedavail` are 0 with SLUB.
    """

    name: str
    active_objs: int
    num_objs: int
    objsize: int
    objperslab: int
    pagesperslab: int
    active_slabs: int
    num_slabs: int
    limit: int = 0
    batchcount: int = 0
    sharedfactor: int = 0
    sharedavail: int = 0

    def __str__(self) -> str:
        """The line as the kernel prints it, with its newline."""
        return (
            f"{self.name:<17} {self.active_objs:>6} {self.num_objs:>6} {self.objsize:>6} "
            f"{self.objperslab:>4} {self.pagesperslab:>4}"
            f" : tunables {self.limit:>4} {self.batchcount:>4} {self.sharedfactor:>4}"
            f" : slabdata {self.active_slabs:>6} {self.num_slabs:>6} {self.sharedavail:>6}\n"
        )


def parse(text: str | bytes) -> list[SlabInfo]:
    """The caches of a /proc/slabinfo text, version 2.1, in its order.

    The sections that CONFIG_DEBUG_SLAB adds behind slabdata are passed over.
    Raises ProcError with the line.
    """
    lines = Lines(FILE, text)
    header = lines.take("'slabinfo - version: 2.1'")
    if header.strip() not in (VERSION, VERSION + " (statistics)"):
        lines.fail(f"not version 2.1 of the format: {shortened(header)}")
    if not lines.take("the names of the columns").startswith("# name "):
        lines.fail("the names of the columns are missing")
    rows = []
    while lines.peek() is not None:
        rows.append(parse_row(lines))
    return rows


def parse_row(lines: Lines) -> SlabInfo:
    """One cache's line. The name may hold spaces: the numbers are taken from the right."""
    line = lines.take("a cache")
    sections = line.split(" : ")
    if len(sections) < 3:
        lines.fail(f"no ' : tunables ... : slabdata ...': {shortened(line)}")
    cache = sections[0].rsplit(None, 5)
    tunables = section(lines, sections[1], "tunables")
    slabdata = section(lines, sections[2], "slabdata")
    if len(cache) != 6:
        lines.fail(f"a name and five numbers should stand before tunables: {shortened(line)}")
    numbers = [lines.unsigned(word, "number") for word in cache[1:]]
    active_objs, num_objs, objsize, objperslab, pagesperslab = numbers
    return SlabInfo(
        cache[0], active_objs, num_objs, objsize, objperslab, pagesperslab,
        active_slabs=slabdata[0], num_slabs=slabdata[1],
        limit=tunables[0], batchcount=tunables[1], sharedfactor=tunables[2],
        sharedavail=slabdata[2],
    )  # fmt: skip


def section(lines: Lines, text: str, name: str) -> list[int]:
    """The three numbers of a section that begins with its name."""
    words = text.split()
    if len(words) != 4 or words[0] != name:
        lines.fail(f"'{name}' and three numbers expected: {shortened(text)}")
    return [lines.unsigned(word, f"number of {name}") for word in words[1:]]


def format_slabinfo(rows: list[SlabInfo]) -> str:
    """The text of the file."""
    return HEADER + "".join(str(row) for row in rows)


def show(machine: Any) -> list[SlabInfo]:
    """The twin's caches, newest first: a `Machine` or its MM (get_slabinfo)."""
    mm = mm_of(machine)
    most = most_partial_scanned(profile_of(mm))
    rows = []
    for number in cache_numbers(mm):
        cache = mm.view("cache")[number]
        nodes = [node_slabs(mm, number, node, most) for node in range(mm.nr_nodes)]
        objects = sum(node.objects for node in nodes)
        slabs = sum(node.slabs for node in nodes)
        rows.append(
            SlabInfo(
                mm.cache_names[number],
                objects - sum(node.free for node in nodes),
                objects,
                int(cache["size"]),
                int(cache["oo_objects"]),
                1 << int(cache["oo_order"]),
                active_slabs=slabs,
                num_slabs=slabs,
            )
        )
    return rows
