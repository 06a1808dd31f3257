"""What a replay counts, by name: the constants of counts.pxd as Python ints."""


from mmtwin.kernel.constants import parse_constants
from mmtwin.package_files import files

COUNTS = parse_constants(files(__package__).joinpath("counts.pxd").read_text())
globals().update(COUNTS)
UNEXPLAINED = {
    name.removeprefix("UNEXPLAINED_").lower(): place
    for name, place in COUNTS.items()
    if name.startswith("UNEXPLAINED_") and name not in ("UNEXPLAINED_FIRST", "UNEXPLAINED_LAST")
}
