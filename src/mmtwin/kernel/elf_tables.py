"""What a program finds on its stack: argc, argv, envp and the auxiliary vector
(create_elf_tables() of fs/binfmt_elf.c, ARCH_DLINFO of arch/*/include/asm/elf.h).

    sp -> argc | argv[0] .. NULL | envp[0] .. NULL | AT_* pairs .. AT_NULL | gap to 16 bytes |
          16 random bytes | "x86_64" | gap to 16 bytes | strings of argv, envp, file name | 8 zeros
"""

from struct import pack

from mmtwin.kernel.elf import (
    AT_BASE,
    AT_CLKTCK,
    AT_EGID,
    AT_ENTRY,
    AT_EUID,
    AT_EXECFN,
    AT_FLAGS,
    AT_GID,
    AT_HWCAP,
    AT_HWCAP2,
    AT_HWCAP3,
    AT_MINSIGSTKSZ,
    AT_NULL,
    AT_PAGESZ,
    AT_PHDR,
    AT_PHENT,
    AT_PHNUM,
    AT_PLATFORM,
    AT_RANDOM,
    AT_RSEQ_ALIGN,
    AT_RSEQ_FEATURE_SIZE,
    AT_SECURE,
    AT_SYSINFO_EHDR,
    AT_UID,
    PHDR,
)
from mmtwin.kernel.expand_stack import expand_stack
from mmtwin.kernel.gup import access_process_vm
from mmtwin.kernel.mman import EFAULT, EINVAL
from mmtwin.kernel.randomize import arch_align_stack, get_random_long

USER_HZ = 100
# Of a processor that does no more than it must; a recording's own come with ExecContext.auxv.
X86_HWCAP, X86_HWCAP2, X86_MINSIGSTKSZ = 0x178BFBFF, 2, 1776
ARM64_HWCAP, ARM64_HWCAP2, ARM64_MINSIGSTKSZ = 0x3, 0, 4720
RSEQ_FEATURE_SIZE, RSEQ_ALIGN = 28, 32


def auxiliary_vector(bprm, header, base, entry, phdr_addr, at):
    """The pairs (AT_*, value) in the kernel's order, AT_NULL last; `at`: the addresses of
    AT_RANDOM and AT_PLATFORM.
    """
    machine, mm = bprm.machine, bprm.mm
    has = machine.view("has")[0]
    arm64 = has.pgtable_arm64
    facts = bprm.context.auxv
    pairs = [(AT_SYSINFO_EHDR, mm.vdso)]
    if has.auxv_minsigstksz:
        pairs.append((AT_MINSIGSTKSZ, ARM64_MINSIGSTKSZ if arm64 else X86_MINSIGSTKSZ))
    pairs += [
        (AT_HWCAP, ARM64_HWCAP if arm64 else X86_HWCAP), (AT_PAGESZ, 1 << machine.page_shift),
        (AT_CLKTCK, USER_HZ), (AT_PHDR, phdr_addr), (AT_PHENT, PHDR.size),
        (AT_PHNUM, header.e_phnum), (AT_BASE, base), (AT_FLAGS, 0), (AT_ENTRY, entry),
        (AT_UID, 0), (AT_EUID, 0), (AT_GID, 0), (AT_EGID, 0), (AT_SECURE, 0),
        (AT_RANDOM, at[AT_RANDOM]), (AT_HWCAP2, ARM64_HWCAP2 if arm64 else X86_HWCAP2),
    ]  # fmt: skip
    if has.auxv_hwcap3:
        pairs.append((AT_HWCAP3, 0))
    pairs += [(AT_EXECFN, bprm.exec), (AT_PLATFORM, at[AT_PLATFORM])]
    if has.auxv_rseq:
        pairs += [(AT_RSEQ_FEATURE_SIZE, RSEQ_FEATURE_SIZE), (AT_RSEQ_ALIGN, RSEQ_ALIGN)]
    return [(kind, facts.get(kind, value)) for kind, value in pairs] + [(AT_NULL, 0)]


def put_bytes(bprm, address, data):
    """Bytes into the new address space; whether all got there (copy_to_user())."""
    return access_process_vm(bprm.mm, address, data, True) == len(data)


def random_bytes(bprm):
    """The 16 bytes of AT_RANDOM: given, or drawn."""
    if bprm.context.random_bytes is not None:
        return bytes(bprm.context.random_bytes)[:16].ljust(16, b"\0")
    return pack("<QQ", get_random_long(bprm.machine), get_random_long(bprm.machine))


def create_elf_tables(bprm, header, base, entry, phdr_addr):
    """Writes what the program finds on its stack; `bprm.p` is its stack pointer then.

    `header`: its ELF header; `base`: where its interpreter lies, 0 for none; `entry`, `phdr_addr`:
    addresses. 0 or -ERRNO (create_elf_tables()).
    """
    machine, mm = bprm.machine, bprm.mm
    platform = b"aarch64\0" if machine.view("has")[0].pgtable_arm64 else b"x86_64\0"
    at = {}
    drawn = bprm.context.drawn
    level = 0 if "platform" in drawn else bprm.context.randomize
    at[AT_PLATFORM] = arch_align_stack(machine, bprm.p, level) - len(platform)
    at[AT_PLATFORM] = drawn.get("platform") or at[AT_PLATFORM]
    at[AT_RANDOM] = at[AT_PLATFORM] - 16
    for address, data in (
        (at[AT_PLATFORM], platform), (at[AT_RANDOM], random_bytes(bprm))
    ):  # fmt: skip
        if not put_bytes(bprm, address, data):
            return -EFAULT
    mm.saved_auxv = auxiliary_vector(bprm, header, base, entry, phdr_addr, at)
    words = 2 * len(mm.saved_auxv)
    items = (bprm.argc + 1) + (bprm.envc + 1) + 1
    # STACK_ADD() takes the vector off, STACK_ROUND() the rest
    bprm.p = (at[AT_RANDOM] - 8 * words - 8 * items) & ~15
    if "platform" in drawn:
        page = at[AT_PLATFORM] >> machine.page_shift << machine.page_shift
        bprm.p = drawn["stack_pointer"] or max(bprm.p, page)
    if expand_stack(mm, bprm.p) is None:
        return -EFAULT
    pointers = [bprm.argc]
    address = mm.arg_start
    for name, count in (("arg", bprm.argc), ("env", bprm.envc)):
        setattr(mm, f"{name}_start", address)
        for _ in range(count):
            pointers.append(address)
            length = strnlen_user(bprm, address)
            if not length:
                return -EINVAL
            address += length
        pointers.append(0)
        setattr(mm, f"{name}_end", address)
    numbers = pointers + [number for pair in mm.saved_auxv for number in pair]
    mask = (1 << 64) - 1
    data = pack(f"<{len(numbers)}Q", *(number & mask for number in numbers))
    return 0 if put_bytes(bprm, bprm.p, data) else -EFAULT


def strnlen_user(bprm, address):
    """Length of a string in the new address space, with its NUL; 0 if it has none."""
    page = 1 << bprm.machine.page_shift
    length, most = 0, 32 * page
    while length <= most:
        size = page - (address + length) % page
        piece = access_process_vm(bprm.mm, address + length, size, False)
        end = piece.find(b"\0")
        if end >= 0:
            return length + end + 1
        if len(piece) != size:
            return 0
        length += size
    return 0
