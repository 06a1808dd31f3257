"""Maple nodes that no event names, of trees that the events tell of: directories of tmpfs and
processes' areas, as a kernel's own trees take them and give them back.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmtwin.kernel.exit import rcu_do_batch
from mmtwin.kernel.maple_store import MapleStore
from mmtwin.kernel.sched import tasks_of
from mmtwin.kernel.thread_stack import find_cache
from mmtwin.kernel.trace import STEPS
from mmtwin.machine import Machine
from mmtwin.recordings.annotate import Block
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.symbols import Symbols
from mmtwin.replay.area_trees import FULL_AREAS
from mmtwin.replay.node_source import ToldNodes

GFP_KERNEL, GFP_NOWAIT, INTERRUPT = 0xCC0, 0x2800, 0x10
NAMES = ["maple_node", "shmem_inode_cache", "names_cache", "dentry", "task_struct", "mm_struct",
         "vm_area_struct"]  # fmt: skip
FUNCTIONS = ["mas_alloc_nodes", "mas_destroy", "mas_erase", "__mt_destroy", "mtree_destroy",
             "__mt_dup", "rcu_do_batch", "getname_flags", "shmem_alloc_inode", "__d_alloc",
             "security_inode_init_security", "do_sys_openat2", "do_mkdirat", "do_unlinkat",
             "do_rmdir", "do_linkat", "do_renameat2", "copy_process", "mm_alloc", "exit_mmap",
             "vm_area_alloc"]  # fmt: skip
SITES = {name: 0x1000 * (place + 1) for place, name in enumerate(FUNCTIONS)}
ALLOC, FREE, KFREE = (
    CONSTANTS[f"KIND_{kind}"] for kind in ("KMEM_CACHE_ALLOC", "KMEM_CACHE_FREE", "KFREE")
)
NODE_ALLOC, NODE_BULK = STEPS["STEP_MAPLE_ALLOC"], STEPS["STEP_MAPLE_ALLOC_BULK"]
NODE_FREE, NODE_FREE_BULK = STEPS["STEP_MAPLE_FREE"], STEPS["STEP_MAPLE_FREE_BULK"]
STEP_KINDS = (NODE_ALLOC, NODE_BULK, NODE_FREE, NODE_FREE_BULK)


class Kernel:
    """Tasks that change directories and areas; `truth`: by the number of an event that names a
    node, the addresses of those that went with it.
    """

    def __init__(self) -> None:
        self.k = Machine.boot("x86_64-6.12", memory="64M", cpus=1, seed=5)
        self.mm: Any = self.k.mm
        tasks_of(self.mm)
        find_cache(self.mm, "maple_node")
        for kind in STEP_KINDS:
            self.mm.step_mask |= 1 << kind
        self.rows: list[Any] = []
        self.truth: dict[int, list[int]] = {}
        self.inodes = 0xFFFF_8880_0100_0000
        self.evicted: list[int] = []
        self.flags = 0

    def event(self, kind: int, name: str, site: str, pid: int, address: int, gfp: int = 0) -> None:
        row = np.zeros(1, dtype=EVENT)[0]
        row["kind"], row["pid"], row["address"], row["gfp"] = kind, pid, address, gfp
        row["cache"] = NAMES.index(name) if name else -1
        row["call_site"] = SITES[site] + 0x10
        row["flags"] = self.flags
        self.rows.append(row)

    def tell(
        self, pid: int, gfp: int, free: str = "mas_destroy", walk: str = "",
        site: str = "mas_alloc_nodes",
    ) -> None:  # fmt: skip
        """The events of what the trees did since the last call. `walk`: who frees a node that no
        store took.
        """
        steps = self.mm.view("step")[: self.mm.next_step].tolist()
        self.mm.next_step = 0
        silent: list[int] = []
        taken: set[int] = set()
        for kind, args in ((step[0], step[-1]) for step in steps):
            address = int(args[0]) & (1 << 64) - 1
            if kind == NODE_ALLOC:
                self.event(ALLOC, "maple_node", site, pid, address, gfp)
                self.truth[len(self.rows) - 1] = []
                taken.add(address)
            elif kind == NODE_BULK:
                self.truth[len(self.rows) - 1].append(address)
            elif kind == NODE_FREE_BULK:
                silent.append(address)
            elif kind == NODE_FREE:
                walked = walk and not silent and address not in taken
                self.event(FREE, "maple_node", walk if walked else free, pid, address)
                self.truth[len(self.rows) - 1] = silent
                silent = []

    # ---- directories

    def directory(self) -> Any:
        tree = MapleStore(self.mm, alloc_range=True, in_rcu=False)
        return SimpleNamespace(tree=tree, next=2, inode=0, entries={})

    def name(self, pid: int, new: bool = False) -> None:
        self.event(ALLOC, "names_cache", "getname_flags", pid, 0x7000, GFP_KERNEL)
        if new:
            self.event(ALLOC, "dentry", "__d_alloc", pid, 0x7100, GFP_KERNEL)

    def done(self, pid: int, function: str) -> None:
        self.event(FREE, "names_cache", function, pid, 0x7000)

    def add(self, pid: int, directory: Any) -> int:
        """simple_offset_add()"""
        offset = directory.next
        directory.tree.store_gfp(offset, offset, (offset,))
        directory.next += 1
        self.tell(pid, GFP_NOWAIT)
        return int(offset)

    def make(self, pid: int, directory: Any, function: str = "do_sys_openat2") -> int:
        """A file is made; the address of its inode."""
        self.inodes += 0x400
        self.name(pid, True)
        self.event(ALLOC, "shmem_inode_cache", "shmem_alloc_inode", pid, self.inodes, GFP_KERNEL)
        self.event(KFREE, "", "security_inode_init_security", pid, 0)
        directory.entries[self.inodes] = self.add(pid, directory)
        self.done(pid, function)
        return self.inodes

    def mkdir(self, pid: int, directory: Any) -> Any:
        made = self.directory()
        made.inode = self.make(pid, directory, "do_mkdirat")
        return made

    def remove(self, pid: int, directory: Any, inode: int, function: str = "do_unlinkat") -> None:
        """simple_offset_remove()"""
        self.name(pid)
        offset = directory.entries.pop(inode)
        directory.tree.store_gfp(offset, offset, None)
        self.tell(pid, GFP_NOWAIT, walk="mas_erase")
        self.done(pid, function)
        self.evicted.append(inode)

    def grace_period(self) -> None:
        """RCU frees what waits for it, in an interrupt."""
        self.flags = INTERRUPT
        for inode in self.evicted:
            self.event(FREE, "shmem_inode_cache", "rcu_do_batch", 1, inode)
        self.evicted = []
        rcu_do_batch(self.mm)
        self.tell(1, 0, "rcu_do_batch")
        self.flags = 0

    def fork(self, pid: int) -> None:
        self.event(ALLOC, "task_struct", "copy_process", pid, 0x9000, GFP_KERNEL)

    # ---- areas

    def exec(self, pid: int) -> Any:
        """A new program, of which the stack's area is there."""
        self.event(ALLOC, "mm_struct", "mm_alloc", pid, 0xA000, GFP_KERNEL)
        tree = MapleStore(self.mm)
        self.area(pid, tree, 1 << 40)
        return tree

    def copy(self, pid: int, old: MapleStore) -> MapleStore:
        """fork()"""
        self.fork(pid)
        self.event(ALLOC, "mm_struct", "copy_process", pid, 0xA000, GFP_KERNEL)
        tree = MapleStore(self.mm)
        tree.duplicate(old)
        self.tell(pid, GFP_KERNEL, site="__mt_dup")
        return tree

    def area(self, pid: int, tree: MapleStore, start: int) -> None:
        """mmap() of an area that has gaps on both sides."""
        self.event(ALLOC, "vm_area_struct", "vm_area_alloc", pid, 0xB000, GFP_KERNEL)
        assert not tree.preallocate(start, start + 0xFFF, (start,))
        tree.store(start, start + 0xFFF, (start,))
        self.tell(pid, GFP_KERNEL)

    def unmap(self, pid: int, tree: MapleStore, start: int) -> None:
        tree.store_gfp(start, start + 0xFFF, None)
        self.tell(pid, GFP_NOWAIT)

    def exit(self, pid: int, tree: MapleStore) -> None:
        self.event(FREE, "vm_area_struct", "exit_mmap", pid, 0xB000)
        tree.destroy()
        self.tell(pid, 0, "__mt_destroy")

    # ---- what a replay makes of the events

    def told(self, parts: int = 1) -> tuple[int, int]:
        """How many of the events' silent nodes are told, of how many: those that are must be the
        kernel's, in order. The events come in so many blocks.
        """
        symbols = Symbols([(address, name) for name, address in SITES.items()])
        annotated: Any = SimpleNamespace(recording=SimpleNamespace(symbols=symbols), names=NAMES)
        nodes = ToldNodes(annotated, self.mm, 0)
        found: dict[int, Any] = {}
        script: Any = SimpleNamespace(
            load=lambda first, rows, where: found.update((row[0], row) for row in rows)
        )
        events = np.array(self.rows, dtype=EVENT)
        size = -(-len(events) // parts)
        for first in range(0, len(events), size):
            block = events[first : first + size]
            nodes.advance(Block(block, first, len(block)), script)
        at: dict[int, int] = {}
        told = 0
        for index in sorted(found):
            _index, own, silent, _shown = found[index]
            real = self.truth[index]
            address = int(events[index]["address"])
            if events[index]["kind"] == ALLOC:
                assert len(silent) == len(real)
                at.update(zip(silent, real, strict=True))
                at[own] = address
            else:
                assert [at.get(each) for each in silent] == real
                assert own < 0 or at.get(own, address) == address
            told += len(real)
        return told, sum(map(len, self.truth.values()))


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.mark.parametrize("parts", [1, 7])
def test_a_directory_that_fills(kernel: Kernel, parts: int) -> None:
    root = kernel.directory()
    for _ in range(400):  # leaves are split, the root, inner nodes
        kernel.make(7, root)
    told, silent = kernel.told(parts)
    assert told == silent > 200


def test_a_directory_that_empties(kernel: Kernel) -> None:
    # leaves that would end in a gap, that have too few entries, and at last none
    root = kernel.directory()
    inodes = [kernel.make(7, root) for _ in range(200)]
    for inode in [*inodes[::2], *inodes[:0:-2], inodes[1]][:200]:
        if inode in root.entries:
            kernel.remove(8, root, inode)
    kernel.grace_period()
    kernel.make(7, root)
    assert not root.entries or len(root.entries) == 1
    told, silent = kernel.told()
    assert told == silent > 100


def test_an_entry_goes_where_nodes_are_asked_for(kernel: Kernel) -> None:
    # a task that unpacks an archive: most files of a directory come behind those of another
    root = kernel.directory()
    above = kernel.mkdir(7, root)
    below = kernel.mkdir(7, above)
    for directory in (below, above):
        for _ in range(10 if directory is below else 60):
            kernel.make(7, directory)
    told, silent = kernel.told()
    assert told == silent > 20


def test_a_name_that_goes_may_have_another(kernel: Kernel) -> None:
    # rm -r of a directory with two names of one file: the first to go frees no inode
    root = kernel.directory()
    inner = kernel.mkdir(7, root)
    inodes = [kernel.make(7, inner) for _ in range(40)]
    kernel.name(7, True)
    kernel.add(7, inner)
    kernel.done(7, "do_linkat")
    kernel.name(8)
    inner.tree.store_gfp(inner.next - 1, inner.next - 1, None)
    kernel.tell(8, GFP_NOWAIT)
    kernel.done(8, "do_unlinkat")
    for inode in reversed(inodes):
        kernel.remove(8, inner, inode)
    kernel.remove(8, root, inner.inode, "do_rmdir")
    kernel.grace_period()
    told, silent = kernel.told()
    assert told == silent > 20


def test_a_file_system_that_goes(kernel: Kernel) -> None:
    root = kernel.directory()
    inodes = [kernel.make(7, root) for _ in range(50)]
    kernel.evicted = inodes
    root.tree.destroy()
    kernel.tell(9, 0, "mtree_destroy")
    kernel.grace_period()
    told, silent = kernel.told()
    assert told == silent
    last = max(kernel.truth)
    assert len(kernel.truth[last]) > 2  # its leaves


def test_a_renamed_entry_comes_in_anew(kernel: Kernel) -> None:
    root = kernel.directory()
    inodes = [kernel.make(7, root) for _ in range(80)]
    for inode in inodes[::2]:
        kernel.name(7)
        kernel.name(7, True)
        offset = root.entries.pop(inode)
        root.tree.store_gfp(offset, offset, None)
        kernel.tell(7, GFP_NOWAIT)
        kernel.add(7, root)
        kernel.done(7, "do_renameat2")
        kernel.done(7, "do_renameat2")
    told, silent = kernel.told()
    assert told == silent > 60


def fill(kernel: Kernel, pid: int, tree: MapleStore) -> int:
    """Areas until the only leaf is split; how many."""
    count = 0
    while tree.height < 2:
        kernel.area(pid, tree, start_of(count))
        count += 1
    return count


def start_of(count: int) -> int:
    """Four areas side by side, then a gap."""
    return (1 + count // 4 << 20) + (count % 4 << 12)


def test_areas_of_a_process(kernel: Kernel) -> None:
    # its leaf is split when the areas are too many, and joined with the next when some went
    kernel.fork(1)
    tree = kernel.exec(20)
    for _ in range(3):
        count = fill(kernel, 20, tree)
        while count:
            count -= 1
            kernel.unmap(20, tree, start_of(count))
        kernel.grace_period()
    kernel.exit(20, tree)
    told, silent = kernel.told()
    assert told == silent == 3 * 4


def test_a_tree_that_ends_shows_that_it_was_split(kernel: Kernel) -> None:
    kernel.fork(1)
    tree = kernel.exec(20)
    fill(kernel, 20, tree)
    kernel.grace_period()
    kernel.exit(20, tree)
    told, silent = kernel.told()
    assert told == silent == 4  # two with the split, two leaves in the end


def test_areas_that_come_after_a_split(kernel: Kernel) -> None:
    # twelve areas are taken to be too many for a leaf, more than that tell nothing
    kernel.fork(1)
    tree = kernel.exec(20)
    count = fill(kernel, 20, tree)
    assert count + 1 == FULL_AREAS  # with the stack
    for more in range(3):
        kernel.area(20, tree, start_of(count + more))
    kernel.grace_period()
    kernel.exit(20, tree)
    told, silent = kernel.told()
    assert told == silent == 4


def test_a_fork_copies_leaves_at_once(kernel: Kernel) -> None:
    # the number of areas tells that there are leaves before the parent's end does
    kernel.fork(1)
    tree = kernel.exec(20)
    count = fill(kernel, 20, tree)
    child = kernel.copy(20, tree)
    for _ in range(count + 1):
        kernel.event(ALLOC, "vm_area_struct", "vm_area_alloc", 20, 0xB000, GFP_KERNEL)
    kernel.exit(21, child)
    kernel.exit(20, tree)
    told, silent = kernel.told()
    assert told == silent == 8
