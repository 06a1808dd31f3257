"""What a replay asks of whatever knows or infers the nodes of maple trees: the answers of one that
knows nothing.
"""


class Source:
    """Guesses (maple.py), the processes' own trees (maple_script.py) and sheaves
    (maple_sheaves.py) answer what they can.
    """

    def expect(self, address, gfp):
        """A node is about to be given out, at an address: no help for a guess."""

    def can_wait(self, number, until):
        """Whether a node is taken behind an interrupt as well as before: nobody knows."""
        return False

    def goes_on(self, event):
        """Which task goes on: none was left."""
        return -1

    def go_on(self, event):
        """A task goes on: nothing of it was left out, nor of others."""
        return False

    def prefilled(self, number):
        """Whether event `number` is of a node out of a prefilled sheaf: there are none."""
        return False

    def take(self, number, gfp):
        """A node out of a prefilled sheaf, 0 if it is none of these."""
        return 0

    def sheaf(self):
        """The prefilled sheaf that the last node came from, -1 if it came from none."""
        return -1

    def missed(self, predicted, address):
        """The kernel gave out another node than predicted. Whether that is set right here."""
        return False
