"""Demands of a task as the twin has them and as the kernel's events show them, side by side."""

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Seen(NamedTuple):
    """A demand that an event of the recording shows. `value`: the pfn or address that it got."""

    index: int  # type: ignore[assignment]
    key: Hashable
    value: int


@dataclass(slots=True)
class Asked:
    """A demand of the twin's process. `since`: number of the event that its step began with;
    `number`: of the page or node, -1 for none; `silent`: nodes that go with it, of no event;
    `at`: number of the event that it was found to be, or that it came behind, -1 not yet.
    """

    since: int
    key: Hashable
    number: int = -1
    silent: list[int] = field(default_factory=list)
    at: int = -1


class Stream:
    """One task's demands of one kind, in order."""

    def __init__(self) -> None:
        self.asked: deque[Asked] = deque()
        self.seen: deque[Seen] = deque()

    def match(self, until: int, final: bool = True) -> Iterator[tuple[Asked, Seen | None]]:
        """Each demand of the twin with the first event like it before number `until`, and behind
        those of the demands before it; None if there is none. Unless `final`, it then stays.
        """
        kept: list[Asked] = []
        while self.asked:
            asked = self.asked.popleft()
            found = self._find(asked, until)
            if found is None and not final:
                kept.append(asked)
                continue
            yield asked, found
        self.asked.extend(kept)

    def _find(self, asked: Asked, until: int) -> Seen | None:
        while self.seen and self.seen[0].index < asked.since:
            self.seen.popleft()
        for place, seen in enumerate(self.seen):
            if seen.index >= until:
                break
            if seen.key == asked.key:
                for _ in range(place + 1):
                    self.seen.popleft()
                return seen
        return None

    def forget(self, before: int) -> None:
        """Events before a number were nobody's."""
        while self.seen and self.seen[0].index < before:
            self.seen.popleft()
