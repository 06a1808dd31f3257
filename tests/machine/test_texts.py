"""The small parsers of /proc texts."""

import pytest

from mmtwin.machine.texts import (
    cache_attributes,
    parse_cmdline,
    parse_config,
    parse_pagetypeinfo,
    parse_release,
    parse_slabinfo,
    parse_zoneinfo,
    sizes,
)

ZONEINFO = """\
Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 263
  pages free     3808
        boost    0
        min      34
        low      42
        high     50
        spanned  4095
        present  3998
        managed  3840
        cma      0
        protection: (0, 180, 180)
      nr_free_pages 3808
  pagesets
    cpu: 0
              count: 7
              high:  42
              batch: 1
  vm stats threshold: 2
    cpu: 1
              count:    9
              high:     43
              batch:    1
              high_min: 42
  node_unreclaimable:  0
  start_pfn:           1
Node 1, zone   Normal
  pages free     0
        min      0
        low      0
        high     0
        spanned  0
        present  0
        managed  0
        protection: (0, 0, 0)
"""


def test_zoneinfo_of_both_layouts() -> None:
    first, second = parse_zoneinfo(ZONEINFO)
    assert (first.node, first.name, second.node, second.name) == (0, "DMA", 1, "Normal")
    assert (first.numbers["min"], first.numbers["start_pfn"]) == (34, 1)
    assert "nr_inactive_anon" not in first.numbers
    assert first.protection == [0, 180, 180]
    assert first.pagesets == [
        {"count": 7, "high": 42, "batch": 1},
        {"count": 9, "high": 43, "batch": 1, "high_min": 42},
    ]
    assert second.pagesets == []


def test_a_text_that_is_none() -> None:
    with pytest.raises(ValueError, match="zoneinfo shows no zone with pages"):
        parse_zoneinfo("")
    with pytest.raises(ValueError, match="line 1: no `Page block order: N`"):
        parse_pagetypeinfo("Free pages\n")
    with pytest.raises(ValueError, match="line 2: not a line of slabinfo: 'dentry 1 2'"):
        parse_slabinfo("slabinfo - version: 2.1\ndentry 1 2\n")


def test_slabinfo_names_may_be_long() -> None:
    text = "request_sock_subflow_v6   1   2   384   10   1 : tunables 0 0 0 : slabdata 3 4 0\n"
    (cache,) = parse_slabinfo(text)
    assert (cache.active, cache.objects, cache.size, cache.slabs) == (1, 2, 384, 4)


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("Linux version 6.1.0-50-amd64 (x) (gcc-12 (Debian 12.2.0-14) 12.2.0) #1 SMP Debian "
         "6.1.176-1 (2026)", "6.1.176"),
        ("Linux version 7.3.4+deb13-arm64-16k (x) #1 SMP PREEMPT Debian 7.3.4-1~bpo13+1", "7.3.4"),
        ("Linux version 6.18.1 (me@here) (gcc (Debian 14.2.0-19) 14.2.0) #1", "6.18.1"),
        ("5.13.0", "5.13.0"),
    ],
)
def test_release_of_a_version_text(text: str, release: str) -> None:
    assert parse_release(text) == release


def test_no_release() -> None:
    with pytest.raises(ValueError, match="no kernel release"):
        parse_release("GNU/Hurd")


def test_config_and_cmdline() -> None:
    assert parse_config('CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x"\nno\n') == {
        "CONFIG_A": "y", "CONFIG_C": "x",
    }
    assert parse_cmdline("quiet slub_debug=FZ,kmalloc-64 a=1 a=2 ") == {
        "quiet": "", "slub_debug": "FZ,kmalloc-64", "a": "2",
    }


def test_attributes_and_aliases() -> None:
    text = "dentry size 192\ndentry slabs 7 N0=7\nb @link :a-0000104\n"
    caches, aliases = cache_attributes(text)
    assert sizes(caches["dentry"], "slabs") == 7
    assert aliases == {"b": ":a-0000104"}
