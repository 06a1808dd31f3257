"""The constants of constants.pxd as Python ints (`from mmtwin.kernel.constants import PG_slab`).

`constants.pxd` is the one text: compiled code reads it as C enums, this module reads the same
lines.
"""

import re
from typing import TYPE_CHECKING

from mmtwin.package_files import files

CONSTANT = re.compile(r"^    (\w+) = (-?\w+)", re.M)


def parse_constants(text):
    """{name: int} of every enum constant in the text of a .pxd file."""
    return {name: int(value, 0) for name, value in CONSTANT.findall(text)}


def load_constants(file_name):
    """{name: int} of every enum constant in one .pxd file of this package."""
    return parse_constants(files(__package__).joinpath(file_name).read_text())


globals().update(load_constants("constants.pxd"))

if TYPE_CHECKING:  # the names stand in the .pxd

    def __getattr__(name: str) -> int: ...
