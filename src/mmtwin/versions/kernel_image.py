"""What a Debian kernel takes of RAM before the page allocator has it: its image, per-CPU areas.

From the boot messages and /proc/iomem of the kernels that configs.py names.
"""

from dataclasses import dataclass

from mmtwin.versions.releases import has_since


@dataclass(frozen=True)
class KernelImage:
    """`offset`: bytes from the start of RAM to the image, `size`: to the end of bss, `init`: freed
    when user space begins; `percpu`: bytes of one CPU's area.
    """

    offset: int
    size: int
    init: int
    percpu: int


KIB, MIB = 1 << 10, 1 << 20
# x86: all of the first MiB is kept from the page allocator (f1d4d47c5851).
LOW_MIB_SINCE = "5.13"
# (architecture, page size or 0 for any, release it holds from, image), later rows first.
IMAGES = (
    ("x86_64", 0, "7.0", KernelImage(16 * MIB, 52 * MIB, 4664 * KIB, 258048)),
    ("x86_64", 0, "6.18", KernelImage(16 * MIB, 50 * MIB, 4436 * KIB, 253952)),
    ("x86_64", 0, "6.12", KernelImage(16 * MIB, 44 * MIB, 4172 * KIB, 270336)),
    ("x86_64", 0, "6.1", KernelImage(16 * MIB, 52 * MIB, 2820 * KIB, 253952)),
    ("x86_64", 0, "5.10", KernelImage(16 * MIB, 48 * MIB, 2676 * KIB, 258048)),
    ("arm64", 16384, "7.0", KernelImage(2 * MIB, 0x32D0000, 4352 * KIB, 163840)),
    ("arm64", 0, "6.12", KernelImage(2 * MIB, 0x25A0000, 3392 * KIB, 245760)),
    ("arm64", 0, "6.1", KernelImage(0x210000, 0x2000000, 6464 * KIB, 126976)),
    ("arm64", 0, "5.10", KernelImage(2 * MIB, 0x1AD0000, 5440 * KIB, 135168)),
)


def keeps_low_memory(version: str, arch: str) -> bool:
    """Whether the first MiB of RAM is reserved, whatever it holds."""
    return arch == "x86_64" and has_since(version, LOW_MIB_SINCE)


def image_of(version: str, arch: str, page_size: int) -> KernelImage:
    """The image of the nearest kernel that was looked at, not newer than the version."""
    for theirs, pages, release, image in IMAGES:
        if theirs == arch and pages in (0, page_size) and has_since(version, release):
            return image
    return next(image for theirs, _, _, image in reversed(IMAGES) if theirs == arch)
