"""Objects and pages in a slab of the SLAB allocator, which Linux had until 6.7 (mm/slab.c).

Kernels before SLUB became the only one print such caches in /proc/slabinfo: the size of an object
then decides as follows. Pure functions of numbers; the twin itself allocates as SLUB does.
"""

from mmtwin.kernel.align import align_up

BUFCTL_BYTES = 4  # kmem_bufctl_t, one for each object, before 3.15
SLAB_HEADER = {4: 28, 8: 48}  # sizeof(struct slab) before 3.13, by bytes of a pointer
INDEXES = 255  # objects that a freelist of bytes can number
MAX_ORDER_HIGH = 1  # slab_max_order with more than 32 MiB of RAM, else 0


def estimate(total, size, header, each, align, off_slab):
    """cache_estimate(): (objects, bytes left over) in `total` bytes.

    Management needs `header` bytes and `each` for every object, unless it lies elsewhere.
    """
    if off_slab:
        return total // size, total % size
    objects = max((total - header) // (size + each), 0)
    while objects and align_up(header + objects * each, align) + objects * size > total:
        objects -= 1
    if align_up(header + (objects + 1) * each, align) + (objects + 1) * size <= total:
        objects += 1
    return objects, total - objects * size - align_up(header + objects * each, align)


def calculate_slab_order(
    size, page_size=4096, align=4, reclaimable=False, early=False, bufctl=False, word=4,
    max_order=MAX_ORDER_HIGH, nr_orders=11, tried=None,
):  # fmt: skip
    """calculate_slab_order(): (order, objects) of a cache's slabs; (-1, 0) if none fits.

    `size`: bytes from object to object; `reclaimable`: SLAB_RECLAIM_ACCOUNT; `early`: made before
    kmalloc works, so the management stays inside; `bufctl`: as before 3.13, with struct slab and
    a kmem_bufctl_t for each object; `max_order`: slab_max_order=. `tried` gets (order, 8, objects,
    bytes left over, taken).
    """
    header = SLAB_HEADER[word] if bufctl else 0
    each = BUFCTL_BYTES if bufctl else 1
    off_slab = size >= page_size // (8 if bufctl else 32) and not early
    found = (-1, 0)
    for order in range(nr_orders):
        total = page_size << order
        objects, left = estimate(total, size, header, each, align, off_slab)
        if not objects:
            continue
        if not bufctl and objects > INDEXES:
            break
        if off_slab and objects > (size - header) // each:
            break
        found = (order, objects)
        taken = reclaimable or order >= max_order or left * 8 <= total
        if tried is not None:
            tried.append((order, 8, objects, left, taken))
        if taken:
            break
    return found
