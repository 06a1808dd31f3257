"""Slab caches that a write to /sys/kernel/slab/CACHE/shrink makes smaller.

kernfs_fop_write_iter() allocates a buffer for what is written and frees it afterwards; which file
it is no event says. Empty slabs that the task gives back in between tell the cache; of one
without any, the next object that it gives out does.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.kernel.slub_shrink import kmem_cache_shrink
from mmtwin.replay.written import Written

if not cython.compiled:
    from mmtwin.kernel.casts import as_s64, as_u64
    from mmtwin.kernel.constants import PG_slab
    from mmtwin.kernel.ram import cache_at, cache_cpu_of, page_address, pfn_to_page
    from mmtwin.kernel.slub_freelist import get_freepointer
    from mmtwin.kernel.slub_resync import next_object, slab_of
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import event_at
    from mmtwin.replay.pages import collect, set_cpu
    from mmtwin.replay.resync import in_sheaves
    from mmtwin.replay.unseen import INTERRUPT

    globals().update(EVENT_CONSTANTS)
    globals().update(parse_constants(files(__package__).joinpath("shrunk.pxd").read_text()))


class Shrunk(Written):
    """As Written; `kernfs_sites`: call sites of the buffers of writes to /sys (write_sites.py)."""

    def __init__(
        self, mm, gfp_bits, resync, bulk_sites, maple, write_sites, settings, kernfs_sites
    ):
        Written.__init__(self, mm, gfp_bits, resync, bulk_sites, maple, write_sites, settings)
        kernfs_site = np.array([*kernfs_sites, 0], dtype=np.uint64)
        self._buffers["kernfs_site"] = kernfs_site
        self.kernfs_site = as_u64(kernfs_site.ctypes.data, len(kernfs_site))
        self.nr_kernfs_sites = len(kernfs_sites) if resync else 0
        shrunk = np.zeros(mm.max_caches, dtype=np.int64)
        self._buffers["shrunk"] = shrunk
        self.shrunk = as_s64(shrunk.ctypes.data, len(shrunk))
        self.kernfs_writes = 0
        self.kernfs_pid = -1
        self.kernfs_buffer = 1

    def _after_kmalloc(self, event):
        Written._after_kmalloc(self, event)
        for place in range(self.nr_kernfs_sites):
            if self.kernfs_site[place] == event.call_site and self._may_shrink(event):
                self.kernfs_writes += 1
                self.kernfs_pid = event.pid
                self.kernfs_buffer = event.address

    def _may_shrink(self, event):
        """Whether the write that this buffer is for may be one to a cache's file `shrink`.

        shrink_store() wants a 1; it is taken to come with a newline at most, behind which
        kernfs_fop_write_iter() puts a zero. kmem_cache_shrink() allocates nothing.
        """
        if event.bytes_req > MOST_WRITTEN + 1:
            return False
        most = self.now + MOST_OF_WRITE
        for i in range(self.now + 1, self.available if self.available < most else most):
            following = event_at(self.events, i)
            if following.pid != event.pid or following.flags & INTERRUPT:
                continue
            if following.kind == KIND_KMALLOC or following.kind == KIND_KMEM_CACHE_ALLOC:
                return False
            if following.kind == KIND_KFREE and following.address == event.address:
                return True
        return True

    def _writes_kernfs(self, event, number):
        """Whether the task is in kernfs_fop_write_iter(): the buffer of its write is not freed."""
        if event.pid != self.kernfs_pid or event.flags & INTERRUPT:
            return False
        least = number - MOST_OF_WRITE if number > MOST_OF_WRITE else 0
        for i in range(number - 1, least - 1, -1):
            before = event_at(self.events, i)
            if before.pid == event.pid and before.address == self.kernfs_buffer:
                if before.kind == KIND_KFREE:
                    return False
                if before.kind == KIND_KMALLOC:
                    return True
        return False

    def _shrinks(self, event, number):
        """A slab is given back that the twin keeps: its cache is shrunk, if its task writes."""
        page = pfn_to_page(self.mm, event.address)
        if not self._writes_kernfs(event, number) or not page.flags & PG_slab:
            return
        set_cpu(self.mm, event)
        self._shrink(page.cache)
        collect(self, event.cpu)

    def _shrunk_before(self, event, cache, gfp):
        """An object that the CPU has not at hand and that is another than the twin's next: if the
        cache was shrunk, the object tells, so it is not predicted. Whether it was.
        """
        if self.shrunk[cache] == self.kernfs_writes:
            return False
        set_cpu(self.mm, event)
        if cache_cpu_of(self.mm, cache, self.mm.cpu).freelist:
            return False
        if next_object(self.mm, cache, gfp, -1) == event.address:
            return False
        if not self._was_shrunk(cache, event.address):
            return False
        self._shrink(cache)
        collect(self, event.cpu)
        return True

    def _shrink(self, cache):
        # __kmem_cache_shrink() of a cache
        kmem_cache_shrink(self.mm, cache)
        self.shrunk[cache] = self.kernfs_writes

    def _was_shrunk(self, cache, object):
        """Whether a cache that gave out another object than the twin's was shrunk since its last
        one: that object's slab would be the first of its list then, the fullest.
        """
        if self.shrunk[cache] == self.kernfs_writes:
            return False
        self.shrunk[cache] = self.kernfs_writes
        slab = slab_of(self.mm, cache, object)
        if slab < 0:
            return False
        least = self._free_objects(cache, slab)
        if least == 0:
            return False
        for pfn in range(self.mm.min_pfn, self.mm.max_pfn):
            page = pfn_to_page(self.mm, pfn)
            if page.flags & PG_slab and page.cache == cache:
                free = self._free_objects(cache, pfn)
                if free == page.objects or 0 < free < least:
                    return False
        return True

    def _free_objects(self, cache, pfn):
        """How many objects of a slab are free, wherever they are kept."""
        page = pfn_to_page(self.mm, pfn)
        free = page.objects - page.inuse
        for cpu in range(self.mm.nr_cpus):
            c = cache_cpu_of(self.mm, cache, cpu)
            if c.slab == pfn:
                entry = c.freelist
                while entry:
                    free += 1
                    entry = get_freepointer(self.mm, cache_at(self.mm, cache), entry)
        if cache_at(self.mm, cache).sheaf_capacity:
            size = 1 << (self.mm.page_shift + page.order)
            free += in_sheaves(self.mm, cache, page_address(self.mm, pfn), size)
        return free
