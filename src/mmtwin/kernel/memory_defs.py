"""Numbers of page faults; see memory_defs.pxd."""

from mmtwin.kernel.constants import load_constants

globals().update(load_constants("memory_defs.pxd"))
