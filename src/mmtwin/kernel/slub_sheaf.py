"""Per-CPU sheaves: arrays of free objects in front of the slabs. Kernels before 6.18 have none."""

def destroy_sheaves(mm, cache): pass
