"""Builds the compiled core: each `.py` of src/mmtwin that a `.pxd` types becomes a module.

Cython compiles them in pure-Python mode. Where there is no C compiler or no Python header the
package installs all the same and runs uncompiled; where there is one, an error in a module is an
error. `MMTWIN_PURE=1` builds nothing, `MMTWIN_REQUIRE_COMPILED=1` refuses to go without,
`MMTWIN_DEBUG=1` checks every index.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE = Path("src")
# A .pxd that declares a class, or a function without its body, belongs to a module to compile;
# others (records, constants, inline helpers) are texts that C and Python both read.
DECLARES = re.compile(
    r"^cp?def (class\b|(?!inline\b|enum\b|struct\b|extern\b|packed\b)[^=\n]*\()", re.M
)
LIMITED_API = "0x030b0000"  # Python 3.11
PROBE = (
    f"#define Py_LIMITED_API {LIMITED_API}\n#include <Python.h>\nint probe(void) {{ return 0; }}\n"
)


class OptionalBuild(build_ext):
    """Builds the extensions; goes on without, and says so, where the machine has no compiler."""

    def build_extensions(self):
        problem = self.probe()
        if problem is None:
            super().build_extensions()
        elif os.environ.get("MMTWIN_REQUIRE_COMPILED"):
            raise SystemExit(f"mmtwin: cannot compile: {problem}")
        else:
            print(f"mmtwin: not compiled ({problem}): it will run uncompiled", file=sys.stderr)
            self.extensions[:] = []

    def probe(self):
        """Why nothing can be compiled here, or None."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "probe.c"
            source.write_text(PROBE)
            try:
                self.compiler.compile(
                    [str(source)], output_dir=folder, include_dirs=self.include_dirs
                )
            except Exception as error:
                return f"no C compiler or Python headers: {error}"
        return None


def modules():
    """The extension modules, not yet translated to C."""
    found = []
    for pxd in sorted(SOURCE.rglob("*.pxd")):
        path = pxd.with_suffix(".py")
        if not path.exists() or not DECLARES.search(pxd.read_text()):
            continue
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        found.append(
            Extension(
                name,
                [str(path)],
                define_macros=[("Py_LIMITED_API", LIMITED_API)],
                py_limited_api=True,
                extra_compile_args=["-O3"],
            )
        )
    return found


def extensions():
    """The extension modules as C, or none where Cython is missing or MMTWIN_PURE is set."""
    if os.environ.get("MMTWIN_PURE"):
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        if os.environ.get("MMTWIN_REQUIRE_COMPILED"):
            raise
        print("mmtwin: not compiled (no Cython): it will run uncompiled", file=sys.stderr)
        return []
    directives = {
        "language_level": 3,
        "boundscheck": bool(os.environ.get("MMTWIN_DEBUG")),
        "wraparound": False,
        "cdivision": True,
        "annotation_typing": False,
        "embedsignature": True,
    }
    return cythonize(
        modules(), build_dir="build/c", compiler_directives=directives, nthreads=2, quiet=True
    )


if __name__ == "__main__":
    setup(
        ext_modules=extensions(),
        cmdclass={"build_ext": OptionalBuild},
        options={"bdist_wheel": {"py_limited_api": "cp311"}, "build_ext": {"parallel": 2}},
    )
