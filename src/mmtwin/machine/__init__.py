"""Machines: booted from a profile, or made from what a recording shows of a real one.

`Machine` is the whole of it for a user; nothing is imported before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmtwin.machine.complaints import Complaint
    from mmtwin.machine.machine import Machine

__all__ = ["Complaint", "Machine"]

PLACES = {"Machine": "mmtwin.machine.machine", "Complaint": "mmtwin.machine.complaints"}


def __getattr__(name: str) -> object:
    if name not in PLACES:
        raise AttributeError(f"module 'mmtwin.machine' has no attribute {name!r}")
    return getattr(import_module(PLACES[name]), name)
