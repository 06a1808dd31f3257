"""slub_debug=: what the checks find while a machine runs, and the words of their reports."""

import pytest

from mmtwin import Machine
from mmtwin.machine import Complaint
from mmtwin.machine.slub_debug import siphash_1u64

PROFILES = ["x86_64-5.10", "arm64-5.13", "x86_64-6.1", "x86_64-6.12", "x86_64-6.18", "x86_64-7.3"]


def boot(name: str = "x86_64-6.1", debug: str = "FZPU", **options: str) -> Machine:
    return Machine.boot(name, memory="64M", cmdline={"slub_debug": debug, **options})


def test_a_free_past_the_object_is_reported_and_refused() -> None:
    k = boot()
    with k.frame("ret_from_fork+0x1f/0x30"), k.frame("driver_probe+0x42/0x90"):
        p = k.kmalloc(64)
    k.sleep(0.1)
    k.write(p + 64, b"!")
    with pytest.raises(Complaint) as caught, k.frame("driver_remove+0x10/0x40"):
        k.kfree(p)
    report = caught.value.report.splitlines()
    assert caught.value.name == "OVERWRITTEN"
    assert caught.value.address == p
    offset = p & 0xFFF
    assert report[:5] == [
        "=" * 77,
        "BUG kmalloc-64 (Not tainted): Right Redzone overwritten",
        "-" * 77,
        "",
        f"0x{p + 64:016x}-0x{p + 64:016x} @offset={offset + 64}. First byte 0x21 instead of 0xcc",
    ]
    assert report[5:8] == [
        "Allocated in driver_probe+0x42/0x90 age=25 cpu=0 pid=0",
        " driver_probe+0x42/0x90",
        " ret_from_fork+0x1f/0x30",
    ]
    assert f"Object 0x{p:016x} @offset={offset} fp=0x0000000000000000" in report
    assert f"Redzone  {p + 64:016x}: 21 cc cc cc cc cc cc cc{' ' * 26}!......." in report
    assert report[-2:] == [
        f"FIX kmalloc-64: Restoring Right Redzone 0x{p + 64:016x}-0x{p + 64:016x}=0xcc",
        f"FIX kmalloc-64: Object at 0x{p:016x} not freed",
    ]
    # restored: the next free is a good one
    k.kfree(p)
    assert len(k.complaints) == 1
    assert k.slab_errors == 3


@pytest.mark.parametrize("name", PROFILES)
def test_a_write_after_free_is_found_when_the_object_is_taken_again(name: str) -> None:
    k = boot(name)
    p = k.kmalloc(128)
    q = k.kmalloc(128)
    k.kfree(p)
    k.write(p + 5, b"\0\0")
    r = k.kmalloc(128)
    assert r not in (0, p, q)
    (complaint,) = k.complaints
    words = "Object corrupt" if name in PROFILES[3:] else "Poison overwritten"
    assert f"BUG kmalloc-128 (Not tainted): {words}\n" in complaint.report
    assert "Poison overwritten" in complaint.report
    assert "FIX kmalloc-128: Marking all objects used\n" in complaint.report
    assert "Freed in start_kernel age=0 cpu=0 pid=0" in complaint.report
    assert k.validate() == []
    # q's slab is given up: from 6.12.4 on no object goes back to it
    if name in PROFILES[3:]:
        with pytest.raises(Complaint, match="Slab disabled since SLUB metadata"):
            k.kfree(q)


@pytest.mark.parametrize("name", PROFILES)
def test_double_free(name: str) -> None:
    k = boot(name)
    keep = k.kmalloc(256)
    p = k.kmalloc(256)
    k.kfree(p)
    with pytest.raises(Complaint, match=r"BUG kmalloc-256 .*: Object already free") as caught:
        k.kfree(p)
    assert caught.value.address == p
    if name in PROFILES[3:]:
        k.kfree(keep)
        return
    # slab_free_freelist_hook() cleared the free pointer first: the list's rest is lost
    with pytest.raises(Complaint, match=r"Wrong object count\. Counter is 1 but counted were"):
        k.kfree(keep)


@pytest.mark.parametrize("name", PROFILES)
def test_invalid_free_and_wrong_cache(name: str) -> None:
    k = boot(name)
    p = k.kmalloc(256)
    with pytest.raises(Complaint, match="Invalid object pointer 0x"):
        k.kfree(p + 8)
    with pytest.raises(Complaint, match=r"Wrong slab cache\. .* but object is from kmalloc-256"):
        k.kmem_cache_free("kmalloc-512", p)
    assert k.validate() == []


def test_names_and_signs_of_older_reports() -> None:
    k = boot("x86_64-5.10")
    p = k.kmalloc(64)
    k.write(p - 1, b"\0")
    with pytest.raises(Complaint) as caught:
        k.kfree(p)
    report = caught.value.report
    assert "BUG kmalloc-64 (Not tainted): Left Redzone overwritten" in report
    assert "\nINFO: Allocated in start_kernel age=0 cpu=0 pid=0\n\tstart_kernel\n" in report
    assert f"{p:016x}" not in report  # pointers are hashed
    assert "FIX kmalloc-64: Restoring 0x00000000" in report
    plain = boot("arm64-5.13", no_hash_pointers="")
    p = plain.kmalloc(128)
    plain.write(p + 128, b"\0")
    with pytest.raises(Complaint, match=f"Object 0x{p:016x} @offset="):
        plain.kfree(p)


def test_padding_of_object_and_slab() -> None:
    k = boot()
    cache = k.kmem_cache_create("odd", 700)
    p = k.kmem_cache_alloc(cache)
    k.write(p + cache.size - cache.red_left_pad - 1, b"\0")
    assert k.validate_slabs(cache) == 1
    page = k.page(k.virt_to_pfn(p)).head
    end = k.page_address(page) + (4096 << cache.oo_order)
    k.write(end - 2, b"\1")
    k.validate_slabs(cache)
    first, second = k.complaints
    assert "BUG odd (Not tainted): Object padding overwritten" in first.report
    assert f"Padding overwritten. 0x{end - 2:016x}-0x{end - 2:016x}" in second.report
    assert "FIX odd: Restoring slab padding" in second.report
    assert k.read(end - 2, 1) == b"\x5a"
    k.kmem_cache_free(cache, p)
    assert len(k.complaints) == 2


def test_a_cycle_in_a_free_list() -> None:
    for name, words in (("x86_64-6.1", "Wrong object count"), ("x86_64-7.3", "Freelist cycle")):
        k = boot(name, "FZ")
        cache = k.kmem_cache_create("ring", 64)
        p, q = k.kmem_cache_alloc(cache), k.kmem_cache_alloc(cache)
        k.kmem_cache_free(cache, p)
        k.kmem_cache_free(cache, q)
        pointer = k.read(p + cache.offset, 8)
        there = int.from_bytes(pointer, "little") ^ swapped(p + cache.offset) ^ cache.random
        assert there not in (p, q)
        value = q ^ swapped(p + cache.offset) ^ cache.random
        k.write(p + cache.offset, value.to_bytes(8, "little"))
        k.validate_slabs(cache)
        assert words in k.complaints[0].report


def swapped(value: int) -> int:
    return int.from_bytes(value.to_bytes(8, "little"), "big")


def test_per_cache_options() -> None:
    k = boot(debug="FZ,kmalloc-64,dentry;P,kmalloc-1*")
    flags = {name: k.cache(name).flags & 0x210D00 for name in (
        "kmalloc-64", "dentry", "kmalloc-16", "kmalloc-128", "kmalloc-32",
    )}
    assert flags == {"kmalloc-64": 0x500, "dentry": 0x500, "kmalloc-16": 0x800,
                     "kmalloc-128": 0x800, "kmalloc-32": 0}
    k = boot(debug="-")
    assert k.cache("dentry").flags & 0x210D00 == 0
    k = boot(debug="U,dentry;Z")
    assert k.cache("dentry").flags & 0x210D00 == 0x10000
    assert k.cache("kmalloc-64").flags & 0x210D00 == 0x400
    k = boot(debug="")
    assert k.cache("dentry").flags & 0x210D00 == 0x10D00
    k = boot(debug="FZPUO")
    assert k.cache("kmalloc-64").flags & 0x210D00 == 0x10D00
    assert k.cache("kmalloc-4k").flags & 0x210D00 == 0x100
    assert k.cache("kmalloc-4k").size == 4096


def test_debug_flags_forbid_merging() -> None:
    k = boot(debug="Z,first")
    first = k.kmem_cache_create("first", 40)
    assert k.kmem_cache_create("second", 40).number != first.number
    third = k.kmem_cache_create("third", 1000)
    assert k.kmem_cache_create("fourth", 1000).number == third.number


def test_attributes_of_sysfs() -> None:
    k = boot(debug="FZ,dentry")
    text = k.proc["sys_kernel_slab"].decode()
    for attribute, value in (("red_zone", 1), ("poison", 0), ("store_user", 0),
                             ("sanity_checks", 1), ("trace", 0)):
        assert f"dentry {attribute} {value} " in text


def test_trace() -> None:
    k = boot(debug="T,kmalloc-32")
    p = k.kmalloc(20)
    k.write(p, b"hello")
    k.kfree(p)
    taken, freed = k.slab_trace
    assert taken.startswith(f"TRACE kmalloc-32 alloc 0x{p:016x} inuse=1 fp=0x")
    assert f"Object {p:016x}: 68 65 6c 6c 6f" in freed
    assert k.complaints == []


def test_traces_of_who_has_what() -> None:
    k = boot("x86_64-6.12", "U")
    for _ in range(3):
        with k.frame("probe_a"):
            k.kmalloc(100)
        k.sleep(0.04)
    with k.frame("caller"), k.frame("probe_b"):
        p = k.kmalloc(128)
    with k.frame("probe_c"):
        k.kfree(p)
    with k.frame("caller"), k.frame("probe_b"):
        k.kmalloc(128)
    lines = k.alloc_traces("kmalloc-128").splitlines()
    assert lines == [
        "      3 probe_a waste=84/28 age=10/20/30 pid=0",
        "        probe_a",
        "",
        "      1 probe_b age=0 pid=0",
        "        probe_b",
        "        caller",
        "",
    ]
    assert "1 probe_c age=0 pid=0" in k.free_traces("kmalloc-128")
    assert "3 <not-available>" in k.free_traces("kmalloc-128")
    old = boot("x86_64-5.10", "U")
    assert old.alloc_traces("kmalloc-128") == "No data\n"
    with pytest.raises(ValueError, match="keeps no tracks"):
        boot(debug="F").alloc_traces("kmalloc-128")


def test_what_is_no_debug_cache_is_refused() -> None:
    k = Machine.boot("x86_64-6.1", memory="64M")
    with pytest.raises(ValueError, match="has no checks"):
        k.validate_slabs("kmalloc-64")


@pytest.mark.parametrize("name", ["x86_64-5.10", "x86_64-6.1", "x86_64-7.3"])
def test_a_free_pointer_that_nothing_checks_leads_nowhere(name: str) -> None:
    k = boot(name, "Z")
    cache = k.kmem_cache_create("unchecked", 64)
    p = k.kmem_cache_alloc(cache)
    k.kmem_cache_free(cache, p)
    k.write(p + cache.offset, b"\xff" * 8)
    taken = [k.kmem_cache_alloc(cache) for _ in range(3)]
    assert len(set(taken)) == 3
    assert 0 not in taken
    assert [complaint.name for complaint in k.complaints] == ["BAD_ADDRESS"]


def test_reports_name_the_task() -> None:
    k = boot()
    worker = k.fork("worker")
    assert worker is not None
    k.run(worker)
    with worker.frame("demo_probe"):
        p = k.kmalloc(64)
    k.write(p + 64, b"!")
    k.validate_slabs("kmalloc-64")
    report = k.complaints[0].report
    assert f"Allocated in demo_probe age=0 cpu=0 pid={worker.pid}" in report
    assert f"CPU: 0 PID: {worker.pid} Comm: worker Not tainted" in report


def test_the_hash_of_pointers_is_siphash() -> None:
    # the reference vector of SipHash-2-4 for eight bytes 00 .. 07 under the key 00 .. 0f
    key = 0x0706050403020100, 0x0F0E0D0C0B0A0908
    assert siphash_1u64(0x0706050403020100, key) == 0x93F5F5799A932462
