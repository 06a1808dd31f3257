"""The programs that are recorded: name, what is made before, and the command itself.

Each runs in a folder of its own below /tmp/p, with a bare environment and address randomization
off. `{in}` is a folder of inputs that record.py makes once.
"""

from typing import NamedTuple


class Program(NamedTuple):
    """One program: a command line, after a shell command that is not recorded."""

    name: str
    command: list[str]
    before: str = ""


PYTHON = {
    "json": "import json\nprint(len(json.dumps({i: [i] * 9 for i in range(20000)})))",
    "threads": """
import threading
kept = []
def work(n):
    kept.append([bytearray(300_000) for _ in range(n)])
threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 6)]
for t in threads: t.start()
for t in threads: t.join()
print(len(kept))""",
    "mmap": """
import mmap, os
anon = mmap.mmap(-1, 1 << 20)
anon[:] = b"x" * len(anon)
with open("file", "w+b") as file:
    file.truncate(1 << 20)
    shared = mmap.mmap(file.fileno(), 0)
    read = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    copy = mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_COPY, offset=65536)
private = mmap.mmap(-1, 1 << 16, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
private.resize(1 << 22)
private.madvise(mmap.MADV_DONTNEED, 0, 8192)
memory = os.memfd_create("notes")
os.truncate(memory, 8192)
note = mmap.mmap(memory, 8192)
print(len(shared), len(note))""",
    "fork": """
import os
data = bytearray(2_000_000)
for n in range(3):
    if not os.fork():
        data += bytes(n * 100_000)
        os._exit(0)
for n in range(3):
    os.wait()""",
}
SQL = (
    "create table t(a integer primary key, b text); with recursive c(x) as (select 1 union all "
    "select x+1 from c where x<20000) insert into t select x, hex(x*x) from c; create index i on "
    "t(b); select count(*), max(b) from t;"
)
WAL = "pragma journal_mode=wal; pragma mmap_size=1048576; "


def python(name: str, how: str = "") -> Program:
    """A Python program of PYTHON."""
    return Program(f"python-{name}", ["python3", "-S", "-c", PYTHON[name]], how)


def shell(name: str, *command: str, before: str = "") -> Program:
    """A command line."""
    return Program(name, list(command), before)


PROGRAMS = [
    shell("dash", "sh", "-c", "for i in 1 2 3; do echo $i | tr 1-3 a-c; done; ls -l /etc | wc -l"),
    shell("bash", "bash", "-c", "for i in {1..3000}; do m[i]=$((i*i)); done; echo ${#m[@]} $(ls)"),
    python("json"),
    python("threads"),
    python("mmap"),
    python("fork"),
    shell("perl", "perl", "-e", r'$h{$_} = "x" x $_ for 1..3000; print scalar(keys %h), "\n"'),
    shell("git-init", "git", "init", "-q", "repo"),
    shell("git-add", "git", "add", ".", before="git init -q .; cp -r {in}/texts ."),
    shell("git-log", "git", "-C", "{in}/repo", "log", "--stat", "-p"),
    shell("git-gc", "git", "gc", "-q", before="cp -r {in}/repo/.git ."),
    shell("gcc", "gcc-12", "-O2", "-c", "{in}/vm.c", "-o", "vm.o"),
    shell("gcc-link", "gcc-12", "-pthread", "{in}/threads.c", "-o", "threads"),
    shell("make", "make", "-j2", "-f", "{in}/Makefile"),
    shell("ld", "ld", "-r", "{in}/vm.o", "-o", "all.o"),
    shell("objdump", "objdump", "-d", "{in}/vm.o"),
    shell("sqlite3", "sqlite3", "data.db", SQL),
    shell("sqlite3-wal", "sqlite3", "data.db", WAL + SQL),
    shell("gawk", "gawk", "{n[length($0)]++} END {for (l in n) print l, n[l]}", "{in}/words"),
    shell("mawk", "mawk", "{s += length($0)} END {print s}", "{in}/words"),
    shell("sed", "sed", "-n", "s/a\\(.\\)c/\\1/p", "{in}/words"),
    shell("grep", "grep", "-c", "-E", "(ab|cd)+e", "{in}/words"),
    shell("tar", "tar", "-czf", "all.tar.gz", "-C", "{in}", "texts"),
    shell("xz", "xz", "-T2", "-k", "-c", "--block-size=65536", "{in}/words"),
    shell("gzip", "gzip", "-c", "{in}/words"),
    shell("bzip2", "bzip2", "-k", "-c", "{in}/words"),
    shell("zstd", "zstd", "-q", "-T2", "-3", "{in}/words", "-o", "words.zst"),
    shell("openssl-dgst", "openssl", "dgst", "-sha256", "{in}/words"),
    shell("openssl-key", "openssl", "genpkey", "-algorithm", "ed25519", "-out", "key"),
    shell("sort", "sort", "--parallel=2", "-S", "8M", "{in}/words", "-o", "sorted"),
    shell("find", "find", "/usr/lib", "-name", "*.so.*"),
    shell("ls", "ls", "-lR", "/usr/include"),
    shell("diff", "diff", "{in}/words", "{in}/words2"),
    shell("file", "file", "/usr/bin/dash", "{in}/words"),
    shell("bc", "bc", "-l", "{in}/pi.bc"),
    shell("jq", "jq", "-c", "map(.a) | add", "{in}/data.json"),
    shell("lua", "lua5.4", "-e", "t = {} for i = 1, 30000 do t[i] = tostring(i) end print(#t)"),
    shell("m4", "m4", "{in}/input.m4"),
    shell("bison", "bison", "{in}/calc.y", "-o", "calc.c"),
    shell("patch", "patch", "-i", "{in}/words.patch", "words", before="cp {in}/words ."),
    shell("curl", "curl", "-s", "-o", "out", "file:///etc/passwd"),
    shell("ssh-keygen", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"),
    shell("vim", "vim.tiny", "-es", "-u", "NONE", "-c", "%s/a/b/g", "-c", "wq", "words",
          before="cp {in}/words ."),
    shell("tclsh", "tclsh", "{in}/script.tcl"),
    shell("ruby", "ruby", "-e", "a = (1..20000).map { |i| i.to_s * 3 }; puts a.sort.size"),
    shell("busybox", "busybox", "sha256sum", "{in}/words"),
    shell("vm", "{in}/vm"),
    shell("threads", "{in}/threads"),
    shell("stack", "{in}/stack"),
    shell("static", "{in}/static"),
    shell("not-pie", "{in}/not-pie"),
]  # fmt: skip
