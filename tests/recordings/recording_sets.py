"""Data sets to test on, put together from the fixtures."""

import gzip
import io
import shutil
import tarfile
from pathlib import Path

import zstandard

FIXTURES = Path(__file__).parent / "fixtures"
TRUTH = """{"buddy": [{"name": "DMA", "start": 1, "managed": 3840, "spanned": 4095,
 "free": {"5,0": [288], "10,1": [1024, 2048]},
 "pcp": [{"count": 0, "high": 42, "batch": 1, "lists": {"3": [18556]}}]}],
 "pageblocks": [0, 1, null],
 "slab": [{"name": "maple_node", "size": 256, "object_size": 256, "offset": 128, "oo": 16,
 "random": 17498007882243822381, "random_seq": [3328, 0], "node_partial": [],
 "slabs": [{"pfn": 35466, "inuse": 14, "objects": 16, "frozen": 1, "where": "cpupartial0",
 "free": [18446612682215302912], "live": [18446612682215301120]}],
 "cpu": [{"cpu": 0, "freelist": [18446612682241257984], "partial": [35466], "slab": 41803}]}]}
"""
SLAB = ":0001328 object_size 1328 \n:0001328 ctor \nkmalloc-64 order 0 \nA-0 @link :0001328\n"
KALLSYMS = "ffffffff81000000 T _stext\nffffffff81002030 t init_once\t[ext4]\n"


def lab_set(folder: Path, name: str = "x86-6.1-text") -> Path:
    """An unpacked data set with snapshots and truth, at `folder`."""
    shutil.copytree(FIXTURES / name, folder)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for snapshot in ("start", "stopped"):
        (folder / snapshot / "proc" / "1").mkdir(parents=True)
        (folder / snapshot / "slabinfo").write_text("slabinfo - version: 2.1\n")
        (folder / snapshot / "kpageflags").write_bytes(bytes(range(64)))
        (folder / snapshot / "proc/1/maps").write_text("00400000-00401000 r--p ...\n")
        (folder / snapshot / "proc/1/pagemap.u64x3").write_bytes(bytes(range(32)))
    (folder / "stopped/sys_kernel_slab").write_text(SLAB)
    (folder / "static/kallsyms").write_text(KALLSYMS)
    (folder / "static/config").write_text('CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x y"\n')
    (folder / "start.truth.json.gz").write_bytes(gzip.compress(TRUTH.encode(), mtime=0))
    (folder / "files.json").write_text('{"/init": {"dev": "00:02", "inode": 7}}')
    return folder


def tar_of(folder: Path, names: list[str]) -> bytes:
    """A tar archive of folders of a folder, in no order that a reader could lean on."""
    room = io.BytesIO()
    with tarfile.open(fileobj=room, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in names:
            if (folder / name).exists():
                archive.add(folder / name, name)
    return room.getvalue()


def packed(folder: Path, target: Path) -> Path:
    """The same data set as the lab packs it."""
    target.mkdir()
    squeeze = zstandard.ZstdCompressor(level=3).compress
    (target / "trace.tar.zst").write_bytes(squeeze(tar_of(folder, ["trace"])))
    parts = ["end", "start", "static", "stopped"]
    (target / "snap.tar.zst").write_bytes(squeeze(tar_of(folder, parts)))
    for path in folder.iterdir():
        if path.is_file():
            shutil.copy(path, target / path.name)
    return target
