"""KASAN's quarantine: freed objects wait, so that a use after the free meets no new owner.

A queue for each CPU, up to 1 MiB; then a batch of the global quarantine, a ring. While that holds
more than 1/32 of RAM (less the CPUs' queues), the oldest batch goes back to SLUB whenever somebody
allocates who may sleep. mm/kasan/quarantine.c. The link to the next object lies in the freed
object (struct kasan_free_meta); the twin writes it there and keeps the order itself as well.
"""

from mmtwin.kernel.kasan_shadow import MASK64
from mmtwin.kernel.slub import cache_free

QUARANTINE_PERCPU_SIZE = 1 << 20
QUARANTINE_FRACTION = 32
KASAN_SLAB_FREE = 0xFB


class Queue:
    """struct qlist_head: (cache, object) of the waiting objects, oldest first, and their bytes."""

    def __init__(self):
        self.entries = []
        self.bytes = 0

    def take(self):
        """qlist_move_all(): everything, so that the queue is empty."""
        taken, self.entries, self.bytes = self.entries, [], 0
        return taken


class Quarantine:
    """The quarantine of one machine; `kasan` is its Kasan."""

    def __init__(self, kasan):
        self.kasan = kasan
        self.mm = kasan.mm
        self.cpus = [Queue() for _ in range(kasan.mm.nr_cpus)]
        self.batches = {}  # global_quarantine[]: place -> Queue
        self.head = self.tail = 0
        self.size = 0  # quarantine_size
        self.max_size = 0
        self.batch_size = 0

    def bytes(self):
        """Bytes of all waiting objects, metadata and red zones included."""
        return sum(queue.bytes for queue in self.queues())

    def queues(self):
        """Every queue: the CPUs', then the global ones from the oldest."""
        places = sorted(self.batches, key=lambda place: (place - self.head) % self.limit())
        return [*self.cpus, *(self.batches[place] for place in places)]

    def objects(self):
        """(cache, object) of everything that waits."""
        return [entry for queue in self.queues() for entry in queue.entries]

    def limit(self):
        """QUARANTINE_BATCHES"""
        return self.kasan.has.kasan_quarantine_batches

    def put(self, cache, object):
        """kasan_quarantine_put(): whether a freed object waits here; without metadata it does not.
        """
        meta = self.kasan.free_meta(cache, object)
        if not meta:
            return False
        queue = self.cpus[self.mm.cpu]
        self._link(queue.entries[-1] if queue.entries else None, meta)
        queue.entries.append((cache, object))
        queue.bytes += self._size(cache)
        if queue.bytes > QUARANTINE_PERCPU_SIZE:
            self._to_global(queue)
        return True

    def reduce(self):
        """kasan_quarantine_reduce(): the oldest batch is freed if too much waits."""
        if self.size <= self.max_size:
            return
        managed = int(self.mm.view("zone")["managed_pages"].sum())
        total = (managed << self.mm.page_shift) // QUARANTINE_FRACTION
        self.max_size = max(total - QUARANTINE_PERCPU_SIZE * self.mm.nr_cpus, 0)
        self.batch_size = max(QUARANTINE_PERCPU_SIZE, 2 * total // self.limit())
        if self.size <= self.max_size:
            return
        oldest = self.batches.pop(self.head, Queue())
        self.size -= oldest.bytes
        self.head = (self.head + 1) % self.limit()
        self._free(oldest.take())

    def remove_cache(self, cache):
        """kasan_quarantine_remove_cache(): everything of a cache is freed."""
        for queue in self.cpus:
            self._free(self._split(queue, cache))
        freed = []
        for queue in self.queues()[len(self.cpus) :]:
            before = queue.bytes
            freed += self._split(queue, cache)
            if self.kasan.has.kasan_quarantine_exact:
                self.size -= before - queue.bytes
        self._free(freed)

    def _to_global(self, queue):
        self.size += queue.bytes
        batch = self.batches.setdefault(self.tail, Queue())
        batch.bytes += queue.bytes
        batch.entries += queue.take()
        following = (self.tail + 1) % self.limit()
        if batch.bytes >= self.batch_size and following != self.head:
            self.tail = following

    def _split(self, queue, cache):
        mine = [entry for entry in queue.entries if entry[0] == cache]
        if mine:
            queue.entries = [entry for entry in queue.entries if entry[0] != cache]
            queue.bytes -= len(mine) * self._size(cache)
        return mine

    def _free(self, entries):
        # qlink_free(): back to SLUB, past the sheaves
        for cache, object in entries:
            if not self.kasan.has.kasan_keeps_free_track:
                self.kasan.shadow.set_byte(object, KASAN_SLAB_FREE)
            cache_free(self.mm, cache, object)

    def _size(self, cache):
        return int(self.mm.view("cache")["size"][cache])

    def _link(self, last, meta):
        # quarantine_link of the last object and of the new one
        shadow = self.kasan.shadow
        if last is not None:
            shadow.write(self.kasan.free_meta(*last), (meta & MASK64).to_bytes(8, "little"))
        shadow.write(meta, bytes(8))
