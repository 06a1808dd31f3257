"""Errors that name the file they come from: what damaged or contradicting texts make of a state.

A truth or a /proc text is read whole and believed; what is wrong in it shows where a number
finds no place. `blamed` says whose fault that is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

# What input of another shape raises where it is used.
WRONG_SHAPES = (
    ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, AssertionError,
)  # fmt: skip
CUT = "the file was cut or changed since it was written: take it from the first copy again"
WITHOUT = f"{CUT}; without it the state is made from the /proc texts"


class DamagedError(ValueError):
    """A file that cannot be what the kernel showed, and what to do about it (`remedy`)."""

    def __init__(self, message: str, remedy: str = CUT) -> None:
        super().__init__(message)
        self.remedy = remedy


@contextmanager
def blamed(place: str, remedy: str = CUT) -> Iterator[None]:
    """Raises DamagedError, which names `place`, for what fails inside."""
    try:
        yield
    except DamagedError:
        raise
    except (ValueError, *WRONG_SHAPES) as error:
        raise DamagedError(f"{place}: {in_words(error)}", remedy) from error


@contextmanager
def part(name: str) -> Iterator[None]:
    """Raises ValueError, whose text begins with the part of a file that is at fault."""
    try:
        yield
    except WRONG_SHAPES as error:
        raise ValueError(f"{name}: {in_words(error)}") from error


def in_words(error: Exception) -> str:
    """An error as who gave the input understands it."""
    if isinstance(error, ValueError):
        return str(error)
    if isinstance(error, KeyError):
        return f"{error.args[0]!s:.60} is missing" if error.args else "something is missing"
    words = {
        IndexError: "a number beyond the end of its table",
        OverflowError: "a number that is too large or too small for its place",
        ZeroDivisionError: "a size of 0",
        MemoryError: "numbers that ask for more memory than there is",
    }
    return words.get(type(error), "a value of another kind than is due")
