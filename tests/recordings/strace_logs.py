"""Small strace logs, one in each way that strace prints them."""

from pathlib import Path

FOLDER = Path(__file__).with_name("fixtures") / "strace"
LOGS = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.log"))}
