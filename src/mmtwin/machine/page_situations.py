"""States of pages and of a CPU's page lists that lead __free_pages() down each of its ways."""

from mmtwin.kernel.constants import MIGRATE_HIGHATOMIC
from mmtwin.kernel.mmzone import set_pageblock_migratetype
from mmtwin.kernel.page_alloc_fallback import move_freepages_block, reserve_highatomic_pageblock
from mmtwin.machine.machine import Machine
from mmtwin.machine.views import Page

BLOCKS = ("highatomic", "isolate")


def fill_lists(machine: Machine, page: Page) -> None:
    """Frees single pages of a page's zone until the next one finds the CPU's lists full.

    Raises ValueError if the machine has no memory for that.
    """
    mm = machine.mm
    zone = int(mm.view("page")["zone"][page.pfn])
    number = zone * int(mm.nr_cpus) + machine.cpu
    lists = mm.view("pcp")[number : number + 1]
    taken: list[Page] = []
    while len(taken) <= int(lists["high"][0]) + int(lists["batch"][0]):
        one = machine.alloc_pages(0)
        if one is None or int(mm.view("page")["zone"][one.pfn]) != zone:
            raise ValueError("too little memory to fill the CPU's page lists")
        taken.append(one)
    while int(lists["count"][0]) + 1 < int(lists["high"][0]):
        machine.free_pages(taken.pop())


def change_block(machine: Machine, page: Page, kind: str) -> None:
    """Gives the pageblock of a page a type: `highatomic` as a high-order atomic request does
    (reserve_highatomic_pageblock()), `isolate` as who wants its pages free
    (set_migratetype_isolate()).

    Raises ValueError where the kernel would not.
    """
    mm = machine.mm
    zone = mm.view("zone")[int(mm.view("page")["zone"][page.pfn])]
    if kind == "highatomic":
        reserve_highatomic_pageblock(mm, page.pfn, 1)
        if int(mm.view("pageblock")[page.pfn >> mm.pageblock_order]) != MIGRATE_HIGHATOMIC:
            raise ValueError("a zone so small reserves no pageblock: more memory is needed")
        return
    if mm.migrate_isolate < 0:
        raise ValueError("this kernel isolates no pageblocks (CONFIG_MEMORY_ISOLATION)")
    zone["nr_isolate_pageblock"] += 1
    set_pageblock_migratetype(mm, page.pfn, mm.migrate_isolate)
    move_freepages_block(mm, int(mm.view("page")["zone"][page.pfn]), page.pfn, mm.migrate_isolate)


def lock_lists(machine: Machine) -> None:
    """The lock of the CPU's page lists is held, by whom the next call interrupts.

    Raises ValueError where the lists have none.
    """
    if not machine.mm.view("has")[0].buddy_after_pcp:
        raise ValueError("the CPU's page lists have no lock before 6.0: interrupts are off there")
    machine.mm.pcp_locked = 1
