"""KASAN's shadow against a naive model and validate(), after every step."""

from any_steps import Step, any_steps

from mmtwin import Machine
from mmtwin.kernel.kasan_layout import frame_layout

NAMES = ("x86_64-5.10", "arm64-5.13", "x86_64-6.1", "x86_64-6.12", "arm64-7.3")
SIZES = (1, 7, 8, 13, 24, 100, 128, 700, 4096, 8193, 20000)
REDZONE, LARGE_REDZONE, FREE, FREE_META, PAGE_FREE = 0xFC, 0xFE, 0xFB, 0xFA, 0xFF


NOWARN = "GFP_KERNEL|__GFP_NOWARN"
CALLS = ("kmalloc", "kmalloc", "kmalloc", "kfree", "kfree", "krealloc", "vmalloc", "vfree",
         "push_frame", "pop_frame", "run_on")


class Kasan:
    """The model: what every granule of a block of memory must say, byte by byte."""

    def __init__(self, number: int) -> None:
        self.k = Machine.boot(NAMES[number % len(NAMES)], memory="64M", cpus=1 + number // 5 % 2,
                              KASAN=True)
        self.model: dict[int, bytes] = {}
        self.live: dict[int, int] = {}
        self.vmalloced: list[int] = []
        self.frames: list[int] = []
        page = self.k.alloc_pages(3)
        assert page is not None and self.k.profile is not None
        self.stack = page.address
        self.vmalloc_shadow = self.k.profile.on("KASAN_VMALLOC")

    def live_object(self, one: int) -> int:
        return list(self.live)[one % len(self.live)]

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

    def run_on(self, one: int, two: int) -> None:
        self.k.cpu = one % int(self.k.mm.nr_cpus)

    def kmalloc(self, one: int, two: int) -> None:
        size = SIZES[one % len(SIZES)]
        address = self.k.kmalloc(size, NOWARN)
        if address:  # else memory is used up
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

    def kfree(self, one: int, two: int) -> None:
        if not self.live:
            return
        address = self.live_object(one)
        del self.live[address]
        full = self.object_size(address)
        count = len(self.model[address])
        self.k.kfree(address)
        body = bytes([FREE_META]) + bytes([FREE]) * (count - 1)
        self.model[address] = body if full else bytes([PAGE_FREE]) * count

    def krealloc(self, one: int, two: int) -> None:
        if not self.live:
            return
        address, size = self.live_object(one), SIZES[two % len(SIZES)]
        full, count = self.object_size(address), len(self.model[address])
        moved = self.k.krealloc(address, size, NOWARN)
        if not moved:
            return
        del self.live[address]
        if moved != address:
            body = bytes([FREE_META]) + bytes([FREE]) * (count - 1)
            self.model[address] = body if full else bytes([PAGE_FREE]) * count
        self.live[moved] = size
        self.expect(moved, size)

    def vmalloc(self, one: int, two: int) -> None:
        less = (0, 3, 100)[two % 3]
        size = (one % 40 + 1 << int(self.k.mm.page_shift)) - less
        address = self.k.vmalloc(size, NOWARN)
        if address:
            self.forget(address, size)
            self.granules(address, size, address + size + less, 0xF8)
            self.vmalloced.append(address)

    def vfree(self, one: int, two: int) -> None:
        if self.vmalloced:
            address = self.vmalloced.pop(one % len(self.vmalloced))
            self.k.vfree(address)
            self.model[address] = bytes([0xF8]) * len(self.model[address])

    def push_frame(self, one: int, two: int) -> None:
        sizes = [1 + (two >> 4 * number) % 300 for number in range(one % 4 + 1)]
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

    def pop_frame(self, one: int, two: int) -> None:
        if not self.frames:
            return
        total = self.frames.pop()
        address = self.stack + sum(self.frames)
        assert self.k.kasan is not None
        self.k.kasan.unpoison_frame(address)
        self.model[address] = bytes(total // 8)

    def shadow_is_the_model(self, every: int) -> None:
        """What was changed last, and of all else one in `every`."""
        for place, address in enumerate(reversed(self.model)):
            if place > 2 and (place + len(self.model)) % every:
                continue
            wanted = self.model[address]
            mapped = self.k.mm.vmalloc_start <= address < self.k.mm.vmalloc_end
            if mapped and (not self.vmalloc_shadow or address not in self.vmalloced):
                continue
            # pages of large objects that were freed may be anybody's now
            if mapped or address in self.live or wanted[0] != PAGE_FREE:
                assert self.k.shadow(address, 8 * len(wanted)) == wanted, hex(address)


@any_steps(CALLS)
def test_the_shadow_says_what_the_model_says(number: int, steps: list[Step]) -> None:
    kasan = Kasan(number)
    for what, one, two in steps:
        getattr(kasan, what)(one, two)
        kasan.shadow_is_the_model(7)
    kasan.shadow_is_the_model(1)
    assert kasan.k.complaints == []
    assert kasan.k.validate() == []
