"""Random calls on an address space with page tables: what was written is read where it is then,
and nothing of it is left at the end.
"""

import random

import pytest

from mmtwin.kernel import pgtable
from mmtwin.kernel.gup import access_process_vm
from mmtwin.kernel.madvise import do_madvise
from mmtwin.kernel.mm_types import mm_struct
from mmtwin.kernel.mm_validate import validate_mm
from mmtwin.kernel.mman import MADV_DONTNEED, MAP_POPULATE
from mmtwin.kernel.mmap import sys_mmap
from mmtwin.kernel.mprotect import do_mprotect
from mmtwin.kernel.mremap import do_mremap
from mmtwin.kernel.munmap import exit_mmap, sys_munmap
from mmtwin.kernel.unmapped_area import setup_mmap_base
from tests.kernel.area_machine import ANON, FIXED, PAGE, PRIVATE, TASK_SIZE, R, W
from tests.kernel.process_machine import machine, new_mm

AT = 0x20000000
ELSEWHERE = AT + (1 << 20)


def step(mm: mm_struct, numbers: random.Random, written: dict[int, int]) -> None:
    """One call, or one write; `written`: the byte of each page that is mapped."""
    call, start, pages = numbers.randrange(6), AT + numbers.randrange(40) * PAGE, numbers.randint(
        1, 8)
    size = pages * PAGE
    places = range(start, start + size, PAGE)
    if call == 0:
        flags = PRIVATE | ANON | FIXED | numbers.choice((0, MAP_POPULATE))
        assert sys_mmap(mm, None, start, size, R | W, flags, 0) == start
        written.update(dict.fromkeys(places, 0))
    elif call == 1:
        assert sys_munmap(mm, start, size) == 0
        for place in places:
            written.pop(place, None)
    elif call == 2:
        for place in set(places) & set(written):
            written[place] = numbers.randrange(1, 256)
            access_process_vm(mm, place + 8, bytes([written[place]]))
    elif call == 3:
        assert do_mprotect(mm, start, size, R) == do_mprotect(mm, start, size, R | W)
    elif call == 4:
        do_madvise(mm, start, size, MADV_DONTNEED)
        written.update(dict.fromkeys(set(places) & set(written), 0))
    else:
        vma = mm.tree.vma_lookup(start)
        size = min(size, vma.vm_end - start) if vma is not None else 0
        for source, target in ((start, ELSEWHERE), (ELSEWHERE, start)) if size else ():
            assert do_mremap(mm, source, size, size, 3, target) == target


@pytest.mark.parametrize("name", ["x86_64-5.10", "x86_64-6.1", "x86_64-6.12", "x86_64-7.3"])
def test_bytes_follow_their_pages(name: str) -> None:
    owner = machine(name)
    for seed in range(6):
        numbers, written = random.Random(seed), dict[int, int]()
        mm = new_mm(owner)
        mm.task_size = TASK_SIZE
        setup_mmap_base(mm, 8 << 20)
        for _ in range(60):
            step(mm, numbers, written)
            validate_mm(mm)
        for place, byte in written.items():
            assert access_process_vm(mm, place + 8, 1) == bytes([byte])
        exit_mmap(mm)
        assert mm.counters() == [0, 0, 0, 0]
        pgtable.pgd_free(mm)
        assert mm.pgtables_bytes == 0
