"""The `mmtwin` command: finds the command's module and runs it.

Only the named command is imported, and a command imports the twin only when it runs: `mmtwin
--help` costs what Python and argparse cost.
"""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from mmtwin.cli.errors import USAGE, UserError

# command: (module, what it does)
COMMANDS = {
    "replay": ("replay", "replay a recording in the twin and hold it against the kernel"),
    "import": ("import_", "turn trace data into an mmtwin recording"),
    "info": ("info", "what a recording holds"),
    "at": ("at", "the twin's /proc and /sys at any instant of a recording"),
    "boot": ("boot", "boot a machine: a Python shell, or a script, with the machine as k"),
}
INTERRUPTED = 130
BROKEN_PIPE = 141
EXAMPLES = """\
examples:
  mmtwin replay                         the recording that comes with mmtwin
  mmtwin replay FOLDER --json           figures for a program
  mmtwin at FOLDER "SNAP end" slabinfo  /proc/slabinfo at a marker
  mmtwin boot arm64-5.13                >>> k.kmalloc(100)

exit status: 0 done, 1 a check failed, 2 bad input or usage.
`mmtwin COMMAND --help` shows a command's options."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line with a remedy."""

    def error(self, message: str) -> NoReturn:
        """Raises UserError: what argparse calls for a bad command line."""
        raise UserError(message, f"see `{self.prog} --help`")


def make_parser(command: str | None) -> argparse.ArgumentParser:
    """The whole parser without a command, else the one of that command."""
    raw = argparse.RawDescriptionHelpFormatter
    if command is None:
        parser = Parser(prog="mmtwin", epilog=EXAMPLES, formatter_class=raw)
        parser.description = "An executable twin of Linux memory management."
        parser.add_argument("--version", action="store_true", help="print the version and exit")
        group = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
        for name, (_, summary) in COMMANDS.items():
            group.add_parser(name, help=summary, add_help=False)
        return parser
    module = import_module(f"mmtwin.cli.{COMMANDS[command][0]}")
    parser = Parser(prog=f"mmtwin {command}", epilog=module.EXAMPLES, formatter_class=raw)
    parser.description = module.__doc__
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
    return parser


def run(argv: Sequence[str]) -> int:
    """Runs one command line; the exit status. Raises UserError for bad input."""
    if argv and argv[0] in COMMANDS:
        arguments = make_parser(argv[0]).parse_args(argv[1:])
        return int(arguments.run(arguments))
    parser = make_parser(None)
    if argv and not argv[0].startswith("-"):
        raise UserError(f"no command {argv[0]!r}", f"there are: {', '.join(COMMANDS)}")
    arguments = parser.parse_args(argv)
    if arguments.version:
        from mmtwin import __version__

        print(f"mmtwin {__version__}")
        return 0
    parser.print_help()
    return 0 if argv else USAGE


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point: like `run`, but errors become one line on stderr and an exit status."""
    # A truth's lists are millions of numbers and hold no cycles: look for those more rarely.
    gc.set_threshold(200_000, 20, 50)
    try:
        status = run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"mmtwin: error: {error}", file=sys.stderr)
        if error.remedy:
            print(f"mmtwin: {error.remedy}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        # The reader has gone (`mmtwin ... | head`): nothing more to say, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
