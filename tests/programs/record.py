"""Records real programs: their `strace -f` logs, and /proc/PID/maps as they end.

    python3 tests/programs/record.py FOLDER [NAME ...]

Runs the programs of programs.py with address randomization off; needs strace, setarch and the
programs. strace holds each process for a moment where it enters exit_group; that is when its maps
are read. Nothing of the environment goes in: what is recorded is made below /tmp/p. The recordings
of tests/programs/data were made by guest.sh, in a guest booted for it.
"""

import base64
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from programs import PROGRAMS, Program

HERE = os.path.dirname(os.path.abspath(__file__))
ROOM = "/tmp/p"
INPUTS = f"{ROOM}/in"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp/p/home", "LANG": "C"}
HOLD_US = 700_000  # how long a process is held at exit_group
EXIT_GROUP = {"x86_64": 231, "aarch64": 94}[os.uname().machine]
NAMES = re.compile(r'"((?:[^"\\]|\\.)+)"')
MAPPED = re.compile(r" (/.*?)(?: \(deleted\))?$", re.M)
SETUP = r"""
mkdir -p texts && cp {here}/inputs/*.c .
i=0; while [ $i -lt 3000 ]; do echo "abc$i cde$((i * 7919 % 10007)) abe"; i=$((i+1)); done > words
cat words words words words > all; mv all words
sed s/abc77/x/ words > words2; diff words words2 > words.patch || true
i=0; while [ $i -lt 40 ]; do head -n $((i * 3)) words > texts/$i; i=$((i+1)); done
echo 'scale=300; 4*a(1); quit' > pi.bc
echo '[{{"a": 1}}, {{"a": 2}}, {{"a": 39}}]' > data.json
echo 'define(`f`, `$1 $1`)f(`a`) f(`b`)' > input.m4
printf '%%token N\n%%left 43\n%%%%\ne: N | e 43 e;\n%%%%\n' > calc.y
echo 'for {{set i 0}} {{$i < 9999}} {{incr i}} {{set a($i) $i}}; puts [array size a]' > script.tcl
printf 'all: a b c\n%%: ; echo $@ > $@.out; cat $@.out\n' > Makefile
for n in vm threads stack; do gcc-12 -O1 -pthread $n.c -o $n; done
gcc-12 -O1 -static stack.c -o static; gcc-12 -O1 -no-pie vm.c -o not-pie; gcc-12 -c vm.c
git init -q repo; cd repo; cp -r ../texts .
git config --global user.name A; git config --global user.email a@example.org
git add .; git commit -q -m one; sed -i s/cde/fgh/ texts/*; git commit -q -a -m two
"""


def run(command: str, folder: str) -> None:
    """Runs a shell command that is not recorded."""
    subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=ENVIRONMENT,
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def read(path: str) -> str:
    """A small file of /proc; empty when its process is gone."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def at_exit(pid: str) -> bool:
    """Whether a thread of a process stands where it enters exit_group."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return False
    return any(read(f"/proc/{pid}/task/{t}/syscall").startswith(f"{EXIT_GROUP} ") for t in tasks)


def watch(process: subprocess.Popen, since: set) -> tuple:
    """Reads the maps and Vm lines of every new process that ends, until strace has ended."""
    maps, status = {}, {}
    while process.poll() is None:
        for pid in [name for name in os.listdir("/proc") if name.isdigit()]:
            if pid in since or pid in maps or not at_exit(pid):
                continue
            text = read(f"/proc/{pid}/maps")
            if text and at_exit(pid):
                maps[pid] = text
                lines = read(f"/proc/{pid}/status").splitlines()
                status[pid] = [line for line in lines if line.startswith("Vm")]
        time.sleep(0.02)
    return maps, status


def file_system(device: int) -> str:
    """The type of the file system on a device (st_dev): it may choose addresses its own way."""
    number = f" {os.major(device)}:{os.minor(device)} "
    for line in read("/proc/self/mountinfo").splitlines():
        mount, _, kind = line.partition(" - ")
        if number in mount:
            return kind.split()[0]
    return ""


class Facts:
    """What the kernel knows of the files that the logs name."""

    def __init__(self) -> None:
        self.files = {}
        self.links = {}

    def add(self, path: str, head: bool = False) -> None:
        """A file by a name that a program used; its head too if it was executed."""
        real = self.follow(path)
        if not os.path.isfile(real) or real.startswith(("/proc/", "/sys/", "/dev/")):
            return
        stat = os.stat(real)
        device = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}"
        fact = {"dev": device, "inode": stat.st_ino, "size": stat.st_size}
        fact["fs"] = file_system(stat.st_dev)
        fact = {**self.files.get(real, {}), **fact}
        if head and "head" not in fact:
            with open(real, "rb") as file:
                data = file.read(1 << 16)
            kept, interpreter = head_of(data)
            fact["head"] = base64.b64encode(kept).decode()
            self.files[real] = fact
            if interpreter:
                self.add(interpreter, True)
        self.files[real] = fact

    def follow(self, path: str) -> str:
        """Where a path leads; keeps the symbolic links on the way."""
        parts, done = [part for part in path.split("/") if part], "/"
        for _ in range(1000):
            if not parts:
                break
            step = os.path.normpath(os.path.join(done, parts.pop(0)))
            if os.path.islink(step):
                self.links[step] = target = os.readlink(step)
                parts = [part for part in target.split("/") if part] + parts
                done = "/" if target.startswith("/") else done
            else:
                done = step
        return done


def head_of(data: bytes) -> tuple:
    """(the ELF header, program headers and interpreter's name, that name) of an executable."""
    if data[:4] != b"\x7fELF":
        line = data[:256].split(b"\n")[0]
        words = line[2:].split()
        return line + b"\n", words[0].decode() if line[:2] == b"#!" and words else ""
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    end, name = offset + size * count, ""
    for at in range(offset, end, size):
        (kind,) = struct.unpack_from("<I", data, at)
        (where,), (length,) = (struct.unpack_from("<Q", data, at + there) for there in (8, 32))
        if kind == 3:  # PT_INTERP
            name = data[where : where + length].rstrip(b"\0").decode()
            end = max(end, where + length)
    return data[:end], name


def record(program: Program, folder: str, facts: Facts) -> None:
    """Runs one program under strace and writes NAME.json."""
    room = f"{ROOM}/{program.name}"
    shutil.rmtree(room, ignore_errors=True)
    os.makedirs(room)
    command = [word.replace("{in}", INPUTS) for word in program.command]
    run(program.before.replace("{in}", INPUTS), room)
    log = f"{ROOM}/log"
    hold = f"-einject=exit_group:delay_enter={HOLD_US}"
    trace = ["setarch", "-R", "strace", "-f", "-o", log, hold]
    since = {name for name in os.listdir("/proc") if name.isdigit()}
    with open(os.devnull, "r+b") as null:
        process = subprocess.Popen(
            [*trace, *command], cwd=room, env=ENVIRONMENT, stdin=null, stdout=null, stderr=null
        )
        maps, status = watch(process, since)
    with open(log, encoding="latin-1") as file:
        text = file.read().replace(" (DELAYED)", "")
    for pid in [pid for pid in maps if not re.search(rf"^{pid} ", text, re.M)]:
        del maps[pid], status[pid]
    for line in text.splitlines():
        if "(" in line and any(call in line for call in ("open", "execve")):
            executed = "execve" in line
            for name in NAMES.findall(line)[:1]:
                facts.add(os.path.join(room, name), executed)
    for path in {path for each in maps.values() for path in MAPPED.findall(each)}:
        facts.add(path)
    whole = {"name": program.name, "cwd": room, "log": text, "maps": maps, "status": status}
    with open(f"{folder}/{program.name}.json", "w") as file:
        json.dump(whole, file, indent=0)


def main() -> None:
    """Makes the inputs, then records every program, or those named."""
    folder, wanted = sys.argv[1], sys.argv[2:]
    os.makedirs(folder, exist_ok=True)
    shutil.rmtree(ROOM, ignore_errors=True)
    for place in (INPUTS, ENVIRONMENT["HOME"]):
        os.makedirs(place)
    run(SETUP.format(here=HERE), INPUTS)
    facts = Facts()
    for program in PROGRAMS:
        if wanted and program.name not in wanted:
            continue
        began = time.time()
        record(program, folder, facts)
        print(program.name, f"{time.time() - began:.1f} s", flush=True)
    version = subprocess.run(["strace", "-V"], capture_output=True, text=True).stdout
    about = {"kernel": os.uname().release, "machine": os.uname().machine}
    about["strace"] = version.split("\n")[0]
    with open(f"{folder}/files.json", "w") as file:
        json.dump({**about, "files": facts.files, "links": facts.links}, file, indent=0)


if __name__ == "__main__":
    main()
