"""Packs what record.py wrote into the data that test_programs.py reads.

    python tests/programs/pack.py FOLDER tests/programs/data/KERNEL.json.xz

Of the files only those stay that the programs execute or map. Refuses what names the machine that
it ran on.
"""

import json
import lzma
import posixpath
import re
import socket
import sys
from pathlib import Path
from typing import Any

from mmtwin.procfs import maps
from mmtwin.recordings.strace import read_strace

MOST_LINKS = 40


def resolved(path: str, links: dict[str, str]) -> str:
    """Where a path leads, by the symbolic links that were met on the way."""
    parts, done = [part for part in path.split("/") if part], "/"
    for _ in range(1000):
        if not parts:
            break
        step = posixpath.normpath(posixpath.join(done, parts.pop(0)))
        target = links.get(step)
        if target is None:
            done = step
        else:
            parts = [part for part in target.split("/") if part] + parts
            done = "/" if target.startswith("/") else done
    return done


def files_of(program: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """The files that a program executes or maps: their facts, and the other names they go by."""
    log = read_strace(program["log"].splitlines(keepends=True), program["name"], program["cwd"])
    names = {step.file for step in log.steps if step.file and step.name in ("execve", "mmap")}
    names |= {area.name for text in program["maps"].values() for area in maps.parse(text)}
    found: dict[str, Any] = {}
    for name in sorted(names):
        real = resolved(name, facts["links"]) if name.startswith("/") else name
        fact = facts["files"].get(real)
        if fact is None:
            continue
        if real != name:
            found[name] = {"link": real}
        found[real] = {
            ("elf_head_base64" if key == "head" else key): value for key, value in fact.items()
        }
        interpreter = re.search(rb"/[ -~]+ld-linux[ -~]*", head_of(fact))
        if interpreter:
            names_of_interpreter(interpreter[0].decode(), facts, found)
    return found


def head_of(fact: dict[str, Any]) -> bytes:
    """The bytes of a file's head."""
    import base64

    return base64.b64decode(fact.get("head", ""))


def names_of_interpreter(name: str, facts: dict[str, Any], found: dict[str, Any]) -> None:
    """Adds the interpreter that an ELF file names."""
    real = resolved(name, facts["links"])
    fact = facts["files"][real]
    found[name] = {"link": real}
    found[real] = {key: fact[key] for key in ("dev", "inode", "size", "fs") if key in fact}
    found[real]["elf_head_base64"] = fact["head"]


def main() -> None:
    """Packs one folder."""
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    facts = json.loads((folder / "files.json").read_text())
    whole: dict[str, Any] = {key: facts[key] for key in ("kernel", "machine", "strace")}
    whole["programs"] = []
    files: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        if path.name == "files.json":
            continue
        program = json.loads(path.read_text())
        if not program["maps"]:
            print(f"{program['name']} did not run", file=sys.stderr)
            continue
        files.update(files_of(program, facts))
        whole["programs"].append(program)
    whole["files"] = dict(sorted(files.items()))
    text = json.dumps(whole, indent=0)
    for word in (socket.gethostname(), str(Path.home()) + "/", str(Path.cwd()) + "/"):
        if len(word) > 3 and word in text:
            sys.exit(f"{word!r} is in what was recorded: recorded on this machine?")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{target}: {len(whole['programs'])} programs, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
