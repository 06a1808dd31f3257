"""Machine: a twin to drive by hand.

    k = Machine.boot("x86_64-6.1", memory="1G")
    p = k.kmalloc(100)
    k.write(p, b"bytes")
    print(k.page(k.virt_to_pfn(p)), k.proc["slabinfo"].decode())

What a kernel function does, the kernel floor does; a Machine names, checks and shows.
"""

import hashlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from mmtwin.kernel import page_alloc, slab_common, slub, slub_cache
from mmtwin.kernel.constants import PG_head, PG_hole
from mmtwin.kernel.mm import MM
from mmtwin.kernel.page_alloc_check import validate as validate_pages
from mmtwin.kernel.slab_common import __kmalloc_node as kmalloc_node
from mmtwin.kernel.slub_defs import DEFS as SLUB_DEFS
from mmtwin.kernel.slub_validate import Invariant
from mmtwin.kernel.slub_validate import validate as validate_slabs
from mmtwin.machine.boot import boot_mm
from mmtwin.machine.complaints import Complaint
from mmtwin.machine.memory_map import MemoryMap, make_map, parse_memory
from mmtwin.machine.views import Cache, Page, Proc, Trace
from mmtwin.versions.gfp import encode_gfp, to_twin_gfp, translate_gfp
from mmtwin.versions.profiles import DEFAULT, Profile, profile

MASK64 = (1 << 64) - 1
STATE = ("page", "zone", "pcp", "cache", "cache_cpu", "cache_node", "sheaf", "random_seq",
         "pageblock", "zonelist", "vm_event", "kmalloc_cache", "ram")
# Found by name when it is asked for: replay/ lies above this floor.
MOMENTS = "mmtwin.replay.moments"
SLICE = 1 << 24


class GfpTexts(dict[str | int, int]):
    """The twin's bits of gfp texts (`"GFP_KERNEL|__GFP_ZERO"`); numbers stand for themselves."""

    def __init__(self, facts: Profile | None) -> None:
        super().__init__()
        self._facts = facts

    def __missing__(self, text: str | int) -> int:
        if isinstance(text, int):
            return text
        if self._facts is None:
            raise ValueError("a machine without a profile knows no gfp names: give a number")
        version, config = self._facts.version, self._facts.config
        value = translate_gfp(encode_gfp(text, version, config), to_twin_gfp(version, config))
        self[text] = value
        return value


class Machine:
    """One machine: its memory management as a kernel of its profile would run it.

    Make it with `boot`, `at`, `from_truth` or `from_snapshots`. `mm` is the state itself, arrays
    of kernel records; `memory_map` says what RAM a booted machine has and what of it is reserved
    (None for others). `cpu` is the CPU that runs: set it to act on another. Addresses are kernel
    virtual addresses (unsigned 64 bit); a gfp is a text of the profile's kernel or a number of the
    twin's own bits (kernel/constants.pxd).
    """

    def __init__(self, mm: MM) -> None:
        self.mm = mm
        self.profile: Profile | None = mm.profile
        self.trace = Trace(mm)
        self.memory_map: MemoryMap | None = None
        self._gfp = GfpTexts(mm.profile)

    # ---- making one

    @classmethod
    def boot(
        cls,
        profile: str | Profile = DEFAULT,
        memory: int | str = "4G",
        cpus: int = 1,
        nodes: int = 1,
        seed: int = 1,
        cmdline: Mapping[str, str] | None = None,
        **config: Any,
    ) -> "Machine":
        """Boots an empty machine.

        `profile`: a name (`profile_names()`) or a Profile; `memory` bytes or `"4G"`; `seed`: what
        the machine draws at random follows from it; `cmdline`: boot options
        (`{"slub_debug": "FZPU"}`); `config`: switches of the kernel's configuration, without
        CONFIG_ (`SLAB_FREELIST_RANDOM=False`). Raises ValueError for what no such machine has.
        """
        facts = profile if isinstance(profile, Profile) else _profile(profile)
        if config:
            facts = facts.with_config(**config)
        if cmdline:
            facts = facts.with_cmdline(**cmdline)
        machine = cls(boot_mm(facts, memory, cpus, nodes, seed))
        machine.memory_map = make_map(facts, parse_memory(memory), cpus, nodes)
        return machine

    @classmethod
    def at(cls, recording: Any, mark: str, mode: str = "follow") -> "Machine":
        """The machine of a recording at a marker, an event (`"#120000"`) or a time (`"1.25"`).

        At `DUMP name` the kernel's own lists are taken, where the recording has them; anywhere
        else the recording is replayed up to there. Raises ValueError for a mark it does not have.
        """
        word, _, name = mark.partition(" ")
        from mmtwin.machine.recorded import machine_at_truth

        snapshot = recording.snapshots.get(name) if word == "DUMP" else None
        if snapshot is not None and snapshot.has_truth:
            return cls(machine_at_truth(recording, name))
        moments = import_module(MOMENTS)
        mm, _ = moments.state_at(recording, moments.find_moment(recording, mark), mode, "auto")
        return cls(mm)

    @classmethod
    def from_truth(
        cls,
        profile: str | Profile,
        zoneinfo: str,
        truth: Mapping[str, Any],
        attributes: Mapping[str, Mapping[str, str]] | None = None,
    ) -> "Machine":
        """The machine that a truth describes (`buddy`, `pageblocks`, `slab`: ordered lists).

        `zoneinfo`: the text; `attributes`: /sys/kernel/slab by cache, if known. Raises ValueError
        if they contradict each other.
        """
        from mmtwin.machine.from_truth import build_from_truth
        from mmtwin.machine.texts import parse_zoneinfo

        facts = profile if isinstance(profile, Profile) else _profile(profile)
        return cls(build_from_truth(facts, parse_zoneinfo(zoneinfo), truth, attributes))

    @classmethod
    def from_snapshots(cls, recording: Any, name: str) -> "Machine":
        """The machine that the /proc texts of a recording's snapshot show.

        Free blocks and the number of slabs of each cache are exact, the order of lists is not
        known. Raises ValueError if the snapshot lacks zoneinfo, pagetypeinfo or kpageflags.
        """
        from mmtwin.machine.recorded import machine_at_proc

        return cls(machine_at_proc(recording, name))

    # ---- kmalloc

    def kmalloc(self, size: int, gfp: str | int = "GFP_KERNEL") -> int:
        """Allocates `size` bytes; the object's address, 0 (NULL) if that cannot be.

        A size of 0 gives ZERO_SIZE_PTR (16). kmalloc().
        """
        if size < 0:
            raise ValueError(f"kmalloc of {size} bytes")
        address: int = kmalloc_node(self.mm, size, self._gfp[gfp], -1)
        return address

    def kzalloc(self, size: int, gfp: str | int = "GFP_KERNEL") -> int:
        """kmalloc() of zeroed memory: kzalloc()."""
        return self.kmalloc(size, self._gfp[gfp] | self._gfp["__GFP_ZERO"])

    def krealloc(self, address: int, size: int, gfp: str | int = "GFP_KERNEL") -> int:
        """Gives an object another size, at another address if it must move; 0 and the old object
        kept if there is no memory. krealloc().
        """
        if size < 0:
            raise ValueError(f"krealloc to {size} bytes")
        before = len(self.mm.complaints)
        result: int = slab_common.krealloc(self.mm, self._address(address), size, self._gfp[gfp])
        self._raise_new(before)
        return result

    def kfree(self, address: int) -> None:
        """Frees what kmalloc() gave; 0 and ZERO_SIZE_PTR are nothing. kfree().

        Raises Complaint where the kernel would print an error: a double free, a foreign address.
        """
        before = len(self.mm.complaints)
        slab_common.kfree(self.mm, self._address(address))
        self._raise_new(before)

    def ksize(self, address: int) -> int:
        """The bytes that an object may use, which may be more than were asked for. ksize()."""
        before = len(self.mm.complaints)
        size: int = slab_common.ksize(self.mm, self._address(address))
        self._raise_new(before)
        return size

    # ---- caches

    def kmem_cache_create(
        self, name: str, size: int, align: int = 0, flags: str | int = 0, **details: Any
    ) -> Cache:
        """Creates a cache, or shares an equal one as the kernel merges them. kmem_cache_create().

        `flags`: names (`"SLAB_HWCACHE_ALIGN|SLAB_PANIC"`) or the twin's number; `details`:
        useroffset, usersize, ctor, freeptr_offset, sheaf_capacity. Raises ValueError for what the
        kernel refuses.
        """
        number = slub_cache.kmem_cache_create(
            self.mm, name, size, align, self._slab_flags(flags), **details
        )
        return Cache(self.mm, number)

    def kmem_cache_alloc(
        self, cache: "Cache | str | int", gfp: str | int = "GFP_KERNEL", node: int = -1
    ) -> int:
        """An object of a cache (its name, number or Cache); 0 if there is no memory."""
        address: int = slub.kmem_cache_alloc_node(
            self.mm, self.cache(cache).number, self._gfp[gfp], node
        )
        return address

    def kmem_cache_free(self, cache: "Cache | str | int", address: int) -> None:
        """Frees an object of a cache. Raises Complaint where the kernel would print an error."""
        before = len(self.mm.complaints)
        slub.kmem_cache_free(self.mm, self.cache(cache).number, self._address(address))
        self._raise_new(before)

    def kmem_cache_shrink(self, cache: "Cache | str | int") -> bool:
        """Frees a cache's empty slabs; whether slabs remain. kmem_cache_shrink()."""
        return bool(slub_cache.kmem_cache_shrink(self.mm, self.cache(cache).number))

    def kmem_cache_destroy(self, cache: "Cache | str | int") -> None:
        """Gives a cache up. Raises Complaint if objects remain. kmem_cache_destroy()."""
        before = len(self.mm.complaints)
        slub_cache.kmem_cache_destroy(self.mm, self.cache(cache).number)
        self._raise_new(before)

    def cache(self, which: "Cache | str | int") -> Cache:
        """A cache by its name, an alias or its number. Raises ValueError if there is none."""
        if isinstance(which, Cache):
            return which
        alive = self.mm.view("cache")["alive"]
        if isinstance(which, int):
            if 0 <= which < self.mm.nr_caches and alive[which]:
                return Cache(self.mm, which)
            raise ValueError(f"no slab cache has the number {which}")
        for number, name in enumerate(self.mm.cache_names):
            if alive[number] and (name == which or which in self._aliases(number)):
                return Cache(self.mm, number)
        raise ValueError(f"no slab cache is named {which!r}")

    @property
    def caches(self) -> list[Cache]:
        """Every cache, oldest first."""
        alive = self.mm.view("cache")["alive"]
        return [Cache(self.mm, number) for number in range(self.mm.nr_caches) if alive[number]]

    # ---- pages

    def alloc_pages(
        self, order: int = 0, gfp: str | int = "GFP_KERNEL", node: int = -1
    ) -> Page | None:
        """A block of 2^order pages, its first page; None if there is none. alloc_pages()."""
        if order < 0:
            raise ValueError(f"order {order}")
        pfn = page_alloc.alloc_pages(self.mm, self._gfp[gfp], order, node)
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
        """`size` bytes of simulated RAM. Raises ValueError outside RAM."""
        start = self._span(address, size)
        ram = self.mm.view("ram").view("u1")
        return bytes(ram[start : start + size])

    def write(self, address: int, data: bytes) -> None:
        """Writes bytes into simulated RAM. Raises ValueError outside RAM."""
        start = self._span(address, len(data))
        ram = self.mm.view("ram").view("u1")
        ram[start : start + len(data)] = bytearray(data)

    # ---- looking at it

    @property
    def proc(self) -> Proc:
        """/proc and /sys as the kernel prints them: `proc["slabinfo"]` is bytes."""
        return Proc(self)

    @property
    def cpu(self) -> int:
        """The CPU that runs."""
        return int(self.mm.cpu)

    @cpu.setter
    def cpu(self, number: int) -> None:
        if not 0 <= number < self.mm.nr_cpus:
            raise ValueError(f"CPU {number}: the machine has {self.mm.nr_cpus}")
        self.mm.cpu = number

    @property
    def policy(self) -> dict[str, Any]:
        """Policies that were swapped: slot -> callable (`policy["calculate_order"] = f`)."""
        policies: dict[str, Any] = self.mm.policy
        return policies

    @property
    def complaints(self) -> list[Complaint]:
        """All that the kernel would have printed so far."""
        return [Complaint(each) for each in self.mm.complaints]

    def validate(self) -> list[str]:
        """What is wrong with the machine's state, as sentences; [] if every invariant holds."""
        return [*validate_pages(self.mm), *_slab_problems(self.mm)]

    def checksum(self) -> str:
        """A hash (SHA-256, hex) of the whole state, RAM included: the same in compiled and
        uncompiled runs.
        """
        digest = hashlib.sha256()
        for name in STATE:
            data = self.mm.view(name).view("u1")
            digest.update(name.encode())
            for start in range(0, len(data), SLICE):
                part = data[start : start + SLICE]
                if part.any():
                    digest.update(start.to_bytes(8, "little"))
                    digest.update(part)
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """The machine in plain values: profile, limits, zones, caches."""
        zones = self.mm.view("zone")
        facts = self.profile
        types = {number: name for name, number in facts.zones} if facts else {}
        return {
            "profile": facts.name if facts else None,
            "version": facts.version if facts else None,
            "arch": facts.arch if facts else None,
            "page_size": 1 << int(self.mm.page_shift),
            "cpus": int(self.mm.nr_cpus),
            "nodes": int(self.mm.nr_nodes),
            "page_offset": f"{self.mm.page_offset:#x}",
            "limits": vars(facts.limits) if facts else {},
            "kmalloc": kmalloc_limits(facts) if facts else {},
            "config": dict(facts.config) if facts else {},
            "features": dict(facts.features) if facts else {},
            "zones": [
                {
                    "node": int(zone["node"]),
                    "name": types.get(int(zone["type"]), str(zone["type"])),
                    **{key: int(zone[key]) for key in (
                        "start_pfn", "spanned_pages", "present_pages", "managed_pages",
                        "nr_free_pages",
                    )},
                }
                for zone in zones if zone["present_pages"]
            ],
            "reserved": [
                {"what": part.what, "start_pfn": part.start, "pages": part.end - part.start}
                for part in (self.memory_map.reserved if self.memory_map else ())
            ],
            "caches": len(self.caches),
        }

    def __repr__(self) -> str:
        pages = int(self.mm.view("zone")["present_pages"].sum())
        memory = (pages << int(self.mm.page_shift)) >> 20
        name = self.profile.name if self.profile else "no profile"
        return f"<Machine {name}: {memory} MiB, CPUs {self.mm.nr_cpus}, nodes {self.mm.nr_nodes}>"

    # ---- inside

    def _address(self, address: int) -> int:
        if not 0 <= address <= MASK64:
            raise ValueError(f"address {address}: not an unsigned 64-bit number")
        return address

    def _span(self, address: int, size: int) -> int:
        if size < 0:
            raise ValueError(f"{size} bytes")
        first = self.virt_to_pfn(address)
        last = self.virt_to_pfn(address + max(size, 1) - 1)
        if (self.mm.view("page")["flags"][first : last + 1] & PG_hole).any():
            raise ValueError(f"no RAM at {address:#x} to {address + size:#x}")
        return int((address - self.mm.page_offset) & MASK64)

    def _slab_flags(self, flags: str | int) -> int:
        if isinstance(flags, int):
            return flags
        value = 0
        for name in flags.split("|"):
            if not name.strip().startswith("SLAB_") or name.strip() not in SLUB_DEFS:
                raise ValueError(f"no slab flag {name.strip()!r}")
            value |= SLUB_DEFS[name.strip()]
        return value

    def _aliases(self, number: int) -> Sequence[str]:
        names: Sequence[str] = self.mm.cache_aliases.get(number, ())
        return names

    def _raise_new(self, before: int) -> None:
        if len(self.mm.complaints) > before:
            raise Complaint(self.mm.complaints[before])


def kmalloc_limits(facts: Profile) -> dict[str, int]:
    """KMALLOC_* of include/linux/slab.h, in bytes."""
    limits = facts.limits
    return {
        "KMALLOC_MIN_SIZE": limits.kmalloc_min_size,
        "KMALLOC_MAX_CACHE_SIZE": 1 << limits.kmalloc_shift_high,
        "KMALLOC_MAX_SIZE": 1 << limits.kmalloc_shift_max,
        "KMALLOC_MAX_ORDER": limits.kmalloc_shift_max - limits.page_shift,
    }


def _profile(name: str) -> Profile:
    return profile(name)


def _slab_problems(mm: MM) -> list[str]:
    try:
        validate_slabs(mm)
    except Invariant as broken:
        return [str(broken)]
    return []
