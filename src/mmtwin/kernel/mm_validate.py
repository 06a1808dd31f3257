"""Whether an address space is consistent: the kernel's validate_mm(), and what follows from its
areas.
"""

from mmtwin.kernel.mman import VM_ACCOUNT, VM_LOCKED, VM_MAYSHARE, VM_SHARED
from mmtwin.kernel.vma_flags import (
    is_data_mapping,
    is_exec_mapping,
    is_stack_mapping,
    vma_pages,
)


def validate_mm(mm):
    """Raises AssertionError where areas, their tree and the counters of an mm_struct disagree."""
    tree, page = mm.tree, 1 << mm.machine.page_shift
    areas = list(tree)
    assert mm.map_count == len(areas), f"map_count {mm.map_count}, {len(areas)} areas"
    end, prev = 0, None
    for vma in areas:
        where = f"{vma!r}"
        assert vma.vm_mm is mm, f"{where} is another's"
        assert end <= vma.vm_start < vma.vm_end <= mm.task_size, f"{where} overlaps or is empty"
        assert vma.vm_start % page == vma.vm_end % page == 0, f"{where} is not of pages"
        assert tree.prev(vma) is prev, f"{where}: wrong neighbour before"
        assert prev is None or tree.next(prev) is vma, f"{where}: wrong neighbour"
        assert tree.find_vma(vma.vm_start) is vma, f"{where} is not found at its start"
        assert tree.find_vma(vma.vm_end - 1) is vma, f"{where} is not found at its end"
        assert not vma.vm_flags & VM_SHARED or vma.vm_flags & VM_MAYSHARE, f"{where}: flags"
        validate_links(vma, where)
        end, prev = vma.vm_end, vma
    assert tree.find_vma(end) is None, "an area behind the last"
    validate_counters(mm, areas)


def validate_links(vma, where):
    """What files and anon_vmas know of an area."""
    if vma.vm_file is not None:
        assert vma.vm_file.i_mmap.count(vma) == 1, f"{where}: its file does not know it once"
    chains = [link.anon_vma for link in vma.anon_vma_chain]
    assert vma.anon_vma is None or vma.anon_vma in chains, f"{where}: anon_vma not in its chain"
    assert all(link.vma is vma for link in vma.anon_vma_chain), f"{where}: another's chain"


def validate_counters(mm, areas):
    """total_vm and its parts, locked_vm."""
    count = {"total_vm": 0, "exec_vm": 0, "stack_vm": 0, "data_vm": 0, "locked_vm": 0}
    for vma in areas:
        pages, flags = vma_pages(vma), vma.vm_flags
        count["total_vm"] += pages
        if is_exec_mapping(flags):
            count["exec_vm"] += pages
        elif is_stack_mapping(flags):
            count["stack_vm"] += pages
        elif is_data_mapping(flags):
            count["data_vm"] += pages
        count["locked_vm"] += pages if flags & VM_LOCKED else 0
    for name, pages in count.items():
        assert getattr(mm, name) == pages, f"{name} {getattr(mm, name)}, its areas have {pages}"


def accounted_pages(mm):
    """Pages that are promised to an address space: those of its VM_ACCOUNT areas."""
    return sum(vma_pages(vma) for vma in mm.tree if vma.vm_flags & VM_ACCOUNT)
