"""What malloc() asks the kernel for: brk for small blocks, mmap from a threshold on, and back.

    python examples/malloc_calls.py
"""

from typing import Any

from mmtwin import Machine
from mmtwin.machine.elf_image import elf_image
from mmtwin.machine.process import Process

CALLS = ("brk", "mmap", "munmap", "mprotect", "mremap", "madvise")


def show_calls(p: Process) -> None:
    """Prints each system call of the process's malloc from now on."""
    system: Any = p.libc.system
    for name in CALLS:
        setattr(system, name, shown(name, getattr(system, name)))


def shown(name: str, call: Any) -> Any:
    """A system call that prints itself."""

    def print_call(*arguments: int) -> int:
        result = int(call(*arguments))
        print(f"  {name}({', '.join(map(hex, arguments))}) = {result:#x}")
        return result

    return print_call


def main() -> None:
    """A program's life in blocks."""
    k = Machine.boot("x86_64-6.1", memory="256M")
    p = k.exec(elf_image(), ["malloc"])
    show_calls(p)
    print("malloc(100): the first block, 132 KiB of heap")
    p.malloc(100)
    print("1000 more: what is left of the heap, then 132 KiB again")
    blocks = [p.malloc(200) for _ in range(1000)]
    print("malloc(200000): from 128 KiB on, its own mmap")
    large = p.malloc(200_000)
    print("realloc to 1 MB: the pages move, the bytes are not copied")
    large = p.realloc(large, 1_000_000)
    print("free: unmapped, and the threshold is 1 MB from now on")
    p.free(large)
    print("malloc(200000): now from the heap")
    large = p.malloc(200_000)
    print("free of everything: the end of the heap goes back if it is large enough")
    p.free(large)
    for block in blocks:
        p.free(block)
    print(f"heap: {p.mm.brk - p.mm.start_brk >> 10} KiB, resident: {p.rss} pages")


if __name__ == "__main__":
    main()
