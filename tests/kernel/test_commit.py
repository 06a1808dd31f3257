"""What is promised: vm_committed_as, and what CPUs have not told of it yet."""

import pytest

from mmtwin.kernel.commit import OVERCOMMIT_GUESS, OVERCOMMIT_NEVER, Commit, commit_of
from mmtwin.kernel.mm_types import mm_struct
from mmtwin.machine.boot import boot_mm
from mmtwin.versions.profiles import profile

ENOMEM = 12


@pytest.fixture
def two() -> tuple[Commit, mm_struct]:
    """Of a machine of two CPUs, and an address space of a task without privileges."""
    machine = boot_mm(profile("x86_64-6.1"), "256M", 2)
    mm = mm_struct(machine)
    mm.privileged = False
    return commit_of(machine), mm


def test_what_a_cpu_keeps_back(two: tuple[Commit, mm_struct]) -> None:
    commit, _mm = two
    total = commit.totalram_pages
    assert commit.batch == total // 2 // 4
    commit.vm_acct_memory(commit.batch - 1)
    assert commit.count == 0 and commit.committed_as == commit.batch - 1
    commit.vm_acct_memory(1)
    assert commit.count == commit.batch == commit.committed_as
    commit.machine.cpu = 1
    commit.vm_unacct_memory(10)
    assert commit.count == commit.batch and commit.committed_as == commit.batch - 10
    commit.overcommit_memory = OVERCOMMIT_NEVER  # sync_overcommit_as()
    assert commit.batch == total // 2 // 256
    assert commit.count == commit.committed_as and commit.cpu_count == [0, 0]
    commit.vm_acct_memory(5)
    commit.overcommit_memory = OVERCOMMIT_GUESS
    assert commit.cpu_count == [0, 5], "only OVERCOMMIT_NEVER adds up"


def test_never_sees_what_cpus_have_told(two: tuple[Commit, mm_struct]) -> None:
    """percpu_counter_read_positive(): a promise smaller than the batch can go beyond the limit."""
    commit, mm = two
    commit.overcommit_memory = OVERCOMMIT_NEVER
    shift = commit.page_shift - 10
    allowed = commit.vm_commit_limit() - (commit.admin_reserve_kbytes >> shift)
    commit.vm_acct_memory(allowed - 1)
    assert commit.count == allowed - 1
    step = commit.batch - 1
    assert commit.vm_enough_memory(mm, step) == 0 and commit.committed_as == allowed - 1 + step
    assert commit.vm_enough_memory(mm, 1) == -ENOMEM, "this one fills the batch"
    assert commit.committed_as == allowed - 1 + step, "and is taken back"
    mm.privileged = True  # root has the reserve too
    assert commit.vm_enough_memory(mm, 1) == 0


def test_the_share_of_one_process(two: tuple[Commit, mm_struct]) -> None:
    """A process leaves a 32nd of its own size free, up to the user's reserve."""
    commit, mm = two
    commit.overcommit_memory = OVERCOMMIT_NEVER
    commit.admin_reserve_kbytes = 0
    mm.total_vm = 32 * 1000
    commit.vm_acct_memory(commit.vm_commit_limit() - 1000 - commit.batch)
    assert commit.vm_enough_memory(mm, commit.batch) == -ENOMEM
    assert commit.vm_enough_memory(mm, commit.batch - 1) == 0
    commit.user_reserve_kbytes = 0
    commit.vm_unacct_memory(commit.batch)
    assert commit.vm_enough_memory(mm, commit.batch) == 0
