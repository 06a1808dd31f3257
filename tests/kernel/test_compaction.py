"""Compaction's free scanner: which free blocks it takes, and which of their pages comes first."""

import pytest

from mmtwin.kernel.compaction import CompactControl
from mmtwin.kernel.page_alloc_state import add_free_block, take_free_page
from mmtwin.machine import Machine

BLOCK = 512  # pages of a pageblock


class Scanned:
    """A machine of which only some blocks are free, in the last pageblocks of its first zone, all
    movable, and one in an unmovable pageblock, that no watermark stops the scanner.
    """

    def __init__(self, free, version="5.10"):
        self.mm = Machine.boot(f"x86_64-{version}", memory="64M", seed=3).mm
        self.zone = self.mm.view("zone")[0]
        self.end = int(self.zone["start_pfn"] + self.zone["spanned_pages"]) // BLOCK * BLOCK
        for pfn in range(0, self.end, BLOCK):
            take_free_page(self.mm, pfn, 9)
        self.mm.view("pageblock")[:] = 1
        self.mm.view("pageblock")[1] = 0
        add_free_block(self.mm, BLOCK, 8, 0, True)
        self.zone["watermark"][:] = 0
        self.zone["lowmem_reserve"][:] = 0
        for place, order in free:
            add_free_block(self.mm, self.end + place, order, 1, True)
        self.cc = CompactControl(self.mm)
        self.cc.begin(0)

    def taken(self, number, batch):
        """The places of the next pages to move to, where so many pages migrate together."""
        self.cc.nr_migratepages = batch
        pages = [self.cc.compaction_alloc() for _ in range(number)]
        return [page - self.end if page >= 0 else None for page in pages]

    def free(self):
        return int(self.zone["nr_free_pages"]) - 256


def test_the_last_page_of_the_last_block_taken_comes_first():
    scanned = Scanned([(-512, 0), (-500, 2), (-480, 3), (-256, 4)])
    assert scanned.taken(7, 6) == [-480 + 7 - n for n in range(7)]
    assert scanned.free() == 16
    assert scanned.cc.nr_freepages == 6
    assert scanned.taken(7, 6) == [-480, -497, -498, -499, -500, -512, -256 + 15]


def test_the_scanner_goes_on_where_it_stopped():
    scanned = Scanned([(-512, 1), (-300, 1), (-1024, 1)])
    assert scanned.taken(6, 1) == [-511, -512, -299, -300, -1023, -1024]
    assert scanned.taken(1, 1) == [None]


def test_a_pageblock_without_free_pages_makes_the_steps_larger():
    # the third from the end is looked at in steps of 4, what is left of it again page by page, the
    # fourth then in steps of 2
    scanned = Scanned([(-1536 + 6, 0), (-1536 + 8, 0), (-2048 + 3, 0), (-2048 + 6, 0)])
    assert scanned.taken(2, 1) == [-1528, -2042]
    assert scanned.free() == 2


def test_pageblocks_free_as_a_whole_and_unmovable_ones_are_left():
    scanned = Scanned([(-512, 9), (-1024, 2), (-1536, 2)])
    scanned.mm.view("pageblock")[(scanned.end - 1024) // BLOCK] = 0
    assert scanned.taken(5, 4) == [-1533, -1534, -1535, -1536, None]


def test_a_zone_is_not_emptied_below_its_min_watermark():
    scanned = Scanned([(-512, 3), (-1024, 3)])
    scanned.zone["watermark"][0] = 256 + 7
    assert scanned.taken(9, 1)[7:] == [-512, None]


def test_the_scanners_meet():
    scanned = Scanned([(-512, 2), (-1024, 2)])
    scanned.cc.migrate_pfn = scanned.end - 1024
    assert scanned.taken(5, 1) == [-509, -510, -511, -512, None]


@pytest.mark.parametrize("place", [-512, -505])
def test_what_is_left_is_released(place):
    scanned = Scanned([(-512, 3)])
    scanned.cc.nr_migratepages = 1
    first = scanned.cc.compaction_alloc()
    assert first == scanned.end - 505
    assert scanned.cc.release(scanned.end + place, 0) == (place == -512)
    assert scanned.cc.nr_freepages == 7 - (place == -512)


def test_blocks_are_kept_by_order_and_split_when_they_are_needed():
    scanned = Scanned([(-512, 3), (-500, 0), (-490, 1), (-480, 0)], "6.12")
    # singles first, in the order of their places, then the pair, then the first of eight
    assert scanned.taken(5, 12) == [-500, -480, -490, -489, -512]
    assert scanned.cc.nr_freepages == 7
    # what is left of it: the page beside it, the pair and the four behind
    assert scanned.taken(7, 7) == [-511, -510, -509, -508, -507, -506, -505]
    assert scanned.cc.nr_freepages == scanned.cc.nr_blocks == 0


def test_fewer_are_isolated_where_some_have_moved():
    def isolated(version):
        scanned = Scanned([(-512, 1), (-500, 1), (-490, 1)], version)
        scanned.taken(2, 2)
        scanned.cc.compaction_alloc()
        return scanned.cc.nr_migratepages

    assert [isolated("5.10"), isolated("6.12")] == [2, -1]


def test_a_block_is_released_as_a_whole():
    scanned = Scanned([(-512, 3)], "6.12")
    assert scanned.taken(1, 1) == [-512]
    assert not scanned.cc.release(scanned.end - 508, 0)
    assert scanned.cc.release(scanned.end - 508, 2)
    assert [scanned.cc.nr_freepages, scanned.cc.nr_blocks] == [3, 2]
    left = [(scanned.cc.give_up() - scanned.end, scanned.cc.left) for _ in range(2)]
    assert left == [(-511, 0), (-510, 1)]
