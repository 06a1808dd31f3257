"""Bytes written over free objects: the twin answers as a kernel that faults, and goes on."""

import pytest

from mmtwin.kernel import slub
from mmtwin.machine import Machine

PROFILES = ["x86_64-5.10", "x86_64-6.1", "arm64-5.13", "x86_64-6.12", "x86_64-6.18"]


def corrupted(profile, **config):
    """A machine with a free object of kmalloc-64 whose each byte was written over."""
    k = Machine.boot(profile, memory="128M", **config)
    objects = [k.kmalloc(64) for _ in range(40)]
    for address in objects[::2]:
        k.kfree(address)
    size = k.ksize(objects[1])
    for address in objects[::2]:
        k.write(address, b"\x41" * size)
    return k


@pytest.mark.parametrize("hardened", [True, False])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_free_pointer_that_leads_out_of_ram_is_a_complaint(profile, hardened):
    k = corrupted(profile, SLAB_FREELIST_HARDENED=hardened)
    taken = [k.kmalloc(64) for _ in range(400)]
    assert "BAD_ADDRESS" in {complaint.name for complaint in k.complaints}
    assert 0 in taken
    assert all(k.virt_to_pfn(address) for address in taken if address)


@pytest.mark.parametrize("profile", PROFILES)
def test_in_bulk_none_is_given(profile):
    k = corrupted(profile)
    number = k.cache("kmalloc-128" if profile.startswith("arm64") else "kmalloc-64").number
    for _ in range(30):
        for address in slub.kmem_cache_alloc_bulk(k.mm, number, k._gfp["GFP_KERNEL"], 16):
            assert k.virt_to_pfn(address)
    assert "BAD_ADDRESS" in {complaint.name for complaint in k.complaints}


def test_sheaves_keep_their_pointers_elsewhere():
    k = corrupted("x86_64-7.3")
    assert all(k.kmalloc(64) for _ in range(400))
    assert not k.complaints
