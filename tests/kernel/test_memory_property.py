"""Random touches, forks, unmaps and changes of protection against a dict of what each page of each
process holds; and nothing is lost when all are gone.
"""

import os

import process_machine as process
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmtwin.kernel import gup, memory
from mmtwin.kernel.memory_validate import validate
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.mman import VM_WRITE
from mmtwin.kernel.truncate import truncate_inode_pages_range

PAGE = 4096
ANON, FILE, SHARED = 0x40000000, 0x50000000, 0x60000000
PAGES = 600  # more than a page table of PTEs, so that tables come and go
AREAS = ((ANON, process.PRIVATE_RW), (FILE, process.PRIVATE_RW), (SHARED, process.SHARED_RW))
CALLS = ("write", "write", "read", "read", "fork", "zap", "protect", "exit")
RUNS, STEPS = 50 if os.environ.get("MMTWIN_PURE") else 200, 50
BYTES = 6  # of a step: bytes are drawn, as one draw a run is far cheaper than five a step
CONTENT = bytes(range(256)) * 16
# Machines on which a run has ended well: all that it used is free again, so the next may use them.
MACHINES = {}


class World:
    """The processes and, beside each, a dict of its private pages that were written."""

    def __init__(self, name, thp):
        self.name = name
        self.mm = MACHINES.pop(name, None) or process.machine(name)
        first = process.new_mm(self.mm)
        first.paging.thp = thp
        first.paging.mthp = 0b11000 if thp else 0
        self.file = File("/tmp/file", data=CONTENT * PAGES)
        self.shmem = File("/dev/zero (deleted)", size=PAGES * PAGE, shmem=True)
        files = (None, self.file, self.shmem)
        for (base, flags), file in zip(AREAS, files, strict=True):
            process.area(first, base, base + PAGES * PAGE, flags, file)
        self.processes = [(first, {})]
        self.shared = {}

    def expected(self, private, area, page):
        if area == 2:
            return self.shared.get(page, bytes(8))
        return private.get((area, page), bytes(8) if area == 0 else CONTENT[:8])

    def step(self, what, who, area, page, count):
        if not self.processes:
            return
        space, private = self.processes[who % len(self.processes)]
        address = AREAS[area][0] + page * PAGE
        vma = space.tree.find_vma(address)
        end = min(page + count, PAGES)
        if what == "write":
            data = bytes([who + 1, area + 1, page & 255, page >> 8, count, 1, 2, 3])
            assert gup.access_process_vm(space, address, data) == 8
            if area == 2:
                self.shared[page] = data
            else:
                private[area, page] = data
        elif what == "read":
            assert gup.access_process_vm(space, address, 8) == self.expected(private, area, page)
        elif what == "fork" and len(self.processes) < 5:
            self.processes.append((process.fork(space), dict(private)))
        elif what == "zap":
            memory.zap_page_range(vma, address, AREAS[area][0] + end * PAGE)
            for gone in range(page, end):
                private.pop((area, gone), None)
        elif what == "protect":
            # to read-only and back: what is there stays, and can be written again
            stop = AREAS[area][0] + end * PAGE
            memory.change_protection(vma, address, stop, vma.vm_flags & ~VM_WRITE)
            memory.change_protection(vma, address, stop, vma.vm_flags)
        elif what == "exit" and len(self.processes) > 1:
            self.processes.remove((space, private))
            process.exit_mm(space)

    def check(self):
        assert validate(self.mm, [space for space, _ in self.processes]) == []

    def end(self):
        for space, private in self.processes:
            for area, page in list(private):
                seen = gup.access_process_vm(space, AREAS[area][0] + page * PAGE, 8)
                assert seen == private[area, page]
            process.exit_mm(space)
        for file in (self.file, self.shmem):
            truncate_inode_pages_range(self.mm, file, 0, PAGES)
        process.settle(self.mm)
        users = self.mm.view("page")["users"][: self.mm.max_pfn]
        assert int((users == 4).sum()) == 0
        assert int((users == 6).sum()) == 0
        MACHINES[self.name] = self.mm


@pytest.mark.parametrize("thp", [0, 2])
@pytest.mark.parametrize("name", process.PROFILES)
@settings(max_examples=RUNS, deadline=None, derandomize=True,
          suppress_health_check=list(HealthCheck))
@given(drawn=st.binary(min_size=BYTES * STEPS, max_size=BYTES * STEPS))
def test_pages_hold_what_was_written(name, thp, drawn):
    world = World(name, thp)
    for at in range(0, len(drawn), BYTES):
        call, who, area, page, more, count = drawn[at : at + BYTES]
        world.step(CALLS[call % len(CALLS)], who % 4, area % 3, (page << 8 | more) % PAGES,
                   count % 40 + 1)
    world.check()
    world.end()
