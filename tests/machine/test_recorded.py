"""What a recording says of its machine."""

from types import SimpleNamespace

import pytest

from mmtwin.machine import Machine, recorded
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


def test_a_cpu_s_share_of_the_cache_lets_its_lists_keep_a_batch() -> None:
    text = "cache size\t: 16384 KB\nsiblings\t: 2\n" * 2
    assert recorded.cache_slices(text) == [8 << 20, 8 << 20]
    assert recorded.cache_slices("processor\t: 0\nCPU part\t: 0xd08\n") == []
    for version, size, flags in (("6.12", 16384, 2), ("6.12", 256, 0), ("6.1", 16384, 0)):
        mm = Machine.boot(f"x86_64-{version}", memory="1G", seed=3).mm
        mm.view("pcp")["flags"] = 0
        one = f"cache size\t: {size} KB\nsiblings\t: 1\n"
        recorded.set_cache_slices(SimpleNamespace(static=lambda _name, one=one: one), mm)
        assert set(mm.view("pcp")["flags"][mm.view("pcp")["batch"] > 60].tolist()) == {flags}
