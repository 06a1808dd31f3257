"""ELF programs into an address space (fs/binfmt_elf.c): segments, bss, interpreter, brk.

What they find on their stack: elf_tables.py.
"""

from mmtwin.kernel.binprm import (
    EIO,
    EXSTACK_DEFAULT,
    EXSTACK_DISABLE_X,
    EXSTACK_ENABLE_X,
    begin_new_exec,
    default_map_window,
    final_stack,
    open_exec,
    setup_new_exec,
)
from mmtwin.kernel.brk import vm_brk_flags
from mmtwin.kernel.elf import (
    ET_DYN,
    ET_EXEC,
    PF_R,
    PF_W,
    PF_X,
    PHDR,
    PT_GNU_STACK,
    PT_INTERP,
    PT_LOAD,
    elf_check_arch,
    elf_phdr,
    kernel_read,
    read_header,
)
from mmtwin.kernel.elf_tables import create_elf_tables
from mmtwin.kernel.gup import access_process_vm
from mmtwin.kernel.mman import (
    EFAULT,
    EINVAL,
    ENOEXEC,
    ENOMEM,
    EPERM,
    MAP_DENYWRITE,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_PRIVATE,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    VM_EXEC,
)
from mmtwin.kernel.mmap import vm_mmap_pgoff
from mmtwin.kernel.munmap import do_munmap
from mmtwin.kernel.randomize import arch_mmap_rnd, arch_randomize_brk
from mmtwin.kernel.vdso import arch_setup_additional_pages

ELIBBAD = 80
PATH_MAX = 4096
MAX_PHDRS = 65536
MASK64 = (1 << 64) - 1


class Program:
    """An ELF file that is loaded: its header and program headers, and where it came to lie.

    `bias`: what is added to the addresses in the file; `first`: the first segment is not mapped
    yet. The rest as in load_elf_binary().
    """

    def __init__(self, file, header, phdrs):
        self.file = file
        self.header = header
        self.phdrs = phdrs
        self.bias = 0
        self.phdr_addr = 0
        self.first = True
        self.start_code, self.end_code = MASK64, 0
        self.start_data = self.end_data = 0
        self.bss = self.brk = 0
        self.bss_prot = 0

    def segments(self):
        """Its PT_LOAD headers."""
        return [phdr for phdr in self.phdrs if phdr.p_type == PT_LOAD]


class Loader:
    """One call of load_elf_binary(): what its helpers share."""

    def __init__(self, bprm):
        self.bprm = bprm
        self.mm = bprm.mm
        self.machine = bprm.machine
        self.has = bprm.machine.view("has")[0]
        self.page = 1 << bprm.machine.page_shift
        self.task_size = default_map_window(bprm.machine)

    def start(self, address):
        """ELF_PAGESTART()."""
        return address & MASK64 & -self.page

    def offset(self, address):
        """ELF_PAGEOFFSET()."""
        return address & (self.page - 1)

    def align(self, address):
        """ELF_PAGEALIGN()."""
        return (address + self.page - 1) & MASK64 & -self.page

    def bad(self, address):
        """BAD_ADDR(): an error, or no address of a user."""
        return address < 0 or address >= self.task_size


def et_dyn_base(machine):
    """ELF_ET_DYN_BASE: two thirds up."""
    window = default_map_window(machine)
    return 2 * window // 3 if machine.view("has")[0].pgtable_arm64 else window // 3 * 2


def make_prot(flags):
    """PROT_* of a segment's PF_* (make_prot())."""
    prot = PROT_READ if flags & PF_R else 0
    prot |= PROT_WRITE if flags & PF_W else 0
    return prot | (PROT_EXEC if flags & PF_X else 0)


def load_elf_phdrs(load, header, file):
    """The program headers of a File as a list, or None if they are not as they should be."""
    size = PHDR.size * header.e_phnum
    if header.e_phentsize != PHDR.size or not 0 < size <= MAX_PHDRS:
        return None
    if load.has.elf_phdrs_one_page and size > load.page:
        return None
    data = kernel_read(file, header.e_phoff, size)
    if data is None or len(data) != size:
        return None
    return [elf_phdr(data, place) for place in range(0, size, PHDR.size)]


def total_mapping_size(load, program):
    """Bytes from the first segment's page to the end of the last: total_mapping_size()."""
    segments = program.segments()
    if not segments:
        return 0
    first, last = segments[0], segments[-1]
    if load.has.elf_total_minmax:
        low = min(load.start(phdr.p_vaddr) for phdr in segments)
        return max((phdr.p_vaddr + phdr.p_memsz) & MASK64 for phdr in segments) - low
    return (last.p_vaddr + last.p_memsz - load.start(first.p_vaddr)) & MASK64


def maximum_alignment(load, program):
    """The largest p_align that is a power of two; a page at least (maximum_alignment())."""
    powers = [
        phdr.p_align for phdr in program.segments()
        if phdr.p_align and phdr.p_align & (phdr.p_align - 1) == 0
    ]
    return load.align(max(powers, default=0))


# ---- mapping


def elf_map(load, file, address, phdr, prot, flags, total_size):
    """The bytes that a segment has in its file: the address of its first page, or -ERRNO.

    With `total_size` room for all segments is looked for, then given back behind this one.
    """
    size = load.align(phdr.p_filesz + load.offset(phdr.p_vaddr))
    offset = phdr.p_offset - load.offset(phdr.p_vaddr)
    address = load.start(address)
    if not size:
        return address
    # vm_mmap(): the offset must be whole pages and not go around
    total = load.align(total_size) if total_size else size
    if offset + load.align(total) > MASK64 or offset & (load.page - 1) or offset < 0:
        return -EINVAL
    pgoff = offset >> load.machine.page_shift
    mapped = vm_mmap_pgoff(load.mm, file, address, total, prot, flags, pgoff)
    if total_size and not load.bad(mapped):
        do_munmap(load.mm, mapped + size, total - size)
    return mapped


def padzero(load, address):
    """The rest of a page is zeroed: whether it could be (padzero(), clear_user())."""
    size = -address & (load.page - 1)
    return not size or clear_user(load, address, size)


def clear_user(load, address, size):
    """Zeros into the program's memory; whether all of them got there."""
    return access_process_vm(load.mm, address, bytes(size), True) == size


def elf_load(load, file, address, phdr, prot, flags, total_size):
    """A segment with its bss: the address of its first page, or -ERRNO (elf_load())."""
    offset = load.offset(phdr.p_vaddr)
    if phdr.p_filesz:
        mapped = elf_map(load, file, address, phdr, prot, flags, total_size)
        if load.bad(mapped):
            return mapped
        zero_start = mapped + offset + phdr.p_filesz
        if phdr.p_memsz > phdr.p_filesz and not padzero(load, zero_start):
            if load.has.elf_padzero_errors and prot & PROT_WRITE:
                return -EFAULT
    else:
        mapped = zero_start = load.start(address)
    if phdr.p_memsz > phdr.p_filesz:
        end = load.align(mapped + offset + phdr.p_memsz)
        error = set_bss(load, load.align(zero_start), end, prot)
        if error:
            return error
    return mapped


def set_bss(load, start, end, prot):
    """Anonymous memory for pages that the file has nothing for. 0 or -ERRNO (vm_brk_flags())."""
    if end < start:
        return -ENOMEM
    return vm_brk_flags(load.mm, start, end - start, VM_EXEC if prot & PROT_EXEC else 0)


def set_brk(load, start, end, prot):
    """bss up to `end`, where brk is then: set_brk(), gone in 6.7. 0 or -ERRNO."""
    start, end = load.align(start), load.align(end)
    if end > start:
        error = set_bss(load, start, end, prot)
        if error:
            return error
    load.mm.start_brk = load.mm.brk = end
    return 0


# ---- the program


def place_first(load, program, phdr, interpreter):
    """Where the first segment of a program goes: (bias, MAP_* flags, total size), or -ERRNO."""
    noreplace = MAP_FIXED_NOREPLACE if load.has.elf_noreplace else MAP_FIXED
    if program.header.e_type == ET_EXEC:
        return 0, noreplace, 0
    total_size = total_mapping_size(load, program)
    if not total_size and load.has.elf_total_minmax:
        return -EINVAL
    alignment = maximum_alignment(load, program)
    bias, flags = 0, 0
    if interpreter:
        bias = et_dyn_base(load.machine)
        bias += arch_mmap_rnd(load.machine, load.bprm.context.randomize)
        bias &= -alignment if alignment else MASK64
        bias = load.bprm.context.drawn.get("first_page", bias)
        flags = noreplace
    elif load.has.elf_align_static_pie and alignment > load.page:
        # mapped once to see where, then again as p_align asks
        found = elf_load(load, program.file, 0, phdr, make_prot(phdr.p_flags), MAP_PRIVATE,
                         total_size)
        if load.bad(found):
            return found if found < 0 else -EINVAL
        do_munmap(load.mm, found, total_size)
        bias, flags = found & -alignment, noreplace
    return load.start(bias - phdr.p_vaddr), flags, total_size


def load_segments(load, program, interpreter):
    """All segments of the program. 0 or -ERRNO: the loop of load_elf_binary()."""
    for phdr in program.segments():
        if not load.has.elf_load and program.brk > program.bss:
            error = bss_between(load, program)
            if error:
                return error
        prot = make_prot(phdr.p_flags)
        flags, total_size = MAP_FIXED, 0
        if program.first:
            placed = place_first(load, program, phdr, interpreter)
            if isinstance(placed, int):
                return placed
            program.bias, flags, total_size = placed
        place = (program.bias + phdr.p_vaddr) & MASK64
        mapper = elf_load if load.has.elf_load else elf_map
        mapped = mapper(load, program.file, place, phdr, prot, MAP_PRIVATE | MAP_DENYWRITE | flags,
                        total_size)
        if load.bad(mapped):
            return mapped if mapped < 0 else -EINVAL
        if program.first:
            program.first = False
            if program.header.e_type == ET_DYN:
                program.bias = (program.bias + mapped - load.start(place)) & MASK64
        if not note_segment(load, program, phdr, prot):
            return -EINVAL
    return 0


def bss_between(load, program):
    """Before 6.7: a segment with bss is followed by another."""
    error = set_brk(
        load, program.bss + program.bias, program.brk + program.bias, program.bss_prot
    )
    if error:
        return error
    size = -program.bss & (load.page - 1)
    if size:
        # may fail where the segment cannot be written: nobody asks
        size = min(size, program.brk - program.bss)
        clear_user(load, (program.bss + program.bias) & MASK64, size)
    return 0


def note_segment(load, program, phdr, prot):
    """Code, data and bss grow by a segment; whether its size is possible."""
    begin = phdr.p_vaddr
    header = program.header
    if phdr.p_offset <= header.e_phoff < phdr.p_offset + phdr.p_filesz:
        program.phdr_addr = header.e_phoff - phdr.p_offset + begin
    if phdr.p_flags & PF_X and begin < program.start_code:
        program.start_code = begin
    program.start_data = max(program.start_data, begin)
    if load.bad(begin) or phdr.p_filesz > phdr.p_memsz or phdr.p_memsz > load.task_size:
        return False
    if load.task_size - phdr.p_memsz < begin:
        return False
    end = begin + phdr.p_filesz
    program.bss = max(program.bss, end)
    if phdr.p_flags & PF_X:
        program.end_code = max(program.end_code, end)
    program.end_data = max(program.end_data, end)
    if begin + phdr.p_memsz > program.brk:
        program.brk = begin + phdr.p_memsz
        program.bss_prot = prot
    return True


def load_elf_interp(load, program, no_base):
    """The interpreter's segments; what its addresses are moved by, or -ERRNO."""
    header = program.header
    if header.e_type not in (ET_EXEC, ET_DYN) or not elf_check_arch(load.machine, header):
        return -EPERM  # ~0UL
    total_size = total_mapping_size(load, program)
    if not total_size:
        return -EINVAL
    mapper = elf_load if load.has.elf_load_interp else elf_map
    for phdr in program.segments():
        flags, prot = MAP_PRIVATE | MAP_DENYWRITE, make_prot(phdr.p_flags)
        if header.e_type == ET_EXEC or not program.first:
            flags |= MAP_FIXED
        elif no_base:
            program.bias = -phdr.p_vaddr & MASK64
        place = (program.bias + phdr.p_vaddr) & MASK64
        mapped = mapper(load, program.file, place, phdr, prot, flags, total_size)
        total_size = 0
        if load.bad(mapped):
            return mapped
        if program.first and header.e_type == ET_DYN:
            program.bias = (mapped - load.start(phdr.p_vaddr)) & MASK64
            program.first = False
        begin = (program.bias + phdr.p_vaddr) & MASK64
        if load.bad(begin) or phdr.p_filesz > phdr.p_memsz or phdr.p_memsz > load.task_size:
            return -ENOMEM
        if load.task_size - phdr.p_memsz < begin:
            return -ENOMEM
        program.bss = max(program.bss, begin + phdr.p_filesz)
        if begin + phdr.p_memsz > program.brk:
            program.brk, program.bss_prot = begin + phdr.p_memsz, prot
    if not load.has.elf_load_interp:
        error = interp_bss(load, program)
        if error:
            return error
    return program.bias


def interp_bss(load, program):
    """The interpreter's bss behind its last segment, before 6.7. 0 or -ERRNO."""
    if not padzero(load, program.bss):
        return -EFAULT
    start, end = load.align(program.bss), load.align(program.brk)
    return set_bss(load, start, end, program.bss_prot) if end > start else 0


# ---- load_elf_binary()


def load_elf_binary(bprm):
    """The program of `bprm` is loaded, if it is ELF for this machine. 0 or -ERRNO."""
    load = Loader(bprm)
    program, interpreter, stack = read_program(load)
    if isinstance(program, int):
        return program
    begin_new_exec(bprm)
    setup_new_exec(bprm)
    error = final_stack(bprm, stack)
    error = error or load_segments(load, program, interpreter)
    if error:
        return error
    if not load.has.elf_load:
        error = end_of_bss(load, program)
        if error:
            return error
    base, entry = 0, (program.header.e_entry + program.bias) & MASK64
    start = entry
    if interpreter:
        base = load_elf_interp(load, interpreter, program.bias)
        if base < 0:
            return base
        start = (base + interpreter.header.e_entry) & MASK64
    if load.bad(start):
        return -EINVAL
    mm, level = load.mm, bprm.context.randomize
    window = default_map_window(load.machine)
    drawn = bprm.context.drawn
    error = arch_setup_additional_pages(mm, mm.start_stack, window, level, drawn.get("vdso"))
    error = error or create_elf_tables(
        bprm, program.header, base, entry, (program.phdr_addr + program.bias) & MASK64
    )
    if not error:
        set_layout(load, program, interpreter)
    return error


def read_program(load):
    """(Program, its interpreter's Program or None, EXSTACK_*), or (-ERRNO, None, 0)."""
    bprm, machine = load.bprm, load.machine
    header = read_header(bprm.buf)
    if header is None or header.e_type not in (ET_EXEC, ET_DYN):
        return -ENOEXEC, None, 0
    phdrs = elf_check_arch(machine, header) and load_elf_phdrs(load, header, bprm.file)
    if not phdrs:
        return -ENOEXEC, None, 0
    interpreter = None
    for phdr in phdrs:
        if phdr.p_type == PT_INTERP:
            interpreter = open_interpreter(load, phdr)
            break
    stack = EXSTACK_DEFAULT
    for phdr in phdrs:
        if phdr.p_type == PT_GNU_STACK:
            stack = EXSTACK_ENABLE_X if phdr.p_flags & PF_X else EXSTACK_DISABLE_X
    if isinstance(interpreter, int):
        return interpreter, None, 0
    return Program(bprm.file, header, phdrs), interpreter, stack


def open_interpreter(load, phdr):
    """The Program that PT_INTERP names, or -ERRNO."""
    if not 2 <= phdr.p_filesz <= PATH_MAX:
        return -ENOEXEC
    name = kernel_read(load.bprm.file, phdr.p_offset, phdr.p_filesz)
    if name is None or len(name) != phdr.p_filesz:
        return -EIO
    if name[-1]:
        return -ENOEXEC
    path = name.split(b"\0")[0].decode("utf-8", "surrogateescape")
    file = open_exec(load.bprm, path)
    if isinstance(file, int):
        return file
    head = kernel_read(file, 0, min(64, file.size))
    if head is None or len(head) != 64:
        return -EIO
    header = read_header(head)
    if header is None or not elf_check_arch(load.machine, header):
        return -ELIBBAD
    phdrs = load_elf_phdrs(load, header, file)
    return Program(file, header, phdrs) if phdrs else -ELIBBAD


def end_of_bss(load, program):
    """Before 6.7: the last segment's bss, and brk behind it. 0 or -ERRNO."""
    bss, brk = (program.bss + program.bias) & MASK64, (program.brk + program.bias) & MASK64
    error = set_brk(load, bss, brk, program.bss_prot)
    if not error and bss != brk and not padzero(load, bss):
        error = -EFAULT
    return error


def set_layout(load, program, interpreter):
    """What /proc/PID/stat tells of the program, and where brk starts."""
    mm, bias, has = load.mm, program.bias, load.has
    level = load.bprm.context.randomize
    mm.start_code = (program.start_code + bias) & MASK64
    mm.end_code = (program.end_code + bias) & MASK64
    mm.start_data = (program.start_data + bias) & MASK64
    mm.end_data = (program.end_data + bias) & MASK64
    mm.start_stack = load.bprm.p
    static_pie = program.header.e_type == ET_DYN and not interpreter
    brk = load.align((program.brk + bias) & MASK64)
    if static_pie and (has.elf_brk_static_pie or level > 1):
        # bbdc6076d2e5, 5.2: a loader's brk is no neighbour of what it loads
        brk = et_dyn_base(load.machine)
        brk = load.align(brk) if has.elf_brk_static_pie else brk
    elif level > 1 and has.elf_brk_gap:
        brk += load.page
    mm.start_brk = mm.brk = brk
    if level > 1:
        drawn = load.bprm.context.drawn.get("start_brk")
        mm.start_brk = mm.brk = drawn or arch_randomize_brk(load.machine, brk)
