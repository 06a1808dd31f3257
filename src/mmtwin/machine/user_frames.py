"""Frames of functions on a process's stack, with alloca() and variable-length arrays as compilers
make them (System V ABI of x86-64, AAPCS64): only the stack pointer moves, nothing is touched.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

WORD, ALIGNMENT = 8, 16


class UserFrame:
    """A function's frame on the stack of a `Process`; addresses are the process's.

    `sp`: the stack pointer; `high`: where the frame begins; `frame["name"]`: the address of an
    automatic variable. It lives until its `with` block ends, as the function until it returns.
    """

    def __init__(self, process: Any, function: str, variables: Mapping[str, int]) -> None:
        self.process = process
        self.function = function
        self.high = process.sp
        self.variables: dict[str, int] = {}
        # call and prologue: return address and frame pointer are written
        process.sp -= 2 * WORD
        process.write(process.sp, bytes(2 * WORD))
        for name, size in variables.items():
            if size < 0:
                raise ValueError(f"{name}: {size} bytes")
            process.sp -= size
            self.variables[name] = process.sp = process.sp & -(ALIGNMENT if size >= 16 else WORD)
        process.sp &= -ALIGNMENT

    def __getitem__(self, name: str) -> int:
        return self.variables[name]

    @property
    def sp(self) -> int:
        """The stack pointer."""
        return int(self.process.sp)

    @property
    def size(self) -> int:
        """Bytes of stack that the frame and what it took has now."""
        return self.high - self.sp

    def alloca(self, size: int) -> int:
        """Process.alloca(): `size` bytes, which live until the function returns."""
        return int(self.process.alloca(size))

    @contextmanager
    def vla(self, size: int) -> Iterator[int]:
        """A variable-length array of `size` bytes, which lives until its scope ends."""
        before = self.process.sp
        try:
            yield self.alloca(size)
        finally:
            self.process.sp = before

    def __repr__(self) -> str:
        return f"<frame of {self.function}(): {self.size} bytes at {self.sp:#x}>"
