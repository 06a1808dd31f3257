"""Policy files: the example's, and files that are none."""

from pathlib import Path

import pytest

from mmtwin.machine import Machine
from mmtwin.replay import ReplayError
from mmtwin.replay.policy_file import load_policy

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "slab_policy.py"


def test_the_example_is_followed():
    policy = load_policy(EXAMPLE)
    assert sorted(policy) == ["calculate_order", "cpu_partial"]
    k = Machine.boot("x86_64-6.1", memory="64M", policy=policy)
    caches = k.mm.view("cache")[: k.mm.nr_caches]
    assert (caches["oo_order"][caches["size"] <= 4096] <= 1).all()
    assert (caches["cpu_partial"][caches["size"] < 256] == 0).all()


@pytest.mark.parametrize("text", ["x = 1", "def calculate_order(:", "1 / 0"])
def test_files_that_are_no_policy(tmp_path, text):
    path = tmp_path / "policy.py"
    path.write_text(text)
    with pytest.raises(ReplayError, match=r"policy\.py: "):
        load_policy(path)
    with pytest.raises(ReplayError, match="nothere"):
        load_policy(tmp_path / "nothere")
