"""Programs of malloc calls, and what a real glibc did with them: the system calls that strace saw
and a checksum of all addresses returned.

To record again what malloc_calls.json has of one glibc (its dynamic linker, with the libraries of
its folder; without one, the machine's own):

    python tests/machine/malloc_program.py 2.36 [LD.SO PROGRAM]
"""

import hashlib
import json
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "malloc_calls.json"
PROFILES = ("small", "mid", "large", "all", "thr3", "thr12")
OPS = 2000
SLOTS = 8192
STACK = 8392704  # a thread's stack and its guard: nothing of malloc's
PROT = {"PROT_NONE": 0, "PROT_READ|PROT_WRITE": 3}
FLAGS = {
    "MAP_PRIVATE|MAP_ANONYMOUS": 0x22,
    "MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE": 0x4022,
    "MADV_DONTNEED": 4, "MREMAP_MAYMOVE": 1, "NULL": 0,
}  # fmt: skip


class Draw:
    """Numbers that are the same everywhere: a linear congruential generator."""

    def __init__(self, seed):
        self.state = seed * 0x9E3779B97F4A7C15 & (1 << 64) - 1

    def __call__(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        return self.state >> 33

    def share(self):
        return self() / (1 << 31)

    def one_of(self, things):
        return things[self() % len(things)]


def size_of(draw, profile):
    if profile == "small":
        return draw() % 600
    bits = {"mid": 14, "large": 20}.get(profile) or draw.one_of((7, 10, 13, 17, 18, 21, 22))
    bits = draw() % bits + 1
    return (1 << bits) + draw() % (1 << bits)


def program(profile, seed, count=OPS):
    """A list of (kind, thread, slot, size, alignment)."""
    draw = Draw(seed)
    ops, live, threads, made, dead = [], [], [0], 0, 0
    most = int(profile[3:]) if profile.startswith("thr") else 0
    growing = 0.5
    for number in range(count):
        if number % 200 == 0:
            growing = draw.one_of((0.3, 0.35, 0.45, 0.5, 0.6, 0.7))
        if made < most and draw.share() < 0.02:
            made += 1
            threads.append(made)
            ops.append(("T", made, 0, 0, 0))
            continue
        if len(threads) > 1 and dead < 4 and draw.share() < 0.005:
            ops.append(("X", threads.pop(draw() % (len(threads) - 1) + 1), 0, 0, 0))
            dead += 1
            continue
        thread, what, slot = draw.one_of(threads), draw.share(), draw() % SLOTS
        size, shift = size_of(draw, profile), draw() % 13
        if what < growing or not live:
            while slot in live:
                slot = (slot + 1) % SLOTS
            live.append(slot)
            kind = draw.one_of("mmmmmmmmccaa")
            ops.append((kind, thread, slot, size, 1 << shift if kind == "a" else 0))
        elif what < growing + 0.08:
            ops.append(("r", thread, draw.one_of(live), size + 1, 0))
        elif what < growing + 0.081:
            ops.append(("t", thread, 0, draw.one_of((0, 0, 4096, 100000)), 0))
        else:
            place = draw() % len(live) if what > 0.75 else len(live) - 1
            ops.append(("f", thread, live.pop(place), 0, 0))
    return ops


def checksum(addresses):
    return hashlib.sha256(struct.pack(f"<{len(addresses)}Q", *addresses)).hexdigest()[:16]


def strace(ops, command, log):
    """Runs a program under strace: the addresses that its calls returned."""
    data = b"".join(struct.pack("<iiiiQQ", ord(k), t, s, 0, z, a) for k, t, s, z, a in ops)
    calls = "brk,mmap,munmap,mprotect,mremap,madvise,getppid,getpgrp"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", log, "-e", f"trace={calls}", "setarch", "-R", *command],
        input=data, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return struct.unpack(f"<{len(done.stdout) // 8}Q", done.stdout)


def number(text):
    text = PROT.get(text, FLAGS.get(text, text))
    return text if isinstance(text, int) else int(text, 0)


def malloc_calls(log):
    """[name, arguments, result] of malloc's own calls in a strace log."""
    calls, marked, open_calls = [], False, {}
    for line in Path(log).read_text().splitlines():
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        if "<unfinished" in rest:
            open_calls[pid] = rest.split("<unfinished")[0].rstrip()
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", rest)
        if resumed:
            rest = open_calls.pop(pid) + resumed.group(1)
        found = re.match(r"(\w+)\((.*?)\)\s*= (\S+)", rest)
        if not found:
            continue
        name, arguments, result = found.groups()
        if name in ("getppid", "getpgrp"):
            marked = name == "getppid"
        elif marked and str(STACK) not in rest and str(STACK - 24576) not in rest:
            values = [number(part) for part in arguments.split(", ")[:4] if part]
            calls.append([name, values, int(result, 0)])
    return calls


def record(version, command):
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        if not command:
            command = [f"{folder}/program"]
            source = str(HERE / "malloc_program.c")
            subprocess.run(["gcc", "-O1", "-o", command[0], source, "-lpthread"], check=True)
        else:
            command = [command[0], "--library-path", str(Path(command[0]).parent), command[1]]
        for profile in PROFILES:
            addresses = strace(program(profile, 1), command, f"{folder}/log")
            calls = malloc_calls(f"{folder}/log")
            found[profile] = {"checksum": checksum(addresses), "calls": calls}
    text = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    text[version] = found
    RECORDED.write_text(json.dumps(dict(sorted(text.items())), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    record(sys.argv[1], sys.argv[2:])
