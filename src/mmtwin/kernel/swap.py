"""The LRU lists, the batches in front of them, and what happens when a page's last reference goes
(mm/swap.c).

A new page waits in its CPU's batch (pagevec, later folio batch), which holds a reference to it,
until the batch is full or drained. Nothing is ever reclaimed.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        PG_active,
        PG_head,
        PG_lru,
        PG_mlocked,
        PG_referenced,
        PG_swapbacked,
        PG_tail,
        PG_unevictable,
    )
    from mmtwin.kernel.lists import list_add, list_del
    from mmtwin.kernel.memory_defs import (
        LRU_FREEING,
        LRU_INACTIVE_ANON,
        LRU_INACTIVE_FILE,
        LRU_UNEVICTABLE,
        NR_LRU_LISTS,
    )
    from mmtwin.kernel.page_alloc import free_pages, free_unref_page_batch
    from mmtwin.kernel.paging import paging_of
    from mmtwin.kernel.ram import pfn_to_page

    def compound_head(machine, pfn):
        """compound_head(): the first page of the compound page that a page belongs to."""
        page = machine.page[pfn]
        return page.compound_head if page.flags & PG_tail else pfn


class Lru:
    """LRU lists of a machine (one set for all its nodes), batches, and counts of user pages."""

    def __init__(self, machine):
        self.machine = machine
        if not cython.compiled:
            self.batch, self.count = [0] * 2048, [0] * 64
            self.head, self.size = [0] * NR_LRU_LISTS, [0] * NR_LRU_LISTS
            self.freeing = [0] * LRU_FREEING
        for number in range(NR_LRU_LISTS):
            self.head[number] = machine.new_list_head()
            self.size[number] = 0
        self.anon_mapped = self.file_mapped = self.file_pages = self.shmem_pages = 0

    def sizes(self):
        """Pages on each list: inactive and active anonymous, inactive and active file,
        unevictable.
        """
        return [self.size[number] for number in range(NR_LRU_LISTS)]

    def heads(self):
        """List heads, in the same order."""
        return [self.head[number] for number in range(NR_LRU_LISTS)]

    def waiting(self, cpu):
        """Pages in a CPU's batch, oldest first."""
        return [self.batch[cpu * 32 + place] for place in range(self.count[cpu])]

    def settle(self, pfn):
        """The last page of this CPU's batch goes to its list at once: it was there before."""
        cpu = self.machine.cpu & 63
        if self.count[cpu] and self.batch[cpu * 32 + self.count[cpu] - 1] == pfn:
            self.count[cpu] -= 1
            self.machine.page[pfn].refcount -= 1
            lru_add(self, pfn)


def lru_of(machine):
    """The machine's Lru, made when it is first asked for."""
    paging = paging_of(machine)
    if paging.lru is None:
        paging.lru = Lru(machine)
    return paging.lru


def compound_nr(machine, pfn):
    """compound_nr(): pages of a block, 1 unless it is compound."""
    pages = 1
    if machine.page[pfn].flags & PG_head:
        pages <<= machine.page[pfn].order
    return pages


def lru_list(flags):
    """folio_lru_list(): which list a page belongs on."""
    if flags & PG_unevictable:
        return LRU_UNEVICTABLE
    number = LRU_INACTIVE_ANON if flags & PG_swapbacked else LRU_INACTIVE_FILE
    return number + 1 if flags & PG_active else number


def lru_add(lru, pfn):
    """lru_add_fn(): a page goes from the batch to its list."""
    page = pfn_to_page(lru.machine, pfn)
    if page.flags & PG_mlocked:
        page.flags |= PG_unevictable
    page.flags |= PG_lru
    place = lru_list(page.flags)
    lru.size[place] += compound_nr(lru.machine, pfn)
    list_add(lru.machine, pfn, lru.head[place])


def lru_add_drain(machine):
    """lru_add_drain(): this CPU's batch goes to the lists; its references are given up, which may
    free pages.
    """
    lru = lru_of(machine)
    cpu = machine.cpu & 63
    base = cpu * 32
    for place in range(lru.count[cpu]):
        lru_add(lru, lru.batch[base + place])
    place = lru.count[cpu]
    lru.count[cpu] = 0
    if place:
        put_pages(machine, [lru.batch[base + number] for number in range(place)])


def lru_cache_add(machine, pfn):
    """lru_cache_add(), folio_add_lru(): a page into this CPU's batch, which takes a reference."""
    lru = lru_of(machine)
    cpu = machine.cpu & 63
    machine.page[pfn].refcount += 1
    lru.batch[cpu * 32 + lru.count[cpu]] = pfn
    lru.count[cpu] += 1
    if lru.count[cpu] >= machine.has.lru_batch or machine.page[pfn].flags & PG_head:
        lru_add_drain(machine)


def del_page_from_lru(lru, pfn):
    """del_page_from_lru_list()."""
    page = pfn_to_page(lru.machine, pfn)
    place = lru_list(page.flags)
    lru.size[place] -= compound_nr(lru.machine, pfn)
    list_del(lru.machine, pfn)
    page.flags &= ~(PG_lru | PG_active | PG_unevictable)


def forget_page(lru, pfn):
    """What a page that is about to be freed must not keep: its list, its mapping."""
    page = pfn_to_page(lru.machine, pfn)
    if page.flags & PG_lru:
        del_page_from_lru(lru, pfn)
    page.freelist = 0
    page.mapcount = 0
    if page.flags & PG_head:
        lru.machine.page[pfn + 1].slabs = 0


def get_page(machine, pfn):
    """get_page(): of a tail, on its head."""
    machine.page[compound_head(machine, pfn)].refcount += 1


def put_page(machine, pfn):
    """put_page(): one reference fewer; the last frees the page, or the whole compound page."""
    pfn = compound_head(machine, pfn)
    page = pfn_to_page(machine, pfn)
    page.refcount -= 1
    if page.refcount > 0:
        return
    lru = lru_of(machine)
    order = page.order if page.flags & PG_head else 0
    forget_page(lru, pfn)
    free_pages(machine, pfn, order)


def free_collected(lru, count, in_order):
    """free_unref_page_list() or free_unref_folios() of the pages in `lru.freeing`."""
    for place in range(count):
        if in_order:
            free_unref_page_batch(lru.machine, lru.freeing[place], 0)
        else:
            free_unref_page_batch(lru.machine, lru.freeing[count - 1 - place], 0)


def put_pages(machine, pfns):
    """release_pages(): a reference of each page fewer, those that lost their last freed together.

    `pfns`: a list; heads of compound pages. Before 6.9 the freed ones go backwards, as a list that
    was added to at its head; since 99fbb6bfc16f in folio batches, forwards.
    """
    lru = lru_of(machine)
    pages = 0
    batch = machine.has.lru_batch if machine.has.frees_in_order else LRU_FREEING
    for pfn in pfns:
        pfn = compound_head(machine, pfn)
        page = pfn_to_page(machine, pfn)
        page.refcount -= 1
        if page.refcount <= 0:
            if page.flags & PG_head:
                # __put_compound_page(): not in the list
                order = page.order
                forget_page(lru, pfn)
                free_pages(machine, pfn, order)
            else:
                forget_page(lru, pfn)
                lru.freeing[pages] = pfn
                pages += 1
        if pages >= batch:
            free_collected(lru, pages, machine.has.frees_in_order)
            pages = 0
    free_collected(lru, pages, machine.has.frees_in_order)


def mark_page_accessed(machine, pfn):
    """mark_page_accessed(): first it is referenced, then it becomes active."""
    page = pfn_to_page(machine, compound_head(machine, pfn))
    if not page.flags & PG_referenced:
        page.flags |= PG_referenced
    elif not page.flags & (PG_active | PG_unevictable) and page.flags & PG_lru:
        lru = lru_of(machine)
        pfn = compound_head(machine, pfn)
        del_page_from_lru(lru, pfn)
        page.flags = (page.flags | PG_active) & ~PG_referenced
        lru_add(lru, pfn)


def deactivate_page(machine, pfn):
    """deactivate_page(): a page on a list is not referenced any more, and inactive."""
    page = pfn_to_page(machine, pfn)
    active = page.flags & PG_active and not page.flags & PG_unevictable
    page.flags &= ~PG_referenced
    if active:
        lru = lru_of(machine)
        del_page_from_lru(lru, pfn)
        lru_add(lru, pfn)


def mark_page_lazyfree(machine, pfn):
    """mark_page_lazyfree(): an anonymous page to the inactive file list."""
    page = pfn_to_page(machine, pfn)
    if page.flags & PG_unevictable or not page.flags & PG_swapbacked:
        return
    lru_add_drain(machine)
    lru = lru_of(machine)
    if page.flags & PG_lru:
        del_page_from_lru(lru, pfn)
        page.flags &= ~(PG_active | PG_swapbacked)
        if not machine.has.lru_fault_referenced:
            # lru_gen_clear_refs() does nothing while the page is on no list
            page.flags &= ~PG_referenced
        lru_add(lru, pfn)
