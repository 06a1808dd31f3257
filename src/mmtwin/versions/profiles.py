"""Profiles: a release, an architecture, a page size and the configuration Debian ships."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from mmtwin.versions.configs import (
    ARM64_ORDERS,
    ARM64_VA_BITS,
    BY_ARCH,
    CHANGES,
    COMMON,
    INCLUSIVE_MAX_ORDER_SINCE,
    VA_52_SINCE,
)
from mmtwin.versions.features import features_of
from mmtwin.versions.kasan import kasan_switches
from mmtwin.versions.limits import Limits, limits_of
from mmtwin.versions.options import overrides
from mmtwin.versions.releases import RELEASES, has_since
from mmtwin.versions.zones import migratetypes_of, zones_of

DEFAULT = "arm64-5.13"
# What Kconfig sets by default beside a switch that Debian's kernels have not.
SELECTED = {
    "DEBUG_KMEMLEAK": {"CONFIG_DEBUG_KMEMLEAK_AUTO_SCAN": "y"},
}
# First words of a profile's name.
MACHINES = {
    "x86_64": ("x86_64", 4096),
    "arm64": ("arm64", 4096),
    "arm64-16k": ("arm64", 16384),
    "arm64-64k": ("arm64", 65536),
}


@dataclass(frozen=True)
class Profile:
    """The facts that a machine is made from.

    `version` is a release (`"6.1"`, or a full `"6.1.176"`), `page_size` in bytes, `config` the
    kernel's switches (`{"CONFIG_NUMA": "y"}`), `cmdline` the options it was booted with
    (`{"slub_debug": "FZPU"}`; an option without a value has `""`), `given` features that are to be
    other than all this says (`{"thread_size": 32768}`).
    """

    name: str
    version: str
    arch: str
    page_size: int
    config: Mapping[str, str]
    cmdline: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def features(self) -> dict[str, int]:
        """Every field of kernel/features.pxd for this kernel, as its command line leaves it."""
        features = features_of(self.version, self.arch, self.page_size, self.config)
        changed = overrides(self.cmdline, self.version)
        changed |= self.given
        return features | {name: value for name, value in changed.items() if name in features}

    @cached_property
    def limits(self) -> Limits:
        """Orders, pageblocks, kmalloc's limits."""
        return limits_of(self.version, self.arch, self.page_size, self.config)

    @cached_property
    def zones(self) -> list[tuple[str, int]]:
        """(name, the twin's ZONE_* number) of its zone types."""
        return zones_of(self.config)

    @cached_property
    def migratetypes(self) -> list[str]:
        """Names of its migratetypes by number."""
        return migratetypes_of(self.config)

    def on(self, symbol: str) -> bool:
        """Whether a switch of the configuration is set; `CONFIG_` may be left out."""
        symbol = symbol if symbol.startswith("CONFIG_") else f"CONFIG_{symbol}"
        return self.config.get(symbol, "n") not in ("n", "")

    def with_config(self, **switches: object) -> "Profile":
        """The same with other switches: `with_config(CMA=False, SLAB_FREELIST_RANDOM=True)`.

        True and False are `y` and unset; anything else is kept as text. Raises ValueError for a
        name that is not in capitals, as every configuration switch is.
        """
        config = dict(self.config)
        for name in switches:
            for symbol, setting in SELECTED.get(name.removeprefix("CONFIG_"), {}).items():
                config.setdefault(symbol, setting)
        for name, value in switches.items():
            symbol = name if name.startswith("CONFIG_") else f"CONFIG_{name}"
            if symbol != symbol.upper():
                raise ValueError(f"not a configuration switch: {name!r} (they are in capitals)")
            if value is False or value is None:
                config.pop(symbol, None)
            else:
                config[symbol] = "y" if value is True else str(value)
        if config.get("CONFIG_KASAN") == "y" and not self.on("KASAN"):
            given = {name.removeprefix("CONFIG_"): value for name, value in switches.items()}
            off = {f"CONFIG_{name}": "n" for name, value in given.items() if value is False}
            config = kasan_switches(self.version, self.arch, self.page_size, config, off)
        return replace(self, config=config)

    def with_cmdline(self, **options: str) -> "Profile":
        """The same booted with more options: `with_cmdline(slub_debug="FZPU")`."""
        return replace(self, cmdline={**self.cmdline, **options})

    def with_features(self, **features: int) -> "Profile":
        """The same with features that no switch sets. Raises ValueError for an unknown one."""
        for name in features:
            if name not in self.features:
                raise ValueError(f"no feature {name!r}")
        return replace(self, given={**self.given, **features})


def profile_names() -> list[str]:
    """Every profile that `profile` knows, x86-64 first, then by page size and release."""
    return [f"{machine}-{release}" for machine in MACHINES for release in RELEASES]


def debian_config(version: str, arch: str, page_size: int) -> dict[str, str]:
    """The switches of the Debian kernel of a release."""
    config = COMMON | BY_ARCH[arch]
    for release, only, switches in CHANGES:
        if only in ("", arch) and has_since(version, release):
            for symbol, value in switches.items():
                if value is None:
                    config.pop(symbol, None)
                else:
                    config[symbol] = value
    if arch == "arm64":
        inclusive = has_since(version, INCLUSIVE_MAX_ORDER_SINCE)
        orders = ARM64_ORDERS[page_size] - (1 if inclusive else 0)
        for symbol in ("CONFIG_FORCE_MAX_ZONEORDER", "CONFIG_ARCH_FORCE_MAX_ORDER"):
            if symbol in config:
                config[symbol] = str(orders)
        if "CONFIG_PAGE_BLOCK_MAX_ORDER" in config:
            config["CONFIG_PAGE_BLOCK_MAX_ORDER"] = str(orders)
        wide = page_size == 16384 and has_since(version, VA_52_SINCE)
        config["CONFIG_ARM64_VA_BITS"] = "52" if wide else str(ARM64_VA_BITS[page_size])
    return config


def profile(name: str = DEFAULT) -> Profile:
    """The profile of a name, `MACHINE-RELEASE`: `"x86_64-6.1"`, `"arm64-16k-6.12"`.

    Raises ValueError for another name; it says the nearest ones.
    """
    machine, _, release = name.rpartition("-")
    if machine not in MACHINES or release not in RELEASES:
        near = difflib.get_close_matches(name, profile_names(), 3, 0.5) or profile_names()[:3]
        raise ValueError(f"no profile {name!r}; nearest: {', '.join(near)}")
    arch, page_size = MACHINES[machine]
    return Profile(name, release, arch, page_size, debian_config(release, arch, page_size))
