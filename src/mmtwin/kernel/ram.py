"""Addresses and the bytes of RAM, for the uncompiled run (ram.pxd has the same as inline C)."""

from mmtwin.kernel.constants import PG_tail

MASK64 = (1 << 64) - 1


def pfn_to_page(mm, pfn):
    """The record of a page or of a list head."""
    return mm.page[pfn]


def zone_of(mm, pfn):
    """page_zone()"""
    return mm.zone[mm.page[pfn].zone]


def zone_at(mm, number):
    """The record of a zone."""
    return mm.zone[number]


def pcp_of(mm, zone, cpu):
    """The per-CPU pages of a zone on a CPU."""
    return mm.pcp[zone * mm.nr_cpus + cpu]


def cache_at(mm, cache):
    """The record of a slab cache."""
    return mm.cache[cache]


def cache_cpu_of(mm, cache, cpu):
    """The struct kmem_cache_cpu of a cache on a CPU."""
    return mm.cache_cpu[cache * mm.nr_cpus + cpu]


def cache_node_of(mm, cache, node):
    """The struct kmem_cache_node of a cache on a node."""
    return mm.cache_node[cache * mm.nr_nodes + node]


def page_address(mm, pfn):
    """page_to_virt()"""
    return (mm.page_offset + (pfn << mm.page_shift)) & MASK64


def virt_to_pfn(mm, address):
    """The pfn of a direct-map address."""
    return ((address - mm.page_offset) & MASK64) >> mm.page_shift


def virt_to_head_pfn(mm, address):
    """virt_to_head_page()"""
    pfn = virt_to_pfn(mm, address)
    page = mm.page[pfn]
    return page.compound_head if page.flags & PG_tail else pfn


def is_ram(mm, address):
    """Whether an address lies in the direct map of the machine's memory."""
    return ((address - mm.page_offset) & MASK64) >> mm.page_shift < mm.max_pfn


def load64(mm, address):
    """The 8 bytes at an aligned address."""
    return mm.ram[((address - mm.page_offset) & MASK64) >> 3]


def store64(mm, address, value):
    """Writes 8 bytes at an aligned address."""
    mm.ram[((address - mm.page_offset) & MASK64) >> 3] = value


def clear_pages(mm, pfn, pages):
    """Zeroes whole pages."""
    first = (pfn << mm.page_shift) >> 3
    mm.view("ram")[first : first + ((pages << mm.page_shift) >> 3)] = 0


def swab64(value):
    """The bytes of a 64-bit word, reversed."""
    return int.from_bytes(value.to_bytes(8, "little"), "big")
