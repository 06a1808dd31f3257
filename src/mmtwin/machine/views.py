"""What a user of a Machine looks at: pages, caches, /proc, the trace ring."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmtwin.kernel import trace
from mmtwin.kernel.constants import load_constants
from mmtwin.kernel.mm import MM
from mmtwin.kernel.slub_state import read_freelist
from mmtwin.machine.arguments import Checked
from mmtwin.machine.html import html_table

if TYPE_CHECKING:
    from mmtwin.machine.machine import Machine

CONSTANTS = load_constants("constants.pxd")
PAGE_FLAGS = {name.removeprefix("PG_"): value for name, value in CONSTANTS.items()
              if name.startswith("PG_")}
USES = {value: name.removeprefix("USE_").lower() for name, value in CONSTANTS.items()
        if name.startswith("USE_")}
# Arguments of steps that are addresses, pfns and the like.
HEXADECIMAL = (
    "ptr", "object", "next_object", "pfn", "slab", "gfp",
    "addr", "vstart", "vend", "start", "end", "va_start",
)  # fmt: skip
# The floor of /proc lies above this one: it is looked up by name when it is first asked for.
PROC = "mmtwin.procfs.write"


class Page:
    """A page of a machine: its `struct page` as it is now. `int(page)` is its pfn.

    `block_order`: of the block that alloc_pages() gave, if the page comes from there.
    """

    def __init__(self, mm: MM, pfn: int, block_order: int | None = None) -> None:
        self._mm = mm
        self.pfn = pfn
        self.block_order = block_order

    def __index__(self) -> int:
        return self.pfn

    def __int__(self) -> int:
        return self.pfn

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Page) and (other.pfn, other._mm) == (self.pfn, self._mm)

    def __hash__(self) -> int:
        return hash(self.pfn)

    def _field(self, name: str) -> int:
        return int(self._mm.view("page")[name][self.pfn])

    @property
    def address(self) -> int:
        """Kernel virtual address of its first byte (page_to_virt())."""
        return int(self._mm.page_offset + (self.pfn << self._mm.page_shift)) & (1 << 64) - 1

    @property
    def flags(self) -> list[str]:
        """Names of its PG_* flags (the twin's: `buddy`, `head`, `tail`, `slab`, `pcp` ...)."""
        value = self._field("flags")
        return [name for name, mask in PAGE_FLAGS.items() if value & mask]

    @property
    def order(self) -> int:
        """Order of the free block, compound page or slab that it is the first page of."""
        return self._field("order")

    @property
    def refcount(self) -> int:
        """References, 0 for a free page."""
        return self._field("refcount")

    @property
    def use(self) -> str:
        """What it is for: free, slab, user, reserved ..."""
        return USES[self._field("users")]

    @property
    def zone(self) -> str:
        """The name of its zone: DMA, DMA32, Normal ..."""
        number = self._field("zone") % self._mm.nr_zone_types
        names = {place: name for name, place in self._mm.profile.zones}
        return str(names.get(number, number))

    @property
    def node(self) -> int:
        """Its NUMA node."""
        return self._field("zone") // int(self._mm.nr_zone_types)

    @property
    def head(self) -> int:
        """pfn of the first page of the compound page that it belongs to (compound_head())."""
        tail = self._field("flags") & PAGE_FLAGS["tail"]
        return self._field("compound_head") if tail else self.pfn

    @property
    def slab(self) -> dict[str, Any] | None:
        """Of a slab's first page: its cache, objects, inuse, frozen, freelist; else None."""
        if not self._field("flags") & PAGE_FLAGS["slab"]:
            return None
        fields = ("objects", "inuse", "frozen", "freelist")
        cache = self._mm.cache_names[self._field("cache")]
        return {"cache": cache, **{name: self._field(name) for name in fields}}

    def _repr_html_(self) -> str:
        rows: list[tuple[object, ...]] = [
            ("address", f"{self.address:#x}"), ("zone", f"{self.zone}, node {self.node}"),
            ("use", self.use), ("flags", "|".join(self.flags) or "none"), ("order", self.order),
            ("refcount", self.refcount),
        ]  # fmt: skip
        rows += (self.slab or {}).items()
        return html_table(f"Page {self.pfn:#x}", rows)

    def __repr__(self) -> str:
        parts = [f"<Page {self.pfn:#x}", f"zone={self.zone}", f"use={self.use}"]
        if self.flags:
            parts.append("flags=" + "|".join(self.flags))
        if self.order:
            parts.append(f"order={self.order}")
        if self.head != self.pfn:
            parts.append(f"head={self.head:#x}")
        parts.append(f"refcount={self.refcount}")
        slab = self.slab
        if slab:
            parts.append(f"cache={slab['cache']} inuse={slab['inuse']}/{slab['objects']}")
        return " ".join(parts) + ">"


class Cache(Checked):
    """A slab cache of a machine: `name`, `number`, and the fields of its record by name."""

    def __init__(self, mm: MM, number: int) -> None:
        self._mm = mm
        self.number = number
        self.name: str = mm.cache_names[number]

    def __index__(self) -> int:
        return self.number

    def __getattr__(self, name: str) -> int:
        record = self._mm.view("cache")
        if name.startswith("_") or name not in record.dtype.names:
            raise AttributeError(f"a slab cache has no {name!r}")
        return int(record[name][self.number])

    def cpu_slab(self, cpu: int = 0) -> dict[str, Any]:
        """struct kmem_cache_cpu: `slab` (pfn, None without one), its `freelist` (addresses of its
        free objects, the next to be given out first), `tid`, and the `partial` slabs (pfns).
        """
        mm = self._mm
        record = mm.view("cache_cpu")[self.number * mm.nr_cpus + cpu]
        slab, partial = int(record["slab"]), []
        pfn = int(record["partial"])
        while pfn >= 0:
            partial.append(pfn)
            pfn = int(mm.view("page")["next"][pfn])
        objects = read_freelist(mm, self.number, int(record["freelist"]))
        return {
            "slab": slab if slab >= 0 else None,
            "freelist": [int(address) for address in objects],
            "tid": int(record["tid"]),
            "partial": partial,
        }

    def _repr_html_(self) -> str:
        names = ("object_size", "size", "align", "offset", "oo_order", "oo_objects",
                 "cpu_partial", "min_partial", "refcount")  # fmt: skip
        return html_table(f"Cache {self.name}", [(name, getattr(self, name)) for name in names])

    def __repr__(self) -> str:
        return (
            f"<Cache {self.name}: size {self.size}, {self.oo_objects} objects in a slab of "
            f"order {self.oo_order}>"
        )


class Proc(Mapping[str, bytes]):
    """The machine's /proc and /sys files by name, as the kernel prints them."""

    def __init__(self, machine: "Machine") -> None:
        self._machine = machine
        self._writer = import_module(PROC)

    def __getitem__(self, name: str) -> bytes:
        if name not in self._writer.FILES:
            raise KeyError(f"no file {name!r}; there are {', '.join(self._writer.FILES)}")
        return bytes(self._writer.proc_file(self._machine.mm, name, self._machine.base))

    def __iter__(self) -> Iterator[str]:
        return iter(self._writer.FILES)

    def __len__(self) -> int:
        return len(self._writer.FILES)

    def write(self, folder: str) -> None:
        """Writes every file into a folder, for tools that read the kernel's."""
        self._writer.write_proc(self._machine.mm, folder, self._machine.base)


class Trace:
    """The machine's tracepoints: a ring of steps, off until `start()`.

    `with k.trace: ...` keeps what happens inside; `read()` gives it, oldest first.
    """

    def __init__(self, mm: MM) -> None:
        self._mm = mm

    def start(self, *names: str) -> None:
        """Keeps steps from now on: all, or those named (`"kmalloc"`, `"slub_alloc_slab"`).

        Raises ValueError for a name that is none; `names()` lists them.
        """
        known = {name: number for number, name in trace.NAMES.items()}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"no step {unknown[0]!r}; names() lists them")
        mask = sum(1 << known[name] for name in names)
        trace.clear_steps(self._mm)
        self._mm.step_mask = mask or trace.ALL_STEPS

    def stop(self) -> None:
        """Keeps no more steps; those kept stay."""
        self._mm.step_mask = 0

    def read(self) -> list[tuple[str, int, int, tuple[int, ...]]]:
        """(name, CPU, depth, arguments) of the steps in the ring, oldest first.

        The ring holds the last `Layout.ring_size`. Arguments are signed 64-bit; see trace.pxd.
        """
        steps: list[tuple[str, int, int, tuple[int, ...]]] = trace.read_steps(self._mm)
        return steps

    def lines(self) -> list[str]:
        """The same as text: `slub_free_fastpath cache=kmalloc-128 object=0xffff888001800e00`.

        Addresses, pfns, slabs (the pfn of their first page) and gfp masks are in hexadecimal.
        """
        return [
            " ".join([name, *map(self._argument, trace.ARGUMENTS[name], arguments)])
            for name, _cpu, _depth, arguments in self.read()
        ]

    def _argument(self, name: str, value: int) -> str:
        if name == "cache":
            return f"cache={self._mm.cache_names[value]}"
        if name in HEXADECIMAL:
            return f"{name}={value & (1 << 64) - 1:#x}"
        return f"{name}={value}"

    def names(self) -> list[str]:
        """The names of all steps."""
        return [name for _, name in sorted(trace.NAMES.items())]

    def __enter__(self) -> "Trace":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
