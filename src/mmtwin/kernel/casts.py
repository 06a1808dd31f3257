"""Arrays of records at an address, for the uncompiled run (casts.pxd has the pointers)."""

import ctypes

from mmtwin.kernel.features import FEATURES
from mmtwin.kernel.structs import STRUCTS


def array_maker(record):
    """A function (address, count) -> ctypes array of that record at that address."""

    def make(address, count):
        return (record * count).from_address(address)

    return make


as_pages = array_maker(STRUCTS["page_t"])
as_zones = array_maker(STRUCTS["zone_t"])
as_pcps = array_maker(STRUCTS["pcp_t"])
as_caches = array_maker(STRUCTS["kmem_cache_t"])
as_cache_cpus = array_maker(STRUCTS["kmem_cache_cpu_t"])
as_cache_nodes = array_maker(STRUCTS["kmem_cache_node_t"])
as_sheaves = array_maker(STRUCTS["sheaf_t"])
as_steps = array_maker(STRUCTS["step_t"])
as_u64 = array_maker(ctypes.c_uint64)
as_s64 = array_maker(ctypes.c_int64)
as_u32 = array_maker(ctypes.c_uint32)
as_u8 = array_maker(ctypes.c_uint8)


def as_features(address, count):
    """The one record of features at an address: `mm.has.name` reads as through C's pointer."""
    return FEATURES.from_address(address)
