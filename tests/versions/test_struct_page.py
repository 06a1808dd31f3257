"""struct page and its like as declared, against the type information of real kernels."""

import json
from pathlib import Path
from typing import Any

import pytest

from mmtwin.explain.structures import view_of, views_of
from mmtwin.versions.c_layout import Compiler, Member, Structure, select
from mmtwin.versions.profiles import debian_config
from mmtwin.versions.releases import RELEASES
from mmtwin.versions.struct_page import DECLARATIONS, structure

# name, offset and size in bits of every member, from /sys/kernel/btf/vmlinux of Debian's kernels
KERNELS = json.loads((Path(__file__).parent / "fixtures/struct_page_btf.json").read_text())


def flat(members: tuple[Member, ...]) -> list[list[Any]]:
    found = []
    for one in members:
        found += [[one.name, one.offset, one.bits]] if one.name else flat(one.members)
    return found


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel["kernel"])
@pytest.mark.parametrize("name", DECLARATIONS)
def test_layout_is_the_kernels(kernel: dict[str, Any], name: str) -> None:
    if name not in kernel["structures"]:
        with pytest.raises(ValueError, match=f"no struct {name}"):
            structure(name, kernel["version"], 8, kernel["config"])
        return
    real = kernel["structures"][name]
    mine = structure(name, kernel["version"], 8, kernel["config"])
    assert mine.size == real["size"]
    assert sorted(flat(mine.members)) == real["members"]


def offsets(found: Structure) -> dict[str, int]:
    return {name: offset // 8 for name, (offset, _) in found.flat().items()}


def test_views_of_the_decks_kernel() -> None:
    page = structure("page", "5.13", 8, debian_config("5.13", "arm64", 4096))
    assert views_of(page) == ["cache", "pool", "slab", "tail", "tail2", "table", "device"]
    tail = offsets(view_of(page, "tail"))
    assert (tail["compound_head"], tail["compound_order"], tail["compound_nr"]) == (8, 17, 24)
    table = offsets(view_of(page, "table"))
    assert (table["pmd_huge_pte"], table["pt_mm"], table["ptl"]) == (16, 32, 40)
    assert offsets(view_of(page, "buddy"))["private"] == 40
    with pytest.raises(ValueError, match="no view 'folio'"):
        view_of(page, "folio")


def test_thirty_two_bits_without_cgroups() -> None:
    page = structure("page", "5.10", 4, {})
    assert page.size == 32
    assert offsets(page)["_refcount"] == 28


def test_without_cgroups_the_alignment_fills_the_gap() -> None:
    assert structure("page", "6.1", 8, {}).size == 64
    assert structure("page", "6.1", 8, {"CONFIG_HAVE_ALIGNED_STRUCT_PAGE": "n"}).size == 56


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_has_64_bytes_as_debian_builds_it(release: str) -> None:
    for arch in ("x86_64", "arm64"):
        assert structure("page", release, 8, debian_config(release, arch, 4096)).size == 64


@pytest.mark.parametrize(
    ("release", "name"), [("5.10", "page"), ("6.1", "page"), ("6.12", "ptdesc")]
)
def test_large_spinlocks_are_allocated_apart(release: str, name: str) -> None:
    for rt, bits in (("n", 32), ("y", 64)):
        config = debian_config(release, "x86_64", 4096) | {"CONFIG_PREEMPT_RT": rt}
        found = structure(name, release, 8, config)
        assert found.flat()["ptl"] == (320, bits)
        assert found.size == 64


def test_bit_fields_and_alignment_as_a_compiler_places_them() -> None:
    text = "char a\nstruct {\nint b:3\nint c:30\n}\nunsigned long d[2]\nchar e | no"
    lines = select(text, lambda condition: condition != "no")
    found = Compiler(8).structure("x", "struct", lines)
    assert flat(found.members) == [["a", 0, 8], ["b", 32, 3], ["c", 64, 30], ["d", 128, 128]]
    assert (found.size, found.align) == (32, 8)
