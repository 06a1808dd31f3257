"""A policy of one's own: slabs of order 1 at most, no CPU partial lists for small objects.

    mmtwin what-if --policy examples/slab_policy.py

carries out a recording's demands on the recorded kernel's twin and on one that follows this file;
`python examples/slab_policy.py` does the same and prints one line. A file fills the slots that it
has functions for; the others follow the kernel (kernel/policy.py lists them).
"""


def calculate_order(has, size, page_size, nr_orders, present_cpus, cpu_ids):
    """The smallest order that wastes at most an eighth of a slab, but 1 at most if it fits."""
    for order in range(nr_orders):
        slab = page_size << order
        if size <= slab and (order or slab % size <= slab // 8):
            return order
    return -1


def cpu_partial(size, objects, limit):
    """As the kernel has it, but nothing for objects below 256 bytes."""
    return limit if size >= 256 else 0


if __name__ == "__main__":
    from mmtwin.replay import what_if

    policy = {"calculate_order": calculate_order, "cpu_partial": cpu_partial}
    recorded, changed = what_if(start="empty", policy=policy)["machines"]
    sizes = [machine["slab"]["bytes"] >> 10 for machine in (recorded, changed)]
    print(f"slabs: {sizes[0]} KiB as recorded, {sizes[1]} KiB with this policy")
