"""A recorded gfp mask in the twin's bits, which stand elsewhere in another release."""


def moved_gfp(bits, recorded):
    """The twin's bits of a recorded mask; `bits`: the twin's of each of the 32, 0 for none."""
    gfp = 0
    for bit in range(32):
        if recorded >> bit & 1:
            gfp |= bits[bit]
    return gfp
