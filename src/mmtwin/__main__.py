"""`python -m mmtwin`, and what the script `mmtwin` calls."""

import _signal  # type: ignore[import-not-found]  # signal itself imports more

# Until there is a program that could say something, an interrupt ends it without a word.
_signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from mmtwin.cli.main import program  # noqa: E402

if __name__ == "__main__":
    program()
