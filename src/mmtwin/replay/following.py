"""The twin at an instant by the kernel's own answers: from the last of its own lists before it,
else from what /proc or the first events tell.

Nothing is predicted and nothing compared: what `mmtwin explain` and `mmtwin at` wait for.
"""

from collections.abc import Callable

from mmtwin.kernel.mm import MM
from mmtwin.machine.recorded import machine_at_truth, profile_of, twin_gfp_of
from mmtwin.recordings.annotate import Annotated, Block
from mmtwin.replay.errors import ReplayError
from mmtwin.replay.follow import Follower

Progress = Callable[[int, int], None]


class Following:
    """The state at a start, and behind it as the kernel's answers make it.

    `mm` is it; `snapshot` the name of what it begins with: the last truth before event `stop`,
    where there is one, else as choose_start() says. Raises ReplayError if the recording's state
    begins behind `stop`.
    """

    def __init__(self, annotated: Annotated, stop: int) -> None:
        self.annotated = annotated
        self.stop = stop
        self.profile = profile_of(annotated.recording)
        self.truth = self.snapshot = last_truth(annotated, stop)
        self.mm, self.first = self._start()
        self.mm.contents = 0  # no event tells what is in an object
        numbers = {name: number for number, name in enumerate(self.mm.cache_names)}
        self.cache_of = [numbers.get(name, -1) for name in annotated.names] or [-1]
        self.gfp_bits = twin_gfp_of(annotated.recording)
        self.follower = Follower(self.mm, self.cache_of, self.gfp_bits)

    def _start(self) -> tuple[MM, int]:
        """The machine to begin with, and the number of the event that it is just before."""
        annotated, recording = self.annotated, self.annotated.recording
        if self.truth:
            mm = machine_at_truth(recording, self.truth, profile=self.profile)
            return mm, annotated.truth_index[self.truth]
        from mmtwin.replay.starts import choose_start, first_event, machine_at_start

        start, self.snapshot = choose_start(recording, "auto")
        first = first_event(annotated, start, self.snapshot)
        if self.stop < first:
            raise ReplayError(
                f"event {self.stop} lies before event {first}, where the state to start from was "
                f"taken: '#{first}' is the first instant (`mmtwin at --from empty` shows others)"
            )
        return machine_at_start(annotated, self.profile, start, self.snapshot), first

    def carry_out(self, block: Block) -> int:
        """Follows a block up to `stop`; how many of its events lie before that."""
        end = min(max(self.stop - block.first, 0), block.ready)
        start = min(max(self.first - block.first, 0), end)
        if end > start:
            self.follower.run(block.events.ctypes.data, start, end, len(block.events))
        return end

    def run(self, progress: Progress | None = None) -> MM:
        """Follows the events from the truth to `stop`: the state there."""
        for block in self.annotated.blocks(since=self.truth):
            self.carry_out(block)
            if progress:
                progress(min(block.first + block.ready, self.stop), self.stop)
            if self.stop <= block.first + block.ready:
                break
        self.mm.contents = 1
        return self.mm


def last_truth(annotated: Annotated, stop: int) -> str:
    """The name of the last truth before an event, "" for none."""
    known = {at: name for name, at in annotated.truth_index.items() if at <= stop}
    return known[max(known)] if known else ""
