"""Where address spaces are put at random (mm/util.c, arch/*/kernel/process.c, arch/*/mm/mmap.c).

`level` is what /proc/sys/kernel/randomize_va_space says, 0 for a process that has
ADDR_NO_RANDOMIZE: 1 moves the stack, mmap base and vDSO, 2 brk too. What is drawn comes from the
machine's own generator, so it follows from its seed.
"""

MASK64 = (1 << 64) - 1
MIB = 1 << 20
X86_STACK_RND_MASK = 0x3FFFFF  # pages: 16 GiB
ARM64_STACK_RND_MASK = 0x3FFFF  # units of 4 KiB


def get_random_long(machine):
    """The machine's next random number of 64 bits (xorshift64)."""
    state = machine.random_state
    state ^= (state << 13) & MASK64
    state ^= state >> 7
    state ^= (state << 17) & MASK64
    machine.random_state = state
    return state


def arch_mmap_rnd(machine, level):
    """Bytes that the mmap base is moved by: arch_mmap_rnd(); `level`: see above."""
    if not level:
        return 0
    bits = machine.view("has")[0].mmap_rnd_bits
    return (get_random_long(machine) & ((1 << bits) - 1)) << machine.page_shift


def stack_rnd_mask(machine):
    """STACK_RND_MASK, in pages."""
    if machine.view("has")[0].pgtable_arm64:
        return ARM64_STACK_RND_MASK >> (machine.page_shift - 12)
    return X86_STACK_RND_MASK


def randomize_stack_top(machine, stack_top, level):
    """The top of a new stack: randomize_stack_top()."""
    page = 1 << machine.page_shift
    top = (stack_top + page - 1) & -page
    if not level:
        return top
    return top - ((get_random_long(machine) & stack_rnd_mask(machine)) << machine.page_shift)


def arch_align_stack(machine, sp, level):
    """The first stack pointer, aligned; moved within 8 KiB (x86-64) or a page (arm64)."""
    if level:
        span = 8192 if not machine.view("has")[0].pgtable_arm64 else 1 << machine.page_shift
        sp -= get_random_long(machine) % span
    return sp & ~0xF


def randomize_page(machine, start, span):
    """A page-aligned address of `start` <= a < `start` + `span`: randomize_page()."""
    page = 1 << machine.page_shift
    aligned = (start + page - 1) & -page
    span -= aligned - start
    pages = min(span, MASK64 - aligned) >> machine.page_shift
    if pages <= 0:
        return aligned
    return aligned + ((get_random_long(machine) % pages) << machine.page_shift)


def arch_randomize_brk(machine, brk):
    """Where brk starts, at random above `brk`: arch_randomize_brk()."""
    return randomize_page(machine, brk, machine.view("has")[0].brk_random_mib * MIB)
