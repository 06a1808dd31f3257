"""Which lines of meminfo a recording lets the twin follow."""

import pytest

from mmtwin.kernel import lists
from mmtwin.machine.recorded import profile_of
from mmtwin.recordings import default_recording_path, open_recording
from mmtwin.recordings.annotate import Annotated
from mmtwin.replay.memory_lines import MemoryLines


class Without:
    """A recording that some event was not traced in."""

    def __init__(self, recording, name):
        self.recording = recording
        self.counts = {event: n for event, n in recording.counts.items() if event != name}

    def __getattr__(self, name):
        return getattr(self.recording, name)


@pytest.mark.skipif(lists.__file__.endswith(".py"), reason="goes over all events")
@pytest.mark.parametrize("event, compared", [("rss_stat", True), ("mm_page_alloc", False)])
def test_page_tables_are_followed_where_pages_are_traced(event, compared):
    with open_recording(default_recording_path()) as recording:
        without = Without(recording, event)
        lines = MemoryLines(without, Annotated(recording), profile_of(recording), [])
        figures = {}
        for name in ("start", "end"):
            lines.act_at("SNAPB", "kpageflags", name, lambda _: figures)()
        assert ("page_tables" in figures) == compared
