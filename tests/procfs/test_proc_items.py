"""The tables of counters name what each kernel prints, in its order."""

from pathlib import Path

import pytest

from mmtwin.procfs import meminfo, vmstat, zoneinfo
from mmtwin.versions import proc_items
from mmtwin.versions.profiles import profile

FIXTURES = Path(__file__).parent / "fixtures"
PROFILES = {
    "x86-5.10-smp1": "x86_64-5.10",
    "x86-6.1-smp2-counter": "x86_64-6.1",
    "x86-6.12-smp1": "x86_64-6.12",
    "x86-6.18-smp1": "x86_64-6.18",
    "x86-7.3-smp1": "x86_64-7.3",
    "arm64-5.10-smp1": "arm64-5.10",
    "arm64-16k-7.3-smp1": "arm64-16k-7.3",
}


@pytest.mark.parametrize("kernel", PROFILES)
def test_names(kernel):
    facts = profile(PROFILES[kernel])
    folder = FIXTURES / kernel
    counters = vmstat.parse((folder / "vmstat").read_bytes())
    zones = zoneinfo.parse((folder / "zoneinfo").read_bytes())
    totals = meminfo.parse((folder / "meminfo").read_bytes())
    of_zones = proc_items.ZONE + proc_items.NUMA
    assert proc_items.vmstat_names(facts) == list(counters)
    assert proc_items.names(proc_items.NODE, facts) == list(zones[0].node_stats)
    assert proc_items.names(of_zones, facts) == list(zones[0].stats)
    assert proc_items.names(proc_items.ZONE_PAGES, facts) == list(zones[0].pages)
    assert proc_items.names(proc_items.PAGESET, facts) == list(zones[0].pagesets[0].values)
    assert proc_items.names(proc_items.ZONE_TAIL, facts) == list(zones[0].tail)
    assert proc_items.names(proc_items.MEMINFO, facts) == list(totals)
