"""kmemleak through a Machine: switched on by configuration and command line, driven by hand."""

import pytest

from mmtwin import Machine
from mmtwin.machine import Complaint
from mmtwin.machine.boot import boot_mm
from mmtwin.versions.profiles import profile, profile_names


def leaky(name: str = "x86_64-6.1", **config: bool) -> Machine:
    return Machine.boot(name, memory="256M", DEBUG_KMEMLEAK=True, **config)


def put(k: Machine, place: int, address: int) -> None:
    k.write(place, address.to_bytes(8, "little"))


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_finds_a_leak_and_says_who(name: str) -> None:
    k = leaky(name)
    head = k.global_variable("head")
    others = [k.kzalloc(200) for _ in range(100)]
    with k.frame("do_init"), k.frame("probe"):
        objects = [k.kzalloc(200) for _ in range(3)]
    put(k, head, objects[0])
    put(k, objects[0], objects[1])
    put(k, objects[1], objects[2])
    for each in others:  # where there are sheaves, they take the places of the three in them
        k.kfree(each)
    k.sleep(10)
    assert k.kmemleak.scan() == k.kmemleak.scan() == 0
    put(k, objects[0], 0)
    assert k.kmemleak.scan() + k.kmemleak.scan() == 2
    report = k.kmemleak.report()
    for address in objects[1:]:
        assert f"unreferenced object 0x{address:x} (size 256):" in report
    lines = report.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("  backtrace"))
    assert lines[first + 1].endswith("probe")
    assert lines[first + 2].endswith("do_init")
    assert k.validate() == []
    assert k.complaints == []


def test_it_is_on_where_configuration_and_command_line_say_so() -> None:
    with pytest.raises(ValueError, match="DEBUG_KMEMLEAK"):
        assert Machine.boot("x86_64-6.1", memory="128M").kmemleak
    k = leaky()
    assert k.kmemleak.enabled
    assert k.kmemleak.log[-1].startswith("kmemleak: Kernel memory leak detector initialized")
    off = Machine.boot("x86_64-6.1", memory="128M", DEBUG_KMEMLEAK=True,
                       cmdline={"kmemleak": "off"})
    assert not off.kmemleak.enabled
    assert off.mm.checkers == 0
    assert off.kmemleak.write("scan") == -1
    assert not leaky(DEBUG_KMEMLEAK_DEFAULT_OFF=True).kmemleak.enabled
    on = Machine.boot("x86_64-6.1", memory="128M", DEBUG_KMEMLEAK=True,
                      DEBUG_KMEMLEAK_DEFAULT_OFF=True, cmdline={"kmemleak": "on"})
    assert on.kmemleak.enabled
    with pytest.raises(ValueError, match="contents"):
        facts = profile("x86_64-6.1").with_config(DEBUG_KMEMLEAK=True)
        boot_mm(facts, "128M", contents=False)


def test_the_thread_scans_while_time_passes() -> None:
    k = leaky()
    start = k.jiffies
    assert start == 2**32 - 300 * 250
    k.kzalloc(100)
    k.sleep(59)
    assert k.kmemleak.report() == ""
    k.sleep(1.5)
    assert k.jiffies == start + 60.5 * 250
    assert "(age 60.500s)" in k.kmemleak.report()
    quiet = leaky(DEBUG_KMEMLEAK_AUTO_SCAN=False)
    quiet.kzalloc(100)
    quiet.sleep(3600)
    assert quiet.kmemleak.report() == ""
    with pytest.raises(ValueError, match="seconds"):
        k.sleep(-1)


def test_a_verbose_kernel_prints_each_leak_into_its_log() -> None:
    k = leaky(DEBUG_KMEMLEAK_VERBOSE=True)
    address = k.kzalloc(32)
    k.sleep(10)
    k.kmemleak.scan()
    assert f"kmemleak: unreferenced object 0x{address:x} (size 32):" in k.kmemleak.log


@pytest.mark.parametrize("name", ["x86_64-5.10", "x86_64-6.1", "arm64-6.12", "x86_64-6.18"])
def test_vmalloc_memory_is_tracked_and_followed(name: str) -> None:
    k = leaky(name, VMAP_STACK=False)
    place, other = k.global_variable("area"), k.global_variable("other")
    area, lost = k.vmalloc(20_000), k.vmalloc(3_000_000)
    held = k.kzalloc(100)
    put(k, place, area + 4096)
    put(k, other, lost)
    put(k, area + 19_992, held)
    k.sleep(10)
    k.kmemleak.scan()
    assert k.kmemleak.scan() == 0
    found = k.kmemleak.find(area + 20_000)
    assert found is not None
    assert (found.pointer, found.size, found.min_count) == (area, 20_480, 2)
    put(k, other, 0)
    assert k.kmemleak.scan() + k.kmemleak.scan() == 1
    assert [o.pointer for o in k.kmemleak.objects if o.color == "white"] == [lost]
    k.vfree(area)
    k.vfree(lost)
    assert k.kmemleak.find(area) is None
    k.kfree(held)
    k.kmemleak.scan()
    assert k.kmemleak.scan() == 0
    assert k.validate() == []


def test_objects_are_painted_and_found() -> None:
    k = leaky()
    kmemleak = k.kmemleak
    a, b, c, d = (k.kzalloc(64) for _ in range(4))
    put(k, a, b)
    kmemleak.not_leak(a)
    kmemleak.ignore(c)
    kmemleak.scan_area(a, 8)
    k.sleep(10)
    assert kmemleak.scan() == 1
    found = kmemleak.find(d + 5)
    assert found is not None
    assert (found.pointer, found.color) == (d, "white")
    kmemleak.clear()
    assert kmemleak.report() == ""
    kmemleak.no_scan(a)
    kmemleak.transient_leak(b)
    kmemleak.update_trace(b)
    assert kmemleak.scan() == 1
    kmemleak.erase(a)
    assert k.read(a, 8) == bytes(8)
    assert {o.pointer for o in kmemleak.objects} >= {a, b, c, d}
    with pytest.raises(Complaint, match="Trying to color unknown object"):
        kmemleak.not_leak(k.page_address(k.virt_to_pfn(a) + 1))


def test_pages_can_be_tracked_by_hand() -> None:
    k = leaky()
    root, page = k.alloc_pages(0, "GFP_KERNEL|__GFP_ZERO"), k.alloc_pages(0)
    assert root and page
    k.kmemleak.add_root(root.address, 4096)
    k.kmemleak.alloc(page.address, 4096)
    put(k, root.address + 8, page.address)
    k.sleep(10)
    k.kmemleak.scan()
    assert k.kmemleak.scan() == 0
    put(k, root.address + 8, 0)
    assert k.kmemleak.scan() == 1
    k.kmemleak.free_part(page.address, 1024)
    k.kmemleak.free(page.address + 1024)
    assert k.kmemleak.report() == ""
    k.kmemleak.alloc_phys(page.pfn << 12, 4096)
    with pytest.raises(Complaint, match="overlaps existing"):
        k.kmemleak.alloc(root.address + 8, 8)
    assert not k.kmemleak.enabled


def test_tasks_are_no_leaks_and_their_stacks_are_scanned() -> None:
    k = leaky(VMAP_STACK=False)
    task = k.fork("insmod")
    assert task
    k.fork("thread", thread=True)
    k.run(task)
    with task.frame("load_module+0x1f/0x90", {"mod": 8}) as frame:
        module = k.kzalloc(64)
        put(k, frame["mod"], module)
        k.sleep(10)
        k.kmemleak.scan()
        assert k.kmemleak.scan() == 0
        k.kmemleak.write("stack=off")
        assert k.kmemleak.scan() == 1
        report = k.kmemleak.report()
    assert f'comm "insmod", pid {task.pid}, ' in report
    assert "load_module+0x1f/0x90" in report
    k.kmemleak.clear()
    k.exit(task)
    assert k.kmemleak.scan() == 0
    k.synchronize_rcu()
    assert k.kmemleak.scan() == 0


@pytest.mark.parametrize("name", ["x86_64-5.10", "arm64-5.13", "x86_64-6.12", "x86_64-6.18"])
def test_mapped_stacks_are_no_leaks_kept_waiting_or_in_use(name: str) -> None:
    k = leaky(name)
    tasks = [k.fork(f"task{number}") for number in range(5)]
    k.fork("kworker", kernel=True)
    for gone in tasks[:3]:
        assert gone
        k.exit(gone)
        k.sleep(10)
        k.kmemleak.scan()
        assert k.kmemleak.scan() == 0
    k.synchronize_rcu()
    k.kmemleak.scan()
    assert k.kmemleak.scan() == 0
    stays = tasks[4]
    assert stays and stays.stack
    found = k.kmemleak.find(stays.stack.start)
    assert found is not None
    assert (found.min_count, found.color) == (2, "grey")
    assert k.validate() == []


def test_global_variables_lie_in_the_kernels_image() -> None:
    k = leaky()
    one, table = k.global_variable("one"), k.global_variable("table", 100)
    assert k.global_variable("one") == one
    assert table == one + 8
    assert k.global_variable("other") == table + 104
    assert k.page(k.virt_to_pfn(one)).use == "reserved"
    with pytest.raises(ValueError, match="no room"):
        k.global_variable("huge", 1 << 30)


def test_bad_numbers_are_refused() -> None:
    k = leaky()
    with pytest.raises(ValueError, match="64-bit"):
        k.kmemleak.ignore(-1)
    with pytest.raises(ValueError, match="size must be an unsigned"):
        k.kmemleak.alloc(1 << 40, -5)


def test_what_it_costs_stands_in_slabinfo() -> None:
    k = leaky("x86_64-6.12")
    before = len(k.kmemleak.objects)
    for _ in range(100):
        k.kmalloc(64)
    line = next(each for each in k.proc["slabinfo"].decode().splitlines()
                if each.startswith("kmemleak_object"))
    assert line.split()[2:4] == ["120", "168"]
    assert len(k.kmemleak.objects) == before + 100
