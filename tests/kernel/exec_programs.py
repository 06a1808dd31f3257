"""What a real kernel made of programs at the moment of execve(): their maps, stat and auxiliary
vector, with the heads of the files that they are made of.

    python tests/kernel/exec_programs.py       records exec_programs.json again, on this kernel

Programs are stopped before their first instruction (ptrace), with ASLR off.
"""

import base64
import ctypes
import json
import os
import platform
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

RECORDED = Path(__file__).resolve().parent / "exec_programs.json"
HEAD = 1024
ADDR_NO_RANDOMIZE = 0x0040000
SYSTEM = ("/bin/cat", "/bin/bash", "/usr/bin/python3", "/usr/bin/perl", "/usr/bin/git")
SOURCE = "char big[1 << 20] = {1}; char bss[3 << 20]; int main() { return big[3] + bss[4]; }\n"
BUILDS = {
    "static": ["-static"],
    "static-pie": ["-static-pie"],
    "static-pie-2m": ["-static-pie", "-Wl,-z,max-page-size=0x200000"],
    "pie": [],
    "pie-2m": ["-Wl,-z,max-page-size=0x200000"],
    "no-pie": ["-no-pie"],
    "execstack": ["-z", "execstack"],
    "one-segment": ["-static", "-Wl,-z,norelro,-z,noseparate-code"],
}
SCRIPTS = {
    "script": "#!FOLDER/static -x  y \necho",
    "script-of-script": "#! FOLDER/script\n",
    "shell": "#!/bin/sh",
    "nothing": "echo",
    "empty": "",
}
ENVIRONMENT = {"A": "b", "HOME": "/root"}
STAT = {
    "start_code": 23, "end_code": 24, "start_stack": 25, "start_data": 42, "end_data": 43,
    "start_brk": 44, "arg_start": 45, "arg_end": 46, "env_start": 47, "env_end": 48,
}  # fmt: skip


def stopped(path, argv):
    """/proc texts of a process that execve() just gave its program; an errno if it failed."""
    libc = ctypes.CDLL(None, use_errno=True)
    pid = os.fork()
    if pid == 0:
        libc.ptrace(0, 0, 0, 0)
        libc.personality(ADDR_NO_RANDOMIZE)
        try:
            os.execve(path, argv, ENVIRONMENT)
        except OSError as error:
            os._exit(error.errno)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        return os.WEXITSTATUS(status)
    texts = {name: Path(f"/proc/{pid}/{name}").read_bytes() for name in ("maps", "stat", "auxv")}
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return texts


def described(path, found, folder):
    stat = found["stat"].decode().rsplit(")", 1)[1].split()
    vector = list(struct.iter_unpack("<QQ", found["auxv"]))
    vector = vector[: vector.index((0, 0)) + 1]
    maps = found["maps"].decode()
    paths = {line.split()[5] for line in maps.splitlines() if "/" in line} | {path}
    paths |= {os.path.realpath("/bin/sh")}
    files = {}
    for each in paths:
        state, data = os.stat(each), Path(each).read_bytes()
        files[each.replace(folder, "/programs")] = {
            "dev": f"{os.major(state.st_dev):02x}:{os.minor(state.st_dev):02x}",
            "inode": state.st_ino, "size": state.st_size,
            "head": base64.b64encode(data[:HEAD]).decode(),
        }  # fmt: skip
    return {
        "maps": maps.replace(folder, "/programs"), "files": files, "auxv": vector,
        "stat": {name: int(stat[place]) for name, place in STAT.items()},
    }  # fmt: skip


def record():
    programs = {}
    folder = "/programs"  # paths are as long as their names in the file
    made = not Path(folder).exists()
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as sources:
        source = Path(sources, "program.c")
        source.write_text(SOURCE)
        for name, options in BUILDS.items():
            subprocess.run(["gcc", *options, "-o", f"{folder}/{name}", str(source)], check=True)
    for name, text in SCRIPTS.items():
        Path(folder, name).write_text(text.replace("FOLDER", folder))
        Path(folder, name).chmod(0o755)
    names = [*BUILDS, *SCRIPTS]
    for path in [*SYSTEM, *(f"{folder}/{name}" for name in names)]:
        found = stopped(path, [path, "argument"])
        error = found if isinstance(found, int) else 0
        programs[path] = {"errno": error, "files": {}, "text": ""}
        if not error:
            programs[path] |= described(os.path.realpath(path), found, folder)
        if path.rpartition("/")[2] in SCRIPTS:
            programs[path]["text"] = Path(path).read_text()
    for name in names:
        Path(folder, name).unlink()
    if made:
        os.rmdir(folder)
    kept = {"release": platform.release(), "programs": programs}
    RECORDED.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(record())
