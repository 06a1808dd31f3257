"""Builds the compiled core: every `.py` of src/mmtwin with a `.pxd` beside it, by Cython's pure-Python mode.

Without Cython or a C compiler the package installs all the same and runs uncompiled.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE = Path("src")
# Texts that C and Python both read: their .py serves the uncompiled run only.
TEXTS = {"__init__", "structs", "constants", "features", "casts", "ram", "event"}
LIMITED_API = "0x030b0000"  # Python 3.11


class OptionalBuild(build_ext):
    """Builds the extensions; says so and goes on where there is no compiler."""

    def run(self):
        try:
            super().run()
        except Exception as error:
            self.say(error)

    def build_extension(self, extension):
        try:
            super().build_extension(extension)
        except Exception as error:
            self.say(error)

    def say(self, error):
        if os.environ.get("MMTWIN_REQUIRE_COMPILED"):
            raise error
        print(f"mmtwin: not compiled ({error}); it will run uncompiled, slowly", file=sys.stderr)


def extensions():
    """The extension modules, or none where Cython is missing or MMTWIN_PURE is set."""
    if os.environ.get("MMTWIN_PURE"):
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    modules = []
    for pxd in sorted(SOURCE.rglob("*.pxd")):
        path = pxd.with_suffix(".py")
        if pxd.stem in TEXTS or not path.exists():
            continue
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        modules.append(
            Extension(
                name,
                [str(path)],
                define_macros=[("Py_LIMITED_API", LIMITED_API)],
                py_limited_api=True,
                extra_compile_args=["-O3"],
            )
        )
    directives = {
        "language_level": 3,
        "boundscheck": bool(os.environ.get("MMTWIN_DEBUG")),
        "wraparound": False,
        "cdivision": True,
        "annotation_typing": False,
        "embedsignature": True,
    }
    return cythonize(modules, compiler_directives=directives, nthreads=0, quiet=True)


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": OptionalBuild},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
