"""Short queues of pfns: what one side said and the other has not said yet."""

from importlib.resources import files

import cython

from mmtwin.kernel.constants import parse_constants
from mmtwin.kernel.structs import parse_structs

TEXT = files(__package__).joinpath("queues.pxd").read_text()
QUEUE = parse_structs(TEXT)["queue_t"]

if not cython.compiled:
    QUEUES = parse_constants(TEXT)
    QUEUE_PLACES = QUEUES["QUEUE_PLACES"]

    def as_queues(address, count):
        """The records at an address."""
        return (QUEUE * count).from_address(address)

    def queue_at(queues, number):
        """One record of an array."""
        return queues[number]

    def put(queue, item):
        """Adds at the end; a full queue loses its first."""
        if queue.first == queue.last:
            queue.first = queue.last = 0
        queue.items[queue.last & (QUEUE_PLACES - 1)] = item
        queue.last += 1
        if queue.last - queue.first > QUEUE_PLACES:
            queue.first += 1

    def get(queue):
        """Takes the first; -1 from an empty queue."""
        if queue.first == queue.last:
            return -1
        item = queue.items[queue.first & (QUEUE_PLACES - 1)]
        queue.first += 1
        return item

    def get_last(queue):
        """Takes the last; -1 from an empty queue."""
        if queue.first == queue.last:
            return -1
        queue.last -= 1
        return queue.items[queue.last & (QUEUE_PLACES - 1)]

    def empty(queue):
        """Whether nothing waits."""
        return queue.first == queue.last

    def waiting(queue):
        """How many items wait."""
        return queue.last - queue.first

    def item_at(queue, nth):
        """The item that so many wait before."""
        return queue.items[(queue.first + nth) & (QUEUE_PLACES - 1)]

    def first_is(queue, item):
        """Whether this item waits first."""
        return queue.first != queue.last and queue.items[queue.first & (QUEUE_PLACES - 1)] == item


def rename(queue, first, count, distance):
    """Pfns from `first` on, `count` of them, are others now, at a distance."""
    for number in range(queue.first, queue.last):
        place = number & (QUEUE_PLACES - 1)
        if first <= queue.items[place] < first + count:
            queue.items[place] += distance


def replace(queue, item, other):
    """Where a pfn waits, another one waits now; whether it did."""
    for number in range(queue.first, queue.last):
        if queue.items[number & (QUEUE_PLACES - 1)] == item:
            queue.items[number & (QUEUE_PLACES - 1)] = other
            return True
    return False


def skip_to(queue, item):
    """Drops what waits before a pfn, if that waits too: how many the other side never had."""
    for number in range(queue.first, queue.last):
        if queue.items[number & (QUEUE_PLACES - 1)] == item:
            skipped = number - queue.first
            queue.first = number
            return skipped
    return 0
