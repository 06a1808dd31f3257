"""Machines that nobody has any more."""

import gc
import weakref

from mmtwin import Machine
from mmtwin.kernel import garbage


def test_forgotten_machines_go_once_enough_were_made() -> None:
    machine = Machine.boot("x86_64-6.1", memory="64M")
    machine.vmalloc(4096)
    gone = weakref.ref(machine)
    gc.disable()
    try:
        del machine
        garbage.Made.bytes = garbage.MOST
        Machine.boot("x86_64-6.1", memory="64M")
        assert gone() is None
    finally:
        gc.enable()
