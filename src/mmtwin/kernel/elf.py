"""ELF's records and numbers (include/uapi/linux/elf.h), read as exec reads them: by struct, from
the first bytes of a file and wherever its header points.
"""

from struct import Struct, error

EHDR = Struct("<16sHHIQQQIHHHHHH")
PHDR = Struct("<IIQQQQQQ")

ET_EXEC, ET_DYN = 2, 3
PT_LOAD, PT_INTERP, PT_PHDR = 1, 3, 6
PT_GNU_STACK = 0x6474E551
PT_GNU_PROPERTY = 0x6474E553
PF_X, PF_W, PF_R = 1, 2, 4
EM_X86_64, EM_AARCH64 = 62, 183

# include/uapi/linux/auxvec.h and the architectures' own
AT_NULL, AT_IGNORE, AT_EXECFD, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE = range(8)
AT_FLAGS, AT_ENTRY = 8, 9
AT_UID, AT_EUID, AT_GID, AT_EGID = 11, 12, 13, 14
AT_PLATFORM, AT_HWCAP, AT_CLKTCK = 15, 16, 17
AT_SECURE, AT_RANDOM, AT_HWCAP2 = 23, 25, 26
AT_RSEQ_FEATURE_SIZE, AT_RSEQ_ALIGN, AT_HWCAP3 = 27, 28, 29
AT_EXECFN, AT_SYSINFO_EHDR, AT_MINSIGSTKSZ = 31, 33, 51


class elfhdr:
    """struct elf64_hdr, as far as exec looks at it."""

    def __init__(self, data):
        fields = EHDR.unpack_from(data)
        self.e_ident, self.e_type, self.e_machine = fields[0], fields[1], fields[2]
        self.e_entry, self.e_phoff = fields[4], fields[5]
        self.e_phentsize, self.e_phnum = fields[9], fields[10]


class elf_phdr:
    """struct elf64_phdr."""

    def __init__(self, data, offset):
        (self.p_type, self.p_flags, self.p_offset, self.p_vaddr, self.p_paddr, self.p_filesz,
         self.p_memsz, self.p_align) = PHDR.unpack_from(data, offset)


def read_header(buf):
    """The ELF header that a file begins with, or None if there is none.

    `buf`: bytes; missing ones count as zero, as in bprm->buf.
    """
    try:
        header = elfhdr(buf.ljust(EHDR.size, b"\0"))
    except error:
        return None
    return header if header.e_ident[:4] == b"\x7fELF" else None


def elf_check_arch(machine, header):
    """Whether a header is of a program for this machine: 64 bits (elf_check_arch())."""
    return header.e_machine == (EM_AARCH64 if machine.view("has")[0].pgtable_arm64 else EM_X86_64)


def kernel_read(file, offset, size):
    """`size` bytes of a File at an offset, fewer at its end; None if they are not known.

    kernel_read(). A File without `data` has the bytes of its `head` alone.
    """
    if offset < 0 or offset >= 1 << 63:
        return b""
    if file.data is not None:
        return bytes(file.data[offset : offset + size])
    size = max(min(size, file.size - offset), 0)
    found = file.head[offset : offset + size]
    return found if len(found) == size else None
