"""What goes wrong in a replay."""


class ReplayError(ValueError):
    """A replay that cannot be: the recording lacks what was asked for. The text names the remedy.
    """
