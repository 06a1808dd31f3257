"""What every group of a Machine's calls stands on: the state, gfp texts, the caller's frames."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmtwin.kernel.constants import COMPLAINT_KASAN
from mmtwin.kernel.mm import MM
from mmtwin.machine.arguments import Checked
from mmtwin.machine.complaints import Complaint
from mmtwin.versions.gfp import GFP_T_BITS, encode_gfp, to_twin_gfp, translate_gfp
from mmtwin.versions.profiles import Profile

MASK64 = (1 << 64) - 1


class GfpTexts(dict[str | int, int]):
    """The twin's bits of gfp texts (`"GFP_KERNEL|__GFP_ZERO"`); numbers stand for themselves."""

    def __init__(self, facts: Profile | None) -> None:
        super().__init__()
        self._facts = facts

    def __missing__(self, text: str | int) -> int:
        if not isinstance(text, str):
            if 0 <= text < 1 << 32:
                return text
            raise ValueError(f"gfp {text}: not a number of 32 bits")
        if self._facts is None:
            raise ValueError("a machine without a profile knows no gfp names: give a number")
        version, config = self._facts.version, self._facts.config
        value = encode_gfp(text, version, config)
        if not 0 <= value < 1 << GFP_T_BITS:
            raise ValueError(f"{text}: no gfp flags, of which there are {GFP_T_BITS} bits")
        value = translate_gfp(value, to_twin_gfp(version, config))
        self[text] = value
        return value


class Calls(Checked):
    """The state of a machine, `mm`, and how a call checks what it is given."""

    def __init__(self, mm: MM) -> None:
        self.mm = mm
        self.profile: Profile | None = mm.profile
        self._gfp = GfpTexts(mm.profile)

    @property
    def cpu(self) -> int:
        """The CPU that runs."""
        return int(self.mm.cpu)

    @cpu.setter
    def cpu(self, number: int) -> None:
        if not 0 <= number < self.mm.nr_cpus:
            raise ValueError(f"CPU {number}: the machine has {self.mm.nr_cpus}")
        self.mm.cpu = number
        if self.mm.tasks is not None:
            self.mm.frames = self.mm.tasks.current[number].names

    @contextmanager
    def frame(self, function: str) -> Iterator[None]:
        """What is called inside is called by `function`, a symbol as reports print it
        (`"driver_probe"`, `"driver_probe+0x1f/0x90"`).
        """
        self.mm.frames.append(function)
        try:
            yield
        finally:
            self.mm.frames.pop()

    def _node(self, node: int) -> int:
        if not -1 <= node < self.mm.nr_nodes:
            raise ValueError(f"node {node}: the machine has {self.mm.nr_nodes}")
        return node

    def _address(self, address: int) -> int:
        if not 0 <= address <= MASK64:
            raise ValueError(f"address {address}: not an unsigned 64-bit number")
        return address

    def _raise_new(self, before: int) -> None:
        for complaint in self.mm.complaints[before:]:
            # kasan.fault=report: the kernel reports and goes on, so does the call
            kasan = self.mm.kasan if complaint["kind"] == COMPLAINT_KASAN else None
            if kasan is not None and kasan.fault == "report":
                continue
            raise Complaint(complaint)
