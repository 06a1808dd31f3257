"""KASAN on stacks and in vmalloc space, and beside the other checkers."""

import random

import pytest
from kasan_machine import NAMES, boot, kind_of, release_of, report_of, uaf

from mmtwin import Machine
from mmtwin.kernel.kasan import FRAME_MAGIC
from mmtwin.machine.complaints import Complaint


@pytest.fixture(scope="module", params=NAMES)
def k(request: pytest.FixtureRequest) -> Machine:
    return boot(request.param)


def test_stack_frames_have_red_zones(k: Machine) -> None:
    assert k.kasan is not None
    page = k.alloc_pages(2)
    assert page is not None
    variables = [("i", 4), ("buffer", 100)]
    places = k.kasan.poison_frame(page.address + 1024, "f", variables)
    k.write(places["i"], bytes(4))
    k.write(places["buffer"], bytes(100))
    assert k.read(places["i"], 4) == bytes(4)
    with k.frame("f"):
        report = report_of(k.write, places["buffer"] + 100, b"x")
        assert kind_of(report) == "stack-out-of-bounds"
        report_of(k.write, places["buffer"] - 1, b"x")
        report_of(k.write, places["i"] + 4, b"x")
    assert "frame has 2 objects:\n [32, 36) 'i'\n [48, 148) 'buffer'" in report
    magic = k.kasan.shadow.read(page.address + 1024, 8)
    assert int.from_bytes(magic, "little") == FRAME_MAGIC
    k.kasan.unpoison_frame(page.address + 1024)
    k.write(page.address + 1024, bytes(256))
    k.free_pages(page)


def test_automatic_variables_of_a_task_have_red_zones(k: Machine) -> None:
    task = k.fork("worker", kernel=True)
    assert task is not None and task.stack is not None
    assert len(task.stack) >= 32768  # twice THREAD_SIZE
    with task.frame("outer", {"state": 8}), task.frame("copy", {"i": 4, "buffer": 64}) as frame:
        k.write(frame["buffer"], bytes(64))
        report = report_of(k.write, frame["buffer"] + 64, b"x")
        assert kind_of(report) == "stack-out-of-bounds"
        assert f"by task worker/{task.pid}" in report
        assert "\n copy\n outer\n" in report
        assert "frame has 2 objects:\n [32, 36) 'i'\n [48, 112) 'buffer'" in report
        if release_of(k) not in ("5.10", "5.13"):
            assert "and is located at offset 112 in frame:\n copy\n" in report
        place = frame["buffer"]
    k.write(place + 64, b"x")  # plain stack again
    k.exit(task)
    k.synchronize_rcu()
    assert k.kasan is not None and k.kasan.frames == {}
    assert k.validate() == []


def test_vmalloc_oob_and_uaf(k: Machine) -> None:
    assert k.profile is not None and k.kasan is not None
    if not k.profile.on("KASAN_VMALLOC"):
        assert release_of(k) == "5.10" and k.profile.arch == "arm64"
        return
    size = int(k.profile.page_size) // 2 - 8 - 5
    with k.frame("load_module"):
        address = k.vmalloc(size)
    k.write(address, bytes(size))
    for place in (address + size, address + size + 8, address + int(k.profile.page_size)):
        assert kind_of(report_of(k.write, place, b"x")) == "vmalloc-out-of-bounds"
    assert k.kasan.memory()["vmalloc_shadow"] > 0
    with k.frame("overrun"):
        report = report_of(k.write, address + size, b"x")
    if release_of(k) not in ("5.10", "5.13"):
        area = f"1-page vmalloc region starting at {address:#x} allocated at load_module"
        assert f"The buggy address belongs to a {area}" in report
        assert f"pfn:{k.mm.vmalloc.tables.translate(address):#x}\n" in report
    k.vfree(address)
    assert kind_of(report_of(k.read, address, 1)) == "vmalloc-out-of-bounds"


def test_the_shadow_of_vmalloc_comes_and_goes() -> None:
    for name in ("x86_64-5.10", "x86_64-6.12", "x86_64-7.3"):
        k = boot(name)
        assert k.kasan is not None
        page = 4096
        areas = [k.vmalloc(size * page) for size in (1, 200, 3, 9)]
        pages = k.kasan.memory()["vmalloc_shadow"] // page
        assert pages >= (1 + 200 + 3 + 9) // 8
        # the shadow pages are the machine's own
        for place, pfn in k.kasan.shadow.vmalloc_pages.items():
            assert k.page(pfn).refcount == 1 and place >> 56 == 0xFF
        mapped = k.vmap([k.alloc_pages(0) or 0 for _ in range(2)])
        k.write(mapped, bytes(2 * page))
        for address in areas:
            k.vfree(address)
        k.mm.vmalloc.purge(full=True)
        assert k.kasan.memory()["vmalloc_shadow"] // page < pages
        again = k.vmalloc(10 * page)
        k.write(again, bytes(10 * page))
        assert k.validate() == []
        assert k.complaints == []


@pytest.mark.parametrize("name", ["x86_64-5.10", "x86_64-6.1", "x86_64-6.12", "arm64-7.3"])
def test_with_the_other_checkers(name: str) -> None:
    options = {"kasan_multi_shot": "", "slub_debug": "FZPU"}
    k = Machine.boot(name, memory="128M", KASAN=True, DEBUG_KMEMLEAK=True, cmdline=options)
    before = len(k.complaints)
    rng, live = random.Random(3), []
    for _ in range(300):
        if live and rng.random() < 0.5:
            k.kfree(live.pop(rng.randrange(len(live))))
        else:
            size = rng.choice((3, 8, 24, 100, 700, 5000, 40000))
            live.append(k.kmalloc(size))
            k.write(live[-1], bytes(size))
    k.kmem_cache_shrink("kmalloc-64")
    assert k.complaints[before:] == [] and k.validate() == []
    address = k.kmalloc(100)
    assert kind_of(report_of(k.write, address + 100, b"x")) == "slab-out-of-bounds"
    k.kfree(live[0])
    assert kind_of(report_of(k.read, live[0], 1)) in (uaf(k), "use-after-free")


@pytest.mark.parametrize("name", ["x86_64-5.10", "x86_64-6.1", "x86_64-6.12", "arm64-7.3"])
@pytest.mark.parametrize("size", [100, 40000])
def test_kmemleak_looks_at_a_free_before_kasan(name: str, size: int) -> None:
    """slab_free_hook() and free_large_kmalloc(): an invalid free is two reports, in that order."""
    options = {"kasan_multi_shot": ""}
    k = Machine.boot(name, memory="128M", KASAN=True, DEBUG_KMEMLEAK=True, cmdline=options)
    address = k.kmalloc(size)
    before = len(k.complaints)
    with pytest.raises(Complaint):
        k.kfree(address + 8)
    first, second = (each.report for each in k.complaints[before:])
    assert first.startswith(f"kmemleak: Found object by alias at 0x{address + 8:x}")
    assert kind_of(second).endswith("invalid-free")
    if size == 40000:  # a large block is freed all the same
        assert k.page(k.virt_to_pfn(address)).use == "free"
        return
    k.kfree(address)
    assert len(k.complaints) == before + 2


def test_the_areas_of_arm64_stay_clear_of_the_shadow() -> None:
    for name in ("arm64-5.10", "arm64-6.1"):
        k = boot(name, memory="128M")
        assert k.kasan is not None
        shadow = k.kasan.shadow
        first, last = shadow.address(shadow.kernel_start), shadow.address((1 << 64) - 1)
        assert first < last < k.mm.modules_start < k.mm.vmalloc_start
        assert not first <= k.kmalloc(8) <= last
