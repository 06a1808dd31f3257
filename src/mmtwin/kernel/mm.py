"""MM: the whole memory-management state of one machine, as arrays of kernel records.

Every subsystem of the kernel floor acts on an `MM`: `mm.page` is `mem_map`, `mm.zone` the zones,
`mm.cache` the slab caches, `mm.ram` the bytes of RAM. The arrays are anonymous mappings, zero
until written, so a large machine costs what it uses. `mm.view("page")` shows any array to Python
as numpy records.
"""

import ctypes
import mmap

import cython
import numpy as np

from mmtwin.kernel.features import FEATURES
from mmtwin.kernel.garbage import made
from mmtwin.kernel.structs import STRUCTS

if not cython.compiled:
    from mmtwin.kernel.casts import (
        as_cache_cpus,
        as_cache_nodes,
        as_caches,
        as_features,
        as_pages,
        as_pcps,
        as_s64,
        as_sheaves,
        as_steps,
        as_u8,
        as_u32,
        as_u64,
        as_zones,
    )

LIST_HEADS = 1 << 17
RANDOM_SEQUENCE_ENTRIES = 1 << 21
VM_EVENTS = 256
ZONELIST_PLACES = 64
BULK_PAGES = 512
KMALLOC_CACHES = 32 * 32  # types * indexes
KMALLOC_CLASSES = (2 << 16) // 8  # eighths of KMALLOC_MAX_CACHE_SIZE with pages of 64 KiB


class MM:
    """The state of one machine's memory management; see `Layout` for its shape.

    `MM(layout)` maps the arrays and sets nothing else: zones, lists and caches are made by the
    subsystems' own init functions (`free_area_init`, `kmem_cache_init`) or by machine/ from a
    recording.
    """

    def __init__(self, layout, profile=None):
        self.profile = profile
        self.min_pfn = layout.min_pfn
        self.max_pfn = layout.max_pfn
        self.first_head = layout.max_pfn
        self.max_entries = layout.max_pfn + LIST_HEADS
        self.next_head = self.first_head
        self.page_offset = layout.page_offset
        self.page_shift = layout.page_shift
        self.vmalloc_start = layout.vmalloc_start
        self.vmalloc_end = layout.vmalloc_end
        self.modules_start = layout.modules_start
        self.modules_end = layout.modules_end
        self.va_bits = layout.va_bits
        self.pageblock_order = layout.pageblock_order
        self.nr_orders = layout.nr_orders
        self.nr_migratetypes = layout.nr_migratetypes
        self.migrate_cma = layout.migrate_cma
        self.migrate_isolate = layout.migrate_isolate
        self.nr_nodes = layout.nr_nodes
        self.nr_zone_types = layout.nr_zone_types
        self.nr_zones = layout.nr_nodes * layout.nr_zone_types
        self.nr_cpus = layout.nr_cpus
        self.max_caches = layout.max_caches
        self.nr_caches = 0
        self.max_sheaves = layout.max_sheaves
        self.next_sheaf = 0
        self.free_sheaf = -1
        self.next_random_seq = 0
        self.cpu = 0
        self.contents = 1 if layout.contents else 0
        self.random_state = layout.seed
        self.step_mask = 0
        self.next_step = 0
        self.ring_size = layout.ring_size
        self.step_depth = 0
        self.page_override = -1
        self.next_freelist_start = -1
        self.rcu_slab_first = self.rcu_slab_last = -1
        self.rcu_sheaf_first = self.rcu_sheaf_last = -1
        self.sheaves_unbacked = 0
        self.random_kmalloc_seed = 0
        self.last_alloc_from = 0
        self.rmqueue_mode = 0
        self.pcp_locked = self.kswapd_hopeless = self.oom_victim = 0
        self.claim_override = -1
        self.reclaims = 1
        self.page_group_by_mobility_disabled = 0
        self.min_free_kbytes = 1024
        self.watermark_scale_factor = 10
        self.watermark_boost_factor = 15000
        self.cache_names = []
        self.cache_aliases = {}
        self.complaints = []
        self.policy = {}
        self.fallback_policy = self.kmalloc_classed = 0
        self.frames = []
        self.tasks = None
        self.checkers = 0
        self.kasan = self.kmemleak = None
        self.vmalloc = None
        self.commit = self.paging = None
        self.slub_bytes = self.orig_size = self.jiffies = 0
        self.slub_debug = self.kmalloc_info = None
        self._buffers = {}
        self._counts = {}
        self._views = {}
        self._map_arrays()
        for name, value in layout.features.items():
            setattr(self.view("has")[0], name, value)

    def _map_arrays(self):
        structs = STRUCTS
        size_t = ctypes.sizeof
        entries = self.max_entries
        zones = self.nr_zones
        caches = self.max_caches
        page_size = 1 << self.page_shift
        words = (self.max_pfn * page_size) >> 3
        made(8 * words)
        blocks = (self.max_pfn >> self.pageblock_order) + 1
        self.page = as_pages(self._map("page", structs["page_t"], entries), entries)
        self.zone = as_zones(self._map("zone", structs["zone_t"], zones), zones)
        count = zones * self.nr_cpus
        self.pcp = as_pcps(self._map("pcp", structs["pcp_t"], count), count)
        self.cache = as_caches(self._map("cache", structs["kmem_cache_t"], caches), caches)
        count = caches * self.nr_cpus
        address = self._map("cache_cpu", structs["kmem_cache_cpu_t"], count)
        self.cache_cpu = as_cache_cpus(address, count)
        count = caches * self.nr_nodes
        address = self._map("cache_node", structs["kmem_cache_node_t"], count)
        self.cache_node = as_cache_nodes(address, count)
        count = self.max_sheaves
        self.sheaf = as_sheaves(self._map("sheaf", structs["sheaf_t"], count), count)
        count = RANDOM_SEQUENCE_ENTRIES
        self.random_seq = as_u32(self._map("random_seq", ctypes.c_uint32, count), count)
        self.pageblock = as_u8(self._map("pageblock", ctypes.c_uint8, blocks), blocks)
        self.ram = as_u64(self._map("ram", ctypes.c_uint64, words), words)
        count = self.nr_nodes * ZONELIST_PLACES
        self.zonelist = as_s64(self._map("zonelist", ctypes.c_int64, count), count)
        self.vm_event = as_s64(self._map("vm_event", ctypes.c_int64, VM_EVENTS), VM_EVENTS)
        count = KMALLOC_CACHES
        self.kmalloc_cache = as_s64(self._map("kmalloc_cache", ctypes.c_int64, count), count)
        self.view("kmalloc_cache")[:] = -1
        self.step = as_steps(self._map("step", structs["step_t"], self.ring_size), self.ring_size)
        self.bulk_page = as_s64(self._map("bulk_page", ctypes.c_int64, BULK_PAGES), BULK_PAGES)
        self.cpu_node = as_u8(self._map("cpu_node", ctypes.c_uint8, self.nr_cpus), self.nr_cpus)
        # CPUs spread over the nodes in equal runs, unless the caller knows better
        self.view("cpu_node")[:] = np.arange(self.nr_cpus) * self.nr_nodes // self.nr_cpus
        count = KMALLOC_CLASSES
        self.kmalloc_class = as_u8(self._map("kmalloc_class", ctypes.c_uint8, count), count)
        self.has = as_features(self._map("has", FEATURES, 1), 1)
        assert size_t(structs["page_t"]) == 64

    def _map(self, name, record, count):
        """Maps an array of zeros; its address."""
        size = max(ctypes.sizeof(record) * count, 1)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
        buffer = mmap.mmap(-1, size, flags=flags)
        array = (record * count).from_buffer(buffer)
        self._buffers[name] = array
        self._counts[name] = count
        return ctypes.addressof(array)

    def view(self, name):
        """An array of the state as numpy records that share its memory; `has` as a ctypes array.

        `name`: page, zone, pcp, cache, cache_cpu, cache_node, sheaf, random_seq, pageblock, ram,
        zonelist, vm_event, kmalloc_cache, kmalloc_class, step, has. Raises KeyError for another.
        """
        if name not in self._views:
            array = self._buffers[name]
            self._views[name] = array if name == "has" else np.ctypeslib.as_array(array)
        return self._views[name]

    def new_list_head(self):
        """Takes an entry number for a list head and makes it an empty list."""
        head = self.next_head
        if head >= self.max_entries:
            raise MemoryError("no list heads left")
        self.next_head = head + 1
        self.page[head].next = head
        self.page[head].prev = head
        return head


def complain(mm, kind, address, detail):
    """Keeps what the kernel would have printed (a WARN, a slab error): kind is COMPLAINT_* of
    constants.pxd.
    """
    mm.complaints.append({"kind": kind, "address": address, "detail": detail})


def report(mm, kind, address, text):
    """Keeps a report of several lines, `text` as the kernel prints it: kind is COMPLAINT_*."""
    mm.complaints.append({"kind": kind, "address": address, "detail": 0, "text": text})
