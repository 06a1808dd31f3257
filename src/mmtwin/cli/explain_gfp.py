"""Explains a GFP mask: its flags, its names as a kernel prints them, what it lets a kernel do.

Without --kernel: every reading that fits, by release. `mode:0x…` and `gfp_mask=0x…` in logs are
such masks.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from mmtwin.cli.errors import input_errors
from mmtwin.cli.options import add_json, print_json, switches_of

NO_ZONE = "none: the zone modifiers exclude each other (GFP_ZONE_BAD)"
EXAMPLES = """\
examples:
  mmtwin explain gfp 0xcc0                             every reading, by release
  mmtwin explain gfp 0x14000c0 --kernel 4.15.0-1037    as that kernel prints it
  mmtwin explain gfp GFP_ATOMIC --kernel 5.13 --profile arm64-5.13
  mmtwin explain gfp 'GFP_KERNEL|__GFP_ZERO' --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("mask", metavar="MASK", help="0xcc0, GFP_ATOMIC, 'GFP_KERNEL|__GFP_ZERO'")
    parser.add_argument(
        "--kernel", metavar="RELEASE", help="as `uname -r` or a log prints it: 6.1.0-50-amd64"
    )
    parser.add_argument(
        "--profile", metavar="PROFILE", help="the machine whose zones are meant: arm64-5.13"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="SWITCH=VALUE",
        help="a switch of the kernel's configuration: LOCKDEP=n",
    )  # fmt: skip
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.explain.gfp import kernel_of, parse_mask

    given = switches_of(arguments.set)
    with input_errors():
        mask = parse_mask(arguments.mask)
        kernel = kernel_of(arguments.kernel) if arguments.kernel is not None else None
        if kernel is None:
            figures = of_all(mask, arguments.mask, arguments.profile, given)
        else:
            from mmtwin.explain.gfp import mask_of, reading

            if isinstance(mask, list):
                mask = mask_of(mask, kernel.release, given)
            found = reading(mask, kernel, given)
            figures = {"kernel": arguments.kernel}
            figures |= figures_of(mask, found.release, found.text, arguments.profile, given)
    if arguments.json:
        print_json(figures)
    elif kernel is None:
        print("\n".join(lines_of_all(figures)))
    else:
        print("\n".join(lines_of(figures)))
    return 0


def figures_of(
    value: int, release: str, text: str, profile: str | None, given: Mapping[str, str]
) -> dict[str, Any]:
    """What --json prints of one reading."""
    from mmtwin.explain.gfp import UnknownFlag, effects, zones
    from mmtwin.versions.profiles import profile as find_profile
    from mmtwin.versions.releases import nearest_release

    machine = find_profile(profile or f"x86_64-{nearest_release(release)}")
    try:
        allowed = zones(value, release, machine.config)
    except UnknownFlag:
        allowed = []
    return {
        "release": release,
        "value": f"{value:#x}",
        "text": text,
        **effects(value, release, given),
        "profile": machine.name,
        "zones": allowed,
    }


def of_all(
    mask: int | list[str], text: str, profile: str | None, given: Mapping[str, str]
) -> dict[str, Any]:
    """What --json prints without a kernel: a list of readings."""
    from mmtwin.explain.gfp import readings, readings_of_names

    runs = readings(mask, given) if isinstance(mask, int) else readings_of_names(mask, given)
    found = [
        {"from": first, "to": last,
         **figures_of(each.value, each.release, each.text, profile, given)}
        for first, last, each in runs
    ]  # fmt: skip
    return {"mask": text, "text": found[-1]["text"], "readings": found}


def lines_of(figures: Mapping[str, Any]) -> list[str]:
    """One reading in words."""
    does = [
        "may sleep (direct reclaim)" if figures["may_sleep"] else "never sleeps",
        "wakes kswapd" if figures["wakes_kswapd"] else "leaves kswapd asleep",
    ]
    if figures["may_sleep"]:
        does.append("may start I/O" if figures["io"] else "no I/O")
        does.append("may enter file systems" if figures["fs"] else "no file systems")
    bits = ", ".join(f"{flag['name']} ({flag['bit']})" for flag in figures["flags"])
    zones = ", ".join(figures["zones"])
    rows = [
        ("flags", bits or "none"),
        ("reclaim", ", ".join(does)),
        ("retries", figures["retries"]),
        ("zones", f"{zones} (in this order, on {figures['profile']})" if zones else NO_ZONE),
        ("migratetype", figures["migratetype"]),
        ("watermark", figures["watermark"]),
    ]
    head = f"{figures['value']} in Linux {figures['release']}: {figures['text'] or '(no flags)'}"
    return [head, *(f"  {name:<12} {words}" for name, words in rows)]


def lines_of_all(figures: Mapping[str, Any]) -> list[str]:
    """Every reading in words: what is printed, by release, then the newest in full."""
    found = figures["readings"]
    lines = []
    for each in found:
        span = each["from"] if each["from"] == each["to"] else f"{each['from']} to {each['to']}"
        lines.append(f"{span:<14} {each['value']:<10} {each['text'] or '(no flags)'}")
    return [*lines, *lines_of(found[-1])]
