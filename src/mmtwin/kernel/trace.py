"""The twin's tracepoints: a ring of steps, off at no cost (`mm.step_mask` is 0).

A subsystem calls `step(mm, STEP_..., args)` where the kernel has a tracepoint or takes a turn
worth showing. `mm.step_mask` has a bit for each kind that is kept; `read_steps` gives what is in
the ring, oldest first.
"""

import re

import cython

from mmtwin.kernel.constants import load_constants
from mmtwin.package_files import files

STEPS = load_constants("trace.pxd")
NAMES = {value: name.removeprefix("STEP_").lower() for name, value in STEPS.items()}
# What a step's arguments are, in the words beside its number (or above it).
ARGUMENT = re.compile(
    r"(?:^    # (?P<above>[a-z][^\n]*)\n)?"
    r"^    STEP_(?P<name>\w+) = \d+(?: +# (?P<beside>[^\n]*))?",
    re.M,
)
ARGUMENTS = {
    match["name"].lower(): [
        re.sub(r"[:(].*", "", word).strip().replace(" ", "_")
        for word in re.sub(r"[:(].*", "", match["beside"] or match["above"]).split(",")
    ]
    for match in ARGUMENT.finditer(files(__package__).joinpath("trace.pxd").read_text())
}
ALL_STEPS = (1 << 64) - 1
KERNEL_EVENTS = 0x3FF

if not cython.compiled:
    globals().update(STEPS)

    def step_on(mm, kind):
        """Whether steps of this kind are kept."""
        return (mm.step_mask >> kind) & 1

    def step(mm, kind, a=0, b=0, c=0, d=0, e=0, f=0):
        """Keeps a step, if its kind is on."""
        if (mm.step_mask >> kind) & 1:
            put_step(mm, kind, a, b, c, d, e, f)


def put_step(mm, kind, a, b, c, d, e, f):
    """Writes a step into the ring; the oldest is overwritten when it is full."""
    place = mm.next_step & (mm.ring_size - 1)
    mm.step[place].kind = kind
    mm.step[place].cpu = mm.cpu
    mm.step[place].depth = mm.step_depth
    mm.step[place].args[0] = a
    mm.step[place].args[1] = b
    mm.step[place].args[2] = c
    mm.step[place].args[3] = d
    mm.step[place].args[4] = e
    mm.step[place].args[5] = f
    mm.next_step += 1


def read_steps(mm):
    """The steps in the ring, oldest first, as [(name, cpu, depth, (args))]; args are signed
    64-bit.
    """
    ring = mm.view("step")
    first = max(0, mm.next_step - mm.ring_size)
    steps = []
    for number in range(first, mm.next_step):
        record = ring[number & (mm.ring_size - 1)]
        args = tuple(int(value) for value in record["args"])
        steps.append((NAMES[int(record["kind"])], int(record["cpu"]), int(record["depth"]), args))
    return steps


def clear_steps(mm):
    """Empties the ring."""
    mm.next_step = 0
