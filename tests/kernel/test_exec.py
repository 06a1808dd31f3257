"""execve(): what real kernels made of programs, and what they refuse."""

import base64
import json
import struct

import pytest
from exec_programs import RECORDED, STAT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmtwin import Machine
from mmtwin.kernel.elf import AT_NULL, AT_RANDOM
from mmtwin.kernel.exec import ExecContext, exec_file
from mmtwin.kernel.fork_mm import mmput
from mmtwin.kernel.gup import access_process_vm
from mmtwin.kernel.mm_types import GET_AREA_THP, File
from mmtwin.kernel.mm_validate import validate_mm
from mmtwin.machine.elf_image import elf_image
from mmtwin.procfs import maps

REAL = json.loads(RECORDED.read_text())
PROGRAMS = REAL["programs"]
ENOENT, EACCES, E2BIG, EIO, ENOEXEC, ENOMEM = 2, 13, 7, 5, 8, 12
EINVAL, ELOOP, ELIBBAD = 22, 40, 80
# Values of one machine's processor.
HARDWARE = (16, 26, 51)


@pytest.fixture(scope="module")
def k():
    return Machine.boot("x86_64-6.18", memory="256M", LEGACY_VSYSCALL_XONLY=True,
                        MEM_SOFT_DIRTY=False)


def real_files():
    """Every file of the recorded programs by path."""
    found = {}
    for path, program in PROGRAMS.items():
        for name, facts in program["files"].items():
            head = base64.b64decode(facts["head"])
            file = File(name, facts["dev"], facts["inode"], facts["size"], head=head)
            file.get_area = GET_AREA_THP
            found[name] = file
        if path.startswith("/programs/") and program["text"]:
            found[path] = File(path, data=program["text"].encode())
    found.setdefault("/programs/empty", File("/programs/empty", data=b""))
    return found


ALIASES = {"/bin/cat": "/usr/bin/cat", "/bin/bash": "/usr/bin/bash", "/bin/sh": "/usr/bin/dash",
           "/lib64/ld-linux-x86-64.so.2": "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"}


def opener(files):
    def open_exec(path):
        path = ALIASES.get(path, path)
        for name in (path, *(each for each in files if each.startswith(path))):
            if name in files:
                return files[name]
        return -ENOENT

    return open_exec


def run(k, file, argv=("program",), envp=(), context=None, name=None):
    """exec_file() that leaves nothing behind where it fails."""
    context = context or ExecContext(lambda path: -ENOENT)
    return exec_file(k.mm, file, list(argv), list(envp), context, filename=name)


@pytest.mark.parametrize("path", PROGRAMS)
def test_as_the_real_kernel_did(k, path):
    program = PROGRAMS[path]
    context = ExecContext(opener(real_files()))
    file = context.open_exec(path)
    mm = run(k, file, [path, "argument"], ["A=b", "HOME=/root"], context, path)
    if program["errno"]:
        assert mm == -program["errno"]
        return
    assert maps.format_maps(maps.show(mm)) == program["maps"]
    assert {name: getattr(mm, name) for name in STAT} == program["stat"]
    ours = [pair for pair in mm.saved_auxv if pair[0] not in HARDWARE]
    assert ours == [tuple(pair) for pair in program["auxv"] if pair[0] not in HARDWARE]
    validate_mm(mm)
    mmput(k.mm, mm)


def test_recorded_programs_are_of_every_kind():
    errors = {program["errno"] for program in PROGRAMS.values()}
    assert errors == {0, ENOEXEC}
    assert len(PROGRAMS) >= 15


@pytest.mark.parametrize("profile", ["x86_64-5.10", "x86_64-6.1"])
def test_init_of_the_recordings(profile):
    """start_stack and all addresses of pid 1 of x86-5.10-smp1-process and x86-6.1-smp1-process."""
    k = Machine.boot(profile, memory="128M")
    image = elf_image()
    mm = run(k, File("/init", data=image), ["/init", "nokaslr"],
             ["HOME=/", "TERM=linux", "ORC_DUMP=1"], name="/init")  # fmt: skip
    assert (mm.arg_start, mm.arg_end, mm.env_end) == (
        0x7FFFFFFFEFC7, 0x7FFFFFFFEFD5, 0x7FFFFFFFEFF2
    )  # fmt: skip
    found = [(area.name, area.start, area.end) for area in maps.show(mm)][-3:]
    assert found == [
        ("[vvar]", 0x7FFFF7FF9000, 0x7FFFF7FFD000), ("[vdso]", 0x7FFFF7FFD000, 0x7FFFF7FFF000),
        ("[stack]", 0x7FFFFFFDE000, 0x7FFFFFFFF000),
    ]  # fmt: skip
    # the vector has AT_MINSIGSTKSZ since 5.14; init's own stat says the same
    assert mm.start_stack == {"x86_64-5.10": 0x7FFFFFFFEE20}.get(profile, 0x7FFFFFFFEE10)


@pytest.mark.parametrize(
    ("profile", "shown"),
    [
        ("x86_64-6.12", ["[vvar]", "[vdso]", "[stack]"]),
        ("x86_64-6.18", ["[vvar]", "[vvar_vclock]", "[vdso]", "[stack]"]),
        ("arm64-6.1", ["[vvar]", "[vdso]", "[stack]"]),
        ("arm64-16k-6.12", ["[vvar]", "[vdso]", "[stack]"]),
        ("arm64-64k-6.12", ["[vvar]", "[vdso]", "[stack]"]),
        ("x86_64-7.3", ["[vvar]", "[vvar_vclock]", "[vdso]", "[stack]"]),
    ],
)
def test_other_kernels(profile, shown):
    k = Machine.boot(profile, memory="128M")
    arch = "arm64" if "arm64" in profile else "x86_64"
    mm = run(k, File("/p", data=elf_image(arch, bss=100_000)))
    names = [area.name for area in maps.show(mm) if area.name.startswith("[")]
    assert [name for name in names if name != "[heap]"] == shown
    validate_mm(mm)
    page = 1 << k.mm.page_shift
    assert mm.start_brk == mm.brk and mm.brk % page == 0
    assert not k.validate()


def read_stack(mm):
    """(argv, envp, auxv) as a program finds them at its stack pointer."""
    words = struct.iter_unpack("<Q", access_process_vm(mm, mm.start_stack, 1024))
    words = [word for (word,) in words]
    argc, words = words[0], words[1:]

    def text(address):
        return access_process_vm(mm, address, 4096 - address % 4096).split(b"\0")[0]

    argv, words = [text(word) for word in words[:argc]], words[argc + 1 :]
    end = words.index(0)
    envp, words = [text(word) for word in words[:end]], words[end + 1 :]
    return argv, envp, dict(zip(words[::2], words[1::2], strict=False))


def test_what_the_program_finds_on_its_stack(k):
    context = ExecContext(lambda path: -ENOENT, random_bytes=b"0123456789abcdef", auxv={11: 1000})
    mm = run(k, File("/p", data=elf_image()), ["one", "two"], ["A=1", "B=2"], context)
    argv, envp, vector = read_stack(mm)
    assert (argv, envp) == ([b"one", b"two"], [b"A=1", b"B=2"])
    assert access_process_vm(mm, vector[AT_RANDOM], 16) == b"0123456789abcdef"
    assert vector[11] == 1000 and vector[AT_NULL] == 0
    assert access_process_vm(mm, vector[31], 3) == b"/p\0"
    assert mm.start_stack % 16 == 0


def test_argv_is_never_empty(k):
    mm = run(k, File("/p", data=elf_image()), [])
    assert read_stack(mm)[0] == [b""]


def test_bss_is_zero_and_data_is_the_files(k):
    mm = run(k, File("/p", data=elf_image(data=1000, bss=20_000)))
    assert access_process_vm(mm, mm.start_data, 1000)[:3] == b"\x01\x02\x03"
    assert access_process_vm(mm, mm.end_data, 20_000) == bytes(20_000)


def test_seeds_place_programs(k):
    images = {}
    for profile, pie in (("x86_64-6.18", True), ("x86_64-5.10", False), ("arm64-6.1", True)):
        arch = "arm64" if "arm64" in profile else "x86_64"
        places = set()
        for seed in (1, 1, 2):
            machine = Machine.boot(profile, memory="128M", seed=seed)
            context = ExecContext(lambda path: -ENOENT, randomize=2)
            mm = run(machine, File("/p", data=elf_image(arch, pie=pie)), context=context)
            validate_mm(mm)
            places.add((mm.start_code, mm.start_brk, mm.start_stack, mm.vdso, mm.mmap_base))
        images[profile] = places
    assert {profile: len(places) for profile, places in images.items()} == {
        "x86_64-6.18": 2, "x86_64-5.10": 2, "arm64-6.1": 2
    }  # fmt: skip


def test_random_brk_stays_in_its_range():
    for profile, span in (("x86_64-5.10", 32 << 20), ("x86_64-6.1", 1 << 30)):
        k = Machine.boot(profile, memory="128M", seed=7)
        gaps = []
        for _ in range(8):
            context = ExecContext(lambda path: -ENOENT, randomize=2)
            mm = run(k, File("/p", data=elf_image()), context=context)
            gaps.append(mm.start_brk - mm.end_data)
            mmput(k.mm, mm)
        assert max(gaps) < span + 8192
        assert max(gaps) > span // 8


def elf_with(changes, image=None):
    image = bytearray(image or elf_image())
    for place, form, value in changes:
        struct.pack_into("<" + form, image, place, value)
    return bytes(image)


@pytest.mark.parametrize(
    ("image", "errno"),
    [
        (b"", ENOEXEC), (b"\x7fELF", ENOEXEC), (b"#!", EACCES), (b"#!   \n", ENOEXEC),
        (b"#!/none\n", ENOENT), (b"#!" + b"x" * 300, ENOEXEC),
        (elf_image("arm64"), ENOEXEC),
        (elf_with([(16, "H", 1)]), ENOEXEC),  # ET_REL
        (elf_with([(54, "H", 32)]), ENOEXEC),  # e_phentsize
        (elf_with([(56, "H", 0)]), ENOEXEC),  # e_phnum
        (elf_with([(32, "Q", 1 << 62)]), ENOEXEC),  # e_phoff
        (elf_image(interpreter="/none"), ENOENT),
        (elf_with([(64 + 32, "Q", 1)], elf_image(interpreter="/none")), ENOEXEC),
        (elf_with([(64 + 56 + 16, "Q", 1 << 50)]), ENOMEM),  # p_vaddr
        (elf_with([(64 + 56 + 40, "Q", 1)]), EINVAL),  # p_memsz < p_filesz
    ],
)  # fmt: skip
def test_bad_files(k, image, errno):
    result = run(k, File("/p", data=image))
    assert result == -errno
    assert not k.validate()


def test_bad_interpreters_and_loops(k):
    files = {"/text": File("/text", data=b"text" * 20), "/short": File("/short", data=b"x"),
             "/loop": File("/loop", data=b"#!/loop\n")}
    context = ExecContext(opener(files))
    for name, errno in (("/text", ELIBBAD), ("/short", EIO)):
        assert run(k, File("/p", data=elf_image(interpreter=name)), context=context) == -errno
    assert run(k, files["/loop"], context=context) == -ELOOP


def test_too_many_strings(k):
    file = File("/p", data=elf_image())
    assert run(k, file, ["x" * 200_000]) == -E2BIG
    assert run(k, file, ["x" * 100_000] * 30) == -E2BIG
    context = ExecContext(lambda path: -ENOENT, rlimits={3: 64 << 10})
    assert run(k, file, ["x" * 40_000] * 3, context=context) == -E2BIG
    assert not isinstance(run(k, file, ["x" * 100_000] * 10), int)


def test_failed_exec_leaves_no_memory_behind(k):
    file = File("/p", data=elf_image(interpreter="/none"))
    run(k, file)
    before = sum(int(zone["nr_free_pages"]) for zone in k.mm.view("zone"))
    for _ in range(5):
        run(k, file, ["x" * 30_000])
    k.synchronize_rcu()
    after = sum(int(zone["nr_free_pages"]) for zone in k.mm.view("zone"))
    assert abs(before - after) <= 64  # what per-CPU lists and batches hold


IMAGE = elf_image(interpreter="/p", bss=5000)


@settings(max_examples=120, deadline=None, suppress_health_check=[
    HealthCheck.function_scoped_fixture])  # fmt: skip
@given(
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from("BHIQ"), st.integers(0, 2**64 - 1)),
             max_size=4),
    st.sampled_from([len(IMAGE), 64, 120, 300, 5000]),
)  # fmt: skip
def test_hostile_elf_gives_an_errno_or_a_sound_address_space(k, changes, length):
    image = bytearray(IMAGE[:length])
    for place, form, value in changes:
        size = struct.calcsize(form)
        if place + size <= len(image):
            struct.pack_into("<" + form, image, place, value & (1 << 8 * size) - 1)
    file = File("/p", data=bytes(image))
    result = run(k, file, context=ExecContext(lambda path: file))
    if isinstance(result, int):
        assert -133 < result < 0
    else:
        validate_mm(result)
        mmput(k.mm, result)
