"""/proc/vmallocinfo of a recording between its snapshots: the twin's areas, in the kernel's words.

Which areas there are, where, and how many pages they have follows from events. Who made one no
event tells: that comes from a snapshot that shows it, else from areas alike.
"""

from collections import Counter

from mmtwin.kernel.vmap_area import VmapArea
from mmtwin.procfs.vmallocinfo import BARE, VmallocArea, bare, words
from mmtwin.recordings.recording import Recording
from mmtwin.replay.vmalloc import VmallocReplay
from mmtwin.replay.vmalloc_requests import Row, Use

Key = tuple[int, int | None]  # size in bytes, pages
Words = tuple[str | None, tuple[str, ...], tuple[tuple[int, int], ...]]  # caller, flags, nodes
Rows = dict[Row, VmallocArea]


def rows_at(replay: VmallocReplay, recording: Recording, index: int) -> list[VmallocArea] | None:
    """The areas before event `index`; `replay` was fed and compared up to there. None where they
    are not known, before the first snapshot of a recording that begins in the middle.
    """
    replay.settle(index)
    if replay.lost:
        return None
    before, after = _snapshots(replay, recording, index)
    alike: dict[Key, Counter[Words]] = {}
    for rows in (*before, *after):
        for row in rows.values():
            if not row.bare and row.phys is None:
                like = row.caller, row.flags, tuple(row.nodes.items())
                alike.setdefault((row.size, row.pages), Counter())[like] += 1
    shown = [_busy(area, after, alike) for area in replay.map.busy()]
    return shown + [bare(area, BARE[1]) for area in replay.map.lazy()]


def _snapshots(
    replay: VmallocReplay, recording: Recording, index: int
) -> tuple[list[Rows], list[Rows]]:
    """The kernel's areas of the snapshots read before an event, and of those after."""
    before: list[Rows] = []
    after: list[Rows] = []
    for marker in recording.markers:
        word, _, rest = marker.text.partition(" ")
        name, _, file = rest.partition("/")
        if word == "SNAPB" and file == "vmallocinfo" and (rows := replay.rows(name)):
            (before if marker.index < index else after).append(rows)
    return before, after


def _busy(area: VmapArea, after: list[Rows], alike: dict[Key, Counter[Words]]) -> VmallocArea:
    use: Use | None = area.vm
    if use is None:
        return bare(area, BARE[0])
    if use.row is not None:
        return use.row
    start, end, size = words(area)
    for rows in after:
        row = rows.get((area.start, area.end))
        if row is not None and not row.bare and row.pages == use.pages:
            return row
    known = alike.get((size, use.pages))
    if known:
        caller, flags, nodes = known.most_common(1)[0][0]
        return VmallocArea(start, end, size, caller, use.pages, None, flags, dict(nodes))
    return VmallocArea(start, end, size, pages=use.pages, flags=("vmalloc",) if use.pages else ())
