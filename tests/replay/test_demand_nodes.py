"""Nodes of the twin's maple trees, and the events that name them."""

from types import SimpleNamespace
from typing import Any

from mmtwin.replay.demand_nodes import RCU, Nodes
from mmtwin.replay.demand_streams import Asked, Seen


def nodes() -> Nodes:
    symbols = SimpleNamespace(functions=lambda _pattern: [])
    annotated: Any = SimpleNamespace(recording=SimpleNamespace(symbols=symbols))
    return Nodes(annotated, None)


def given_back(made: Nodes, address: int, now: int, after: Asked | None) -> int:
    """A node that waits for a grace period: its number."""
    number = made.new(address)
    made.now = now
    made.later(address, [], after)
    return number


def freed(made: Nodes, *indexes: int) -> list[int]:
    """Which nodes RCU's frees are, in order."""
    made.waiting.seen.extend(Seen(index, RCU, 0x100 + index) for index in indexes)
    made.match_later(max(indexes) + 1, 0)
    return [record.own for record in made.records]


def test_a_step_that_the_twin_carries_out_later_gave_its_node_back_before() -> None:
    made = nodes()
    first = given_back(made, 0x1000, 50, Asked(40, ("alloc", True), at=45))
    exec_ = given_back(made, 0x2000, 90, Asked(10, ("alloc", True), at=20))
    assert freed(made, 100, 101) == [exec_, first]


def test_without_an_event_before_it_a_node_goes_with_its_step() -> None:
    made = nodes()
    last = given_back(made, 0x1000, 50, None)
    first = given_back(made, 0x2000, 60, Asked(10, ("alloc", True), at=20))
    assert freed(made, 100, 101) == [first, last]


def test_a_node_whose_place_is_not_known_yet_waits() -> None:
    made = nodes()
    after = Asked(10, ("alloc", True))
    waits = given_back(made, 0x1000, 50, after)
    other = given_back(made, 0x2000, 60, Asked(10, ("alloc", True), at=20))
    assert freed(made, 100) == [other]
    after.at = 30
    assert freed(made, 110) == [other, waits]
