"""The two machines of a what-if: made alike, but for what is changed."""

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from mmtwin.kernel.mm import MM
from mmtwin.kernel.sched import Tasks
from mmtwin.kernel.slub_cache import SlabError, draw_random_seq, kmem_cache_create, lay_out
from mmtwin.kernel.slub_defs import DEFS
from mmtwin.kernel.thread_stack import alloc_thread_stack_node, free_thread_stack
from mmtwin.machine.boot import boot_mm, create_cache
from mmtwin.machine.boot_caches import unmerged_caches
from mmtwin.machine.memory_map import MemoryMap, Reserved, make_map, map_of
from mmtwin.machine.sysctl import of_cmdline, set_sysctls
from mmtwin.machine.truth_slab import KMALLOC_NAME
from mmtwin.replay.changes import Changes, apply
from mmtwin.replay.demand_runner import CONSTANTS as RUN
from mmtwin.replay.demand_runner import DemandRunner
from mmtwin.replay.errors import ReplayError
from mmtwin.replay.machine_figures import cache_rows, pcp_paths, rounding, slub_paths
from mmtwin.replay.start_state import names_of
from mmtwin.versions.cache_names import NOT_EVERYWHERE, other_names

SAMPLES = 200
SLAB_DEBUG_FLAGS = DEFS["SLAB_DEBUG_FLAGS"]
LARGE_BLOCKS = (64 << 10, 2 << 20)  # bytes: blocks whose share of free memory is shown


class Stacks:
    """Kernel stacks as the machine's configuration makes them: `take`, `give_back` by demand."""

    def __init__(self, mm: MM) -> None:
        self.mm = mm
        self.held: dict[int, Any] = {}
        self.owed: dict[int, None] = {}
        self.pages = 0
        self.tasks = mm.tasks = mm.tasks or Tasks(mm)

    def take(self, id: int, cpu: int, kept: bool) -> bool:
        """A stack for a new task; whether there was one.

        `kept`: the recorded CPU had one of a task that was gone, though its task_struct may go
        only after a grace period (put_task_stack() in finish_task_switch()). If no CPU has it yet
        the new task is owed that one.
        """
        task = SimpleNamespace(stack=None)
        self._grace_period()
        if kept and len(self.held) > len(self.owed) and not any(self.tasks.cached_stacks[cpu]):
            self.held[id] = None
            self.owed[id] = None
            return True
        if not alloc_thread_stack_node(self.mm, task, -1):
            return False
        self.held[id] = task.stack
        self.pages += len(task.stack.pages)
        return True

    def give_back(self, id: int, cpu: int) -> None:
        """A task's stack is free: its CPU may keep it."""
        stack = self.held.pop(id)
        if stack is None:
            del self.owed[id]
            return
        if self.owed:
            waiting = next(iter(self.owed))
            del self.owed[waiting]
            self.held[waiting] = stack
            return
        self.pages -= len(stack.pages)
        free_thread_stack(self.mm, stack)

    def _grace_period(self) -> None:
        """What waited for one: between two forks one passes."""
        waiting, self.tasks.rcu = self.tasks.rcu, []
        for function, stack in waiting:
            function(self.mm, stack)


class Twin:
    """One machine that the demands are carried out on, and its figures."""

    def __init__(
        self, name: str, mm: MM, cache_of: list[int], page_shift: int, own_stacks: bool
    ) -> None:
        self.name = name
        self.mm = mm
        mm.contents = 0
        self.stacks = Stacks(mm) if own_stacks else None
        self.runner = DemandRunner(mm, cache_of or [-1], page_shift, self.stacks)
        self.samples: list[dict[str, int]] = []

    def sample(self, time: int) -> None:
        """Notes how the memory is used now."""
        mm, page = self.mm, 1 << int(self.mm.page_shift)
        uses = self.runner.use_pages()
        self.samples.append({
            "time": time,
            "used": int(self.runner.used_pages()) * page,
            "slab": int(slab_pages(mm)) * page,
            "user": int(uses[1]) * page,
            "tables": int(uses[2]) * page,
            "stacks": (self.stacks.pages if self.stacks else 0) * page,
            "free_large": free_in_blocks(mm, LARGE_BLOCKS[-1]),
        })  # fmt: skip

    def figures(self) -> dict[str, Any]:
        """The machine at the end, as docs/json.md has it."""
        mm, runner = self.mm, self.runner
        page, counts = 1 << int(mm.page_shift), runner.counts()
        caches = self.caches()
        uses = [int(pages) * page for pages in runner.use_pages()]
        free = [(size, free_in_blocks(mm, size)) for size in (page, *LARGE_BLOCKS)]
        return {
            "name": self.name,
            "profile": mm.profile.name,
            "page_size": page,
            "managed": int(mm.view("zone")["managed_pages"].sum()) * page,
            "used": int(runner.used_pages()) * page,
            "peak": {"bytes": int(runner.peak) * page, "time": int(counts[RUN["RUN_PEAK_TIME"]])},
            "slab": {
                "bytes": sum(row["bytes"] for row in caches),
                "slabs": sum(row["slabs"] for row in caches),
                "objects": sum(row["objects"] for row in caches),
                "waste": {
                    kind: sum(row["waste"][kind] for row in caches)
                    for kind in ("rounding", "slab_tail", "free_objects")
                },
            },
            "user": uses[1],
            "page_tables": uses[2],
            "vmalloc": uses[3],
            "kernel_pages": uses[0],
            "old_pages": uses[5],
            "stacks": (self.stacks.pages if self.stacks else 0) * page,
            "free": {"bytes": free[0][1], **{f"blocks_{s >> 10}k": b for s, b in free[1:]}},
            "failed": {
                "objects": int(counts[RUN["RUN_FAILED_OBJECTS"]]),
                "pages": int(counts[RUN["RUN_FAILED_PAGES"]]),
            },
            "mapped": {
                "shared_pages": int(counts[RUN["RUN_SHARED"]]),
                "split_pages": int(counts[RUN["RUN_SPLIT"]]),
                "other_orders": int(counts[RUN["RUN_ORDERS"]]),
                "tables": int(counts[RUN["RUN_TABLES"]]),
                "not_asked": int(counts[RUN["RUN_NOT_ASKED"]]),
            },
            "demands": int(counts[RUN["RUN_DEMANDS"]]),
            "paths": {"slub": slub_paths(mm), "pcp": pcp_paths(mm)},
            "caches": caches,
        }

    def caches(self) -> list[dict[str, Any]]:
        """Every cache that has slabs, by memory."""
        mm, held = self.mm, self.runner.held_objects()
        pfns = ((held["place"] - np.uint64(mm.page_offset)) >> np.uint64(mm.page_shift))
        heads = pfns.astype(np.int64)
        page = mm.view("page")
        tails = (page["flags"][heads] & 8) != 0
        heads = np.where(tails, page["compound_head"][heads], heads)
        sizes = mm.view("cache")["size"][np.maximum(page["cache"][heads], 0)].astype(np.int64)
        return cache_rows(mm, rounding(mm, held["place"], sizes - held["bytes"].astype(np.int64)))


def slab_pages(mm: MM) -> int:
    """Pages of all slabs, by the orders that caches prefer."""
    nodes = mm.view("cache_node")["nr_slabs"][: mm.nr_caches * mm.nr_nodes]
    orders = mm.view("cache")["oo_order"][: mm.nr_caches].astype(np.int64)
    return int((nodes.reshape(mm.nr_caches, mm.nr_nodes).sum(axis=1) << orders).sum())


def free_in_blocks(mm: MM, size: int) -> int:
    """Bytes of free memory in blocks of at least `size` bytes."""
    free = mm.view("zone")["nr_free"][:, : mm.nr_orders].sum(axis=0).astype(np.int64)
    blocks = np.int64(1) << (np.arange(mm.nr_orders) + int(mm.page_shift))
    return int((free * blocks)[blocks >= size].sum())


# ---- making them


def boot_twin(made: Changes, memory: int, cpus: int, known: MM | None, same_line: bool,
              policy: Mapping[str, Any] | None = None) -> MM:
    """A machine of a profile that has just booted, with the recorded machine's caches.

    `known`: the recorded machine's state, where there is one: of the same release its sizes of
    structures count, of another one only the caches that this release does not have.
    """
    try:
        there = None if known is None else map_for(made, known, same_line)
        mm = boot_mm(made.profile, made.memory or memory, cpus, policy=policy, memory_map=there)
        if known is not None and there:
            mm.view("cpu_node")[:] = known.view("cpu_node")[:cpus]
            if same_line:
                keep_limits(mm, known)
        if known is not None:
            fit_caches(mm, known, same_line, made.splits)
        set_sysctls(mm, of_cmdline(made.profile.cmdline))  # after keep_limits()
        apply(mm, made)
    except ReplayError:
        raise
    except ValueError as error:
        raise ReplayError(f"{made.profile.name}: {error}") from None
    return mm


def map_for(made: Changes, known: MM, same_line: bool) -> MemoryMap | None:
    """Where a machine's memory lies: as the recorded one's, with as much more or less reserved as
    another release's image takes. None where its memory or pages are other, or KASAN has a shadow.
    """
    if (
        made.memory or made.profile.arch != known.profile.arch
        or made.profile.page_size != known.profile.page_size or made.profile.features["kasan"]
    ):
        return None
    found = map_of(known)
    if same_line:
        return found
    memory = sum(end - start for start, end in found.ram) << int(known.page_shift)
    theirs, ours = (make_map(p, memory, known.nr_cpus, 1) for p in (known.profile, made.profile))
    reserved = list(found.reserved)
    for zone in found.zones:
        limits = zone.start, zone.start + zone.spanned
        more = pages_in(ours.reserved, *limits) - pages_in(theirs.reserved, *limits)
        inside = [r for r in reserved if limits[0] <= r.start and r.end <= limits[1]]
        if inside:
            largest = max(inside, key=lambda r: r.end - r.start)
            following = [r.start for r in reserved if r.start > largest.start]
            end = min([largest.end + more, limits[1], *following])
            reserved.remove(largest)
            reserved.append(replace(largest, end=max(end, largest.start)))
    return replace(found, reserved=sorted(reserved, key=lambda r: r.start))


def pages_in(reserved: list[Reserved], start: int, end: int) -> int:
    """Pages of [start, end) that are reserved."""
    return sum(max(min(r.end, end) - max(r.start, start), 0) for r in reserved)


def keep_limits(mm: MM, known: MM) -> None:
    """The recorded watermarks and sizes of per-CPU lists: the kernel set them when not all of its
    memory was there (init_per_zone_wmark_min() before free_initmem() and the initramfs).
    """
    zones, theirs = mm.view("zone"), known.view("zone")
    if "pcp_high_and_batch" in mm.policy or len(zones) != len(theirs):
        return
    mm.min_free_kbytes = known.min_free_kbytes or mm.min_free_kbytes
    for field in ("watermark", "lowmem_reserve"):
        zones[field] = theirs[field]
    for field in ("pageset_batch", "pageset_high_min", "pageset_high_max"):
        zones[field] = theirs[field]
    lists, others = mm.view("pcp"), known.view("pcp")
    for field in ("batch", "high", "high_min", "high_max"):
        lists[field] = others[field]


def fit_caches(mm: MM, known: MM, same_line: bool, splits: bool) -> None:
    """Gives a booted machine the caches that the recorded one has and it has not; `splits`: each
    name its own.
    """
    has = mm.view("has")[0]
    numbers = names_of(mm)
    own = unmerged_caches(mm.profile) if splits else {}
    merges, has.slab_merge = has.slab_merge, 0
    for name, theirs in names_of(known).items():
        record = known.view("cache")[theirs]
        if KMALLOC_NAME.fullmatch(name) or name in ("kmem_cache", "kmem_cache_node"):
            continue
        flags = int(record["flags"]) & ~SLAB_DEBUG_FLAGS
        if name not in numbers and missing(name, numbers, same_line):
            continue
        if name not in numbers and name in own:
            numbers[name] = create_cache(mm, own[name], name)
        elif name not in numbers:
            try:
                number = kmem_cache_create(
                    mm, name, int(record["object_size"]), int(record["align"]), flags,
                    usersize=int(record["usersize"]), ctor=int(record["ctor"]),
                    sheaf_capacity=int(record["sheaf_capacity"]),
                )  # fmt: skip
            except SlabError:
                continue
            numbers[name] = number
        elif same_line and name == known.cache_names[theirs] and name not in own:
            refit(mm, numbers[name], record, flags)
    has.slab_merge = merges


def missing(name: str, numbers: dict[str, int], same_line: bool) -> bool:
    """Whether another release has a cache of this kind by another name, or not at all."""
    if same_line:
        return False
    return name in NOT_EVERYWHERE or any(other in numbers for other in other_names(name))


def refit(mm: MM, number: int, theirs: Any, flags: int) -> None:
    """A cache gets the size that it has on the recorded machine."""
    record = mm.view("cache")[number]
    if int(record["object_size"]) == int(theirs["object_size"]):
        return
    keep = int(record["refcount"]), int(record["sheaf_capacity"])
    debug = int(record["flags"]) & SLAB_DEBUG_FLAGS
    lay_out(mm, number, int(theirs["object_size"]), int(theirs["align"]), flags | debug,
            int(theirs["ctor"]))
    record["refcount"], record["sheaf_capacity"] = keep
    if mm.view("has")[0].freelist_random:
        draw_random_seq(mm, number)


def caches_by_name(mm: MM, names: list[str], known: MM | None) -> list[int]:
    """The machine's cache by number in the recording's names; kmalloc's own go by size."""
    numbers = names_of(mm)
    found = []
    for name in names:
        if KMALLOC_NAME.fullmatch(name) and "rnd-" not in name:
            found.append(RUN["KMALLOC_ANY"])
            continue
        names = [each for each in (name, *other_names(name)) if each in numbers]
        absent = RUN["NOT_ASKED" if name in NOT_EVERYWHERE else "KMALLOC_ANY"]
        found.append(numbers[names[0]] if names else absent)
    return found
