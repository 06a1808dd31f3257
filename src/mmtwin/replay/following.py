"""The twin at an instant by the kernel's own answers, from the last of its own lists before it.

Nothing is predicted and nothing compared: what `mmtwin explain` waits for.
"""

from collections.abc import Callable

from mmtwin.kernel.mm import MM
from mmtwin.machine.recorded import machine_at_truth, profile_of, twin_gfp_of
from mmtwin.recordings.annotate import Annotated, Block
from mmtwin.replay.follow import Follower

Progress = Callable[[int, int], None]


class Following:
    """The state at a truth, and behind it as the kernel's answers make it.

    `mm` is it; `truth` the name of the snapshot that it begins with, the last one before event
    `stop`.
    """

    def __init__(self, annotated: Annotated, truth: str, stop: int) -> None:
        recording = annotated.recording
        self.annotated = annotated
        self.truth = truth
        self.stop = stop
        self.profile = profile_of(recording)
        self.mm = machine_at_truth(recording, truth, profile=self.profile)
        self.mm.contents = 0  # no event tells what is in an object
        numbers = {name: number for number, name in enumerate(self.mm.cache_names)}
        cache_of = [numbers.get(name, -1) for name in annotated.names] or [-1]
        self.follower = Follower(self.mm, cache_of, twin_gfp_of(recording))
        self.first = annotated.truth_index[truth]

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
