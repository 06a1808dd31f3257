"""The machine that a recording was made on: its kernel, processor architecture, memory and
configuration.
"""

import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from mmtwin.recordings.archive import Store
from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.shapes import parse_json, shape_fault

ARCHITECTURES = {
    "amd64": "x86_64",
    "x86_64": "x86_64",
    "x86": "x86_64",
    "arm64": "arm64",
    "aarch64": "arm64",
}
CONFIG = re.compile(r'^(CONFIG_\w+)=(?:"(.*)"|(.*))$', re.M)
NOT_SET = re.compile(r"^# (CONFIG_\w+) is not set$", re.M)
RELEASE = re.compile(r"Linux version (\S{1,100})")
KIB = 1024
HEADER_PAGE = "trace/events/header_page"
META = {"flavour?": "text", "arch?": "text", "smp?": int, "mem?": int, "cmdline?": "text"}


@dataclass(frozen=True)
class RecordedMachine:
    """What a recording says of its machine; fields it does not say are "", 0 or empty.

    `release` is the kernel's own (`uname -r`), `version` its line ("6.1"), `arch` "x86_64" or
    "arm64", `page_size` and `mem_bytes` bytes, `config` {CONFIG_NAME: "y", "m", a number or text;
    "n" where it says "is not set"}, `clock` the trace clock: events' times are ns except with
    "counter".
    """

    release: str = ""
    version: str = ""
    arch: str = ""
    page_size: int = 4096
    cpus: int = 1
    mem_bytes: int = 0
    cmdline: str = ""
    config: dict[str, str] = field(default_factory=dict, repr=False)
    clock: str = "local"

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object, file: object) -> "RecordedMachine":
        """Back from as_json(). Raises RecordingError for fields of wrong types."""
        if not isinstance(value, dict):
            raise RecordingError(file, "machine: not an object")
        blank = cls()
        known = {item.name: value[item.name] for item in fields(cls) if item.name in value}
        for name, got in known.items():
            if type(got) is not type(getattr(blank, name)):
                raise RecordingError(file, f"machine.{name}: {got!r:.60} is of the wrong type")
        if not all(isinstance(entry, str) for entry in known.get("config", {}).values()):
            raise RecordingError(file, "machine.config: a value that is no text")
        return cls(**known)


def parse_config(text: str) -> dict[str, str]:
    """A kernel's .config as {name: value}."""
    values = {name: quoted or plain for name, quoted, plain in CONFIG.findall(text)}
    values.update(dict.fromkeys(NOT_SET.findall(text), "n"))
    return values


def version_of(release: str) -> str:
    """The kernel line of a release: "6.1" of "6.1.0-50-amd64"; "" if it names none."""
    match = re.match(r"(\d{1,3})\.(\d{1,3})", release)
    return f"{match[1]}.{match[2]}" if match else ""


def page_size_of(config: dict[str, str], arch: str) -> int:
    """Page size in bytes by the configuration (PAGE_SHIFT; CONFIG_PAGE_SHIFT since 6.10)."""
    shift = config.get("CONFIG_PAGE_SHIFT", "")
    if shift in ("12", "14", "16"):
        return 1 << int(shift)
    for name, size in (("16K", 16384), ("64K", 65536)):
        if config.get(f"CONFIG_ARM64_{name}_PAGES") == "y" and arch == "arm64":
            return size
    return 4096


def ring_page_size(header_page: str) -> int:
    """Page size in bytes as large as the ring buffer's pages are, where nothing else says it."""
    match = re.search(r"char data;\s*offset:(\d{1,3});\s*size:(\d{1,7});", header_page)
    size = int(match[1]) + int(match[2]) if match else 0
    return size if size in (4096, 16384, 65536) else 4096


def read_meta(store: Store) -> dict[str, Any]:
    """The meta.json of a lab data set. Raises RecordingError if it is not an object."""
    where = store.where("meta.json")
    try:
        meta = parse_json(store.read("meta.json"), where)
    except KeyError:
        raise RecordingError(where, "missing") from None
    if not isinstance(meta, dict):
        raise RecordingError(where, "not a JSON object", 0)
    fault = shape_fault(meta, META, "meta")
    meta = {name: value for name, value in meta.items() if value is not None}
    if not fault and not all(0 <= meta.get(name, 0) < 1 << 40 for name in ("smp", "mem")):
        fault = "meta.smp or meta.mem: no such number can be"
    if fault:
        raise RecordingError(where, fault, 0)
    return meta


def read_machine(store: Store, meta: dict[str, Any]) -> RecordedMachine:
    """The machine of a lab data set, from meta.json, static/ and trace/trace_clock."""

    def text(name: str) -> str:
        return store.text(name) if name in store.sizes else ""

    release = RELEASE.search(text("static/version"))
    name = release[1] if release else meta.get("flavour", "")
    config = parse_config(text("static/config"))
    arch = ARCHITECTURES.get(meta.get("arch", ""), meta.get("arch", ""))
    clock = re.search(r"\[(\w+)\]", text("trace/trace_clock"))
    option = re.search(r"\btrace_clock=(\w+)", meta.get("cmdline", ""))
    return RecordedMachine(
        release=name,
        version=version_of(name) or version_of(meta.get("flavour", "")),
        arch=arch,
        page_size=page_size_of(config, arch) if config else ring_page_size(text(HEADER_PAGE)),
        cpus=max(1, meta.get("smp", 1)),
        mem_bytes=meta.get("mem", 0) * KIB * KIB,
        cmdline=text("static/cmdline").strip() or meta.get("cmdline", "").strip(),
        config=config,
        clock=clock[1] if clock else option[1] if option else "local",
    )
