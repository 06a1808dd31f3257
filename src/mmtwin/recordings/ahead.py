"""A recording that is opened and learnt from in a thread, while others are busy."""

from threading import Thread

from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.opening import open_recording
from mmtwin.recordings.recording import Recording


class Ahead(Thread):
    """Opens a recording and learns from its events while others are busy.

    `recording()` and `annotated()` wait for it, and raise what it met.
    """

    def __init__(self, source: str) -> None:
        super().__init__(daemon=True)
        self._source = source
        self._recording: Recording | None = None
        self._annotated: Annotated | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Thread.run()"""
        try:
            self._recording = open_recording(self._source)
            self._annotated = Annotated(self._recording, keep=True)
        except BaseException as error:
            self._error = error

    def recording(self) -> Recording:
        """The recording, open."""
        self.join()
        if self._recording is None:
            assert self._error is not None
            raise self._error
        return self._recording

    def annotated(self) -> Annotated:
        """Its events."""
        self.join()
        if self._annotated is None:
            assert self._error is not None
            raise self._error
        return self._annotated
