"""Machine: a twin to drive by hand.

    k = Machine.boot("x86_64-6.1", memory="1G")
    p = k.kmalloc(100)
    k.write(p, b"bytes")
    print(k.page(k.virt_to_pfn(p)), k.proc["slabinfo"].decode())

What a kernel function does, the kernel floor does; a Machine names, checks and shows.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from os import PathLike
from typing import Any

from mmtwin.kernel.mm import MM
from mmtwin.kernel.policy import SLOTS, install
from mmtwin.machine.checker_calls import CheckerCalls
from mmtwin.machine.complaints import Complaint
from mmtwin.machine.html import html_table
from mmtwin.machine.page_calls import PageCalls
from mmtwin.machine.process_calls import ProcessCalls, process_problems, process_summary
from mmtwin.machine.slab_calls import SlabCalls
from mmtwin.machine.task_calls import TaskCalls
from mmtwin.machine.views import Proc, Trace
from mmtwin.machine.vmalloc_calls import VmallocCalls
from mmtwin.versions.profiles import DEFAULT, Profile, profile

STATE = ("page", "zone", "pcp", "cache", "cache_cpu", "cache_node", "sheaf", "random_seq",
         "pageblock", "zonelist", "vm_event", "kmalloc_cache", "ram")
# Found by name when it is asked for: replay/ lies above this floor.
MOMENTS = "mmtwin.replay.moments"
SLICE = 1 << 24
UNPURGED = "unpurged vm_area"  # in vmallocinfo: freed, not free yet


class Policies(MutableMapping[str, Any]):
    """The policies of a machine, slot -> function: see kernel/policy.py for the slots.

    Raises ValueError for a slot that there is not.
    """

    def __init__(self, mm: MM) -> None:
        self.mm = mm

    def __getitem__(self, slot: str) -> Any:
        return self.mm.policy[slot]

    def __setitem__(self, slot: str, function: Any) -> None:
        install(self.mm, slot, function)

    def __delitem__(self, slot: str) -> None:
        install(self.mm, slot, None)

    def __iter__(self) -> Iterator[str]:
        return iter([slot for slot in self.mm.policy if slot in SLOTS])

    def __len__(self) -> int:
        return sum(slot in SLOTS for slot in self.mm.policy)


class Machine(ProcessCalls, TaskCalls, SlabCalls, PageCalls, VmallocCalls, CheckerCalls):
    """One machine: its memory management as a kernel of its profile would run it.

    Make it with `boot`, `at`, `from_truth` or `from_snapshots`. `mm` is the state itself, arrays
    of kernel records; `memory_map` says what RAM a booted machine has and what of it is reserved
    (None for others). `cpu` is the CPU that runs: set it to act on another. Addresses are kernel
    virtual addresses (unsigned 64 bit); a gfp is a text of the profile's kernel or a number of the
    twin's own bits (kernel/constants.pxd).
    """

    def __init__(self, mm: MM) -> None:
        super().__init__(mm)
        self.trace = Trace(mm)
        self.base: Any = None  # the kernel's own texts that complete /proc, of a recording

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
        policy: Mapping[str, Any] | None = None,
        sysctl: Mapping[str, Any] | None = None,
        **config: Any,
    ) -> "Machine":
        """Boots an empty machine.

        `profile`: a name (`profile_names()`) or a Profile; `memory` bytes or `"4G"`; `seed`: what
        the machine draws at random follows from it; `cmdline`: boot options
        (`{"slub_debug": "FZPU"}`); `policy`: {slot: function} of kernel/policy.py; `sysctl`: files
        of /proc/sys (`{"vm.overcommit_memory": 2}`, machine/sysctl.py); `config`: switches of
        the kernel's configuration, without CONFIG_ (`SLAB_FREELIST_RANDOM=False`).
        Raises ValueError for what no such machine has.
        """
        from mmtwin.machine.boot import boot_mm
        from mmtwin.machine.memory_map import make_map, parse_memory
        from mmtwin.machine.sysctl import PREFIX, checked

        facts = profile if isinstance(profile, Profile) else _profile(profile)
        if config:
            facts = facts.with_config(**config)
        if cmdline:
            facts = facts.with_cmdline(**cmdline)
        if sysctl:
            given = checked(sysctl)
            facts = facts.with_cmdline(**{PREFIX + name: str(given[name]) for name in given})
        machine = cls(boot_mm(facts, memory, cpus, nodes, seed, policy))
        machine.memory_map = make_map(facts, parse_memory(memory), cpus, nodes)
        return machine

    @classmethod
    def at(
        cls, recording: Any, mark: str, mode: str = "follow",
        progress: Callable[[int, int], None] | None = None,
    ) -> "Machine":  # fmt: skip
        """The machine of a recording, open or by its path, at a marker, an event (`"#120000"`) or
        a time (`"1.25"`).

        At `DUMP name` the kernel's own lists are taken, where the recording has them; anywhere
        else the recording is replayed up to there, from the last such lists before it,
        `progress(done, total)` in events. Raises ValueError for a mark it does not have.
        """
        if isinstance(recording, str | PathLike):
            with import_module(MOMENTS).open_recording(recording) as opened:
                return cls.at(opened, mark, mode, progress)
        word, _, name = mark.partition(" ")
        from mmtwin.machine.recorded import machine_at_truth

        snapshot = recording.snapshots.get(name) if word == "DUMP" else None
        if snapshot is not None and snapshot.has_truth:
            return cls(machine_at_truth(recording, name))
        moments = import_module(MOMENTS)
        moment = moments.find_moment(recording, mark)
        mm, base = moments.state_at(recording, moment, mode, "auto", progress)
        machine = cls(mm)
        machine.base = base
        machine.areas = ranges_of(base.vmallocinfo)
        return machine

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

    # ---- looking at it

    @property
    def proc(self) -> Proc:
        """/proc and /sys as the kernel prints them: `proc["slabinfo"]` is bytes."""
        return Proc(self)

    @property
    def policy(self) -> "Policies":
        """Policies that were swapped: slot -> function (`policy["calculate_order"] = f`)."""
        return Policies(self.mm)

    @property
    def complaints(self) -> list[Complaint]:
        """All that the kernel would have printed so far."""
        return [Complaint(each) for each in self.mm.complaints]

    def validate(self) -> list[str]:
        """What is wrong with the machine's state, as sentences; [] if every invariant holds."""
        from mmtwin.kernel.kasan_validate import validate as validate_kasan
        from mmtwin.kernel.page_alloc_check import validate as validate_pages
        from mmtwin.kernel.task_check import validate as validate_tasks
        from mmtwin.kernel.vmalloc_validate import validate as validate_vmalloc

        return [
            *validate_pages(self.mm), *_slab_problems(self.mm), *validate_vmalloc(self.mm),
            *validate_tasks(self.mm), *process_problems(self.mm),
            *(validate_kasan(self.mm) if self.kasan else ()),
        ]  # fmt: skip

    def checksum(self) -> str:
        """A hash (SHA-256, hex) of the whole state, RAM included: the same in compiled and
        uncompiled runs.
        """
        import hashlib  # it takes 0.004 s, and most commands need none

        digest = hashlib.sha256()
        for name in STATE:
            data = self.mm.view(name).view("u1")
            digest.update(name.encode())
            for start in range(0, len(data), SLICE):
                part = data[start : start + SLICE]
                if part.any():
                    digest.update(start.to_bytes(8, "little"))
                    digest.update(part)
        if self.mm.vmalloc is not None:
            digest.update(self.mm.vmalloc.summary().encode())
        digest.update(process_summary(self.mm).encode())
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

    def _repr_html_(self) -> str:
        zones = self.describe()["zones"]
        rows = [("zone", "node", "from pfn", "pages managed", "pages free")]
        rows += [
            (zone["name"], zone["node"], f"{zone['start_pfn']:#x}", zone["managed_pages"],
             zone["nr_free_pages"])
            for zone in zones
        ]  # fmt: skip
        return html_table(repr(self).strip("<>"), rows)

    def __repr__(self) -> str:
        pages = int(self.mm.view("zone")["present_pages"].sum())
        memory = (pages << int(self.mm.page_shift)) >> 20
        name = self.profile.name if self.profile else "no profile"
        return f"<Machine {name}: {memory} MiB, CPUs {self.mm.nr_cpus}, nodes {self.mm.nr_nodes}>"

def kmalloc_limits(facts: Profile) -> dict[str, int]:
    """KMALLOC_* of include/linux/slab.h, in bytes."""
    limits = facts.limits
    return {
        "KMALLOC_MIN_SIZE": limits.kmalloc_min_size,
        "KMALLOC_MAX_CACHE_SIZE": 1 << limits.kmalloc_shift_high,
        "KMALLOC_MAX_SIZE": 1 << limits.kmalloc_shift_max,
        "KMALLOC_MAX_ORDER": limits.kmalloc_shift_max - limits.page_shift,
    }


def ranges_of(rows: Any) -> list[tuple[int, int, bool]] | None:
    """The ranges of vmallocinfo's rows, None where they are not known or hidden."""
    if rows is None or not all(row.addresses for row in rows):
        return None
    return [(*row.addresses, row.bare == UNPURGED) for row in rows]


def _profile(name: str) -> Profile:
    return profile(name)


def _slab_problems(mm: MM) -> list[str]:
    from mmtwin.kernel.slub_validate import Invariant
    from mmtwin.kernel.slub_validate import validate as validate_slabs

    try:
        validate_slabs(mm)
    except Invariant as broken:
        return [str(broken)]
    return []
