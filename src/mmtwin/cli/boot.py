"""Boots a machine of a profile: a Python shell, a script or one line, with the machine as `k`."""

import argparse
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.machines import DEFAULT, machine_errors
from mmtwin.cli.options import add_json, boot_options, print_json, settings_of
from mmtwin.cli.progress import warn_if_uncompiled

if TYPE_CHECKING:
    from mmtwin.machine import Machine

PACKAGE = str(Path(__file__).resolve().parent.parent)
EXAMPLES = """\
examples:
  mmtwin boot                              a shell on the deck's machine, arm64-5.13
  mmtwin boot x86_64-6.1 --memory 1G       >>> p = k.kmalloc(100); k.ksize(p)
  mmtwin boot x86_64-6.1 -c 'print(k.proc["slabinfo"].decode())'
  mmtwin boot arm64-5.13 script.py 1 2     runs script.py with k, and sys.argv[1:] == ["1", "2"]
  mmtwin boot x86_64-6.12 --set SLAB_FREELIST_RANDOM=n --json
  mmtwin boot x86_64-6.1 --append 'slub_debug=FZPU init_on_alloc=0'
  mmtwin boot --list                       the profiles"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("profile", metavar="PROFILE", nargs="?", help=f"default: {DEFAULT}")
    parser.add_argument("script", metavar="SCRIPT", nargs="?", help="a Python file to run")
    parser.add_argument("arguments", metavar="ARGUMENT", nargs="*", help="the script's own")
    parser.add_argument("-c", dest="code", metavar="CODE", help="Python code to run")
    parser.add_argument("--memory", metavar="SIZE", help="RAM, as 256M (default: 4G)")
    parser.add_argument("--cpus", type=int, metavar="N", help="CPUs (default: 1)")
    parser.add_argument("--nodes", type=int, metavar="N", help="NUMA nodes (default: 1)")
    parser.add_argument("--seed", type=int, metavar="N", help="what the machine draws at random")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a switch of the kernel's configuration: SLAB_FREELIST_HARDENED=n; or a file of "
        "/proc/sys: vm.overcommit_memory=2",
    )
    parser.add_argument(
        "--append", default="", metavar="OPTIONS", help="boot options: 'slub_debug=FZPU nopti'"
    )
    parser.add_argument("--list", action="store_true", help="print the profiles and exit")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.versions.profiles import profile_names

    if arguments.list:
        print("\n".join(profile_names()))
        return 0
    if arguments.script and arguments.code:
        raise UserError("SCRIPT and -c exclude each other", "give one of them")
    if (arguments.profile or "").endswith(".py"):
        raise UserError(f"no profile {arguments.profile!r}", f"mmtwin boot {DEFAULT} SCRIPT")
    warn_if_uncompiled()
    with machine_errors():
        machine = booted(arguments)
    if arguments.json:
        print_json({"machine": machine.describe()})
    elif arguments.script:
        return run_script(machine, arguments.script, arguments.arguments)
    elif arguments.code is not None:
        return execute(arguments.code, "<command line>", names(machine))
    elif sys.stdin.isatty():
        shell(machine)
    else:
        return execute(sys.stdin.read(), "<stdin>", names(machine))
    return 0


def booted(arguments: argparse.Namespace) -> "Machine":
    """The machine that the command line describes."""
    from mmtwin.machine import Machine

    settings: dict[str, Any] = {
        name: value
        for name in ("memory", "cpus", "nodes", "seed")
        if (value := getattr(arguments, name)) is not None
    }
    settings.update(settings_of(arguments.set))
    cmdline = boot_options(arguments.append)
    return Machine.boot(arguments.profile or DEFAULT, cmdline=cmdline, **settings)


def names(machine: "Machine") -> dict[str, Any]:
    """What a shell and a script find defined."""
    import mmtwin

    return {"__name__": "__main__", "k": machine, "mmtwin": mmtwin}


def execute(text: str, name: str, known: dict[str, Any]) -> int:
    """Runs the user's code; its exit status: 1 after an exception.

    That is shown as Python shows it, without the lines of mmtwin's own files: what the kernel
    said, and where the user's code was.
    """
    try:
        exec(compile(text, name, "exec"), known)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        mine = [frame for frame in frames if not frame.filename.startswith(PACKAGE)]
        lines = ["Traceback (most recent call last):\n"] if mine else []
        lines += traceback.format_list(mine) + traceback.format_exception_only(error)
        print("".join(lines), end="", file=sys.stderr)
        return 1
    return 0


def told(error: Exception) -> str:
    """What is wrong with the user's text, and in which line."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: SyntaxError: {error.msg}"
    return str(error)


def run_script(machine: "Machine", script: str, arguments: list[str]) -> int:
    """Runs a Python file with the machine as k; the exit status, as of execute()."""
    path = Path(script)
    with input_errors():
        text = path.read_text()
    try:
        compile(text, script, "exec")
    except (SyntaxError, ValueError) as error:
        raise UserError(f"{script}: {told(error)}", "a script is a Python file") from None
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(path.resolve().parent))
    return execute(text, script, {**names(machine), "__file__": script})


def shell(machine: "Machine") -> None:
    """An interactive shell, with completion and history where readline is there."""
    import code

    known = names(machine)
    try:
        import readline
        import rlcompleter

        readline.set_completer(rlcompleter.Completer(known).complete)
        readline.parse_and_bind("tab: complete")
    except ImportError:
        pass
    banner = f"{machine!r}\nk is the machine: k.kmalloc(100), k.alloc_pages(0); help(k)"
    code.interact(banner, local=known, exitmsg="")
