"""The numbers of mman.pxd as Python ints, and those that no C enum holds."""

from typing import TYPE_CHECKING

from mmtwin.kernel.constants import load_constants

globals().update(load_constants("mman.pxd"))

RLIM_INFINITY = 0xFFFFFFFFFFFFFFFF
# By RLIMIT_*, what init has: INIT_RLIMITS of include/asm-generic/resource.h.
RLIMIT_DEFAULTS = {3: 8 << 20, 8: 8 << 20}
# vm_flags above 31 bits
VM_MERGEABLE = 1 << 31
VM_UFFD_MINOR = 1 << 37
VM_SHADOW_STACK = 1 << 38  # 37 where x86 has it, which is VM_UFFD_MINOR in 6.1
VM_DROPPABLE = 1 << 40
VM_SEALED = 1 << 63

if TYPE_CHECKING:  # the names stand in the .pxd

    def __getattr__(name: str) -> int: ...
