"""slab_flags_t: the bits of each release.

Sources: include/linux/slab.h, mm/slub.c (__OBJECT_POISON, __CMPXCHG_DOUBLE). Literal bits
until 6.8; enumerated since 6.9 (cc61eb851461), where flags of switches that are off take no bit.
"""

from collections.abc import Mapping

from mmtwin.versions.releases import has_since

LITERAL = {
    "SLAB_CONSISTENCY_CHECKS": 0x100, "SLAB_RED_ZONE": 0x400, "SLAB_POISON": 0x800,
    "SLAB_KMALLOC": 0x1000, "SLAB_HWCACHE_ALIGN": 0x2000, "SLAB_CACHE_DMA": 0x4000,
    "SLAB_CACHE_DMA32": 0x8000, "SLAB_STORE_USER": 0x10000, "SLAB_RECLAIM_ACCOUNT": 0x20000,
    "SLAB_PANIC": 0x40000, "SLAB_TYPESAFE_BY_RCU": 0x80000, "SLAB_MEM_SPREAD": 0x100000,
    "SLAB_TRACE": 0x200000, "SLAB_DEBUG_OBJECTS": 0x400000, "SLAB_NOLEAKTRACE": 0x800000,
    "SLAB_NO_MERGE": 0x1000000, "SLAB_FAILSLAB": 0x2000000, "SLAB_ACCOUNT": 0x4000000,
    "SLAB_KASAN": 0x8000000, "SLAB_NO_USER_FLAGS": 0x10000000, "SLAB_SKIP_KFENCE": 0x20000000,
    "SLAB_CMPXCHG_DOUBLE": 0x40000000, "SLAB_OBJECT_POISON": 0x80000000,
}
# What LITERAL names that a release does not have: the flag and the release it came with.
LITERAL_SINCE = {
    "SLAB_KMALLOC": "6.1",  # 6edf2576a6cc
    "SLAB_NO_MERGE": "6.5",  # d0bf7d5759c1
    "SLAB_NO_USER_FLAGS": "5.19",  # 5.18 does not have it, 6.0 does
    "SLAB_SKIP_KFENCE": "6.1",  # b84e04f1baee
}
ENUM_SINCE = "6.9"
# enum _slab_flag_bits: (flag, the switch it needs, the release it came with). 7.1 has none of the
# last two, 7.2 not MAY_ACCOUNT.
ENUMERATED = (
    ("CONSISTENCY_CHECKS", "", ""), ("RED_ZONE", "", ""), ("POISON", "", ""),
    ("KMALLOC", "", ""), ("HWCACHE_ALIGN", "", ""), ("CACHE_DMA", "", ""),
    ("CACHE_DMA32", "", ""), ("STORE_USER", "", ""), ("PANIC", "", ""),
    ("TYPESAFE_BY_RCU", "", ""), ("TRACE", "", ""),
    ("DEBUG_OBJECTS", "CONFIG_DEBUG_OBJECTS", ""), ("NOLEAKTRACE", "", ""),
    ("NO_MERGE", "", ""), ("FAILSLAB", "CONFIG_FAILSLAB", ""),
    ("ACCOUNT", "CONFIG_MEMCG", ""), ("MAY_ACCOUNT", "CONFIG_MEMCG", "7.3"),
    ("KASAN", "CONFIG_KASAN_GENERIC", ""), ("NO_USER_FLAGS", "", ""),
    ("SKIP_KFENCE", "CONFIG_KFENCE", ""), ("RECLAIM_ACCOUNT", "", ""),
    ("OBJECT_POISON", "", ""), ("CMPXCHG_DOUBLE", "", ""),
    ("NO_OBJ_EXT", "CONFIG_SLAB_OBJ_EXT", "6.10"),
    ("OBJ_EXT_IN_OBJ", "CONFIG_SLAB_OBJ_EXT", "7.0"), ("NO_SHEAVES", "", "7.2"),
)


def slab_flag_bits(version: str, config: Mapping[str, str]) -> dict[str, int]:
    """`{"SLAB_HWCACHE_ALIGN": 0x2000, ...}`: the slab flags of a kernel as it stores them."""
    if not has_since(version, ENUM_SINCE):
        return {
            name: mask for name, mask in LITERAL.items()
            if name not in LITERAL_SINCE or has_since(version, LITERAL_SINCE[name])
        }
    names = [
        name for name, symbol, release in ENUMERATED
        if (not symbol or config.get(symbol) == "y")
        and (not release or has_since(version, release))
        and not (name == "RECLAIM_ACCOUNT" and config.get("CONFIG_SLUB_TINY") == "y")
    ]
    return {f"SLAB_{name}": 1 << bit for bit, name in enumerate(names)}


def slab_flag_names(value: int, version: str, config: Mapping[str, str]) -> list[str]:
    """The names of the flags set in a recorded `kmem_cache.flags`."""
    return [name for name, mask in slab_flag_bits(version, config).items() if value & mask]
