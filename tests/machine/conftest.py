"""The shipped recording, opened once."""

from collections.abc import Iterator
from typing import Any

import pytest

from mmtwin.recordings import open_recording


@pytest.fixture(scope="session")
def recording() -> Iterator[Any]:
    with open_recording() as opened:
        yield opened
