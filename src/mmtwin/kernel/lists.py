"""Doubly linked lists through `struct page`, as include/linux/list.h.

An entry is a number: a pfn, or the number of a list head (`mm.new_list_head()`), whose record lies
behind the last page's in the same array, so that adding and deleting need no case for the ends.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.ram import pfn_to_page

POISON = -1  # LIST_POISON: next and prev of an entry on no list


def list_add(mm, entry, head):
    """Puts an entry first."""
    first = mm.page[head].next
    mm.page[first].prev = entry
    mm.page[entry].next = first
    mm.page[entry].prev = head
    mm.page[head].next = entry


def list_add_tail(mm, entry, head):
    """Puts an entry last."""
    last = mm.page[head].prev
    mm.page[last].next = entry
    mm.page[entry].prev = last
    mm.page[entry].next = head
    mm.page[head].prev = entry


def list_del(mm, entry):
    """Takes an entry off its list."""
    page = pfn_to_page(mm, entry)
    mm.page[page.prev].next = page.next
    mm.page[page.next].prev = page.prev
    page.next = -1
    page.prev = -1


def list_entries(mm, head):
    """All entries, first to last, as a Python list."""
    entries = []
    entry = mm.view("page")["next"][head]
    following = mm.view("page")["next"]
    while entry != head:
        entries.append(int(entry))
        entry = following[entry]
    return entries
