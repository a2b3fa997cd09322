"""The modules of a cold ``runc`` from one file.

Finding and reading a module costs ten system calls and a walk through the import system's paths, more than running most
of them. A bundle (``toolkit/build/together.py``) has the byte code of those that nearly every ``runc`` imports in one
file besides: ``marshal`` data, a mapping of each name to whether it is a package and its code. All others are found as
ever, and so are these where that file is missing or of another Python.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER
from types import ModuleType

FILE = "together.bin"
"""Beside this module. It begins with the number of the byte code that is in it, as each .pyc file does (PEP 552)."""


class _Finder:
    """Finder and loader of these modules (PEP 451)."""

    __slots__ = ("_lib", "_modules")

    def __init__(self, lib: str, modules: dict[str, tuple[bool, bytes]]) -> None:
        self._lib = lib
        self._modules = modules

    def find_spec(
        self, name: str, _path: object = None, _target: object = None, /
    ) -> ModuleSpec | None:
        found = self._modules.get(name)
        if found is None:
            return None
        spec = ModuleSpec(name, self, is_package=found[0])  # type: ignore[arg-type]
        if spec.submodule_search_locations is not None:
            # Where those of its modules are that are not here.
            spec.submodule_search_locations.append(f"{self._lib}/{name.replace('.', '/')}")
        return spec

    def create_module(self, _spec: object) -> None:
        """The import system's own kind of module."""

    def exec_module(self, module: ModuleType) -> None:
        is_package, code = self._modules[module.__name__]
        end = "/__init__.py" if is_package else ".py"
        module.__file__ = f"{self._lib}/{module.__name__.replace('.', '/')}{end}"
        exec(marshal.loads(code), module.__dict__)  # noqa: S102, S302 (our own, in a read-only release)


def install() -> None:
    """Have them found there from here on."""
    package = os.path.dirname(__file__)
    try:
        with open(f"{package}/{FILE}", "rb", buffering=0) as file:
            content = file.read()
    except FileNotFoundError:
        return  # a checkout, or a bundle that was built without byte code
    if content.startswith(MAGIC_NUMBER):
        modules = marshal.loads(content[len(MAGIC_NUMBER) :])  # noqa: S302 (our own)
        sys.meta_path.insert(0, _Finder(os.path.dirname(package), modules))
