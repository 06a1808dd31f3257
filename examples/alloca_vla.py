"""alloca() and a variable-length array in a loop: one fills the stack, the other does not.

    python examples/alloca_vla.py

Both take memory off the stack. What alloca() took lives until the function returns, so a loop adds
up until the stack's limit: the next touch is a SIGSEGV. An array's scope ends with each turn of
the loop, and the next turn has the same place again.
"""

from mmtwin import Machine
from mmtwin.machine.elf_image import elf_image
from mmtwin.machine.process import Killed

SIZE = 16 << 10
TURNS = 1000
STACK = 8 << 20


def vla_loop(k: Machine) -> str:
    """How far a loop with an array comes."""
    p = k.exec(elf_image(), ["vla"], rlimits={"STACK": STACK})
    with p.frame("main") as frame:
        for _ in range(TURNS):
            with frame.vla(SIZE) as array:
                p.touch(array)
        return f"array:    {TURNS} turns, {p.minor_faults} page faults, stack {stack_kib(p)} KiB"


def alloca_loop(k: Machine) -> str:
    """How far a loop with alloca() comes."""
    p = k.exec(elf_image(), ["alloca"], rlimits={"STACK": STACK})
    with p.frame("main") as frame:
        for turn in range(TURNS):
            stack = stack_kib(p)
            try:
                p.touch(frame.alloca(SIZE))
            except Killed as killed:
                return f"alloca(): {killed.signal} in turn {turn}, stack {stack} KiB"
    return "alloca(): the stack held it all"


def stack_kib(p) -> int:  # type: ignore[no-untyped-def]
    """Size of the process's stack area in KiB."""
    return (p.mm.stack_vm << k_shift(p)) >> 10


def k_shift(p) -> int:  # type: ignore[no-untyped-def]
    """log2 of the page size."""
    return int(p.machine.page_shift)


def main() -> None:
    """Prints what became of both loops."""
    k = Machine.boot("x86_64-6.1", memory="256M")
    print(vla_loop(k))
    print(alloca_loop(k))


if __name__ == "__main__":
    main()
