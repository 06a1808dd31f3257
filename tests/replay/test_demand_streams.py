"""Demands of the twin's processes and the events that show them."""

from mmtwin.replay.demand_streams import Asked, Seen, Stream


def stream(*seen: tuple[int, str]) -> Stream:
    """One with events: (number, key)."""
    made = Stream()
    made.seen.extend(Seen(index, key, 100 + index) for index, key in seen)
    return made


def found(made: Stream, until: int, final: bool = True) -> list[int | None]:
    """The events that the demands find."""
    return [seen.index if seen else None for _asked, seen in made.match(until, final)]


def test_demands_find_events_in_order() -> None:
    made = stream((3, "page"), (4, "table"), (5, "page"))
    made.asked.extend([Asked(3, "page"), Asked(3, "page"), Asked(3, "page")])
    assert found(made, 10) == [3, 5, None]
    assert not made.asked and not made.seen


def test_what_lies_outside_of_a_step_is_not_its() -> None:
    made = stream((1, "page"), (5, "page"), (9, "page"))
    made.asked.extend([Asked(3, "page"), Asked(3, "page")])
    assert found(made, 9) == [5, None]
    assert [seen.index for seen in made.seen] == [9]


def test_an_event_that_is_still_to_come_is_waited_for() -> None:
    made = stream((5, "page"))
    made.asked.extend([Asked(3, "page"), Asked(4, "page")])
    assert found(made, 6, final=False) == [5]
    made.seen.append(Seen(8, "page", 1))
    assert found(made, 10) == [8]


def test_old_events_are_forgotten() -> None:
    made = stream((1, "page"), (5, "page"))
    made.forget(5)
    assert [seen.index for seen in made.seen] == [5]
