"""Memory maps: every page is in one zone, reserved or free, and sizes are a real machine's."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtwin.machine.memory_map import (
    MIB,
    Memblock,
    free_ranges,
    make_map,
    node_ranges,
    parse_memory,
)
from mmtwin.versions.profiles import profile, profile_names


def test_sizes() -> None:
    assert parse_memory("256M") == parse_memory("256 MiB") == parse_memory(256 << 20)
    assert parse_memory("4g") == 4 << 30
    for bad in ("", "4X", "-1G", "1e9", "G"):
        with pytest.raises(ValueError, match="not a size"):
            parse_memory(bad)
    for bad_number in (0, 1 << 20, 1 << 50):
        with pytest.raises(ValueError, match="64 MiB to 16 TiB"):
            parse_memory(bad_number)


def test_an_x86_machine_is_that_of_the_recordings() -> None:
    made = make_map(profile("x86_64-6.1"), 256 * MIB, 1, 1)
    assert [(z.type, z.start, z.spanned, z.present) for z in made.zones] == [
        (0, 1, 4095, 3998), (1, 4096, 61408, 61408),
    ]
    dma = sum(min(end, 4096) - start for start, end in free_ranges(made) if start < 4096)
    assert dma == 3840


def test_an_arm64_machine_has_a_cma_area() -> None:
    made = make_map(profile("arm64-5.13"), 256 * MIB, 1, 1)
    assert [(z.type, z.start, z.spanned) for z in made.zones] == [(0, 262144, 65536)]
    ((start, end),) = made.cma
    assert end - start == 16384
    assert start % 512 == 0


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(profile_names()), st.integers(96, 9000), st.integers(1, 4))
def test_every_page_of_ram_is_in_one_zone_and_free_or_reserved(
    name: str, megabytes: int, nodes: int
) -> None:
    made = make_map(profile(name), megabytes * MIB, nodes, nodes)
    ram = sum(end - start for start, end in made.ram)
    assert sum(zone.present for zone in made.zones) == ram
    spans = sorted((zone.start, zone.start + zone.spanned) for zone in made.zones)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    parts = sorted(
        [*free_ranges(made), *made.cma, *((r.start, r.end) for r in made.reserved)]
    )
    assert all(a[1] <= b[0] for a, b in pairwise(parts))
    assert sum(end - start for start, end in parts) == ram


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=4),
    st.integers(1, 5),
)
def test_nodes_share_the_ram(gaps: list[tuple[int, int]], nodes: int) -> None:
    ram, place = [], 0
    for gap, length in gaps:
        ram.append((place + gap, place + gap + length))
        place += gap + length
    parts = list(node_ranges(ram, nodes, 4))
    assert sum(end - start for _, (start, end) in parts) == sum(b - a for a, b in ram)
    numbers = [node for node, _ in parts]
    assert numbers == sorted(numbers)
    assert max(numbers) < nodes


def test_memblock_takes_from_the_top() -> None:
    block = Memblock([(0, 100), (200, 260)], [])
    assert block.take(10, 1, 1 << 60, "a") == (250, 260)
    assert block.take(16, 16, 1 << 60, "b") == (224, 240)
    assert block.take(50, 1, 1 << 60, "c") == (50, 100)
    assert block.take(10, 1, 230, "d") == (214, 224)
    with pytest.raises(ValueError, match="not enough memory for the kernel: e"):
        block.take(100, 1, 1 << 60, "e")
