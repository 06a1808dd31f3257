"""Policies out of a Python file: its functions that are named as slots of kernel/policy.py."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmtwin.kernel.policy import SLOTS
from mmtwin.replay.errors import ReplayError


def load_policy(path: str | Path) -> dict[str, Callable[..., Any]]:
    """{slot: function} of a policy file, which is run.

    Raises ReplayError if it cannot be read or run, or fills no slot.
    """
    try:
        names = runpy.run_path(str(path), run_name="mmtwin_policy")
    except OSError as error:
        raise ReplayError(f"{path}: {error.strerror or error}") from None
    except SyntaxError as error:
        raise ReplayError(f"{path}: line {error.lineno}: no Python: {error.msg}") from None
    except Exception as error:
        raise ReplayError(f"{path}: {error!r:.200}") from None
    found = {slot: names[slot] for slot in SLOTS if slot in names}
    if not found:
        raise ReplayError(f"{path}: it has none of the functions {', '.join(SLOTS)}")
    return found
