"""The form of a row of the feature table: a value, and the releases that changed it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from mmtwin.versions.releases import has_since


@dataclass(frozen=True)
class Facts:
    """What a value may depend on: see `features_of`."""

    version: str
    arch: str
    page_size: int
    config: Mapping[str, str]

    def on(self, symbol: str) -> bool:
        """Whether a configuration switch (`"CONFIG_NUMA"`) is set."""
        return self.config.get(symbol, "n") not in ("n", "")

    def number(self, symbol: str, otherwise: int) -> int:
        """A configuration switch that is a number."""
        return int(self.config.get(symbol, otherwise))


@dataclass(frozen=True)
class Change:
    """A value that a feature has from `release` on (the first mainline one with the commit).

    `backports`: stable releases that have it too (`"6.1.60"`: 6.1 from 6.1.60 on).
    """

    release: str
    value: "int | Callable[[Facts], int]"
    commit: str
    backports: tuple[str, ...] = ()


@dataclass(frozen=True, init=False)
class Feature:
    """A field of `features_t`: what it means, its first value, and its changes, oldest first.

    `config` names the switches a kernel must be built with for the row to hold, `arch` the
    architectures that have it; elsewhere the value is `without`.
    """

    name: str
    meaning: str
    first: "int | Callable[[Facts], int]"
    changes: tuple[Change, ...]
    config: tuple[str, ...]
    arch: tuple[str, ...]
    without: int

    def __init__(
        self,
        name: str,
        meaning: str,
        first: "int | Callable[[Facts], int]",
        *changes: Change,
        config: str = "",
        arch: str = "",
        without: int = 0,
    ) -> None:
        switches, architectures = tuple(config.split()), tuple(arch.split())
        values = (name, meaning, first, changes, switches, architectures, without)
        for field, value in zip(fields(self), values, strict=True):
            object.__setattr__(self, field.name, value)

    def value(self, facts: Facts) -> int:
        """The field's value for one kernel."""
        if self.arch and facts.arch not in self.arch:
            return self.without
        if not all(facts.on(symbol) for symbol in self.config):
            return self.without
        value = self.first
        for change in self.changes:
            if has_since(facts.version, change.release, change.backports):
                value = change.value
        return value(facts) if callable(value) else value
