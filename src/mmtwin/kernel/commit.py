"""Memory promised to processes: overcommit (mm/util.c), and the limits that all of them share."""

from mmtwin.kernel.mman import ENOMEM

OVERCOMMIT_GUESS, OVERCOMMIT_ALWAYS, OVERCOMMIT_NEVER = range(3)
DEFAULT_MAX_MAP_COUNT = 65530
STACK_GUARD_PAGES = 256
KBYTES_SHIFT = 10
INT_MAX = (1 << 31) - 1
# A CPU keeps back up to one of so many parts of the memory there is for it, or this many pages.
NEVER_PART, OTHER_PART, LEAST_BATCH = 256, 4, 32


class Commit:
    """vm_committed_as and the sysctls about it; `machine`: an MM.

    What sysctl names in kbytes is in kbytes here, all else in pages. The two reserves are what the
    memory that is free now gives them (init_user_reserve(), init_admin_reserve()).
    """

    def __init__(self, machine):
        zones = machine.view("zone")
        self.machine = machine
        self.has = machine.view("has")[0]  # features_t
        self.page_shift = machine.page_shift
        self.count = 0  # of vm_committed_as, what CPUs have told
        self.cpu_count = [0] * machine.nr_cpus  # and what they have not
        self.totalram_pages = int(zones["managed_pages"].sum())
        self.overcommit_memory = OVERCOMMIT_GUESS
        self.overcommit_ratio = 50
        self.overcommit_kbytes = 0
        self.total_swap_pages = 0
        free_kbytes = self.totalram_pages << (machine.page_shift - KBYTES_SHIFT)
        self.user_reserve_kbytes = min(free_kbytes // 32, 1 << 17)
        self.admin_reserve_kbytes = min(free_kbytes // 32, 1 << 13)
        self.max_map_count = DEFAULT_MAX_MAP_COUNT
        self.mmap_min_addr = self.has.mmap_min_addr
        self.stack_guard_gap = STACK_GUARD_PAGES << machine.page_shift
        self.legacy_va_layout = 0
        self.next_shmem_ino = 2  # of shm_mnt; its root is 1

    @property
    def overcommit_memory(self):
        """vm.overcommit_memory: OVERCOMMIT_*."""
        return self._overcommit_memory

    @overcommit_memory.setter
    def overcommit_memory(self, policy):
        # mm_compute_batch(), overcommit_policy_handler(), sync_overcommit_as(): 56f3547bfa4d (5.9)
        self._overcommit_memory = policy
        cpus = self.machine.nr_cpus
        part = NEVER_PART if policy == OVERCOMMIT_NEVER else OTHER_PART
        self.batch = max(min(self.totalram_pages // cpus // part, INT_MAX), cpus * 2, LEAST_BATCH)
        if policy == OVERCOMMIT_NEVER:
            self.count, self.cpu_count = self.committed_as, [0] * cpus

    @property
    def committed_as(self):
        """Pages promised, as Committed_AS tells them (vm_memory_committed())."""
        return self.count + sum(self.cpu_count)

    def vm_acct_memory(self, pages):
        """Promises without asking (vm_acct_memory(), percpu_counter_add_batch())."""
        cpu = self.machine.cpu
        count = self.cpu_count[cpu] + pages
        if abs(count) >= self.batch:
            self.count += count
            count = 0
        self.cpu_count[cpu] = count

    def vm_commit_limit(self):
        """CommitLimit in pages (vm_commit_limit())."""
        if self.overcommit_kbytes:
            allowed = self.overcommit_kbytes >> (self.page_shift - KBYTES_SHIFT)
        else:
            allowed = self.totalram_pages * self.overcommit_ratio // 100
        return allowed + self.total_swap_pages

    def vm_enough_memory(self, mm, pages):
        """Promises `pages` to an address space (__vm_enough_memory()): 0, or -ENOMEM.

        `mm`: an mm_struct; `pages`: long, may be 0 or less.
        """
        self.vm_acct_memory(pages)
        if self.overcommit_memory == OVERCOMMIT_ALWAYS:
            return 0
        if self.overcommit_memory == OVERCOMMIT_GUESS:
            if pages <= self.totalram_pages + self.total_swap_pages:
                return 0
            self.vm_unacct_memory(pages)
            return -ENOMEM
        shift = self.page_shift - KBYTES_SHIFT
        allowed = self.vm_commit_limit()
        if not mm.privileged:
            allowed -= self.admin_reserve_kbytes >> shift
        allowed -= min(mm.total_vm // 32, self.user_reserve_kbytes >> shift)
        if max(self.count, 0) < allowed:  # percpu_counter_read_positive()
            return 0
        self.vm_unacct_memory(pages)
        return -ENOMEM

    def vm_unacct_memory(self, pages):
        """Takes a promise back (vm_unacct_memory())."""
        self.vm_acct_memory(-pages)


def commit_of(machine):
    """The Commit of a machine (an MM), made when it is first asked for."""
    if machine.commit is None:
        machine.commit = Commit(machine)
    return machine.commit


def has_of(mm):
    """The features_t of the machine of an mm_struct."""
    return commit_of(mm.machine).has
