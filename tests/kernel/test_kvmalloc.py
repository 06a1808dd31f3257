"""kvmalloc: when it is kmalloc, when vmalloc, and when nothing."""

import pytest

from mmtwin.machine import Machine


def fragmented(profile: str) -> Machine:
    """A machine without blocks of more than two pages."""
    k = Machine.boot(profile, memory="64M")
    held = []
    while page := k.alloc_pages(0, "GFP_KERNEL|__GFP_NOWARN|__GFP_MEMALLOC"):
        held.append(page.pfn)
    for pfn in held[: 4 * len(held) // 5]:
        if pfn % 4 < 2:
            k.free_pages(pfn)
    return k


def test_small_and_fitting_requests_are_kmallocs() -> None:
    k = Machine.boot("x86_64-6.12", memory="128M")
    for size in (1, 4096, 8192, 1 << 20):
        assert not k.is_vmalloc_addr(k.kvmalloc(size))


@pytest.mark.parametrize("profile", ["x86_64-5.10", "arm64-5.13", "x86_64-6.1", "x86_64-6.12",
                                     "x86_64-7.3"])
def test_what_has_no_block_is_a_vmalloc(profile: str) -> None:
    k = fragmented(profile)
    address = k.kvmalloc(100_000)
    assert k.is_vmalloc_addr(address)
    assert k.complaints == []  # the kmalloc that failed said nothing
    k.write(address + 99_995, b"bytes")
    assert k.read(address + 99_995, 5) == b"bytes"
    k.kvfree(address)
    assert k.mm.vmalloc.nr_pages == 0
    assert k.validate() == []
    zeroed = k.kvzalloc(50_000)
    assert k.read(zeroed, 50_000) == bytes(50_000)


def test_never_vmalloc_for_a_page_or_less() -> None:
    k = Machine.boot("x86_64-6.12", memory="64M")
    while k.kmalloc(4096, "GFP_KERNEL|__GFP_NOWARN"):
        pass
    assert k.kvmalloc(4096) == 0
    assert k.mm.vmalloc is None


@pytest.mark.parametrize(
    ("profile", "gfp", "expected"),
    [
        # anything less than GFP_KERNEL is a plain kmalloc before 5.18
        ("x86_64-5.10", "GFP_NOFS", False),
        ("x86_64-6.1", "GFP_NOFS", True),
        # requests that must not wait get no vmalloc until 6.19
        ("x86_64-5.10", "GFP_ATOMIC", False),
        ("x86_64-6.1", "GFP_NOWAIT", False),
        ("x86_64-6.12", "GFP_ATOMIC", False),
        ("x86_64-7.3", "GFP_NOWAIT", True),
    ],
)
def test_flags_that_forbid_it(profile: str, gfp: str, expected: bool) -> None:
    k = fragmented(profile)
    assert k.is_vmalloc_addr(k.kvmalloc(100_000, f"{gfp}|__GFP_NOWARN")) == expected


def test_sizes_that_no_int_holds() -> None:
    k = Machine.boot("x86_64-6.12", memory="128M")
    assert k.kvmalloc(1 << 31) == 0
    assert k.complaints[0].name == "KVMALLOC"
    assert k.kvmalloc(1 << 31, "GFP_KERNEL|__GFP_NOWARN") == 0
    assert k.kvmalloc((1 << 31) - 1) == 0
    assert [c.name for c in k.complaints] == ["KVMALLOC", "VMALLOC"]
    with pytest.raises(ValueError, match="unsigned"):
        k.kvmalloc(-1)


def test_kvfree_of_either() -> None:
    k = Machine.boot("arm64-5.13", memory="128M")
    k.kvfree(k.kvmalloc(100))
    k.kvfree(k.vmalloc(100))
    k.kvfree(0)
    assert k.validate() == []
