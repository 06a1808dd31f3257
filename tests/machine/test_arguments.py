"""What a machine's calls are given: wrong types, and numbers that no C type holds."""

import contextlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mmtwin import Machine
from mmtwin.machine.arguments import Checked
from mmtwin.machine.process import Killed

WRONG: tuple[Any, ...] = ("x", 1.5, None, b"ab", [], {}, object(), float("nan"))
BEYOND = (-1, 1 << 64, 1 << 70, -(1 << 70))
# What a call needs beside the argument that is tried.
GOOD: dict[str, Any] = {
    "size": 64, "which": "kmalloc-64", "cache": "kmalloc-64", "pages": [5000], "count": 1,
    "name": "n", "function": "f", "data": b"1", "seconds": 1, "phys": 1 << 36, "prot": "rw",
    "command": "scan", "length": 4096, "comm": "t", "alignment": 64,
}  # fmt: skip
OBJECTS = ("Machine", "kmemleak", "task", "cache", "process")
# They are given a kernel's recording or lists.
MAKERS = ("at", "from_truth", "from_snapshots")


@pytest.fixture(scope="module")
def things() -> dict[str, Any]:
    k = Machine.boot("x86_64-6.1", memory="128M", cpus=2, DEBUG_KMEMLEAK=True)
    return {
        "Machine": k, "kmemleak": k.kmemleak, "task": k.fork("a"), "process": k.exec(),
        "cache": k.cache("kmalloc-64"),
    }  # fmt: skip


def calls(thing: Any) -> Iterator[tuple[str, inspect.Parameter, list[inspect.Parameter]]]:
    """The public calls of an object, with each parameter of theirs."""
    for name in sorted(dir(type(thing))):
        member = inspect.getattr_static(type(thing), name)
        if name.startswith("_") or name in MAKERS or isinstance(member, property):
            continue
        function = getattr(type(thing), name)
        if callable(function):
            parameters = list(inspect.signature(function).parameters.values())
            parameters = parameters[not isinstance(member, classmethod):]
            for parameter in parameters:
                if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                    yield name, parameter, parameters


def arguments(
    k: Machine, tried: inspect.Parameter, all_: list[inspect.Parameter]
) -> dict[str, Any]:
    """Good values of the parameters that must be given beside the one that is tried."""
    found: dict[str, Any] = {}
    for parameter in all_:
        name = parameter.name
        if parameter is tried or parameter.default is not parameter.empty:
            continue
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            continue
        if name in ("address", "place"):
            found[name] = k.kmalloc(64)
        elif name in ("page", "pfn"):
            found[name] = k.alloc_pages(0)
        elif name == "task":
            found[name] = k.fork("t")
        else:
            found[name] = GOOD.get(name, 0)
    return found


def carry_out(things: dict[str, Any], label: str, name: str, given: dict[str, Any]) -> None:
    if not things["process"].alive:
        things["process"] = things["Machine"].exec()
    result = getattr(things[label], name)(**given)
    if hasattr(result, "__enter__") and not hasattr(result, "start"):
        with result:
            pass


def bare(annotation: Any) -> str:
    """An annotation without what stands in brackets."""
    return re.sub(r"\[.*\]", "", str(annotation))


def may_be(annotation: Any, value: Any) -> bool:
    """Whether an annotation allows a value."""
    word = {"NoneType": "None", "list": "Sequence", "dict": "Mapping"}
    kind, text = type(value).__name__, bare(annotation)
    return word.get(kind, kind) in text or "Any" in text


@pytest.mark.parametrize("label", OBJECTS)
def test_a_wrong_type_is_one_error_that_names_the_argument(
    things: dict[str, Any], label: str
) -> None:
    tried = 0
    for name, parameter, parameters in calls(things[label]):
        for wrong in WRONG:
            given = arguments(things["Machine"], parameter, parameters)
            given[parameter.name] = wrong
            if may_be(parameter.annotation, wrong):
                with contextlib.suppress(ValueError, OSError, Killed):  # a text that is none
                    carry_out(things, label, name, given)
                continue
            with pytest.raises(TypeError, match=rf"^{name}\(\): {parameter.name} must be "):
                carry_out(things, label, name, given)
            tried += 1
    assert tried > 4


@pytest.mark.parametrize("label", OBJECTS)
def test_a_number_beyond_every_type_is_no_traceback_from_inside(
    things: dict[str, Any], label: str
) -> None:
    for name, parameter, parameters in calls(things[label]):
        for number in BEYOND if "int" in bare(parameter.annotation) else ():
            given = arguments(things["Machine"], parameter, parameters)
            with contextlib.suppress(ValueError, OSError, Killed):  # the kernel's answer, or ours
                carry_out(things, label, name, {**given, parameter.name: number})


def test_whole_numbers_of_other_types_will_do(things: dict[str, Any]) -> None:
    k: Any = things["Machine"]
    address = k.kmalloc(np.uint64(100))
    assert k.ksize(np.uint64(address)) == 128
    k.kfree(np.uint64(address))
    assert k.vmalloc(True) and k.vmap(np.array([5000, 5001]))
    address = k.kmalloc(8)
    k.write(address, bytearray(b"abc"))
    assert k.read(address, 3) == b"abc"


def test_members_of_lists_and_dicts_are_looked_at(things: dict[str, Any]) -> None:
    k: Machine = things["Machine"]
    with pytest.raises(TypeError, match=r"vmap\(\): a member of pages must be a Page or a whole"):
        k.vmap([5000, 1.5])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"exec\(\): a member of argv"):
        k.exec(argv=[1])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"exec\(\): a member of rlimits must be a whole number"):
        k.exec(rlimits={"STACK": "8M"})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"kmem_cache_create\(\): a member of details"):
        k.kmem_cache_create("mine", 64, usersize="8")  # type: ignore[arg-type]
    with (
        pytest.raises(TypeError, match=r"frame\(\): a member of locals"),
        things["task"].frame("f", {"buf": "8"}),
    ):
        pass


def test_setting_the_cpu(things: dict[str, Any]) -> None:
    k: Machine = things["Machine"]
    with pytest.raises(TypeError, match=r"cpu\(\): number must be a whole number, not 'x'"):
        k.cpu = "x"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="CPU 2: the machine has 2"):
        k.cpu = 2


def test_calls_keep_their_names_and_words() -> None:
    assert Machine.kmalloc.__doc__ is not None and "kmalloc()" in Machine.kmalloc.__doc__
    assert str(inspect.signature(Machine.kmalloc)) == (
        "(self, size: int, gfp: str | int = 'GFP_KERNEL') -> int"
    )


def test_what_cannot_be_checked_is_let_through() -> None:
    class Some(Checked):
        def call(self, one: Any, two: int, *rest: int, key: str = "") -> tuple[Any, ...]:
            """All of it."""
            return one, two, rest, key

        def none(self) -> int:
            """Nothing to check."""
            return 5

    assert Some().call(object, 2, 3, key="k")[1:] == (2, (3,), "k")
    assert Some().none() == 5
    with pytest.raises(TypeError, match=r"call\(\): two must be a whole number, not 'x{36}\.\.\."):
        Some().call(1, "x" * 99)  # type: ignore[arg-type]
