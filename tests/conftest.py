"""What every test may use; and the check that each run is the run it says it is."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # tests/house.py and other helpers
os.environ["MMTWIN_CACHE"] = ""  # commands keep nothing, and find nothing
PURE = bool(os.environ.get("MMTWIN_PURE"))


def is_compiled() -> bool:
    """Whether the kernel floor runs as compiled modules."""
    import mmtwin.kernel.mm

    return not (mmtwin.kernel.mm.__file__ or "").endswith(".py")


def pytest_report_header(config: pytest.Config) -> str:
    form = "compiled" if is_compiled() else "uncompiled"
    return f"mmtwin: {form}, {Path(sys.modules['mmtwin'].__file__ or '').parent}"


def pytest_sessionstart(session: pytest.Session) -> None:
    if PURE and is_compiled():
        raise pytest.UsageError("MMTWIN_PURE is set, but a compiled module was imported")
    if os.environ.get("MMTWIN_REQUIRE_COMPILED") and not PURE and not is_compiled():
        raise pytest.UsageError("MMTWIN_REQUIRE_COMPILED is set, but mmtwin runs uncompiled")


@pytest.fixture(scope="session")
def compiled() -> bool:
    """Whether this run is the compiled one."""
    return is_compiled()
