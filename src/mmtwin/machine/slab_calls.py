"""A Machine's kmalloc and slab caches."""

from collections.abc import Sequence
from difflib import get_close_matches

from mmtwin.kernel import slab_common, slub, slub_cache, slub_shrink, slub_traces
from mmtwin.kernel.slab_common import __kmalloc_node as kmalloc_node
from mmtwin.kernel.slab_index import kmalloc_slab
from mmtwin.kernel.slub_defs import DEFS as SLUB_DEFS
from mmtwin.machine.calls import Calls
from mmtwin.machine.views import Cache


class SlabCalls(Calls):
    """kmalloc() and its like, kmem_cache_create() and its like."""

    def kmalloc(self, size: int, gfp: str | int = "GFP_KERNEL") -> int:
        """Allocates `size` bytes; the object's address, 0 (NULL) if that cannot be.

        A size of 0 gives ZERO_SIZE_PTR (16). kmalloc().
        """
        address: int = kmalloc_node(self.mm, size, self._gfp[gfp], -1)
        return address

    def kmalloc_node(self, size: int, gfp: str | int = "GFP_KERNEL", node: int = -1) -> int:
        """kmalloc() of memory of a NUMA node, of any with -1: kmalloc_node().

        Raises ValueError for a node that the machine does not have.
        """
        address: int = kmalloc_node(self.mm, size, self._gfp[gfp], self._node(node))
        return address

    def kmalloc_cache(self, size: int, gfp: str | int = "GFP_KERNEL") -> Cache:
        """The cache that kmalloc() takes an object of `size` bytes from: kmalloc_slab().

        Raises ValueError for sizes that no cache serves.
        """
        if not 0 < size <= 2 << self.mm.page_shift:
            raise ValueError(f"no cache serves {size} bytes")
        return Cache(self.mm, kmalloc_slab(self.mm, size, self._gfp[gfp]))

    def kzalloc(self, size: int, gfp: str | int = "GFP_KERNEL") -> int:
        """kmalloc() of zeroed memory: kzalloc()."""
        return self.kmalloc(size, self._gfp[gfp] | self._gfp["__GFP_ZERO"])

    def krealloc(self, address: int, size: int, gfp: str | int = "GFP_KERNEL") -> int:
        """Gives an object another size, at another address if it must move; 0 and the old object
        kept if there is no memory. krealloc().
        """
        before = len(self.mm.complaints)
        result: int = slab_common.krealloc(self.mm, self._address(address), size, self._gfp[gfp])
        self._raise_new(before)
        return result

    def kfree(self, address: int) -> None:
        """Frees what kmalloc() gave; 0 and ZERO_SIZE_PTR are nothing. kfree().

        Raises Complaint where the kernel would print an error: a double free, a foreign address.
        """
        before = len(self.mm.complaints)
        slab_common.kfree(self.mm, self._address(address))
        self._raise_new(before)

    def ksize(self, address: int) -> int:
        """The bytes that an object may use, which may be more than were asked for. ksize()."""
        before = len(self.mm.complaints)
        size: int = slab_common.ksize(self.mm, self._address(address))
        self._raise_new(before)
        return size

    # ---- caches

    def kmem_cache_create(
        self, name: str, size: int, align: int = 0, flags: str | int = 0, **details: int
    ) -> Cache:
        """Creates a cache, or shares an equal one as the kernel merges them. kmem_cache_create().

        `flags`: names (`"SLAB_HWCACHE_ALIGN|SLAB_PANIC"`) or the twin's number; `details`:
        useroffset, usersize, ctor, freeptr_offset, sheaf_capacity. Raises ValueError for what the
        kernel refuses.
        """
        number = slub_cache.kmem_cache_create(
            self.mm, name, size, align, self._slab_flags(flags), **details
        )
        return Cache(self.mm, number)

    def kmem_cache_alloc(
        self, cache: "Cache | str | int", gfp: str | int = "GFP_KERNEL", node: int = -1
    ) -> int:
        """An object of a cache (its name, number or Cache); 0 if there is no memory."""
        address: int = slub.kmem_cache_alloc_node(
            self.mm, self.cache(cache).number, self._gfp[gfp], self._node(node)
        )
        return address

    def kmem_cache_free(self, cache: "Cache | str | int", address: int) -> None:
        """Frees an object of a cache. Raises Complaint where the kernel would print an error."""
        before = len(self.mm.complaints)
        slub.kmem_cache_free(self.mm, self.cache(cache).number, self._address(address))
        self._raise_new(before)

    def kmem_cache_shrink(self, cache: "Cache | str | int") -> bool:
        """Frees a cache's empty slabs; whether slabs remain. kmem_cache_shrink()."""
        return bool(slub_shrink.kmem_cache_shrink(self.mm, self.cache(cache).number))

    def kmem_cache_destroy(self, cache: "Cache | str | int") -> None:
        """Gives a cache up. Raises Complaint if objects remain. kmem_cache_destroy()."""
        before = len(self.mm.complaints)
        slub_shrink.kmem_cache_destroy(self.mm, self.cache(cache).number)
        self._raise_new(before)

    def validate_slabs(self, cache: "Cache | str | int") -> int:
        """Checks the slabs of a debug cache, as `echo 1 > /sys/kernel/slab/NAME/validate` does.

        What is wrong is reported (`complaints`) and mended. Returns how many slabs were looked
        at. Raises ValueError for a cache without checks. validate_slab_cache().
        """
        number = self.cache(cache).number
        if not self.mm.slub_bytes or not self.cache(cache).flags & SLUB_DEFS["SLAB_DEBUG_FLAGS"]:
            raise ValueError(f"{self.cache(cache).name} has no checks (slub_debug=)")
        return int(slub_traces.validate_slab_cache(self.mm, number))

    @property
    def slab_errors(self) -> int:
        """Errors and repairs of debug caches so far, as the kernel's own unit test counts them."""
        return int(self.mm.slub_debug.errors) if self.mm.slub_debug else 0

    @property
    def slab_trace(self) -> list[str]:
        """What caches with SLAB_TRACE (`slub_debug=T`) printed, one text for each object."""
        return list(self.mm.slub_debug.traced) if self.mm.slub_debug else []

    def alloc_traces(self, cache: "Cache | str | int") -> str:
        """Who has the live objects of a cache: debugfs' alloc_traces. Raises ValueError without
        `slub_debug=U`.
        """
        return str(slub_traces.traces(self.mm, self.cache(cache).number, SLUB_DEFS["TRACK_ALLOC"]))

    def free_traces(self, cache: "Cache | str | int") -> str:
        """Who freed them before: debugfs' free_traces. Raises ValueError without `slub_debug=U`.
        """
        return str(slub_traces.traces(self.mm, self.cache(cache).number, SLUB_DEFS["TRACK_FREE"]))

    def cache(self, which: "Cache | str | int") -> Cache:
        """A cache by its name, an alias or its number. Raises ValueError if there is none."""
        if isinstance(which, Cache):
            return which
        alive = self.mm.view("cache")["alive"]
        if isinstance(which, int):
            if 0 <= which < self.mm.nr_caches and alive[which]:
                return Cache(self.mm, which)
            raise ValueError(f"no slab cache has the number {which}")
        for number, name in enumerate(self.mm.cache_names):
            if alive[number] and (name == which or which in self._aliases(number)):
                return Cache(self.mm, number)
        living = {name for number, name in enumerate(self.mm.cache_names) if alive[number]}
        near = get_close_matches(which, living, 3, 0.6)
        also = f"; nearest: {', '.join(sorted(near))}" if near else ""
        raise ValueError(f"no slab cache is named {which!r}{also}")

    @property
    def caches(self) -> list[Cache]:
        """Every cache, oldest first."""
        alive = self.mm.view("cache")["alive"]
        return [Cache(self.mm, number) for number in range(self.mm.nr_caches) if alive[number]]

    def _slab_flags(self, flags: str | int) -> int:
        if not isinstance(flags, str):
            if not 0 <= flags < 1 << 32:
                raise ValueError(f"flags {flags}: not a number of 32 bits")
            return flags
        value = 0
        for name in flags.split("|"):
            if not name.strip().startswith("SLAB_") or name.strip() not in SLUB_DEFS:
                raise ValueError(f"no slab flag {name.strip()!r}")
            value |= SLUB_DEFS[name.strip()]
        return value

    def _aliases(self, number: int) -> Sequence[str]:
        names: Sequence[str] = self.mm.cache_aliases.get(number, ())
        return names
