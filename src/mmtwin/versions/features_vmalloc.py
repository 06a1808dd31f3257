"""vmalloc's rows of the feature table.

An empty commit: the release is known, the commit's number in the mainline is not confirmed. That
of 6.19 is probably "mm/vmalloc: support non-blocking GFP flags in alloc_vmap_area()".
"""

from collections.abc import Callable

from mmtwin.versions.facts import Change, Facts, Feature

VMALLOC_SPACE = 128 << 30  # bytes, as far as the size of a block goes
LEAST_BLOCK, MOST_BLOCK = 128, 1024  # pages


def block_pages(facts: Facts) -> int:
    """VMAP_BBMAP_BITS: a sixteenth of VMALLOC_SPACE for each CPU, within bounds."""
    cpus = 1 << (facts.number("CONFIG_NR_CPUS", 1) - 1).bit_length()
    share = VMALLOC_SPACE // facts.page_size // cpus // 16
    return min(MOST_BLOCK, max(LEAST_BLOCK, share))


def block_bytes(rest: int) -> Callable[[Facts], int]:
    """A struct vmap_block that has a bit for each of its pages."""
    return lambda facts: rest + block_pages(facts) // 8


VMALLOC = (
    Feature("vmap_lazy_merges", "freed areas that touch wait as one, in order of address", 0,
            Change("5.11", 1, "96e2db456135"), Change("6.9", 0, "282631cb2447")),
    Feature("vmap_nodes", "CPUs have vmap nodes with pools of freed areas", 0,
            Change("6.9", 1, "72210662c5a2")),
    Feature("vmap_purge_work", "a worker purges, not the one who frees", 0,
            Change("5.18", 1, "690467c81b1a")),
    # 5.15 lacks it, 5.17 has it for every alignment; since then adjust_search_size narrows it
    Feature("vmap_exact_alignment", "searches do not allow for alignments up to a page", 0,
            Change("5.16", 1, "9f531973dff3")),
    Feature("vm_struct_bytes", "sizeof(struct vm_struct)", 64,
            Change("6.15", 72, "a0309faf1cb0", ("6.12.107",)), Change("7.3", 80, "")),
    Feature("vmalloc_rounds_size", "whole pages are compared with the machine's memory", 1,
            Change("5.13", 0, "121e6f3258fe")),
    # until 6.12 (1) each node's share must be large enough, since then (2) the whole
    Feature("huge_vmalloc", "CONFIG_HAVE_ARCH_HUGE_VMALLOC, for those who ask for it", 0,
            Change("5.18", 1, "559089e0a93d"), Change("6.13", 2, "")),
    Feature("vmap_cont_pte", "huge mappings of contiguous PTEs, below a PMD", 0,
            Change("6.16", 1, "06fc959fcff7"), arch="arm64"),
    Feature("vmalloc_large_orders", "vmalloc first tries the largest blocks that fit", 0,
            Change("7.0", 1, "a06157804399")),
    Feature("vmalloc_nonblocking", "vmalloc serves requests that must not wait", 0,
            Change("6.19", 1, "")),
    # 1: but not of pages (__GFP_NOWARN), 2: of pages too, 3: without their order, 4: with the size
    # wanted, not had, 5: with the alignment
    Feature("vmalloc_says_why", "complaints say what failed ('vmalloc error: ...')", 0,
            Change("5.13", 1, "f4bdfeaf18a4"), Change("5.17", 2, ""), Change("5.18", 1, ""),
            Change("6.3", 2, ""), Change("6.4", 3, "95a301eefa82"), Change("7.1", 4, ""),
            Change("7.3", 5, "")),
    Feature("vunmap_own_words", "vunmap of nothing is not said to be a vfree", 0,
            Change("6.3", 1, "79311c1fe021")),
    Feature("vmap_block_pages", "VMAP_BBMAP_BITS: pages of a block of vm_map_ram()", block_pages),
    Feature("vmap_block_bytes", "sizeof(struct vmap_block)", 96,
            Change("6.3", block_bytes(96), "d76f99548cf0"),
            Change("6.10", block_bytes(104), "8c61291fd850")),
    Feature("vmap_block_threshold",
            "a fragmented block is purged by vm_unmap_aliases() if nearly full", 0,
            Change("6.5", 1, "77e50af07f14")),
    Feature("kvmalloc_any_gfp", "kvmalloc falls back for flags other than GFP_KERNEL", 0,
            Change("5.18", 1, "a421ef303008")),
    Feature("kvmalloc_no_reclaim", "kvmalloc's kmalloc does not reclaim at all", 0,
            Change("6.15", 1, "46459154f997")),
    Feature("pgtable_arm64", "page table entries are arm64's", 1, arch="arm64"),
    Feature("pud_preallocated", "tables below the top level exist since boot", 1, arch="x86_64"),
    Feature("kernel_pmd_counted", "NR_PAGETABLE counts the kernel's PMD tables", 1),
    Feature("kernel_pud_counted", "NR_PAGETABLE counts PUD tables", 0,
            Change("6.7", 1, "55d2a0bd5ead")),
    Feature("kernel_pte_counted", "NR_PAGETABLE counts the kernel's PTE tables", 0,
            Change("6.16", 1, "d82d3bf41122")),
)
