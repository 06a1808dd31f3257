"""Compiled and uncompiled code does the same: after each script the whole state is equal."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmtwin import Machine

PROFILES = (
    "x86_64-5.10",
    "arm64-5.13",
    "x86_64-6.1",
    "arm64-16k-6.12",
    "x86_64-6.18",
    "x86_64-7.3",
    "x86_64-5.10 FZPU",
    "x86_64-6.1 FZPU",
    "x86_64-7.3 FZPU",
    "x86_64-6.1+DEBUG_KMEMLEAK",
    "x86_64-6.1+KASAN",
    "x86_64-7.3+DEBUG_KMEMLEAK+KASAN",
)
STEPS = 1500
SIZES = (1, 8, 60, 100, 192, 500, 1000, 3000, 8192, 9000, 40000)


def script(case: str) -> str:
    """The checksum after some thousand allocations and frees on two CPUs: a profile, switches of
    its configuration, and what slub_debug= says.
    """
    profile, _, debug = case.partition(" ")
    options = {"slub_debug": debug} if debug else {}
    name, *switches = profile.split("+")
    config = dict.fromkeys(switches, True)
    k = Machine.boot(name, memory="64M", cpus=2, seed=7, cmdline=options, **config)
    state = 12345
    objects: list[int] = []
    blocks = []
    cache = k.kmem_cache_create("test_both_ways", 88)
    for _ in range(STEPS):
        state = (state * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        draw, choice = state >> 33, (state >> 20) % 8
        k.cpu = draw & 1
        if choice < 3:
            objects.append(k.kmalloc(SIZES[draw % len(SIZES)]))
        elif choice < 5 and objects:
            k.kfree(objects.pop(draw % len(objects)))
        elif choice == 5:
            blocks.append(k.alloc_pages(draw % 4))
        elif choice == 6 and blocks:
            k.free_pages(blocks.pop(draw % len(blocks)))
        else:
            objects.append(k.kmem_cache_alloc(cache))
    for turn in range(6):
        task = k.fork("task", kernel=turn == 3)
        with task.frame("driver_probe", {"buf": 100 + turn}) as frame:
            k.write(frame["buf"], bytes(range(100)))
        k.exit(task)
        k.synchronize_rcu()
    assert k.validate() == []
    leaks = ""
    if k.mm.kmemleak is not None:
        k.sleep(61)
        leaks = hashlib.sha256(k.kmemleak.report().encode()).hexdigest()
    return k.checksum() + leaks


@pytest.mark.parametrize("profile", PROFILES)
def test_same_state(profile: str, compiled: bool) -> None:
    environment = {**os.environ, "MMTWIN_PURE": "1" if compiled else ""}
    command = [sys.executable, __file__, profile]
    other = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert other.returncode == 0, other.stderr
    form, checksum = other.stdout.split()
    if not compiled and form == "uncompiled":
        pytest.skip("nothing is compiled here: no other way to compare with")
    assert (form == "compiled") != compiled
    assert checksum == script(profile)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from conftest import is_compiled

    print("compiled" if is_compiled() else "uncompiled", script(sys.argv[1]))
