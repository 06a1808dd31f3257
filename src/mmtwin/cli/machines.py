"""The machine that a command is about: booted from a profile, or a recording's at an instant."""

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.options import LATER, opened, source_of
from mmtwin.cli.progress import progress_bar

if TYPE_CHECKING:
    from mmtwin.machine import Machine

DEFAULT = "arm64-5.13"  # the deck's
DUMP = "DUMP "  # begins the marker of a truth
END = "end"  # the instant behind a recording's last event
LARGEST_SIZE = (1 << 64) - 1  # of a size_t
NO_PROFILE = re.compile("no profile '(.+)'; nearest: ")
# What helps, by what the message says.
REMEDIES = (
    ("no profile", "`mmtwin boot --list` prints the profiles"),
    ("gfp flag", "GFP is names joined by |, as GFP_KERNEL|__GFP_ZERO, or a number"),
    ("no slab cache", "caches have the names of /proc/slabinfo"),
    ("is no marker", "`mmtwin info` lists the markers"),
)


@contextmanager
def machine_errors() -> Iterator[None]:
    """As `input_errors`, with the remedy that fits what the machine said."""
    try:
        with input_errors():
            yield
    except UserError as error:
        recording = NO_PROFILE.match(str(error))
        if recording and is_recording_name(recording[1]):
            raise of_recording(recording[1]) from error
        found = (remedy for part, remedy in REMEDIES if part in str(error))
        error.remedy = error.remedy or next(found, "")
        raise


def is_recording_name(name: str) -> bool:
    """Whether what was given for a profile is a recording, or one at an instant."""
    path = name.rpartition("@")[0] or name
    return os.path.exists(source_of(path))


def of_recording(name: str) -> UserError:
    """What to say of a recording that was given for a profile."""
    from mmtwin.recordings import open_recording
    from mmtwin.recordings.errors import RecordingError
    from mmtwin.versions.releases import nearest_release

    path = source_of(name.rpartition("@")[0] or name)
    kernel = "its kernel's name stands in `mmtwin info`"
    with suppress(RecordingError, ValueError, OSError), open_recording(path) as recording:
        release = nearest_release(recording.machine.release)
        kernel = f"--profile {recording.machine.arch}-{release} is the nearest to its kernel"
    return UserError(
        f"--profile {name}: a recording is no profile",
        f"{kernel}; calls take its machine as --state RECORDING@MARK, pictures of memory and "
        "pages as RECORDING@MARK",
    )


def add_booted(parser: argparse.ArgumentParser) -> None:
    """Adds what a machine is booted with where no recording is named."""
    parser.add_argument("--profile", metavar="PROFILE", help=f"(default: {DEFAULT})")
    parser.add_argument("--memory", metavar="SIZE", help="RAM to boot with (default: 4G)")


def machine_of(arguments: argparse.Namespace, where: str | None) -> "Machine":
    """The machine at `where`, RECORDING@MARK (RECORDING alone: at its end); without it one booted
    as `add_booted` says.
    """
    from mmtwin.machine import Machine

    if where is None:
        with machine_errors():
            return Machine.boot(arguments.profile or DEFAULT, memory=arguments.memory or "4G")
    path, mark = split_mark(where)
    if arguments.profile or arguments.memory:
        raise UserError("--profile and --memory with a recording", "a recording has its own")
    return recorded(path, mark)


def split_mark(where: str) -> tuple[str, str]:
    """The recording and the instant of RECORDING@MARK; RECORDING alone is meant at its end."""
    if os.path.exists(source_of(where)):
        return where, END
    path, at, mark = where.rpartition("@")
    if not at:
        raise UserError(f"no recording {where!r}", "as FOLDER, 'FOLDER@SNAP end' or FOLDER@1.25")
    return path, mark


def recorded(path: str, mark: str, areas: bool = False) -> "Machine":
    """The machine of a recording at an instant: followed from a start that is kept, or as it was
    kept itself, else worked out.

    `areas`: with those of vmalloc, which takes all events.
    """
    if not areas and not mark.startswith(DUMP):
        from mmtwin.replay.kept_starts import kept_machine

        with machine_errors():
            machine = kept_machine(source_of(path), mark)
        return machine or worked_out(path, mark)
    from mmtwin.machine.kept import kept_place, make_room, was_used

    place = kept_place(source_of(path), "areas" if areas else "state", mark)
    if place is not None and place.exists():
        from mmtwin.machine.saved_state import BadState, load_state

        with suppress(BadState, OSError):
            machine = load_state(place)
            was_used(place)
            return machine
    machine = replayed(path, mark)
    if place is not None:
        from mmtwin.machine.saved_state import can_save, state_of, write_state

        if can_save(machine):
            parts = state_of(machine)  # before the call that is asked for changes it

            def keep() -> None:
                with suppress(OSError):
                    write_state(parts, place)
                    make_room(place.parent)

            LATER.append(keep)
    return machine


def worked_out(path: str, mark: str) -> "Machine":
    """The machine at an instant, followed from its start, which is kept once the answer is
    printed. The recording is read while Python still imports the machine.
    """
    from mmtwin.recordings.ahead import Ahead

    source = source_of(path)
    ahead = Ahead(source)
    from mmtwin.machine import Machine
    from mmtwin.replay.following import Following
    from mmtwin.replay.instants import find_moment

    with opened(path, ahead.recording) as recording, machine_errors():
        stop = find_moment(recording, mark).index
        following = Following(ahead.annotated(), stop)
        with progress_bar("replaying") as progress:
            machine = Machine(following.run(progress))

    def keep() -> None:
        from mmtwin.replay.kept_starts import keep_starts

        with suppress(OSError, ValueError):
            keep_starts(source, following.annotated)

    LATER.append(keep)
    return machine


def replayed(path: str, mark: str) -> "Machine":
    """The machine at an instant, with the areas of vmalloc; at `DUMP name` the truth itself."""
    from mmtwin.machine import Machine

    with opened(path) as recording, machine_errors(), progress_bar("replaying") as progress:
        return Machine.at(recording, mark, progress=progress)


def size_of(text: str) -> int:
    """A size in bytes, for argparse. Raises ArgumentTypeError for what no size_t holds."""
    try:
        size = int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes") from None
    if not 0 <= size <= LARGEST_SIZE:
        raise argparse.ArgumentTypeError(f"{text} bytes: a size is 0 to 2^64 - 1")
    return size
