"""What must hold of page tables, pages and counters of processes."""

from collections import Counter

import numpy as np

from mmtwin.kernel.constants import PG_tail
from mmtwin.kernel.filemap import cached_pages
from mmtwin.kernel.memory_defs import NR_MM_COUNTERS, PAGE_MAPPING_ANON
from mmtwin.kernel.mman import MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES
from mmtwin.kernel.paging import is_block, pte_pfn, pte_present, vm_normal_page
from mmtwin.kernel.rmap import rmap_walk
from mmtwin.kernel.rss_stat import exact_counters
from mmtwin.kernel.swap import lru_of

PMD = -1  # of a block's mappings by PMD


def validate(machine, spaces):
    """What is wrong with the pages of these mm_structs, which must be all there are; sentences.

    Entries against mapcounts, references, areas and rss_stat; page tables against pgtables_bytes
    and each other; every mapping found by rmap_walk().
    """
    problems = []
    mapped = Counter()  # pfn, or (head, PMD): entries that map it
    for mm in spaces:
        tables, counts = Counter(), [0] * NR_MM_COUNTERS
        for address, entry, level in leaves(mm, tables):
            problems += check_entry(mm, address, entry, level, mapped, counts)
        problems += check_counts(mm, tables, counts)
    problems += check_pages(machine, mapped)
    return problems


def leaves(mm, tables):
    """Every entry that maps something: (address, entry, level); `tables` counts tables by pfn."""
    p = mm.paging
    words = mm.machine.view("ram")
    todo = [(mm.pgd_slot, p.levels - 1, 0)]
    while todo:
        base, level, start = todo.pop()
        part = words[base : base + p.entries(level)]
        for index in np.flatnonzero(part).tolist():
            entry = int(part[index])
            address = start + (index << p.shift(level))
            if not pte_present(p, entry):
                continue
            if level == 0 or is_block(p, entry):
                yield address, entry, level
            else:
                tables[pte_pfn(p, entry)] += 1
                todo.append((pte_pfn(p, entry) << p.bits, level - 1, address))


def check_entry(mm, address, entry, level, mapped, counts):
    """One entry: it lies in an area, its page is counted."""
    p = mm.paging
    vma = mm.tree.find_vma(address)
    if vma is None or vma.vm_start > address:
        yield f"{address:#x} is mapped outside of all areas"
    pfn = pte_pfn(p, entry)
    if level and pfn == p.huge_zero_pfn:
        return
    pfn = vm_normal_page(p, entry)
    if pfn < 0:
        return
    mapped[(pfn, PMD) if level else pfn] += 1
    counts[counter_of(mm.machine, pfn)] += 1 << p.bits * level
    found = rmap_walk(mm.machine, pfn)
    if not any(at == address and area.vm_mm is mm for area, at, _slot in found):
        yield f"page {pfn:#x}: rmap does not find {address:#x}"


def counter_of(machine, pfn):
    """Which of rss_stat's numbers a mapped page belongs to."""
    pages = machine.view("page")
    head = int(pages["compound_head"][pfn]) if pages["flags"][pfn] & PG_tail else pfn
    if int(pages["freelist"][head]) & PAGE_MAPPING_ANON:
        return MM_ANONPAGES
    owner = machine.paging.mappings.get(int(pages["freelist"][head]))
    return MM_SHMEMPAGES if owner is not None and owner.shmem else MM_FILEPAGES


def check_counts(mm, tables, counts):
    """Of an mm: rss_stat with what its task has not told yet, pgtables_bytes."""
    p = mm.paging
    task = p.current
    for member in range(NR_MM_COUNTERS):
        late = task.counts()[member] if task is not None and task.mm is mm else 0
        have = exact_counters(mm)[member] + late
        if have != counts[member]:
            yield f"rss_stat[{member}] is {have}, mapped are {counts[member]}"
    twice = [pfn for pfn, count in tables.items() if count > 1]
    if twice:
        yield f"page table {twice[0]:#x} hangs in two places"


def check_pages(machine, mapped):
    """Pages: mapcount is the number of entries, references are those, the cache's and the LRU
    batches'.
    """
    pages = machine.view("page")
    references = Counter()
    for key, count in mapped.items():
        pfn = key[0] if isinstance(key, tuple) else key
        head = int(pages["compound_head"][pfn]) if pages["flags"][pfn] & PG_tail else pfn
        references[head] += count
        field, place = ("slabs", pfn + 1) if isinstance(key, tuple) else ("mapcount", pfn)
        if int(pages[field][place]) != count:
            yield f"page {pfn:#x}: {field} {int(pages[field][place])}, mapped {count} times"
    for owner in machine.paging.mappings.values():
        for _index, pfn in cached_pages(owner) if hasattr(owner, "i_pages") else ():
            references[pfn] += 1
    lru = lru_of(machine)
    waiting = Counter()  # in a batch: one may be unmapped already
    for cpu in range(machine.nr_cpus):
        waiting.update(lru.waiting(cpu))
    references += waiting
    for pfn, count in references.items():
        if int(pages["refcount"][pfn]) != count:
            yield f"page {pfn:#x}: refcount {int(pages['refcount'][pfn])}, held {count} times"
        anonymous = int(pages["freelist"][pfn]) & PAGE_MAPPING_ANON
        if anonymous and not waiting[pfn] and not mapped_any(mapped, pages, pfn):
            yield f"anonymous page {pfn:#x} is mapped by nobody"


def mapped_any(mapped, pages, pfn):
    """Whether an entry maps a page, or one of its block."""
    count = 1 << int(pages["order"][pfn])
    return (pfn, PMD) in mapped or any(pfn + place in mapped for place in range(count))
