"""vmalloc and vmap: pages, structures, page tables, failures, by release."""

import pytest
from any_steps import Step, any_steps

from mmtwin.kernel import vmalloc
from mmtwin.kernel.constants import USE_VMALLOC
from mmtwin.kernel.vmalloc import __vmalloc_node_range as vmalloc_node_range
from mmtwin.kernel.vmalloc_defs import (
    GFP_KERNEL,
    VM_ALLOW_HUGE_VMAP,
    VM_MAP,
    VM_MAP_PUT_PAGES,
    VM_NO_GUARD,
)
from mmtwin.machine import Machine
from mmtwin.versions.features import features_of

PROFILES = ("arm64-5.13", "x86_64-5.10", "x86_64-6.1", "x86_64-6.12", "x86_64-7.3",
            "arm64-16k-6.12", "arm64-64k-7.3")


def boot(profile: str = "x86_64-6.12", memory: str = "256M", cpus: int = 1) -> Machine:
    return Machine.boot(profile, memory=memory, cpus=cpus)


def objects(k: Machine) -> list[str]:
    """The slab objects that were taken (+) and given back (-) since the trace began."""
    names = {"kmalloc": "+", "kmem_cache_alloc": "+", "kfree": "-", "kmem_cache_free": "-"}
    caches: dict[int, str] = {}
    found = []
    for name, _cpu, _depth, args in k.trace.read():
        if name in ("kmalloc", "kmem_cache_alloc"):
            caches[args[0]] = k.mm.cache_names[args[5]]
        if name in names and args[0]:
            found.append(names[name] + caches.get(args[0], "?"))
    return found


@pytest.mark.parametrize("profile", PROFILES)
def test_pages_are_mapped_one_after_the_other(profile: str) -> None:
    k = boot(profile)
    page = 1 << k.mm.page_shift
    address = k.vmalloc(10 * page - 5)
    assert address == k.mm.vmalloc_start
    pfns = vmalloc.area_pages(k.mm, address)
    assert [k.vmalloc_to_pfn(address + n * page) for n in range(11)] == [*pfns, -1]
    assert len(set(pfns)) == 10
    assert {k.page(pfn).use for pfn in pfns} == {"vmalloc"}
    assert k.mm.vmalloc.nr_pages == 10
    assert k.validate() == []
    k.vfree(address)
    assert k.mm.vmalloc.nr_pages == 0
    assert {k.page(pfn).use for pfn in pfns} == {"free"}
    assert k.vmalloc_to_pfn(address) == -1
    assert k.validate() == []


@pytest.mark.parametrize("profile", PROFILES)
def test_page_tables_are_made_once_and_stay(profile: str) -> None:
    k = boot(profile)
    address = k.vmalloc(1)
    levels = {level: len(pfns) for level, pfns in k.mm.vmalloc.tables.pages.items()}
    boot_made = 2 if profile.startswith("x86") else 1  # on x86 the second level from the top too
    below = k.mm.vmalloc.tables.levels - boot_made
    assert list(levels.values()) == [1] * below + [0] * boot_made
    k.vfree(address)
    k.vm_unmap_aliases()
    k.vmalloc(1)
    assert sum(map(len, k.mm.vmalloc.tables.pages.values())) == below


def test_which_kernel_tables_are_counted() -> None:
    for profile, counted in (("x86_64-6.1", 1), ("x86_64-7.3", 2), ("arm64-6.12", 2)):
        k = boot(profile)
        k.vmalloc(1)
        flags = [k.page(pfn).flags for pfns in k.mm.vmalloc.tables.pages.values() for pfn in pfns]
        assert sum("table" in each for each in flags) == counted


def test_structures_are_slab_objects() -> None:
    k = boot()
    k.trace.start("kmalloc", "kmem_cache_alloc", "kfree", "kmem_cache_free")
    address = k.vmalloc(1)
    # struct vm_struct of 6.12, the area, the free range below it, the array of one page
    taken = ["+kmalloc-96", "+vmap_area", "+vmap_area", "+kmalloc-8"]
    assert objects(k) == taken
    k.vfree(address)
    back = ["-kmalloc-8", "-kmalloc-96"]
    assert objects(k) == taken + back
    k.vm_unmap_aliases()  # joined with its neighbours; the upper one's is not modelled
    assert objects(k) == [*taken, *back, "-vmap_area"]


def test_a_large_array_of_pages_is_an_area_of_its_own() -> None:
    k = boot()
    address = k.vmalloc(600 * 4096)
    assert address == k.mm.vmalloc_start
    lines = k.proc["vmallocinfo"].decode().splitlines()
    assert lines[0].endswith("pages=600 vmalloc vpages N0=600")
    assert lines[1].endswith("pages=2 vmalloc N0=2")
    k.vfree(address)
    assert k.mm.vmalloc.nr_pages == 0
    assert k.validate() == []


def test_pages_are_asked_for_as_the_release_does() -> None:
    for profile, events in (("x86_64-5.10", 6 + 2), ("x86_64-6.12", 0 + 2), ("x86_64-7.3", 2 + 2)):
        k = boot(profile)
        k.kfree(k.kmalloc(8))  # slabs that are needed are there
        k.vfree(k.vmalloc(7 * 4096))
        k.trace.start("mm_page_alloc")
        address = k.vmalloc(6 * 4096)
        orders = [step[3][1] for step in k.trace.read()]
        tables = events - 2
        assert len(orders) == tables, profile
        if profile == "x86_64-7.3":
            assert orders == [2, 1]
        k.vfree(address)


def test_huge_mappings() -> None:
    k = boot("x86_64-6.12")
    address = k.vmalloc(3 << 20, huge=True)
    assert address % (2 << 20) == 0
    first, second = (k.vmalloc_to_pfn(address + n) for n in (0, 2 << 20))
    assert first % 512 == second % 512 == 0
    assert k.vmalloc_to_pfn(address + (1 << 20)) == first + 256
    assert len(k.mm.vmalloc.tables.pages[0]) == 1  # only the array of pages has PTEs
    k.write(address + (2 << 20) - 3, b"across")
    assert k.read(address + (2 << 20) - 3, 6) == b"across"
    assert k.validate() == []
    k.vfree(address)
    assert k.validate() == []
    plain = boot("arm64-5.13").vmalloc(3 << 20, huge=True)
    assert plain == 0xFFFF800010000000  # no such mappings before 5.18


def test_huge_mappings_fall_back_to_pages() -> None:
    k = boot("x86_64-6.1")
    held = []
    while page := k.alloc_pages(0, "GFP_KERNEL|__GFP_NOWARN|__GFP_MEMALLOC"):
        held.append(page.pfn)
    for pfn in held:
        if pfn % 512:
            k.free_pages(pfn)
    address = k.vmalloc(2 << 20, huge=True)
    assert address
    pfns = vmalloc.area_pages(k.mm, address)
    assert any(pfn % 512 != place % 512 for place, pfn in enumerate(pfns))
    assert k.complaints == []
    assert k.validate() == []


def test_guard_page_and_alignment_of_ranges() -> None:
    k = boot()
    mm = k.mm
    args = (GFP_KERNEL, VM_NO_GUARD, -1, "module_alloc+0x10/0x20")
    first = vmalloc_node_range(mm, 5, 1, mm.modules_start, mm.modules_end, *args)
    second = vmalloc_node_range(mm, 5, 16384, mm.modules_start, mm.modules_end, *args)
    assert (first, second) == (mm.modules_start, mm.modules_start + 16384)
    assert "module_alloc+0x10/0x20 pages=1" in k.proc["vmallocinfo"].decode()
    assert k.validate() == []


@pytest.mark.parametrize(("profile", "refused"), [("x86_64-5.10", True), ("x86_64-6.1", False)])
def test_a_byte_more_than_the_memory(profile: str, refused: bool) -> None:
    k = boot(profile, memory="64M")
    managed = int(k.mm.view("zone")["managed_pages"].sum())
    k.trace.start("kmem_cache_alloc")
    assert k.vmalloc((managed << 12) + 1, "GFP_KERNEL|__GFP_NOWARN") == 0
    # 5.10 compares pages and asks for nothing; later kernels find out when memory runs out
    assert (objects(k) == []) == refused
    assert k.validate() == []


def test_failures_say_what_the_kernel_says() -> None:
    k = boot("x86_64-6.1", memory="64M")
    assert k.vmalloc(0) == 0
    assert k.vmalloc(1 << 40) == 0
    managed = int(k.mm.view("zone")["managed_pages"].sum())
    assert k.vmalloc(managed << 12) == 0
    assert k.vmalloc(managed << 12, "GFP_KERNEL|__GFP_NOWARN") == 0
    said = [str(complaint) for complaint in k.complaints]
    assert len(said) == 2  # 6.1 sets __GFP_NOWARN before it asks for pages
    assert said[1] == "vmalloc error: size 1099511627776, exceeds total pages"
    assert k.mm.vmalloc.nr_pages == 0
    assert k.validate() == []
    old = boot("x86_64-5.10")
    old.vmalloc(0)
    old.vmalloc(1 << 40)
    assert [str(complaint) for complaint in old.complaints] == [
        "vmalloc: allocation failure: 0 bytes",
        "vmalloc: allocation failure: 1099511627776 bytes",
    ]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("6.1", []),
        ("5.17", ["size {had}, page order 0, failed to allocate pages"]),
        ("6.12", ["size {had}, failed to allocate pages"]),
        ("7.3", ["size {wanted}, failed to allocate pages"]),
    ],
)
def test_where_pages_run_out(version: str, said: list[str]) -> None:
    k = boot("x86_64-6.1", memory="64M")
    says = features_of(version, "x86_64", 4096, {})["vmalloc_says_why"]
    k.mm.view("has")[0].vmalloc_says_why = says
    wanted = int(k.mm.view("zone")["managed_pages"].sum()) << 12
    assert k.vmalloc(wanted) == 0
    texts = [str(complaint).removeprefix("vmalloc error: ") for complaint in k.complaints]
    had = [int(text.split(",")[0].removeprefix("size ")) for text in texts]
    assert texts == [text.format(had=had[0], wanted=wanted) for text in said]
    assert all(wanted // 2 < size <= wanted for size in had)


def test_huge_mappings_on_several_nodes() -> None:
    k = Machine.boot("x86_64-6.12", memory="256M", cpus=2, nodes=2)
    shifts = []
    for version in ("6.12", "6.13"):
        known = features_of(version, "x86_64", 4096, {})
        k.mm.view("has")[0].huge_vmalloc = known["huge_vmalloc"]
        shifts.append([vmalloc.huge_shift(k.mm, 2 << 20, node, VM_ALLOW_HUGE_VMAP)
                       for node in (-1, 1)])
    assert shifts == [[12, 21], [21, 21]]


def test_a_free_of_what_is_no_area() -> None:
    k = boot("x86_64-6.1")
    address = k.vmalloc(5 * 4096)
    with pytest.raises(ValueError, match=r"Trying to vfree\(\) bad address"):
        k.vfree(address + 8)
    with pytest.raises(ValueError, match=r"Trying to vfree\(\) nonexistent vm area"):
        k.vunmap(address + (1 << 30))
    k.vfree(address + 4096)  # any page of it will do, as in the kernel
    with pytest.raises(ValueError, match=r"Trying to vfree\(\) nonexistent vm area"):
        k.vfree(address)
    k.vfree(0)
    with pytest.raises(ValueError, match=r"Trying to vunmap\(\) nonexistent vm area"):
        boot("x86_64-6.12").vunmap(address)
    assert k.validate() == []


def test_vmap_does_not_own_its_pages() -> None:
    k = boot()
    pages = [k.alloc_pages(0), k.alloc_pages(0)]
    address = k.vmap([pages[1], pages[0]])
    k.write(address + 4094, b"abcd")
    assert k.read(pages[1].address + 4094, 2) == b"ab"
    assert k.read(pages[0].address, 2) == b"cd"
    k.vunmap(address)
    assert pages[0].use != "free"
    assert k.mm.vmalloc.nr_pages == 0
    address = vmalloc.vmap(k.mm, [page.pfn for page in pages], VM_MAP | VM_MAP_PUT_PAGES, "")
    k.vfree(address)
    assert pages[0].use == pages[1].use == "free"
    assert vmalloc.vmap(k.mm, [1], VM_NO_GUARD, "")
    assert k.complaints[-1].name == "VMAP"


def test_what_waits_is_purged_when_it_is_too_much() -> None:
    for profile in ("x86_64-5.10", "x86_64-6.12"):
        k = boot(profile, memory="512M")
        k.trace.start("purge_vmap_area_lazy", "free_vmap_area_noflush")
        for _ in range(3):
            k.vfree(k.vmalloc(16 << 20))
        names = [step[0] for step in k.trace.read()]
        assert names.count("purge_vmap_area_lazy") == 1
        assert k.mm.vmalloc.nr_lazy < 8192
        assert k.validate() == []


def test_steps_have_the_kernels_fields() -> None:
    k = boot()
    k.trace.start("alloc_vmap_area", "free_vmap_area_noflush")
    k.vfree(k.vmalloc(4096))
    assert k.trace.lines() == [
        "alloc_vmap_area addr=0xffffc90000000000 size=8192 align=1 vstart=0xffffc90000000000 "
        "vend=0xffffe8ffffffffff failed=0",
        "free_vmap_area_noflush va_start=0xffffc90000000000 nr_lazy=2 nr_lazy_max=8192",
    ]


def test_pages_of_a_node() -> None:
    k = Machine.boot("x86_64-6.12", memory="1G", cpus=2, nodes=2)
    address = k.vmalloc_node(9 * 4096, 1)
    assert {k.page(pfn).node for pfn in vmalloc.area_pages(k.mm, address)} == {1}
    assert b"pages=9 vmalloc N1=9" in k.proc["vmallocinfo"]
    with pytest.raises(ValueError, match="node 2"):
        k.vmalloc_node(1, 2)


CALLS = ("vmalloc", "vmalloc", "huge", "vmap", "free", "free", "purge")


class Areas:
    """The model: what is mapped, as {address: (bytes, the value of its first and last byte)}."""

    def __init__(self, number: int) -> None:
        self.k = Machine.boot(PROFILES[number % len(PROFILES)], memory="64M", cpus=2)
        self.page = 1 << int(self.k.mm.page_shift)
        self.live: dict[int, tuple[int, int]] = {}
        self.tag = 0

    def step(self, what: str, one: int, two: int) -> None:
        """A call, on one CPU or the other."""
        self.k.cpu = two % 2
        self.tag = self.tag % 250 + 1
        if what == "free":
            if self.live:
                self.free(list(self.live)[one % len(self.live)])
        elif what == "purge":
            self.k.vm_unmap_aliases()
        elif what == "vmap":
            found = [self.k.alloc_pages(0, "GFP_KERNEL|__GFP_NOWARN") for _ in range(one % 5 + 1)]
            pages = [page for page in found if page is not None]
            if pages:
                self.keep(self.k.vmap(pages, put_pages=True), len(pages) * self.page)
        else:
            size = (one % 1200 + 1) * (600 if two % 7 == 0 else 30)
            size += (2 << 20) * (what == "huge" and two % 5 == 0)
            self.keep(self.k.vmalloc(size, "GFP_KERNEL|__GFP_NOWARN", huge=what == "huge"), size)

    def keep(self, address: int, size: int) -> None:
        """A new area lies in no other and has bytes of its own."""
        if not address:
            return  # memory is used up
        for start, (length, _) in self.live.items():
            assert start + length < address or address + size < start
        self.live[address] = size, self.tag
        for place in (0, size - 1):
            self.k.write(address + place, bytes([self.tag]))

    def free(self, address: int) -> None:
        """What was written is still there."""
        size, byte = self.live.pop(address)
        for place in (0, size - 1):
            assert self.k.read(address + place, 1) == bytes([byte])
        self.k.vfree(address)
        assert self.k.vmalloc_to_pfn(address) == -1


@any_steps(CALLS)
def test_any_calls_leave_a_valid_state(number: int, steps: list[Step]) -> None:
    areas = Areas(number)
    for step in steps:
        areas.step(*step)
    k, state = areas.k, vmalloc.vmalloc_of(areas.k.mm)
    assert k.validate() == []
    assert int((k.mm.view("page")["users"] == USE_VMALLOC).sum()) == state.nr_pages
    for address in list(areas.live):
        areas.free(address)
    assert state.nr_pages == 0
    assert k.validate() == []
