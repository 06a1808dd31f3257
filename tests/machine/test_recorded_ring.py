"""How many steps of one call a recorded machine's ring keeps."""

import pytest

from mmtwin.machine.recorded import MOST_STEPS, steps_at_once
from mmtwin.machine.texts import ZoneText


@pytest.mark.parametrize(
    "highs, size", [([], 4096), ([110, 515], 4096), ([110, 6928], 8192), ([1 << 20], MOST_STEPS)]
)
def test_a_free_that_gives_back_all_lists_loses_no_step(highs: list[int], size: int) -> None:
    zones = [ZoneText(0, "DMA32", {}, pagesets=[{"high": high}]) for high in highs]
    assert steps_at_once(zones) == size
