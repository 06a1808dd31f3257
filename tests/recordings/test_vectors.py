"""A slab's vector of cgroups is allocated within the allocation of its first charged object, whose
event comes after its own.
"""

import numpy as np
import pytest

from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.roles import Annotator
from mmtwin.recordings.sites import SiteTable

BASE = 0xFFFF_8880_0000_0000
VECTOR, OTHER = 0xFFFF_FFFF_8112_3456, 0xFFFF_FFFF_8165_4321
KMALLOC, PAGE = CONSTANTS["KIND_KMALLOC"], CONSTANTS["KIND_MM_PAGE_ALLOC"]
NESTED = CONSTANTS["EXTRA_NESTED"]
SIZE = 192


def annotated(*rows):
    """Events (kind, address, call site) of one task, with their roles."""
    events = np.zeros(len(rows), EVENT)
    events["cache"] = -1
    for event, (kind, address, site) in zip(events, rows, strict=True):
        event["kind"], event["address"], event["call_site"] = kind, address, site
        if kind == KMALLOC:
            event["bytes_req"], event["bytes_alloc"], event["cache"] = 168, SIZE, 0
    sites = SiteTable(4096, BASE, 12, 0)
    annotator = Annotator(sites, 1, 8192, [VECTOR])
    annotator.annotate(events.ctypes.data, 0, len(events), 0)
    return events


def object_at(pfn, number=0):
    return BASE + (pfn << 12) + number * SIZE


def test_a_vector_knows_how_far_its_object_is() -> None:
    events = annotated((KMALLOC, object_at(7, 1), VECTOR), (KMALLOC, object_at(7), OTHER))
    assert events["ahead"].tolist() == [1, 0]
    assert (events["extra"] & NESTED).tolist() == [NESTED, 0]


def test_without_a_vector_nothing_is_nested() -> None:
    events = annotated((KMALLOC, object_at(7, 1), OTHER), (KMALLOC, object_at(7), OTHER))
    assert not events["ahead"].any()
    assert not (events["extra"] & NESTED).any()


@pytest.mark.parametrize(
    "pages, vector, ahead",
    [
        ((9,), 7, [2]),  # the object's slab was made, the vector's was there
        ((7,), 7, [1]),  # the other way round
        ((9, 7), 7, [3, 1]),  # both were made
    ],
)
def test_a_page_is_taken_for_the_one_that_lies_in_it(pages, vector, ahead) -> None:
    rows = [(PAGE, pfn, 0) for pfn in pages]
    events = annotated(
        *rows, (KMALLOC, object_at(vector), VECTOR), (KMALLOC, object_at(9), OTHER)
    )
    assert events["ahead"][: len(pages)].tolist() == ahead


def test_a_slab_of_both_was_made_for_the_object() -> None:
    events = annotated(
        (PAGE, 9, 0), (KMALLOC, object_at(9, 1), VECTOR), (KMALLOC, object_at(9), OTHER)
    )
    assert events["ahead"].tolist() == [2, 1, 0]
    assert events["role"][0] == CONSTANTS["ROLE_SLAB"]
