"""A small ELF program as bytes, for processes that need no program of the machine's own."""

from mmtwin.kernel.elf import (
    EHDR,
    EM_AARCH64,
    EM_X86_64,
    ET_DYN,
    ET_EXEC,
    PF_R,
    PF_W,
    PF_X,
    PHDR,
    PT_GNU_STACK,
    PT_INTERP,
    PT_LOAD,
)

MACHINES = {"x86_64": EM_X86_64, "arm64": EM_AARCH64}
IDENT = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")


def elf_image(
    arch: str = "x86_64", text: int = 4096, data: int = 4096, bss: int = 0, base: int = 0x400000,
    interpreter: str = "", pie: bool = False, align: int = 0, executable_stack: bool = False,
) -> bytes:  # fmt: skip
    """An ELF file with a segment of code, `text` bytes, and one of `data` bytes and `bss` behind.

    `base`: its lowest address, 0 for a PIE; `interpreter`: path of a dynamic linker; `align`:
    p_align of its segments, by default pages of x86-64 or 64 KiB.
    """
    if arch not in MACHINES:
        raise ValueError(f"no ELF machine for {arch!r}: {', '.join(MACHINES)}")
    align = align or (4096 if arch == "x86_64" else 65536)
    base = 0 if pie else base
    name = interpreter.encode() + b"\0" if interpreter else b""
    stack = PF_R | PF_W | (PF_X if executable_stack else 0)
    headers = 4 if interpreter else 3
    start = EHDR.size + headers * PHDR.size
    place = -(-(start + len(name) + text) // align) * align
    segments = [PHDR.pack(PT_INTERP, PF_R, start, base + start, base + start, len(name),
                          len(name), 1)] if interpreter else []  # fmt: skip
    segments += [
        PHDR.pack(PT_LOAD, PF_R | PF_X, 0, base, base, start + len(name) + text,
                  start + len(name) + text, align),
        PHDR.pack(PT_LOAD, PF_R | PF_W, place, base + place, base + place, data, data + bss,
                  align),
        PHDR.pack(PT_GNU_STACK, stack, 0, 0, 0, 0, 0, 16),
    ]  # fmt: skip
    header = EHDR.pack(
        IDENT, ET_DYN if pie else ET_EXEC, MACHINES[arch], 1, base + start + len(name), EHDR.size,
        0, 0, EHDR.size, PHDR.size, headers, 0, 0, 0,
    )  # fmt: skip
    image = (header + b"".join(segments) + name).ljust(place, b"\x90")
    return image + bytes(range(1, 256)).ljust(data, b"\xdd")[:data]
