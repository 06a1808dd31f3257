"""The numbers of slub_defs.pxd as Python ints (`from mmtwin.kernel.slub_defs import
SLAB_POISON`).
"""

from mmtwin.kernel.constants import load_constants

DEFS = load_constants("slub_defs.pxd")
STAT_NAMES = {n: name[5:].lower() for name, n in DEFS.items() if name.startswith("STAT_")}

globals().update(DEFS)
