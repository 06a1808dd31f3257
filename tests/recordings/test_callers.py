"""The table of functions and their caches, held against a real kernel's recording."""

import pytest

from mmtwin.recordings import default_recording_path, open_recording
from mmtwin.recordings.annotate import Annotated, cache_sizes, roots_of_aliases
from mmtwin.recordings.callers import caches_of, callers

ALLOC = 3  # KIND_KMEM_CACHE_ALLOC


@pytest.mark.parametrize(
    "function, caches",
    [
        ("vm_area_dup", ("vm_area_struct", "vma_lock")),
        ("getname_flags.part.0", ("names_cache",)),
        ("alloc_empty_file_noprof.constprop.12", ("filp",)),
        ("__d_alloc", ("dentry",)),
        ("no_such_function", ()),
    ],
)
def test_names_of_functions_with_what_compilers_add(function, caches):
    assert caches_of(function) == caches


def test_agrees_with_the_kernel_that_was_recorded():
    with open_recording(default_recording_path()) as recording:
        annotated = Annotated(recording)
        roots = roots_of_aliases(recording, {name for name, *_sizes in cache_sizes(recording)})
        checked = 0
        for site in annotated.sites.records():
            found = recording.symbols.find(int(site["call_site"]))
            known = caches_of(found[0]) if found else ()
            if site["kind"] == ALLOC and site["votes"].any() and known:
                caches = {roots.get(name, name) for name in known}
                assert annotated.names[site["cache"]] in caches, found[0]
                checked += 1
    assert checked > 30


def test_every_row_names_a_function_and_its_caches():
    assert len(callers()) > 90
    assert all(function and caches for function, caches in callers().items())
