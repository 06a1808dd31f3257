"""Areas by address: the walk to a free one, cutting it out, joining neighbours."""

import pytest

from mmtwin.kernel.vmap_area import Areas, FreeAreas, VmapArea

PAGE = 4096


def free_areas(*pages: tuple[int, int]) -> FreeAreas:
    areas = FreeAreas()
    for first, end in pages:
        areas.insert(VmapArea(first * PAGE, end * PAGE))
    return areas


def ranges(areas: Areas) -> list[tuple[int, int]]:
    return [(area.start // PAGE, area.end // PAGE) for area in areas]


def test_the_walk_enters_only_subtrees_with_a_range_as_long() -> None:
    areas = free_areas((20, 40), (8, 11))  # the first is the root
    assert areas.find_lowest_match(3 * PAGE, PAGE, 0, 3 * PAGE).start == 8 * PAGE
    # allowing for an alignment to a page, as 5.10 does: the root is met before the lower hole
    assert areas.find_lowest_match(3 * PAGE, PAGE, 0, 4 * PAGE - 1).start == 20 * PAGE


def test_the_walk_climbs_back_where_an_aligned_place_does_not_fit() -> None:
    areas = free_areas((16, 23), (1, 6), (32, 64), (9, 15))
    # aligned to eight pages: only (16, 23) and (32, 64) have room for seven
    assert areas.find_lowest_match(7 * PAGE, 8 * PAGE, 0, 7 * PAGE).start == 16 * PAGE
    assert areas.find_lowest_match(7 * PAGE, 8 * PAGE, 17 * PAGE, 7 * PAGE).start == 32 * PAGE
    assert areas.find_lowest_match(40 * PAGE, 1, 0, 40 * PAGE) is None


@pytest.mark.parametrize(
    ("first", "pages", "left"),
    [(4, 6, []), (4, 2, [(6, 10)]), (8, 2, [(4, 8)]), (5, 2, [(4, 5), (7, 10)])],
)
def test_clip(first: int, pages: int, left: list[tuple[int, int]]) -> None:
    areas, freed = free_areas((4, 10)), []
    area = areas.head
    assert areas.clip(area, first * PAGE, pages * PAGE, VmapArea, freed.append)
    assert ranges(areas) == left
    assert freed == ([] if left else [area])


def test_clip_needs_a_structure_for_the_lower_part() -> None:
    areas = free_areas((4, 10))
    assert not areas.clip(areas.head, 5 * PAGE, PAGE, lambda start, end: None, print)
    assert ranges(areas) == [(4, 10)]


def test_neighbours_are_joined_and_the_lower_one_remains() -> None:
    areas, freed = free_areas((1, 3), (5, 7)), []
    low, high = areas
    between = VmapArea(3 * PAGE, 5 * PAGE)
    assert areas.merge_or_add(between, freed.append) is low
    assert ranges(areas) == [(1, 7)]
    assert freed == [between, high]
    apart = VmapArea(9 * PAGE, 10 * PAGE)
    assert areas.merge_or_add(apart, freed.append) is apart
    assert ranges(areas) == [(1, 7), (9, 10)]


def test_areas_that_overlap_are_refused() -> None:
    areas = free_areas((4, 10))
    with pytest.raises(ValueError, match="overlaps"):
        areas.insert(VmapArea(9 * PAGE, 12 * PAGE))
