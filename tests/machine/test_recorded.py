"""What a recording says of its machine."""

import pytest

from mmtwin.machine.recorded import marks_no_entries

CORE = "processor\t: {}\nCPU implementer\t: {}\nCPU architecture: 8\nCPU part\t: {}\n\n"


@pytest.mark.parametrize(
    ("cores", "old"),
    [
        ([("0x41", "0xd07")], True),  # Cortex-A57
        ([("0x41", "0xd0c")], False),  # Neoverse N1
        ([("0x41", "0xd05"), ("0x41", "0xd08")], True),
        ([("0x61", "0xd07")], False),
        ([], False),
    ],
)
def test_cores_that_mark_no_entries(cores: list[tuple[str, str]], old: bool) -> None:
    text = "".join(CORE.format(number, *core) for number, core in enumerate(cores))
    assert marks_no_entries(text) == old
