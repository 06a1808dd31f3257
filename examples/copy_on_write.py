"""fork() copies no page: both processes have the same ones until somebody writes.

    python examples/copy_on_write.py
"""

from mmtwin import Machine
from mmtwin.machine.elf_image import elf_image

SIZE = 1 << 20


def main() -> None:
    """A parent, its child, and a page that becomes two."""
    k = Machine.boot("x86_64-6.1", memory="256M")
    parent = k.exec(elf_image(), ["parent"])
    block = parent.malloc(SIZE)
    parent.write(block, b"parent" * (SIZE // 6))
    child = parent.fork()
    pages = range(block, block + SIZE, 1 << 12)
    same = sum(parent.page(address) == child.page(address) for address in pages)
    print(f"after fork(): {same} of {len(pages)} pages are the same ones, the child took 0 faults")
    child.write(block, b"child!")
    print(f"child wrote:  {child.minor_faults} fault, now {child.read(block, 6)!r}")
    print(f"the parent's: {parent.read(block, 6)!r}")
    same = sum(parent.page(address) == child.page(address) for address in pages)
    print(f"the same now: {same}")
    faults = parent.minor_faults
    child.exit()
    parent.write(block, b"again!")
    print(f"child gone:   the parent writes, {parent.minor_faults - faults} fault, no copy")
    print(f"validate():   {k.validate()}")


if __name__ == "__main__":
    main()
