"""slub_debug= of a booted machine: its options, and how its kernel prints reports."""

from collections.abc import Callable

from mmtwin.kernel.constants import (
    COMPLAINT_BAD_OPTION,
    PG_head,
    PG_partial,
    PG_pfmemalloc,
    PG_reserved,
    PG_slab,
)
from mmtwin.kernel.mm import MM, report
from mmtwin.kernel.slub_freelist import draw
from mmtwin.kernel.slub_options import SlubDebug
from mmtwin.versions.options import SlubDebugOptions, prefixes, slub_debug_of
from mmtwin.versions.page_flag_layout import page_flag_layout
from mmtwin.versions.page_flags import page_flag_names
from mmtwin.versions.profiles import Profile
from mmtwin.versions.releases import has_since

MASK64 = (1 << 64) - 1
STRUCT_PAGE_BYTES = 64
# Letters of taint flags by place (kernel/panic.c), and the releases that added the last ones.
TAINTS = "GFSRMBUDAWCIOELKXT"
LATER_TAINTS = (("N", "5.18"), ("J", "6.15"))
NO_HASH_SINCE = "5.12"
# Where struct page's array begins: x86-64 with four and five levels; arm64 by release.
X86_VMEMMAP = {0xFFFF888000000000: 0xFFFFEA0000000000, 0xFF11000000000000: 0xFFD4000000000000}
# Where the kernel's text begins, without KASLR.
TEXT = {"x86_64": 0xFFFFFFFF81000000, "arm64": 0xFFFF800010000000}


def set_up_slub_debug(mm: MM, profile: Profile) -> None:
    """Gives a machine that boots its slub_debug= options; debug caches keep their bytes."""
    if not profile.on("SLUB_DEBUG"):
        return
    options = slub_debug_of(profile.cmdline, profile.version) or SlubDebugOptions()
    pointer = pointer_format(mm, profile, bool(options.flags or options.blocks))
    base = vmemmap(mm, profile)
    mm.slub_debug = SlubDebug(
        options.flags, options.blocks, options.spares_orders,
        pointer=pointer,
        slab_pointer=lambda pfn: pointer((base + pfn * STRUCT_PAGE_BYTES) & MASK64),
        page_flags=page_flags_format(profile),
        uname=profile.version,
        taints=TAINTS + "".join(
            letter for letter, release in LATER_TAINTS if has_since(profile.version, release)
        ),
        text_start=TEXT[profile.arch],
    )
    option = prefixes(profile.version)[0]
    for letter in options.unknown:  # parse_slub_debug_flags()
        text = f"{option}_debug option '{letter}' unknown. skipped"
        report(mm, COMPLAINT_BAD_OPTION, 0, text)
    # with KASAN objects are larger and hold its records: the twin leaves the checks to it
    mm.slub_bytes = int(mm.contents and not profile.features["kasan"])


def pointer_format(mm: MM, profile: Profile, debugging: bool) -> Callable[[int], str]:
    """How %p prints an address: 16 hexadecimal digits, or a hash of it (lib/vsprintf.c).

    slub_debug= shows addresses since 792702911f58 (5.14), no_hash_pointers since 5ead723a20e0
    (5.12). The key of the hash is the machine's own draw.
    """
    shown = debugging and bool(mm.view("has")[0].slub_shows_pointers)
    option = "no_hash_pointers" in profile.cmdline and has_since(profile.version, NO_HASH_SINCE)
    if shown or option or profile.cmdline.get("hash_pointers") == "never":
        return "{:016x}".format
    state = mm.random_state
    key = draw(mm), draw(mm)
    mm.random_state = state  # the key is drawn from another pool

    def hashed(address: int) -> str:
        if not address or address > MASK64 - 4095:  # NULL and error pointers
            return f"{address:016x}"
        return f"{siphash_1u64(address, key) & 0xFFFFFFFF:016x}"

    return hashed


def siphash_1u64(value: int, key: tuple[int, int]) -> int:
    """siphash_1u64(): SipHash-2-4 of eight bytes. lib/siphash.c."""
    state = [
        0x736F6D6570736575 ^ key[0], 0x646F72616E646F6D ^ key[1],
        0x6C7967656E657261 ^ key[0], 0x7465646279746573 ^ key[1],
    ]
    for word in (value, 8 << 56):
        state[3] ^= word
        for _ in range(2):
            sip_round(state)
        state[0] ^= word
    state[2] ^= 0xFF
    for _ in range(4):
        sip_round(state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def sip_round(state: list[int]) -> None:
    """SIPROUND of lib/siphash.c: (a, b, c, d) mixed once."""
    a, b, c, d = state
    a = (a + b) & MASK64
    b = rotated(b, 13) ^ a
    a = rotated(a, 32)
    c = (c + d) & MASK64
    d = rotated(d, 16) ^ c
    a = (a + d) & MASK64
    d = rotated(d, 21) ^ a
    c = (c + b) & MASK64
    b = rotated(b, 17) ^ c
    c = rotated(c, 32)
    state[:] = a, b, c, d


def rotated(value: int, bits: int) -> int:
    """A 64-bit word rotated to the left."""
    return (value << bits | value >> (64 - bits)) & MASK64


def vmemmap(mm: MM, profile: Profile) -> int:
    """The address of pfn 0's struct page (it may wrap around)."""
    if profile.arch == "x86_64":
        return X86_VMEMMAP.get(mm.page_offset, 0xFFFFEA0000000000)
    shift = int(mm.page_shift) - 6  # log2 of STRUCT_PAGE_BYTES
    bits = int(profile.config.get("CONFIG_ARM64_VA_BITS", 48))
    if has_since(profile.version, "6.9"):  # arm64: VMEMMAP_END, a GiB below the top
        start = -(1 << 30) - (1 << (min(bits, 48) - 1 - shift))
    elif has_since(profile.version, "5.11"):  # 8c96400d6a39
        start = -(1 << (bits - shift))
    else:
        start = -(1 << (bits - 1 - shift)) - (1 << 21)
    direct = -(1 << bits) & MASK64
    first = ((direct - mm.page_offset) & MASK64) >> int(mm.page_shift)  # memstart_addr's pfn
    return (start - first * STRUCT_PAGE_BYTES) & MASK64


def page_flags_format(profile: Profile) -> Callable[[MM, int], str]:
    """How a slab's page->flags are printed: a number, with names since 5.13 (%pGp)."""
    fields = page_flag_layout(profile.version, profile.arch, profile.config)
    bits = fields.flags
    order = [name for _, name in page_flag_names(profile.version, bits)]
    zones = [number for _, number in profile.zones]
    named = has_since(profile.version, "5.13")
    partial = has_since(profile.version, "6.8")  # 8a399e2f6003: PG_workingset

    def text(mm: MM, pfn: int) -> str:
        page = mm.view("page")[pfn]
        flags, zone = int(page["flags"]), int(page["zone"])
        names = [
            name for name, there in (
                ("active", flags & PG_pfmemalloc), ("workingset", flags & PG_partial and partial),
                ("slab", flags & PG_slab), ("head", flags & PG_head),
                ("reserved", flags & PG_reserved),
            ) if there and f"PG_{name}" in bits
        ]
        names.sort(key=order.index)
        types = zone % int(mm.nr_zone_types)
        value = fields.value(zone // int(mm.nr_zone_types), zones.index(types))
        value |= sum(1 << bits[f"PG_{name}"] for name in names)
        if not named:
            return f"0x{value:04x}"
        return f"{value:#x}({'|'.join([*names, *fields.names(value)])})"

    return text
