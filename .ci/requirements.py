"""Prints what pyproject.toml asks for, dev extras included, one requirement a line."""

import sys
import tomllib
from pathlib import Path

pyproject = tomllib.loads(Path(sys.argv[1]).read_text())
project = pyproject["project"]
requirements = [
    *pyproject["build-system"]["requires"],
    *project["dependencies"],
    *project["optional-dependencies"]["dev"],
]
print("\n".join(dict.fromkeys(requirements)))
