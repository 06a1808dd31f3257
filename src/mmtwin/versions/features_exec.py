"""execve()'s rows of the feature table; an empty commit: the release is known.

The sublevels of 6.1 and 6.12 are those whose source or recording shows the change, not the first.
"""

from mmtwin.versions.facts import Change, Facts, Feature


def vdso_pages(facts: Facts) -> int:
    """Pages of the vDSO's text: two of 4 KiB on x86-64, one page on arm64 before vgetrandom."""
    if facts.arch == "x86_64":
        return 2
    return 1


def brk_random(facts: Facts) -> int:
    """MiB that arch_randomize_brk() draws from, before x86-64 had as many as arm64."""
    return 32 if facts.arch == "x86_64" else 1024


def rnd_bits(facts: Facts) -> int:
    """CONFIG_ARCH_MMAP_RND_BITS, or what it is by default."""
    least = {4096: 18, 16384: 16, 65536: 14}[facts.page_size]
    return facts.number("CONFIG_ARCH_MMAP_RND_BITS", 28 if facts.arch == "x86_64" else least)


EXEC = (
    Feature("elf_load", "each segment's bss is mapped with it, not the last one's alone", 0,
            Change("6.7", 1, "585a018627b4", ("6.1.176",))),
    Feature("elf_load_interp", "... the interpreter's too", 0,
            Change("6.7", 1, "8b04d32678e3")),
    Feature("elf_total_minmax", "total_mapping_size() sorts segments itself", 0,
            Change("5.18", 1, "0da1d5002745")),
    Feature("elf_noreplace", "the first segment does not replace what is mapped", 0,
            Change("5.18", 1, "5f501d555653")),
    Feature("elf_align_static_pie", "a static PIE lies as its segments' p_align asks", 0,
            Change("6.10", 1, "3545deff0ec7", ("6.1.176",))),
    Feature("elf_brk_gap", "a page is left free before a random brk", 0,
            Change("6.10", 1, "2a5eb9995528", ("6.1.176",))),
    Feature("elf_brk_static_pie", "brk of a static PIE moves to ELF_ET_DYN_BASE unrandomized", 0,
            Change("6.16", 1, "11854fe263eb", ("6.1.176", "6.12.107"))),
    Feature("elf_phdrs_one_page", "program headers may take no more than a page", 1,
            Change("6.10", 0, "")),
    Feature("elf_padzero_errors", "a bss that cannot be zeroed stops exec where it is writable", 0,
            Change("6.7", 1, "f9c0a39d9530")),
    Feature("brk_random_mib", "MiB that a random brk is drawn from", brk_random,
            Change("6.9", 1024, "44c76825d6ee", ("6.1.176",))),
    Feature("mmap_rnd_bits", "bits of a random mmap base (CONFIG_ARCH_MMAP_RND_BITS)",
            rnd_bits),
    Feature("vdso_above_stack", "the vDSO is put above the stack if it can be", 1,
            Change("6.9", 0, "3c6539b4c177"), arch="x86_64"),
    Feature("vdso_pages", "pages of the vDSO's text", vdso_pages),
    Feature("vvar_pages", "pages of the vDSO's data, but for the clocks of vvar_vclock_pages",
            lambda facts: 4 if facts.arch == "x86_64" else 2,
            Change("6.14", lambda facts: 2, "e93d2521b27f"),
            Change("6.15", 4, "df7fcbefa710")),
    Feature("vvar_vclock_pages", "pages of [vvar_vclock]", 0,
            Change("6.14", 2, "e93d2521b27f"), arch="x86_64"),
    Feature("vvar_io", "[vvar] is VM_IO and VM_DONTDUMP",
            lambda facts: int(facts.arch == "x86_64"),
            Change("6.15", 1, "df7fcbefa710")),
    Feature("vvar_mixedmap", "[vvar] is VM_MIXEDMAP, not VM_PFNMAP and VM_IO", 0,
            Change("7.0", 1, "05988dba1179")),
    Feature("sealed_sysmap", "the vDSO's areas are sealed", 0,
            Change("6.15", 1, "1d6fad7b844c"), config="CONFIG_MSEAL_SYSTEM_MAPPINGS"),
    Feature("auxv_minsigstksz", "AT_MINSIGSTKSZ",
            lambda facts: int(facts.arch == "arm64"),
            Change("5.14", 1, "1c33bb050775")),
    Feature("auxv_rseq", "AT_RSEQ_FEATURE_SIZE and AT_RSEQ_ALIGN", 0,
            Change("6.3", 1, "317c8194e6ae")),
    Feature("auxv_hwcap3", "AT_HWCAP3", 0,
            Change("6.14", 1, "ddadbcdaaed5"), arch="arm64"),
)
