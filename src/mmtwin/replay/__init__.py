"""Replays a recording in the twin: `replay(recording)` -> ReplayResult."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmtwin.replay.result import ReplayResult
    from mmtwin.replay.run import ReplayError, replay

__all__ = ["ReplayError", "ReplayResult", "replay"]


def __getattr__(name: str) -> object:
    from importlib import import_module

    home = {"replay": "run", "ReplayError": "run", "ReplayResult": "result"}.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
