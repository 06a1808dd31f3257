"""The two machines of a what-if: made alike, but for what is changed."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from mmtwin.kernel.mm import MM
from mmtwin.kernel.sched import Tasks
from mmtwin.kernel.slub_cache import SlabError, draw_random_seq, kmem_cache_create, lay_out
from mmtwin.kernel.slub_defs import DEFS
from mmtwin.kernel.thread_stack import alloc_thread_stack_node, free_thread_stack
from mmtwin.machine.boot import boot_mm
from mmtwin.machine.truth_slab import KMALLOC_NAME
from mmtwin.replay.changes import Changes, apply
from mmtwin.replay.demand_runner import CONSTANTS as RUN
from mmtwin.replay.demand_runner import DemandRunner
from mmtwin.replay.machine_figures import cache_rows, pcp_paths, rounding, slub_paths
from mmtwin.replay.run import ReplayError
from mmtwin.replay.start_state import names_of

SAMPLES = 200
SLAB_DEBUG_FLAGS = DEFS["SLAB_DEBUG_FLAGS"]
LARGE_BLOCKS = (64 << 10, 2 << 20)  # bytes: blocks whose share of free memory is shown


class Stacks:
    """Kernel stacks as the machine's configuration makes them: `take`, `give_back` by demand."""

    def __init__(self, mm: MM) -> None:
        self.mm = mm
        self.held: dict[int, Any] = {}
        self.pages = 0
        self.tasks = mm.tasks = mm.tasks or Tasks(mm)

    def take(self, id: int, cpu: int) -> bool:
        """A stack for a new task; whether there was one."""
        task = SimpleNamespace(stack=None)
        self._grace_period()
        if not alloc_thread_stack_node(self.mm, task, -1):
            return False
        self.held[id] = task.stack
        self.pages += len(task.stack.pages)
        return True

    def give_back(self, id: int, cpu: int) -> None:
        """A task's stack is free: its CPU may keep it."""
        stack = self.held.pop(id)
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
        mm = boot_mm(made.profile, made.memory or memory, cpus, policy=policy)
        if known is not None:
            fit_caches(mm, known, same_line)
        apply(mm, made)
    except ReplayError:
        raise
    except ValueError as error:
        raise ReplayError(f"{made.profile.name}: {error}") from None
    return mm


def fit_caches(mm: MM, known: MM, same_line: bool) -> None:
    """Gives a booted machine the caches that the recorded one has and it has not."""
    has = mm.view("has")[0]
    numbers = names_of(mm)
    merges, has.slab_merge = has.slab_merge, 0
    for name, theirs in names_of(known).items():
        record = known.view("cache")[theirs]
        if KMALLOC_NAME.fullmatch(name) or name in ("kmem_cache", "kmem_cache_node"):
            continue
        flags = int(record["flags"]) & ~SLAB_DEBUG_FLAGS
        if name not in numbers:
            try:
                number = kmem_cache_create(
                    mm, name, int(record["object_size"]), int(record["align"]), flags,
                    usersize=int(record["usersize"]), ctor=int(record["ctor"]),
                    sheaf_capacity=int(record["sheaf_capacity"]),
                )  # fmt: skip
            except SlabError:
                continue
            numbers[name] = number
        elif same_line and name == known.cache_names[theirs]:
            refit(mm, numbers[name], record, flags)
    has.slab_merge = merges


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
        else:
            found.append(numbers.get(name, RUN["KMALLOC_ANY"]))
    return found
