"""What tasks and kernel stacks of each kernel have: the tasks section of kernel/features.pxd.

The form of a row: versions/features.py. Sizes of structures are those of Debian's kernels.
"""

from collections.abc import Callable

from mmtwin.versions.facts import Change, Facts, Feature
from mmtwin.versions.features_slub import when
from mmtwin.versions.limits import limits_of
from mmtwin.versions.releases import has_since

# ea4654e08853 (6.9) gave the switch its second name. The newest kernels take the second page only
# on a CPU that must be isolated from; the twin's is one.
ISOLATED = when("CONFIG_PAGE_TABLE_ISOLATION", "CONFIG_MITIGATION_PAGE_TABLE_ISOLATION")


def limit(name: str) -> Callable[[Facts], int]:
    """A field of Limits."""

    def value_of(facts: Facts) -> int:
        limits = limits_of(facts.version, facts.arch, facts.page_size, facts.config)
        return int(getattr(limits, name))

    return value_of


def pt_regs_bytes(facts: Facts) -> int:
    """sizeof(struct pt_regs), which lies at the top of every stack."""
    return 336 if facts.arch == "arm64" else 168


def refill_function(facts: Facts) -> int:
    """What remains a function of its own of those that fill a per-CPU list: by the kallsyms of
    5.10, 6.1, 6.12, 6.18 and 7.3.
    """
    return int(has_since(facts.version, "6.1")) + int(has_since(facts.version, "6.12"))


TASKS = (
    Feature("thread_size", "THREAD_SIZE in bytes", limit("thread_size")),
    Feature("thread_align", "THREAD_ALIGN in bytes", limit("thread_align")),
    Feature("vmap_stack", "stacks are mapped virtually, two freed ones kept by each CPU",
            limit("vmap_stack")),
    Feature("stack_freed_by_rcu", "a stack that no CPU keeps is freed after a grace period", 0,
            Change("5.18", 1, "e540bf3162e8")),
    # a hunk of the real-time patch: finish_task_switch() leaves it to __put_task_struct()
    Feature("stack_put_with_task", "a dead task's stack goes with its task_struct, not at once", 1,
            Change("5.18", 0, "e540bf3162e8"), config="CONFIG_PREEMPT_RT"),
    Feature("stack_counted_to_exit", "do_exit() takes a stack out of KernelStack, not its free", 0,
            Change("5.18", 1, "1a03d3f13ffe")),
    Feature("sched_stack_end_check", "schedule() looks at the magic at a stack's end", 1,
            config="CONFIG_SCHED_STACK_END_CHECK"),
    Feature("stack_guard_named", "x86: the overflow's message says which stack it was", 0,
            Change("5.16", 1, "44b979fa302c")),
    Feature("stack_top_padding", "x86: bytes above the registers (TOP_OF_KERNEL_STACK_PADDING)", 0,
            Change("6.9", 16, "65c9cc9e2c14"), config="CONFIG_X86_FRED"),
    Feature("pt_regs_bytes", "sizeof(struct pt_regs)", pt_regs_bytes),
    Feature("delay_accounting", "every task has a struct task_delay_info", 1,
            Change("5.14", 0, "e4042ad49235"), config="CONFIG_TASK_DELAY_ACCT"),
    Feature("kthread_in_fork", "copy_process() allocates struct kthread, not the new thread", 0,
            Change("5.17", 1, "40966e316f86")),
    Feature("kthread_bytes", "sizeof(struct kthread)", 104,
            Change("5.17", 112, "d6986ce24fc0")),
    Feature("lsm_cred_bytes", "what security modules keep for each struct cred", 8,
            Change("5.13", 16, "385975dca53e")),
    Feature("lsm_task_bytes", "what security modules keep for each task", 48),
    Feature("pgd_order", "order of a process's top page table: two pages for isolation", ISOLATED),
    Feature("alloc_pages_entry",
            "__alloc_pages_nodemask(), 1 __alloc_pages(), 2 __alloc_pages_noprof(), "
            "3 __alloc_frozen_pages_noprof()", 0,
            Change("5.13", 1, "84172f4bb752"), Change("6.10", 2, "b951aaff5035"),
            Change("6.14", 3, "49249a2a5eeb")),
    Feature("pcp_refill_function",
            "lists are filled in get_page_from_freelist(), 1 rmqueue_bulk(), 2 "
            "__rmqueue_pcplist(), as Debian's kernels are compiled", refill_function),
    Feature("free_pages_entry",
            "pages are freed by free_unref_page(), 1 free_frozen_pages(), 2 ___free_pages()", 0,
            Change("6.14", 1, "520128a1d1f0"), Change("6.15", 2, "8c57b687e833")),
    Feature("free_unref_folios", "free_unref_folios(), not free_unref_page_list()", 0,
            Change("6.9", 1, "90491d87dd46")),
)
