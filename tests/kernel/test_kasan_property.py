"""KASAN's shadow against a naive model and validate(), after every step."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mmtwin import Machine
from mmtwin.kernel import slub
from mmtwin.kernel.kasan_layout import frame_layout

COMPILED = not (slub.__file__ or "").endswith(".py")
LONG = bool(os.environ.get("MMTWIN_LONG"))
RUNS, STEPS = (5000, 200) if LONG else (200, 50) if COMPILED else (4, 20)
NAMES = ("x86_64-5.10", "arm64-5.13", "x86_64-6.1", "x86_64-6.12", "arm64-7.3")
SIZES = (1, 7, 8, 13, 24, 100, 128, 700, 4096, 8193, 20000)
REDZONE, LARGE_REDZONE, FREE, FREE_META, PAGE_FREE = 0xFC, 0xFE, 0xFB, 0xFA, 0xFF


class Kasan(RuleBasedStateMachine):
    """The model: what every granule of a block of memory must say, byte by byte."""

    @initialize(name=st.sampled_from(NAMES), cpus=st.sampled_from([1, 2]))
    def boot(self, name: str, cpus: int) -> None:
        self.k = Machine.boot(name, memory="64M", cpus=cpus, KASAN=True)
        self.model: dict[int, bytes] = {}
        self.live: dict[int, int] = {}
        self.vmalloced: list[int] = []
        self.frames: list[int] = []
        page = self.k.alloc_pages(3)
        assert page is not None
        self.stack = page.address

    def granules(self, address: int, size: int, end: int, zone: int) -> None:
        """`size` bytes may be used; from there to `end` lies a red zone."""
        part = bytes([size % 8]) if size % 8 else b""
        used = bytes(size // 8) + part
        self.model[address] = used + bytes([zone]) * ((end - address + 7) // 8 - len(used))

    def forget(self, address: int, size: int) -> None:
        for known in [known for known in self.model
                      if known < address + size and address < known + 8 * len(self.model[known])]:
            del self.model[known]

    def object_size(self, address: int) -> int:
        slab = self.k.page(self.k.page(self.k.virt_to_pfn(address)).head).slab
        return 0 if slab is None else self.k.cache(slab["cache"]).object_size

    @rule(cpu=st.integers(0, 1))
    def run_on(self, cpu: int) -> None:
        self.k.cpu = min(cpu, int(self.k.mm.nr_cpus) - 1)

    @rule(size=st.sampled_from(SIZES))
    def kmalloc(self, size: int) -> None:
        address = self.k.kmalloc(size)
        assert address
        self.live[address] = size
        self.expect(address, size)

    def expect(self, address: int, size: int) -> None:
        full = self.object_size(address)
        if full:
            self.forget(address, full)
            self.granules(address, size, address + full, REDZONE)
            return
        order = self.k.page(self.k.virt_to_pfn(address)).order
        end = address + (1 << (order + int(self.k.mm.page_shift)))
        self.forget(address, end - address)
        self.granules(address, size, end, LARGE_REDZONE)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def kfree(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.live)))
        del self.live[address]
        full = self.object_size(address)
        count = len(self.model[address])
        self.k.kfree(address)
        body = bytes([FREE_META]) + bytes([FREE]) * (count - 1)
        self.model[address] = body if full else bytes([PAGE_FREE]) * count

    @precondition(lambda self: self.live)
    @rule(data=st.data(), size=st.sampled_from(SIZES))
    def krealloc(self, data: st.DataObject, size: int) -> None:
        address = data.draw(st.sampled_from(sorted(self.live)))
        full, count = self.object_size(address), len(self.model[address])
        moved = self.k.krealloc(address, size)
        del self.live[address]
        if moved != address:
            body = bytes([FREE_META]) + bytes([FREE]) * (count - 1)
            self.model[address] = body if full else bytes([PAGE_FREE]) * count
        self.live[moved] = size
        self.expect(moved, size)

    @rule(pages=st.integers(1, 40), less=st.sampled_from([0, 3, 100]))
    def vmalloc(self, pages: int, less: int) -> None:
        size = (pages << int(self.k.mm.page_shift)) - less
        address = self.k.vmalloc(size)
        self.forget(address, size)
        self.granules(address, size, address + size + less, 0xF8)
        self.vmalloced.append(address)

    @precondition(lambda self: self.vmalloced)
    @rule(data=st.data())
    def vfree(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.vmalloced)))
        self.vmalloced.remove(address)
        self.k.vfree(address)
        self.model[address] = bytes([0xF8]) * len(self.model[address])

    @rule(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=4))
    def push_frame(self, sizes: list[int]) -> None:
        variables = [(f"v{number}", size) for number, size in enumerate(sizes)]
        total, places = frame_layout(variables)
        assert self.k.kasan is not None
        address = self.stack + sum(self.frames)
        end = self.stack + (8 << int(self.k.mm.page_shift))
        if address + total > end:
            return
        for left in [place for place in self.model if address <= place < end]:
            del self.model[left]  # a frame that is no more, perhaps laid out otherwise
        self.k.kasan.poison_frame(address, "f", variables)
        zones = [0xF1] * 4 + [0xF2] * ((total - 32) // 8)
        for _, offset, size in places:
            for place in range(offset // 8, (offset + size + 7) // 8):
                zones[place] = min(8, offset + size - 8 * place) % 8
        last = (places[-1][1] + places[-1][2] + 7) // 8
        zones[last:] = [0xF3] * (len(zones) - last)
        self.frames.append(total)
        self.model[address] = bytes(zones)

    @precondition(lambda self: self.frames)
    @rule()
    def pop_frame(self) -> None:
        total = self.frames.pop()
        address = self.stack + sum(self.frames)
        assert self.k.kasan is not None
        self.k.kasan.unpoison_frame(address)
        self.model[address] = bytes(total // 8)

    @invariant()
    def shadow_is_the_model(self) -> None:
        if not hasattr(self, "k"):
            return
        vmalloc = int(self.k.mm.vmalloc_start), int(self.k.mm.vmalloc_end)
        config = self.k.profile
        assert config is not None
        for address, wanted in self.model.items():
            if vmalloc[0] <= address < vmalloc[1] and not config.on("KASAN_VMALLOC"):
                continue
            # pages of large objects that were freed may be anybody's now
            if address in self.live or not self.reused(address, len(wanted) * 8):
                assert self.k.shadow(address, 8 * len(wanted)) == wanted, hex(address)
        assert self.k.complaints == []

    def reused(self, address: int, size: int) -> bool:
        if self.k.mm.vmalloc_start <= address < self.k.mm.vmalloc_end:
            return address not in self.vmalloced
        wanted = self.model[address]
        return wanted[0] == PAGE_FREE

    def teardown(self) -> None:
        if hasattr(self, "k"):
            assert self.k.validate() == []


TestKasan = Kasan.TestCase
TestKasan.settings = settings(
    max_examples=RUNS, stateful_step_count=STEPS, deadline=None,
    suppress_health_check=list(HealthCheck),
)
