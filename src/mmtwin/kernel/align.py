"""ALIGN() of include/linux/align.h."""


def align_up(value, to):
    """ALIGN(): the next multiple of `to`, of any `to` above 0."""
    return -(-value // to) * to
