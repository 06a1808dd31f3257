"""What each kernel has: a row for every field of kernel/features.pxd.

A row is data: the value that the field has in the first release the twin knows, then the values it
took later, each with the commit and release that changed it.

    Feature("pcp_max_order", "highest order on per-CPU lists", 0,
            Change("5.14", 3, "44042b449872"))

`config="CONFIG_A CONFIG_B"` and `arch="x86_64"` say where the row holds (elsewhere 0, or the
value of `without=`). A value may be a function of the Facts where it depends on a number of the
configuration.
"""

from collections.abc import Iterator, Mapping

from mmtwin.versions.facts import Facts, Feature
from mmtwin.versions.features_exec import EXEC
from mmtwin.versions.features_kasan import KASAN
from mmtwin.versions.features_kmemleak import KMEMLEAK
from mmtwin.versions.features_memory import MEMORY
from mmtwin.versions.features_page_alloc import PAGE_ALLOC
from mmtwin.versions.features_slub import SLUB
from mmtwin.versions.features_tasks import TASKS
from mmtwin.versions.features_trees import TREES
from mmtwin.versions.features_vma import VMA
from mmtwin.versions.features_vmalloc import VMALLOC

# The sections of features.pxd, in its order.
SECTIONS = (PAGE_ALLOC, SLUB, TASKS, VMALLOC, KMEMLEAK, KASAN, TREES, VMA, MEMORY, EXEC)


def all_features() -> Iterator[Feature]:
    """Every row."""
    for section in SECTIONS:
        yield from section


def features_of(
    version: str, arch: str, page_size: int, config: Mapping[str, str]
) -> dict[str, int]:
    """The value of every field of `features_t` for one kernel.

    `version`: `"6.1"` or a full release; `arch`: `"x86_64"` or `"arm64"`; `page_size` in bytes;
    `config`: `{"CONFIG_NUMA": "y", ...}`. Raises ValueError if the version is no release.
    """
    facts = Facts(version, arch, page_size, config)
    return {feature.name: feature.value(facts) for feature in all_features()}
