"""The switches that mmtwin reads are those that its sources name."""

import re
from pathlib import Path

import mmtwin
from mmtwin.versions.switches import READ_SWITCHES

NAMED = re.compile(r'\bCONFIG_([A-Z0-9]\w*[A-Z0-9])\b|\.on\(\s*"(?:CONFIG_)?([A-Z0-9_]+)"')
EXAMPLES = {"NAME"}


def test_every_switch_that_is_read_is_listed() -> None:
    found = set()
    for path in Path(mmtwin.__file__).parent.rglob("*.py"):
        for first, second in NAMED.findall(path.read_text(encoding="utf-8")):
            found.add(first or second)
    found = {name for name in found if name.isupper()} - EXAMPLES
    assert found == READ_SWITCHES
