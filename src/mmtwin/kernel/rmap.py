"""Reverse mapping: from a page to the page table entries that map it (mm/rmap.c).

page->mapping is a number: of a file's page the number its File got (`File.mapping`), of an
anonymous page the address of its anon_vma with bit 0 set. page->index of a page that is no tail is
its offset in that mapping, in pages. An anon_vma keeps the areas that may map its pages as chains.
"""

import cython

from mmtwin.kernel.mman import ENOMEM
from mmtwin.kernel.slub import kmem_cache_alloc_node, kmem_cache_free
from mmtwin.kernel.vmalloc_defs import GFP_KERNEL

if not cython.compiled:
    from mmtwin.kernel.constants import (
        PG_anon_exclusive,
        PG_mlocked,
        PG_swapbacked,
        PG_uptodate,
    )
    from mmtwin.kernel.memory_defs import PAGE_MAPPING_ANON
    from mmtwin.kernel.mman import MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, VM_LOCKED
    from mmtwin.kernel.paging import is_block, pte_pfn, pte_present
    from mmtwin.kernel.pgtable import entry_slot
    from mmtwin.kernel.ram import pfn_to_page
    from mmtwin.kernel.swap import compound_head, lru_of

# What areas that share an anon_vma may differ in: VM_ACCESS_FLAGS, VM_SOFTDIRTY.
VM_MAY_DIFFER = 7 | 0x8000000


class anon_vma:
    """Where the anonymous pages of an area, and of its copies in children, may be mapped."""

    def __init__(self, address):
        self.address = address
        self.root = self
        self.parent = self
        self.refcount = 1
        self.num_children = self.num_active_vmas = 0
        self.chains = []


class anon_vma_chain:
    """That an area may map pages of an anon_vma."""

    def __init__(self, vma, chain, address):
        self.vma = vma
        self.anon_vma = chain
        self.address = address


# ---- anon_vmas


def slab_object(machine, name):
    """An object of a cache by name; where the machine has no such cache, a number of its own that
    is no address of RAM.
    """
    if name in machine.cache_names:
        cache = machine.cache_names.index(name)
        return kmem_cache_alloc_node(machine, cache, GFP_KERNEL, -1)
    machine.paging.next_mapping += 0x10
    return machine.paging.next_mapping


def slab_free(machine, name, address):
    """Gives such an object back."""
    if name in machine.cache_names:
        kmem_cache_free(machine, machine.cache_names.index(name), address)


def chain_link(vma, chain, address):
    """anon_vma_chain_link()."""
    link = anon_vma_chain(vma, chain, address)
    vma.anon_vma_chain.append(link)
    chain.chains.append(link)


def anon_vma_compatible(one, other):
    """anon_vma_compatible(): adjacent areas alike but for what mprotect() may change."""
    different = one.vm_flags ^ other.vm_flags
    return (
        one.vm_end == other.vm_start
        and one.vm_file is other.vm_file
        and not different & ~VM_MAY_DIFFER
        and other.vm_pgoff == one.vm_pgoff + (
            other.vm_start - one.vm_start >> one.vm_mm.machine.page_shift
        )
    )


def reusable_anon_vma(old, one, other):
    """reusable_anon_vma(): that of a neighbour which no fork has copied."""
    if anon_vma_compatible(one, other):
        chain = old.anon_vma
        if chain is not None and len(old.anon_vma_chain) == 1:
            return chain
    return None


def find_mergeable_anon_vma(vma):
    """find_mergeable_anon_vma(): of the next area, else of the one before; or None."""
    following, before = vma.vm_mm.tree.next(vma), vma.vm_mm.tree.prev(vma)
    if following is not None:
        chain = reusable_anon_vma(following, vma, following)
        if chain is not None:
            return chain
    if before is not None:
        return reusable_anon_vma(before, before, vma)
    return None


def new_anon_vma(machine):
    """anon_vma_alloc(); None without memory."""
    address = slab_object(machine, "anon_vma")
    if not address:
        return None
    chain = anon_vma(address)
    machine.paging.mappings[address | PAGE_MAPPING_ANON] = chain
    return chain


def put_anon_vma(machine, chain):
    """put_anon_vma(): the last reference frees it, and its reference to the root."""
    chain.refcount -= 1
    if chain.refcount:
        return
    root = chain.root
    del machine.paging.mappings[chain.address | PAGE_MAPPING_ANON]
    slab_free(machine, "anon_vma", chain.address)
    if root is not chain:
        put_anon_vma(machine, root)


def anon_vma_prepare(vma):
    """__anon_vma_prepare(): the area gets an anon_vma, a neighbour's if it may; 0 or -ENOMEM."""
    if vma.anon_vma is not None:
        return 0
    machine = vma.vm_mm.machine
    link = slab_object(machine, "anon_vma_chain")
    if not link:
        return -ENOMEM
    chain = find_mergeable_anon_vma(vma)
    if chain is None:
        chain = new_anon_vma(machine)
        if chain is None:
            slab_free(machine, "anon_vma_chain", link)
            return -ENOMEM
        chain.num_children += 1  # its own parent
    vma.anon_vma = chain
    chain_link(vma, chain, link)
    chain.num_active_vmas += 1
    return 0


def anon_vma_clone(target, source):
    """anon_vma_clone(): `target` may map all that `source` may; 0 or -ENOMEM.

    A child that has none yet reuses an anon_vma that no area has as its own any more.
    """
    machine = source.vm_mm.machine
    for link in source.anon_vma_chain:
        address = slab_object(machine, "anon_vma_chain")
        if not address:
            unlink_anon_vmas(target)
            return -ENOMEM
        chain = link.anon_vma
        chain_link(target, chain, address)
        if (
            target.anon_vma is None
            and source.anon_vma is not None
            and chain.num_children < 2
            and chain.num_active_vmas == 0
        ):
            target.anon_vma = chain
    if target.anon_vma is not None:
        target.anon_vma.num_active_vmas += 1
    return 0


def anon_vma_fork(vma, parent):
    """anon_vma_fork(): a child's area: its pages are its parent's or its own; 0 or -ENOMEM."""
    if parent.anon_vma is None:
        return 0
    machine = vma.vm_mm.machine
    vma.anon_vma = None
    if anon_vma_clone(vma, parent):
        return -ENOMEM
    if vma.anon_vma is not None:
        return 0
    chain = new_anon_vma(machine)
    if chain is None:
        unlink_anon_vmas(vma)
        return -ENOMEM
    chain.num_active_vmas += 1
    address = slab_object(machine, "anon_vma_chain")
    if not address:
        put_anon_vma(machine, chain)
        unlink_anon_vmas(vma)
        return -ENOMEM
    chain.root = parent.anon_vma.root
    chain.parent = parent.anon_vma
    chain.root.refcount += 1
    vma.anon_vma = chain
    chain_link(vma, chain, address)
    chain.parent.num_children += 1
    return 0


def unlink_anon_vmas(vma):
    """unlink_anon_vmas(): the area leaves its anon_vmas, those left empty are freed."""
    machine = vma.vm_mm.machine
    empty = []
    for link in reversed(vma.anon_vma_chain):
        chain = link.anon_vma
        chain.chains.remove(link)
        if not chain.chains:
            chain.parent.num_children -= 1
            empty.append(link)
            continue
        slab_free(machine, "anon_vma_chain", link.address)
    if vma.anon_vma is not None:
        vma.anon_vma.num_active_vmas -= 1
        vma.anon_vma = None
    for link in empty:
        put_anon_vma(machine, link.anon_vma)
        slab_free(machine, "anon_vma_chain", link.address)
    vma.anon_vma_chain = []


# ---- pages


def linear_page_index(vma, address):
    """linear_page_index(): offset of an address in its area's backing, in pages."""
    return ((address - vma.vm_start) >> vma.vm_mm.machine.page_shift) + vma.vm_pgoff


def page_anon(machine, pfn):
    """PageAnon()."""
    return machine.page[compound_head(machine, pfn)].freelist & PAGE_MAPPING_ANON != 0


def mm_counter(machine, pfn):
    """mm_counter(): MM_* that a mapped page counts as."""
    pfn = compound_head(machine, pfn)
    if machine.page[pfn].freelist & PAGE_MAPPING_ANON:
        return MM_ANONPAGES
    if machine.page[pfn].flags & PG_swapbacked:
        return MM_SHMEMPAGES
    return MM_FILEPAGES


def page_add_new_anon_rmap(vma, pfn, address):
    """page_add_new_anon_rmap(): the first mapping of a fresh anonymous page, by an entry."""
    machine = vma.vm_mm.machine
    page = pfn_to_page(machine, pfn)
    chain = vma.anon_vma
    page.flags |= PG_swapbacked | PG_uptodate | PG_anon_exclusive
    if vma.vm_flags & VM_LOCKED:
        page.flags |= PG_mlocked
    page.mapcount = 1
    page.freelist = chain.address | PAGE_MAPPING_ANON
    page.compound_head = linear_page_index(vma, address)
    lru = lru_of(machine)
    lru.anon_mapped += 1


def page_add_file_rmap(machine, pfn):
    """page_add_file_rmap(): one more entry maps a page of the page cache."""
    page = pfn_to_page(machine, pfn)
    page.mapcount += 1
    if page.mapcount == 1:
        lru = lru_of(machine)
        lru.file_mapped += 1


def page_remove_rmap(machine, pfn):
    """page_remove_rmap(): one entry fewer maps the page."""
    page = pfn_to_page(machine, pfn)
    page.mapcount -= 1
    if page.mapcount == 0:
        lru = lru_of(machine)
        if page_anon(machine, pfn):
            lru.anon_mapped -= 1
        else:
            lru.file_mapped -= 1


def large_folio_exclusive(vma, head):
    """__wp_can_reuse_large_anon_folio(): whether all references to a block of pages, mapped more
    than once, are entries of one address space.
    """
    machine = vma.vm_mm.machine
    pages = machine.view("page")
    count = 1 << int(pages["order"][head])
    mapped = int(pages["mapcount"][head : head + count].sum()) + int(pages["slabs"][head + 1])
    if mapped <= 1 or mapped != int(pages["refcount"][head]):
        return False
    places = [place for pfn in range(head, head + count) for place in rmap_walk(machine, pfn)]
    return all(area.vm_mm is vma.vm_mm for area, _address, _slot in places)


def areas_of(machine, pfn):
    """The areas that may map a page, with the address each has it at: [(vma, address)].

    rmap_walk_anon(), rmap_walk_file().
    """
    head = compound_head(machine, pfn)
    page = machine.view("page")[head]
    mapping, index = int(page["freelist"]), int(page["compound_head"]) + pfn - head
    owner = machine.paging.mappings.get(mapping)
    if owner is None:
        return []
    if mapping & PAGE_MAPPING_ANON:
        areas = [link.vma for link in owner.chains]
    else:
        areas = list(owner.i_mmap)
    found = []
    for vma in areas:
        address = vma.vm_start + ((index - vma.vm_pgoff) << machine.page_shift)
        if vma.vm_start <= address < vma.vm_end:
            found.append((vma, address))
    return found


def rmap_walk(machine, pfn):
    """Which page table entries map a page: [(vma, address, slot)], in the order of its anon_vma's
    or file's areas; the slot of a PMD where that maps it.
    """
    found = []
    for vma, address in areas_of(machine, pfn):
        mm = vma.vm_mm
        for level in (0, 1):
            slot = entry_slot(mm, address, level)
            if slot < 0:
                continue
            entry = int(machine.view("ram")[slot])
            if level and not is_block(mm.paging, entry):
                continue
            first = pte_pfn(mm.paging, entry)
            span = 1 if level == 0 else 1 << mm.paging.bits
            if pte_present(mm.paging, entry) and first <= pfn < first + span:
                found.append((vma, address, slot))
                break
    return found
