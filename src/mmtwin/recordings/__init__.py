"""Recordings of real kernels: one reader for each format, one stream of events.

`open_recording(path)` takes whatever the path holds. Nothing is imported before it is used.
"""

from typing import TYPE_CHECKING

from mmtwin.recordings.errors import RecordingError

if TYPE_CHECKING:
    from mmtwin.recordings.opening import default_recording_path, open_recording
    from mmtwin.recordings.recording import Recording
    from mmtwin.recordings.writer import import_recording

__all__ = [
    "Recording",
    "RecordingError",
    "default_recording_path",
    "import_recording",
    "open_recording",
]

HOMES = {
    "Recording": "mmtwin.recordings.recording",
    "default_recording_path": "mmtwin.recordings.opening",
    "import_recording": "mmtwin.recordings.writer",
    "open_recording": "mmtwin.recordings.opening",
}


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(HOMES[name]), name)
