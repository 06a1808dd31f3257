"""The twin's /proc against the kernel's, on machines made from a kernel's own lists (trimmed)."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from mmtwin.machine.from_truth import build_from_truth
from mmtwin.machine.texts import parse_zoneinfo
from mmtwin.procfs import (
    buddyinfo,
    compare,
    kpagecount,
    kpageflags,
    meminfo,
    pagetypeinfo,
    slab_show,
    slabinfo,
    sys_kernel_slab,
    vmstat,
    zoneinfo,
)
from mmtwin.procfs.write import FILES, Base, proc_file, write_proc
from mmtwin.versions.profiles import profile

# Texts and lists of one moment each; of the lists only some caches are kept.
MACHINES = Path(__file__).parent / "machines"
PROFILES = {
    "x86-5.10-smp1": "x86_64-5.10",
    "x86-6.1-smp1": "x86_64-6.1",
    "x86-7.3-smp1": "x86_64-7.3",
}


@pytest.fixture(scope="module", params=PROFILES)
def twin(request):
    """(the machine's MM, the folder of the kernel's texts)"""
    folder = MACHINES / request.param
    truth = json.loads(gzip.decompress((folder / "truth.json.gz").read_bytes()))
    zones = parse_zoneinfo((folder / "zoneinfo").read_text())
    entries = sys_kernel_slab.resolve(
        sys_kernel_slab.parse((folder / "sys_kernel_slab").read_bytes())
    )
    attributes = {name: entry.values for name, entry in entries.items()}
    return build_from_truth(profile(PROFILES[request.param]), zones, truth, attributes), folder


def test_slabinfo_and_buddyinfo_byte_for_byte(twin):
    mm, folder = twin
    assert proc_file(mm, "slabinfo") == (folder / "slabinfo").read_bytes()
    assert proc_file(mm, "buddyinfo") == (folder / "buddyinfo").read_bytes()


def test_pagetypeinfo_rows(twin):
    mm, folder = twin
    kernel = pagetypeinfo.parse((folder / "pagetypeinfo").read_bytes())
    found = compare.compare_pagetypeinfo(kernel, pagetypeinfo.show(mm))
    # the lists hold no block types of 7.3: they are read wrongly there
    named = [row.row for row in found.differences if not row.row.endswith(" blocks")]
    assert named == []
    if folder.name != "x86-7.3-smp1":
        assert found.exact == found.rows == 12
        assert proc_file(mm, "pagetypeinfo") == (folder / "pagetypeinfo").read_bytes()


def test_zoneinfo_with_a_base_differs_by_slab_and_counts_only(twin):
    mm, folder = twin
    texts = {name: (folder / name).read_bytes() for name in ("zoneinfo", "meminfo", "vmstat")}
    base = Base.parse(texts)
    mine = {
        "nr_slab_reclaimable", "nr_slab_unreclaimable", "nr_free_pages", "pages",
        "MemFree:", "MemAvailable:", "KReclaimable:", "Slab:", "SReclaimable:", "SUnreclaim:",
        "high_min:", "high_max:",
    }  # fmt: skip
    for name, text in texts.items():
        kernel = text.decode().splitlines()
        shown = proc_file(mm, name, base).decode().splitlines()
        differing = {
            line.split()[0] for line, other in zip(kernel, shown, strict=True) if line != other
        }
        assert differing <= mine, name


def test_without_a_base_the_lines_are_the_kernels(twin):
    mm, folder = twin
    kernel = zoneinfo.parse((folder / "zoneinfo").read_bytes())
    shown = zoneinfo.parse(proc_file(mm, "zoneinfo"))
    assert [zone.zone for zone in shown] == [zone.zone for zone in kernel]
    for mine, theirs in zip(shown, kernel, strict=True):
        assert list(mine.stats) == list(theirs.stats)
        assert mine.protection == theirs.protection
        assert mine.pages.keys() == theirs.pages.keys()
        for mark in ("min", "low", "high", "spanned", "present", "managed"):
            assert mine.pages[mark] == theirs.pages[mark]
        assert [p.threshold for p in mine.pagesets] == [p.threshold for p in theirs.pagesets]
    totals = meminfo.parse((folder / "meminfo").read_bytes())
    mine = meminfo.show(mm)
    assert list(mine) == list(totals)
    for name in ("MemTotal", "CommitLimit", "Hugepagesize"):
        assert mine[name] == totals[name]
    assert list(vmstat.show(mm)) == list(vmstat.parse((folder / "vmstat").read_bytes()))


def test_events_are_added_to_the_base(twin):
    mm, folder = twin
    base = vmstat.parse((folder / "vmstat").read_bytes())
    before = vmstat.show(mm, base)
    mm.view("vm_event")[16] += 3  # VM_PGFREE
    after = vmstat.show(mm, base)
    mm.view("vm_event")[16] -= 3
    assert before["pgfree"] == base["pgfree"]
    assert after["pgfree"] == base["pgfree"] + 3


def test_slab_geometry_and_names(twin):
    mm, folder = twin
    kernel = sys_kernel_slab.parse((folder / "sys_kernel_slab").read_bytes())
    found = compare.compare_slab_attributes(kernel, slab_show.show(mm))
    assert found.exact == found.rows > 10, found.differences
    shown = slab_show.show(mm, kernel)
    assert [entry.name for entry in shown] == [entry.name for entry in kernel]
    first = next(e for e in shown if isinstance(e, sys_kernel_slab.SlabAttributes))
    theirs = next(e for e in kernel if isinstance(e, sys_kernel_slab.SlabAttributes))
    assert list(first.values) == list(theirs.values)


def test_slab_folders_without_a_base(twin):
    mm, folder = twin
    kernel = sys_kernel_slab.parse((folder / "sys_kernel_slab").read_bytes())
    shown = {entry.name: entry for entry in slab_show.show(mm)}
    for entry in kernel:
        if isinstance(entry, sys_kernel_slab.SlabAttributes):
            assert isinstance(shown[entry.name], sys_kernel_slab.SlabAttributes)
        elif entry.name in mm.cache_names:
            assert shown[entry.name] == entry


def test_merged_caches_are_links(twin):
    mm, _ = twin
    number = mm.cache_names.index("files_cache")
    target = {e.name: e for e in slab_show.show(mm)}["files_cache"]
    folder = getattr(target, "target", target.name)
    mm.cache_aliases[number] = ["another"]
    shown = {entry.name: entry for entry in slab_show.show(mm)}
    del mm.cache_aliases[number]
    assert shown["another"] == sys_kernel_slab.SlabAlias("another", folder)


def test_kpageflags_count_free_and_slab_pages(twin):
    mm, folder = twin
    flags = kpageflags.show(mm)
    free = np.count_nonzero(flags & kpageflags.mask("buddy"))
    rows = buddyinfo.parse((folder / "buddyinfo").read_bytes())
    assert free == sum(count << order for row in rows for order, count in enumerate(row.free))
    caches = slabinfo.parse((folder / "slabinfo").read_bytes())
    pages = sum(row.num_slabs * row.pagesperslab for row in caches)
    assert np.count_nonzero(flags & kpageflags.mask("slab")) == pages
    assert len(flags) == 65536  # 256 MiB, whole sections
    assert not kpagecount.show(mm).any()
    data = kpageflags.format_kpageflags(flags)
    assert np.array_equal(kpageflags.parse(data), flags)


def test_compare_names_the_row(twin):
    mm, folder = twin
    kernel = slabinfo.parse((folder / "slabinfo").read_bytes())
    other = [*kernel[1:], slabinfo.SlabInfo("extra", 0, 0, 8, 512, 1, 0, 0)]
    found = compare.compare_slabinfo(kernel, other)
    assert found.counts("caches") == {"caches": len(kernel), "exact": len(kernel) - 1}
    assert [row.row for row in found.differences] == [kernel[0].name, "extra"]
    assert compare.compare_slab_order(kernel, slabinfo.show(mm))


def test_write_proc_lays_all_files_out(twin, tmp_path):
    mm, folder = twin
    for _ in range(2):  # the second time over the first
        paths = write_proc(mm, tmp_path / "proc")
    assert sorted(path.name for path in paths[:-1]) == sorted(set(FILES) - {"sys_kernel_slab"})
    assert (tmp_path / "proc" / "slabinfo").read_bytes() == (folder / "slabinfo").read_bytes()
    assert sys_kernel_slab.read_folder(paths[-1])
    left = [name for name in os.listdir(tmp_path / "proc") if name.startswith(".")]
    assert left == []


def test_psutil_reads_the_folder(twin, tmp_path, monkeypatch):
    psutil = pytest.importorskip("psutil")
    mm, folder = twin
    base = Base.parse({"meminfo": (folder / "meminfo").read_bytes()})
    write_proc(mm, tmp_path, base)
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    memory = psutil.virtual_memory()
    totals = meminfo.parse((folder / "meminfo").read_bytes())
    assert memory.total == totals["MemTotal"].value * 1024
    assert memory.slab == meminfo.show(mm)["Slab"].value * 1024
