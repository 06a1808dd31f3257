"""The house rules, as functions from a checkout to complaints ("place: what is wrong").

`test_house.py` runs them on the project, and on a small house in which each rule is broken.
"""

import ast
import io
import keyword
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FUNCTION_LINES = 70
FILE_LINES = 500
COLUMNS = 99
DECLARES = re.compile(
    r"^cp?def (class\b|(?!inline\b|enum\b|struct\b|extern\b|packed\b)[^=\n]*\()", re.M
)  # as in setup.py
TEXT_FILES = {".py", ".pxd", ".md", ".toml", ".sh", ".c", ".json", ""}
FLOOR_ROW = re.compile(r"^\| (\d) \| ([^|]+) \|", re.M)
PXD_FUNCTION = re.compile(r"^( *)c(?:p?def)\s+(?!class\b|struct\b|enum\b|extern\b)(.*)$")
C_ONLY = re.compile(r"^ *cdef (?!class\b|struct\b|enum\b|extern\b)[^(=\n]*?(\w+)\(", re.M)
WORD = re.compile(r"\w+")
MODULE = re.compile(r"mmtwin\.\w+(\.\w+)*")
# Where a room hands out what a higher floor makes of it, by name and only when it is asked for.
HOOKS = {
    ("machine", "mmtwin.procfs.maps"), ("machine", "mmtwin.procfs.write"),
    ("machine", "mmtwin.replay.moments"),
}  # fmt: skip


def package(root: Path) -> Path:
    """Where the package lies."""
    return root / "src" / "mmtwin"


def sources(root: Path, *suffixes: str) -> list[Path]:
    """The package's files with these suffixes."""
    return sorted(path for path in package(root).rglob("*") if path.suffix in suffixes)


@cache
def tree_of(path: Path) -> ast.Module:
    """A .py file, parsed."""
    return ast.parse(path.read_text())


def place(root: Path, path: Path, line: int) -> str:
    """The place of a complaint."""
    return f"{path.relative_to(root)}:{line}"


def floors(root: Path) -> dict[str, int]:
    """{room: floor} of the table in ARCHITECTURE.md."""
    found = {}
    for floor, rooms in FLOOR_ROW.findall((root / "ARCHITECTURE.md").read_text()):
        for room in re.findall(r"`(\w+)/`", rooms):
            found[room] = int(floor)
    return found


def rooms_are_folders(root: Path) -> Iterator[str]:
    """ARCHITECTURE.md's table names the folders of the package, all of them."""
    named = set(floors(root))
    there = {path.parent.name for path in package(root).glob("*/__init__.py")}
    for room in sorted(named ^ there):
        where = "the table" if room in named else "src/mmtwin"
        yield f"ARCHITECTURE.md: {room}/ stands only in {where}"


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import of a .py and every cimport of a .pxd."""
    text = path.read_text()
    if path.suffix == ".pxd":
        pattern = re.compile(r"^\s*(?:from\s+([\w.]+)\s+)?cimport\s+([\w.]+)", re.M)
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, match[1] or match[2]
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield node.lineno, base
            if base == "mmtwin":
                yield from ((node.lineno, f"mmtwin.{alias.name}") for alias in node.names)


def looked_up(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every string that is a module's name: what import_module() may take."""
    if path.suffix == ".py":
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Constant) and MODULE.fullmatch(str(node.value)):
                yield node.lineno, str(node.value)


def imports_go_down(root: Path) -> Iterator[str]:
    """A room imports itself and floors below it; never its neighbour, never upwards."""
    table = floors(root)
    for path in sources(root, ".py", ".pxd"):
        room = path.relative_to(package(root)).parts[0]
        for line, name in [*imports_of(path), *looked_up(path)]:
            if (room, name) in HOOKS:
                continue
            where = place(root, path, line)
            if name.startswith("."):
                yield f"{where}: a relative import hides its floor"
            parts = name.split(".")
            if parts[0] != "mmtwin" or len(parts) < 2 or room not in table:
                continue
            target = parts[1]
            if target != room and table.get(target, -1) >= table[room]:
                yield f"{where}: {room} (floor {table[room]}) imports {target}"


def runtime_imports(root: Path, path: Path) -> Iterator[str]:
    """The package's modules that a .py imports when it runs, at its top or inside a function."""
    nodes: list[ast.AST] = [tree_of(path)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            nodes += node.orelse
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mmtwin"):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                inner = (root / "src").joinpath(*name.split(".")).with_suffix(".py")
                yield name if inner.exists() else str(node.module)
        nodes += ast.iter_child_nodes(node)


def no_import_circles(root: Path) -> Iterator[str]:
    """No module of the kernel floor imports one that leads back to it, not even in a function."""
    wanted = {
        ".".join(path.relative_to(root / "src").with_suffix("").parts): path
        for path in sorted((package(root) / "kernel").rglob("*.py"))
    }
    graph = {name: set(runtime_imports(root, path)) for name, path in wanted.items()}
    for start in graph:
        reached: set[str] = set()
        ways = [start]
        while ways:
            new = graph.get(ways.pop(), set()) - reached
            reached |= new
            ways += new
        if start in reached:
            yield f"{place(root, wanted[start], 1)}: {start} is in a circle of imports"


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Every function, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node


def sizes(root: Path) -> Iterator[str]:
    """Functions fit a screen without their docstring, files 500 lines, lines 99 columns."""
    for path in [*sources(root, ".py", ".pxd"), *sorted((root / "tests").rglob("*.py"))]:
        lines = path.read_text().splitlines()
        if len(lines) > FILE_LINES:
            yield f"{place(root, path, len(lines))}: {len(lines)} lines"
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS:
                yield f"{place(root, path, number)}: {len(line)} columns"
        if path.suffix != ".py":
            continue
        for node in functions(tree_of(path)):
            body = node.body[1:] if ast.get_docstring(node) and node.body[1:] else node.body
            length = (node.end_lineno or 0) - body[0].lineno + 1
            if length > FUNCTION_LINES:
                yield f"{place(root, path, node.lineno)}: {node.name} has {length} lines"


def docstrings(root: Path) -> Iterator[str]:
    """Every module that has code, public class and public function says what it is.

    A `cdef` function is not public: only compiled code sees it.
    """
    for path in sources(root, ".py"):
        tree = tree_of(path)
        if tree.body and not ast.get_docstring(tree):
            yield f"{place(root, path, 1)}: module without docstring"
        pxd = path.with_suffix(".pxd")
        hidden = set(C_ONLY.findall(pxd.read_text())) if pxd.exists() else set()
        yield from _undocumented(root, path, tree, hidden)


def _undocumented(
    root: Path, path: Path, scope: ast.Module | ast.ClassDef, hidden: set[str]
) -> Iterator[str]:
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.If):  # the uncompiled half of a module
            yield from _undocumented(root, path, ast.Module(node.body, []), hidden)
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
            continue
        if node.name in hidden or any(
            ast.unparse(d).endswith(".setter") for d in node.decorator_list
        ):
            continue
        if not ast.get_docstring(node):
            yield f"{place(root, path, node.lineno)}: {node.name} without docstring"
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(root, path, node, hidden)


@cache
def code_words(path: Path) -> frozenset[str]:
    """Names that code uses: not where defined or imported; strings if they are one name."""
    if path.suffix == ".pxd":
        return frozenset(_inline_words(path.read_text()))
    return frozenset(_python_words(path))


def _python_words(path: Path) -> Iterator[str]:
    last, importing = "", False
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.NEWLINE:
            importing = False
        elif token.type == tokenize.NAME and not keyword.iskeyword(token.string):
            keep = path.name == "__init__.py" or not importing
            if last not in ("def", "class") and keep:
                yield token.string
        elif token.type == tokenize.NAME and token.string == "import":
            importing = True
        elif token.type == tokenize.STRING:
            yield from _words_of_string(token.string)
        elif token.type not in (tokenize.COMMENT, tokenize.NL):
            pass
        last = token.string


def _words_of_string(text: str) -> Iterator[str]:
    # f-strings and "module:function" places; sentences are no use of a name
    if "{" in text or re.fullmatch(r"[\"']+[\w.:]+[\"']+", text):
        yield from WORD.findall(text)


def _inline_words(text: str) -> Iterator[str]:
    # the bodies of inline functions: deeper than their `cdef inline ...:` line
    inside = False
    for line in text.splitlines():
        line = line.split("#")[0]
        if line.startswith("cdef inline"):
            inside = True
        elif inside and line.startswith("    "):
            yield from WORD.findall(line)
        elif line.strip():
            inside = False


NOTEBOOKS = "_repr_html_"  # what they call of themselves


def dead_code(root: Path) -> Iterator[str]:
    """Every function and class is used: in the package, or, if public, by a test or an example."""
    inside: set[str] = set()
    for path in sources(root, ".py", ".pxd"):
        inside.update(code_words(path))
    outside: set[str] = set()
    for folder in ("tests", "bench", "docs"):
        for path in sorted((root / folder).rglob("*.py")):
            if path.stem != "test_house":
                outside.update(code_words(path))
    for path in sorted(root.glob("*.md")) + sorted((root / "docs").glob("*.md")):
        outside.update(WORD.findall(path.read_text()))
    for path in sources(root, ".py"):
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                continue
            name = node.name
            if (name.startswith("__") and name.endswith("__")) or name == NOTEBOOKS:
                continue
            used = name in inside or (not name.startswith("_") and name in outside)
            if not used:
                yield f"{place(root, path, node.lineno)}: nothing uses {name}"


def pxd_functions(text: str) -> dict[str, list[str] | None]:
    """{name: argument names} that a .pxd declares; None where the arguments are unnamed."""
    text = re.sub(r"#.*", "", text)
    found: dict[str, list[str] | None] = {}
    external = False
    for line in re.sub(
        r"\(\s*\n\s*|,\s*\n\s*|\s*\n *\)", lambda m: m[0].replace("\n", " "), text
    ).split("\n"):
        if line and not line[0].isspace():
            external = line.startswith("cdef extern") or line.startswith("ctypedef")
        match = PXD_FUNCTION.match(line)
        if not match or external or "(" not in match[2]:
            continue
        head, _, tail = match[2].partition("(")
        if not WORD.findall(head) or "=" in head or "," in head:
            continue
        name = WORD.findall(head)[-1]
        arguments = tail.rpartition(")")[0].split(",") if ")" in tail else [tail]
        names = [WORD.findall(a.split("=")[0]) for a in arguments if a.strip()]
        known = all(len(words) > 1 or words == ["self"] for words in names)
        found[name] = [words[-1] for words in names] if known else None
    return found


def forms_in_step(root: Path) -> Iterator[str]:
    """What a .pxd declares stands in its .py with the same arguments, and the imports agree.

    The .pxd is what types such a module: pyproject.toml tells mypy to pass it over.
    """
    unchecked = set(re.findall(r'"([\w.]+)"', (root / "pyproject.toml").read_text()))
    for pxd in sources(root, ".pxd"):
        path = pxd.with_suffix(".py")
        if not path.exists():
            if pxd.name != "trace.pxd" and not re.search(
                r"^cdef (struct|enum|extern)", pxd.read_text(), re.M
            ):
                yield f"{place(root, pxd, 1)}: no .py beside it"
            continue
        name = ".".join(path.relative_to(root / "src").with_suffix("").parts)
        if name not in unchecked and "kernel" not in pxd.parts and path.stem != "__init__":
            yield f"{place(root, pxd, 1)}: {name} is missing in pyproject.toml (mypy)"
        tree = tree_of(path)
        defined = {node.name: [a.arg for a in node.args.args] for node in functions(tree)}
        assigned = {
            target.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for name, arguments in pxd_functions(pxd.read_text()).items():
            if name in assigned:
                continue
            if name not in defined:
                yield f"{place(root, pxd, 1)}: {name} is not in {path.name}"
            elif arguments is not None and arguments != defined[name]:
                yield f"{place(root, pxd, 1)}: {name} has other arguments in {path.name}"
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield from _mangled(root, path, node)
        if DECLARES.search(pxd.read_text()):
            yield from _one_sided_imports(root, path, tree, pxd.read_text())


def _mangled(root: Path, path: Path, scope: ast.ClassDef) -> Iterator[str]:
    # Python renames `__name` inside a class, Cython does not
    for node in ast.walk(scope):
        if isinstance(node, ast.Name) and node.id.startswith("__") and node.id[-2:] != "__":
            yield f"{place(root, path, node.lineno)}: {node.id} in a class is another name"


def _one_sided_imports(root: Path, path: Path, tree: ast.Module, pxd: str) -> Iterator[str]:
    # what the .py imports for the uncompiled run only, the .pxd must cimport or define
    known = set(WORD.findall(re.sub(r"#.*", "", pxd)))
    halves = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "not cython.compiled"
    ]
    rest = ast.Module([node for node in tree.body if node not in halves], [])
    used = {node.id for node in ast.walk(rest) if isinstance(node, ast.Name)}
    for node in halves:
        for inner in node.body:
            if isinstance(inner, ast.ImportFrom):
                for alias in inner.names:
                    if alias.name in used and alias.name not in known:
                        where = place(root, path, inner.lineno)
                        yield f"{where}: {alias.name} is imported uncompiled only"


def features_have_rows(root: Path) -> Iterator[str]:
    """Every field of features.pxd has one row in versions/features.py, and the kernel asks it."""
    pxd = package(root) / "kernel" / "features.pxd"
    fields = re.findall(r"^    \w+ (\w+)", re.sub(r"#.*", "", pxd.read_text()), re.M)
    rows: list[str] = []
    for path in sorted((package(root) / "versions").glob("*features*.py")):
        rows.extend(_first_arguments(path, "Feature"))
    for name in fields:
        if rows.count(name) != 1:
            yield f"kernel/features.pxd: {name} has {rows.count(name)} rows in versions/"
    for name in sorted(set(rows) - set(fields)):
        yield f"versions/features.py: {name} is no field of features.pxd"


def _first_arguments(path: Path, function: str) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == function and node.args:
            yield getattr(node.args[0], "value", "")


def no_version_numbers(root: Path) -> Iterator[str]:
    """The kernel floor asks for features: nothing in it is named after a version or release."""
    banned = re.compile(r"version|release|(?:\b|_)v?[4567]_\d+\b")
    for path in sorted((package(root) / "kernel").rglob("*.py")):
        for word in sorted(code_words(path)):
            if banned.search(word) and not word.startswith("__"):
                yield f"{place(root, path, 1)}: {word}"


EVERYWHERE = {"/", "/tmp", "/var/tmp"}  # folders that every machine has


def no_machine_paths(root: Path) -> Iterator[str]:
    """No file names a folder of the machine it was written on."""
    folders = {str(folder) for folder in (root.parent, Path.home())} - EVERYWHERE
    pattern = re.compile(
        "|".join([r"/(?:home|Users|root)/\w", *(re.escape(f + "/") for f in folders)])
    )
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if parts[0] in ("build", "dist", "out") or (parts[0][0] == "." and parts[0] != ".ci"):
            continue
        if not path.is_file() or path.suffix not in TEXT_FILES or "data" in parts:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        match = pattern.search(text)
        if match and path.name not in ("house.py", "test_house.py"):
            yield f"{place(root, path, text.count(chr(10), 0, match.start()) + 1)}: {match[0]}"


RULES = (
    rooms_are_folders,
    imports_go_down,
    no_import_circles,
    sizes,
    docstrings,
    dead_code,
    forms_in_step,
    features_have_rows,
    no_version_numbers,
    no_machine_paths,
)
