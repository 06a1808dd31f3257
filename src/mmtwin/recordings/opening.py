"""Which reader a path is for: found from what it holds, never from its name."""

from pathlib import Path

from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.machine import RecordedMachine
from mmtwin.recordings.recording import Recording

DEFAULT = "x86_64-6.1"
HEAD = 1 << 16  # bytes that a text is known by


def default_recording_path() -> Path:
    """The recording that mmtwin ships: boot and a workload of an x86-64 6.1 kernel."""
    return Path(__file__).parents[1] / "data" / "recordings" / DEFAULT


def open_recording(
    path: str | Path | None = None, machine: RecordedMachine | None = None
) -> Recording:
    """Opens a recording: an mmtwin recording, a lab data set (packed or unpacked), ftrace text,
    `perf script` text.

    Without a path: the one that mmtwin ships. A text does not say what machine it is of: `machine`
    does, else the kernel's line and architecture are guessed from the fields and addresses it
    prints. Raises RecordingError, which names the file and the byte, for anything else.
    """
    place = Path(path) if path is not None else default_recording_path()
    try:
        if place.is_dir():
            return open_folder(place)
        if not place.is_file():
            there = place.exists()
            raise RecordingError(place, "no regular file" if there else "does not exist")
        with place.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise RecordingError(place, f"cannot be opened: {error.strerror}") from None
    except ValueError:  # a name that no file can have
        raise RecordingError(place, "does not exist") from None
    from mmtwin.recordings.trace_file import TextRecording, style_of

    style = style_of(head)
    if not style:
        raise RecordingError(place, "neither ftrace text nor perf script text of kmem events", 0)
    return TextRecording(place, style, machine)


def open_folder(place: Path) -> Recording:
    """A recording that is a folder."""
    if (place / "recording.json").is_file():
        from mmtwin.recordings.native import NativeRecording

        return NativeRecording(place)
    if (place / "meta.json").is_file():
        from mmtwin.recordings.lab import LabRecording

        return LabRecording(place)
    raise RecordingError(place, "a folder without recording.json or meta.json: not a recording")
