"""Sums of page events, as a compiled loop: Statistics makes its tables of them."""

from importlib.resources import files

import cython

from mmtwin.kernel.constants import parse_constants

TALLY = parse_constants(files(__package__).joinpath("tally.pxd").read_text())

if not cython.compiled:
    from mmtwin.kernel.casts import as_s64
    from mmtwin.recordings.event import (
        KIND_MM_PAGE_ALLOC,
        KIND_MM_PAGE_ALLOC_EXTFRAG,
        KIND_MM_PAGE_FREE,
        as_events,
        event_at,
    )

    globals().update(TALLY)


def tally(address, start, stop, sums_address):
    """Adds events `start` to `stop` of the array of EVENT at an address to the s64 sums at
    another: blocks taken and given back by order and migratetype, steals by both migratetypes.
    """
    events = as_events(address, stop)
    sums = as_s64(sums_address, TALLY_PLACES)
    for i in range(start, stop):
        event = event_at(events, i)
        kind = event.migratetype & (TALLY_TYPES - 1)
        place = (event.order & (TALLY_ORDERS - 1)) * TALLY_TYPES + kind
        if event.kind == KIND_MM_PAGE_ALLOC:
            sums[TALLY_TAKEN + place] += 1
        elif event.kind == KIND_MM_PAGE_FREE:
            # its event names no migratetype
            sums[TALLY_FREED + place - kind] += 1
        elif event.kind == KIND_MM_PAGE_ALLOC_EXTFRAG:
            fallback = event.bytes_alloc & (TALLY_TYPES - 1)
            sums[TALLY_STEALS + fallback * TALLY_TYPES + kind] += 1
            sums[TALLY_CLAIMS] += event.extra & 1
