"""What the calls of a machine are given: types and ranges, checked in one place.

`Checked` wraps every public call of the classes below it: an argument of a wrong type is a
TypeError that names it, a number that the kernel's type cannot hold a ValueError. What the kernel
itself refuses is the kernel floor's matter.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from numbers import Integral, Real
from types import FunctionType
from typing import Any

# Numbers are what their names say: 64 bits without a sign, a C int, else 64 bits with or without.
UNSIGNED = ("address", "size", "count", "phys", "place", "length", "pfn", "old", "new", "to")
C_INT = ("order", "node", "min_count")
WORDS = {
    "int": "a whole number", "str": "a text", "bytes": "bytes", "bool": "True or False",
    "float": "a number", "None": "None", "TaskView": "a task", "Page": "a Page",
    "Cache": "a Cache", "Profile": "a Profile", "File": "a File", "Sequence": "a list",
    "Mapping": "a dict",
}  # fmt: skip
LIKE: dict[str, Any] = {
    "int": Integral, "float": Real, "bytes": (bytes, bytearray, memoryview), "Mapping": Mapping,
    "bool": Integral,
}  # fmt: skip


class Checked:
    """A class whose public calls check the types of what they are given, by its annotations."""

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        for name, member in list(vars(cls).items()):
            if name.startswith("_"):
                continue
            if isinstance(member, FunctionType):
                setattr(cls, name, _checked_once_called(cls, member))
            elif isinstance(member, classmethod):
                setattr(cls, name, classmethod(_checked_once_called(cls, member.__func__)))
            elif isinstance(member, property) and isinstance(member.fset, FunctionType):
                setattr(cls, name, member.setter(_checked_once_called(cls, member.fset)))


def _checked_once_called(cls: type, function: Any) -> Any:
    """What takes the function's place: its tests are made by the first call, since those of all
    calls take 0.02 s.
    """
    made: list[Any] = []

    @wraps(function)
    def first(*given: Any, **named: Any) -> Any:
        if not made:
            made.append(_checked(function))
            if vars(cls).get(function.__name__) is first:
                setattr(cls, function.__name__, made[0])
        return made[0](*given, **named)

    return first


def _checked(function: Any) -> Any:
    """The function, behind a test of each argument. It is text as a namedtuple's is: an argument
    that is as it should be costs one comparison or two, and kmalloc() is called millions of times.
    """
    import inspect

    known: dict[str, Any] = {"_function": function}
    head: list[str] = []
    tests: list[str] = []
    passed: list[str] = []
    for place, parameter in enumerate(inspect.signature(function).parameters.values()):
        name, shown = parameter.name, parameter.name
        if parameter.kind is parameter.VAR_KEYWORD:
            shown = "**" + name
        elif parameter.kind is parameter.VAR_POSITIONAL:
            shown = "*" + name
        elif parameter.kind is parameter.KEYWORD_ONLY and not head[-1].startswith("*"):
            head.append("*")
        passed.append(f"{name}={name}" if parameter.kind is parameter.KEYWORD_ONLY else shown)
        if parameter.default is not parameter.empty:
            known["default_" + name] = parameter.default
            shown += "=default_" + name
        head.append(shown)
        kinds, inner = _kinds(parameter.annotation)
        if not place or not kinds or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            kinds, inner = ("Mapping",), kinds
        known["check_" + name] = _check_of(function.__name__, name, kinds, inner)
        tests.append(f"    if {_unlike(name, kinds)}:\n        {name} = check_{name}({name})\n")
    if not tests:
        return function
    call = f"    return _function({', '.join(passed)})\n"
    text = f"def {function.__name__}({', '.join(head)}):\n{''.join(tests)}{call}"
    exec(compile(text, f"<arguments of {function.__qualname__}>", "exec"), known)
    made = known[function.__name__]
    for attribute in ("__module__", "__qualname__", "__doc__", "__annotations__"):
        setattr(made, attribute, getattr(function, attribute))
    made.__wrapped__ = function
    return made


def _kinds(annotation: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the types that an argument may have, and of those that a list's or dict's
    members may; () for any.
    """
    import inspect

    if annotation is inspect.Parameter.empty:
        return (), ()
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    inner = text[text.find("[") + 1 : text.rfind("]")].split(",")[-1] if "[" in text else ""
    return _names(text), _names(inner) if inner else ()


def _names(text: str) -> tuple[str, ...]:
    outer = [part.split("[")[0] for part in _parts(text)]
    names = tuple(part.split(".")[-1].strip("\"' ") for part in outer)
    return () if set(names) - set(WORDS) else names


def _parts(text: str) -> list[str]:
    """The members of a union; what stands in brackets belongs to one of them."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _unlike(name: str, kinds: tuple[str, ...]) -> str:
    """The quick test, as text: false only where an argument is surely as it should be."""
    low, high = _range(name)
    if kinds == ("int",):
        beyond = f"{name} >> 64" if low == 0 else f"not {low} <= {name} < {high}"
        return f"{name}.__class__ is not int or {beyond}"
    sure = [f"{name}.__class__ is {kind}" for kind in kinds if kind in ("str", "bytes", "bool")]
    if "int" in kinds:
        sure.append(f"{name}.__class__ is int and {low} <= {name} < {high}")
    return f"not ({' or '.join(sure)})" if sure else "True"


def _range(name: str) -> tuple[int, int]:
    if name in UNSIGNED:
        return 0, 1 << 64
    return (-1 << 31, 1 << 31) if name in C_INT else (-1 << 63, 1 << 64)


def _check_of(
    function: str, name: str, kinds: tuple[str, ...], inner: tuple[str, ...] = ()
) -> Callable[[Any], Any]:
    """What to do with an argument that is not surely right: gives it as the call shall have it."""
    words = " or ".join(WORDS[kind] for kind in kinds)
    low, high = _range(name)
    member = _check_of(function, "a member of " + name, inner) if inner else None

    def check(value: Any) -> Any:
        kind = _kind_of(value, kinds)
        if kind is None:
            raise TypeError(f"{function}(): {name} must be {words}, not {_short(value)}")
        if kind == "Sequence":
            return [member(each) if member else each for each in value]
        if kind == "Mapping" and member:
            return {key: member(each) for key, each in value.items()}
        if kind != "int":
            return value
        number = int(value)
        if not low <= number < high:
            kind = "a 64-bit number" if name not in C_INT else "a C int"
            kind = "an unsigned 64-bit number" if name in UNSIGNED else kind
            raise ValueError(f"{function}(): {name} must be {kind}, not {_short(value)}")
        return number

    return check


def _kind_of(value: Any, kinds: tuple[str, ...]) -> str | None:
    """Which of the kinds a value is, None if it is none of them."""
    for kind in kinds:
        if kind == "Sequence":
            if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
                return kind
        elif kind == "None":
            if value is None:
                return kind
        elif kind in LIKE:
            if isinstance(value, LIKE[kind]):
                return kind
        elif any(base.__name__ == kind for base in type(value).__mro__):
            return kind
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
