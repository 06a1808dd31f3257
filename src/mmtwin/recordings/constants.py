"""The constants of constants.pxd as Python ints: compiled code reads the same lines as C enums."""

import re

from mmtwin.package_files import files

CONSTANT = re.compile(r"^    ([A-Z]\w+) = (\d+)", re.M)
TEXT = files(__package__).joinpath("constants.pxd").read_text()
NUMBERS = {name: int(value) for name, value in CONSTANT.findall(TEXT)}
globals().update(NUMBERS)
