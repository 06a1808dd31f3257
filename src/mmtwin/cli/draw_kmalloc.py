"""Draws the code flow of one kmalloc(), the path taken marked (see `mmtwin explain kmalloc`)."""

import argparse

from mmtwin.cli.explain_kmalloc import add_call, call_of
from mmtwin.cli.machines import machine_errors
from mmtwin.cli.options import add_picture, check_picture_name, write_picture

EXAMPLES = """\
examples:
  mmtwin draw kmalloc 100 -o kmalloc.svg
  mmtwin draw kmalloc 100 --state warm -o fastpath.svg
  mmtwin draw kmalloc 20000 --runtime --profile x86_64-6.12 -o large.svg"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_call(parser)
    add_picture(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.draw.flow_picture import flow_svg
    from mmtwin.explain.walk import marked, walk

    check_picture_name(arguments.output)
    entry, machine, asked = call_of(arguments)
    with machine_errors():
        found = walk(machine, entry, **asked)
    title = f"{found.facts['call_text']} in {found.profile}"
    state = f"state: {arguments.state}; returns {found.facts['result_text']}"
    picture = flow_svg(title, state, marked(found.tree, found.facts))
    return write_picture(arguments.output, picture)
