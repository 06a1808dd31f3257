cimport cython

from mmtwin.kernel.casts cimport as_s64, as_u64
from mmtwin.kernel.structs cimport s32, s64, u64

cdef enum:
    PIDS = 32768                  # places by pid, a power of two
    SPACES = 4096                 # places by number of an address space, a power of two
    # a task's fork
    FORK_THREAD = 1
    FORK_PROCESS = 2

@cython.final
cdef class TableOwners:
    cdef s64 *after               # by pfn: the next table of the same address space, 0: none
    cdef s64 *before
    cdef s64 *head                # by address space
    cdef s64 *users               # tasks that it has besides one
    cdef s64 *space               # by pid: the address space that it runs in, 0: none
    cdef s64 *previous            # the one it ran in before its newest execve()
    cdef s64 *building            # of a fork: the child's
    cdef s64 *forking             # FORK_*
    cdef s64 *shared              # whether the one before that was another task's too: vfork()
    cdef u64 *object              # the mm_struct of its newest execve()
    cdef u64 *mm                  # by address space: its mm_struct
    cdef s64 newest
    cdef s64 pids                 # allocated since the first event
    cdef s64 first_pid            # the last one before
    cdef dict _buffers

    @cython.locals(place=s64)
    cdef void task_made(self, s32 pid) noexcept nogil
    cdef void own_handlers(self, s32 pid) noexcept nogil
    @cython.locals(place=s64)
    cdef void mm_made(self, s32 pid, u64 object) noexcept nogil
    @cython.locals(place=s64, space=s64)
    cdef s64 mm_freed(self, s32 pid, u64 object) noexcept nogil
    @cython.locals(place=s64, child=s64)
    cdef void pid_made(self, s32 pid) noexcept nogil
    @cython.locals(place=s64, space=s64)
    cdef void table_made(self, s32 pid, s64 pfn) noexcept nogil
    cdef void table_gone(self, s64 pfn) noexcept nogil
    @cython.locals(place=s64, space=s64)
    cdef s64 exited(self, s32 pid) noexcept nogil
    cdef void _learn(self, s32 pid) noexcept nogil
    cdef s64 next_table(self, s64 pfn) noexcept nogil
    @cython.locals(place=s64)
    cdef s64 _new_space(self) noexcept nogil
