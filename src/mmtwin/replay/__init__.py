"""Replays a recording in the twin: `replay(recording)` -> ReplayResult; `what_if(recording,
slub_min_order=0)` -> figures of the recorded machine's twin beside a changed one's.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmtwin.replay.errors import ReplayError
    from mmtwin.replay.result import ReplayResult
    from mmtwin.replay.run import replay
    from mmtwin.replay.side_by_side import what_if

__all__ = ["ReplayError", "ReplayResult", "replay", "what_if"]


def __getattr__(name: str) -> object:
    from importlib import import_module

    home = {
        "replay": "run", "ReplayError": "errors", "ReplayResult": "result",
        "what_if": "side_by_side",
    }.get(name)  # fmt: skip
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
