"""bss: memory that no file has. A read is served by the one zero page, a write gets a page.

    python examples/zero_pages.py
"""

from mmtwin import Machine
from mmtwin.machine.elf_image import elf_image

PAGES = 64


def main() -> None:
    """Reads, then writes 64 pages of bss."""
    k = Machine.boot("x86_64-6.1", memory="256M")
    p = k.exec(elf_image(bss=PAGES << 12), ["bss"])
    bss = p.mm.end_data + 4095 & ~4095
    pages = range(bss, bss + ((PAGES - 1) << 12), 1 << 12)
    print(f"bss {bss:#x}: {PAGES} pages, resident {p.rss} pages of the whole program")
    for address in pages:
        p.touch(address, write=False)
    shared = {p.page(address) for address in pages}
    print(f"read:    {p.minor_faults} faults, {len(shared)} page of RAM, resident {p.rss}")
    before = p.minor_faults
    for address in pages:
        p.touch(address)
    own = {p.page(address) for address in pages}
    print(f"written: {p.minor_faults - before} faults, {len(own)} pages of RAM, resident {p.rss}")


if __name__ == "__main__":
    main()
