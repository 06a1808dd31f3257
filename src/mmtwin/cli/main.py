"""The `mmtwin` command: finds the command's module and runs it.

Only the named command is imported, and a command imports the twin only when it runs: `mmtwin
--help` costs what Python and argparse cost.
"""

import argparse
import errno
import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from mmtwin.cli.errors import USAGE, UserError, told
from mmtwin.cli.options import LATER

# command: (module, what it does)
COMMANDS = {
    "replay": ("replay", "replay a recording in the twin and hold it against the kernel"),
    "what-if": ("what_if", "what a recording would have cost on a changed machine"),
    "import": ("import_", "turn trace data into an mmtwin recording"),
    "info": ("info", "what a recording holds"),
    "at": ("at", "the twin's /proc and /sys at any instant of a recording"),
    "maps": ("maps", "a process's memory map at any instant of a recording"),
    "boot": ("boot", "boot a machine: a Python shell, or a script, with the machine as k"),
    "explain": ("explain", "what a number, a structure or a call means, for the right kernel"),
    "draw": ("draw", "pictures (SVG) of layouts, memory and calls"),
}
AT_ONCE = ("explain", "draw")  # commands that leave nothing to do at exit
STDERR = 2
WRITING = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG)  # what write() fails with
INTERRUPTED = 130
MOST_SECONDS = 20
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

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """parse_args() that takes no empty text, as of an unset variable, for a value."""
        found = self.parse_args(words)
        for action in self._actions:
            if getattr(found, action.dest, None) == "" and action.default != "":
                name = action.option_strings[-1] if action.option_strings else (
                    action.metavar or action.dest
                )
                self.error(f"{name} is empty")
        return found


def new_parser(prog: str, description: str | None, examples: str) -> Parser:
    """A parser that prints its examples and lists as they are written."""
    raw = argparse.RawDescriptionHelpFormatter
    told = filled(description or "")
    return Parser(prog=prog, description=told, epilog=examples, formatter_class=raw)


def filled(text: str) -> str:
    """A text whose paragraphs fill the terminal's width; lists, which are indented, stay."""
    import shutil
    import textwrap

    width = max(shutil.get_terminal_size().columns - 2, 40)
    parts = text.strip().split("\n\n")
    return "\n\n".join(
        part if "\n  " in part else textwrap.fill(" ".join(part.split()), width)
        for part in parts
    )


def add_choices(parser: Parser, title: str, choices: Mapping[str, tuple[str, str]]) -> None:
    """Lists commands, or the things a command knows, in a parser's help."""
    group = parser.add_subparsers(title=title, metavar=title.removesuffix("s").upper())
    for name, (_, summary) in choices.items():
        group.add_parser(name, help=summary, add_help=False)


def make_parser(words: Sequence[str]) -> Parser:
    """The whole parser without a command, else the one of that command; of a command that knows
    several THINGS (`explain gfp`) the one of that thing.
    """
    if not words:
        parser = new_parser("mmtwin", "An executable twin of Linux memory management.", EXAMPLES)
        parser.add_argument("--version", action="store_true", help="print the version and exit")
        add_choices(parser, "commands", COMMANDS)
        return parser
    module = import_module(f"mmtwin.cli.{COMMANDS[words[0]][0]}")
    if len(words) > 1:
        module = import_module(f"mmtwin.cli.{module.THINGS[words[1]][0]}")
    parser = new_parser(f"mmtwin {' '.join(words)}", module.__doc__, module.EXAMPLES)
    if hasattr(module, "THINGS"):
        add_choices(parser, "things", module.THINGS)
    else:
        module.add_arguments(parser)
        parser.set_defaults(run=module.run)
    return parser


def run_command(argv: Sequence[str]) -> int:
    """Runs a command; its exit status."""
    things = getattr(import_module(f"mmtwin.cli.{COMMANDS[argv[0]][0]}"), "THINGS", None)
    if things is None:
        arguments = make_parser(argv[:1]).parse(argv[1:])
    elif len(argv) > 1 and argv[1] in things:
        arguments = make_parser(argv[:2]).parse(argv[2:])
    elif len(argv) > 1 and not argv[1].startswith("-"):
        raise UserError(f"nothing to {argv[0]} named {argv[1]!r}", choices(argv[1], things))
    else:
        parser = make_parser(argv[:1])
        parser.parse_args(argv[1:])
        parser.print_help()
        return USAGE
    return int(arguments.run(arguments))


def choices(word: str, known: Mapping[str, object]) -> str:
    """What to say of a word that is none of those known: the nearest, else all."""
    from difflib import get_close_matches

    near = get_close_matches(word, known, 2, 0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}"


def run(argv: Sequence[str]) -> int:
    """Runs one command line; the exit status. Raises UserError for bad input."""
    if argv and argv[0] in COMMANDS:
        return run_command(argv)
    parser = make_parser(())
    if argv and not argv[0].startswith("-"):
        raise UserError(f"no command {argv[0]!r}", choices(argv[0], COMMANDS))
    arguments = parser.parse_args(argv)
    if arguments.version:
        from mmtwin import __version__

        print(f"mmtwin {__version__}")
        return 0
    parser.print_help()
    return 0 if argv else USAGE


def program() -> NoReturn:
    """The program `mmtwin`: `main`, then the process ends."""
    # numpy's BLAS would start threads, and nothing here multiplies matrices
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = main(later=keep_aside) if standard_files() else USAGE
    if sys.argv[1:2] and sys.argv[1] in AT_ONCE:
        sys.stderr.flush()
        os._exit(status)  # taking everything apart first takes 0.04 s
    sys.exit(status)


def standard_files() -> bool:
    """Puts files in the place of standard ones that are closed; False if the answer could not be
    printed.
    """
    # Nothing that is opened later may get their numbers, and be written to by chance.
    while (number := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(number)
    closed = sys.stdout is None
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115
    if closed:
        print("mmtwin: error: standard output is closed", file=sys.stderr)
    return not closed


def keep_aside() -> None:
    """Does what is to be done later in a process of its own, so that nobody waits for it."""
    if os.fork():
        return
    with suppress(BaseException):
        signal.alarm(MOST_SECONDS)  # should it ask a library whose threads a child has not
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nothing, number)  # who reads the answer waits for its end, not for this
        do_later()
    os._exit(0)


def do_later() -> None:
    """Does what is to be done once the answer is printed."""
    while LATER:
        LATER.pop()()


def main(argv: Sequence[str] | None = None, later: Callable[[], None] = do_later) -> int:
    """The entry point: like `run`, but errors become one line on stderr and an exit status.

    `later` does, or has done, what LATER holds.
    """
    # A truth's lists are millions of numbers and hold no cycles: look for those more rarely.
    gc.set_threshold(200_000, 20, 50)
    try:
        status = run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        if LATER:
            later()
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
    except OSError as error:
        if os.environ.get("MMTWIN_TRACEBACK"):
            raise
        where = "standard output: " if error.errno in WRITING else ""
        print(f"mmtwin: error: {where}{told(error)}", file=sys.stderr)
        with suppress(OSError, ValueError):  # what is left of the answer cannot be written either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USAGE
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    program()
