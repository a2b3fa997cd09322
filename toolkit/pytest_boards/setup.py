"""Makes the distribution ``pinnace-boards``: one top-level package that has the toolkit's modules inside it.

The plugin is developed as a part of the toolkit and imported as ``toolkit.pytest_boards`` there. Somebody else's
environment may have a ``toolkit`` of its own, so that an installed plugin brings no such name: what it needs of
the toolkit becomes ``pinnace_boards._toolkit``, with its imports rewritten. Nothing is said twice.
"""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path
from typing import Any

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent

PACKAGES = ("boards", "boards/system", "pytest_boards")
"""Taken whole; of the toolkit's other modules only those that they import, directly or not."""

KEPT = "_source"
"""Where a source distribution has the toolkit, whose checkout it is taken out of."""

NOT_SHIPPED = {"setup.py", "pinnace_boards.py"}

_IMPORT = re.compile(r"^(\s*)(from|import) toolkit\b", re.MULTILINE)


def source() -> Path:
    """The toolkit's directory: in the checkout, or in an unpacked source distribution."""
    for found in (HERE / KEPT, HERE.parent):
        if (found / PACKAGES[0] / "__init__.py").is_file():
            return found
    raise SystemExit("pinnace-boards is made from a checkout of Pinnace, or from its own source distribution: there is no toolkit here")  # fmt: skip


def needed(toolkit: Path) -> list[Path]:
    """The files of the toolkit that the plugin consists of, relative to ``toolkit``."""
    found = {
        path.relative_to(toolkit)
        for package in PACKAGES
        for path in (toolkit / package).glob("*.py")
        if path.name not in NOT_SHIPPED
    }
    found.add(Path("__init__.py"))
    waiting = list(found)
    while waiting:
        for each in imported(toolkit, waiting.pop()) - found:
            found.add(each)
            waiting.append(each)
    return sorted(found)


def imported(toolkit: Path, file: Path) -> set[Path]:
    """The toolkit's modules that ``file`` imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((toolkit / file).read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    paths = (Path(*name.split(".")[1:]) for name in names if name.startswith("toolkit."))
    return {
        candidate
        for path in paths
        for candidate in (path.with_suffix(".py"), path / "__init__.py")
        if (toolkit / candidate).is_file()
    }


def rewritten(text: str, package: str) -> str:
    """``text`` with the toolkit imported from ``package``."""
    if re.search(r"^\s*import toolkit\b", text, re.MULTILINE):
        raise SystemExit("'import toolkit.x' binds the name toolkit: write 'from toolkit import x'")
    return _IMPORT.sub(rf"\1\2 {package}", text)


class Build(build_py):
    """Puts ``pinnace_boards`` together."""

    def run(self) -> None:
        if getattr(self, "editable_mode", False):
            raise SystemExit("pinnace-boards is put together when it is installed: leave -e away")
        target = Path(self.build_lib, "pinnace_boards")
        shutil.rmtree(target, ignore_errors=True)
        toolkit = source()
        plan = {path: Path("_toolkit", path) for path in needed(toolkit)}
        plan[Path("pytest_boards/pinnace_boards.py")] = Path("__init__.py")
        for path, place in plan.items():
            text = (toolkit / path).read_text()
            file = target / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(rewritten(text, "pinnace_boards._toolkit"))

    def get_outputs(self, include_bytecode: Any = True) -> list[str]:
        return [str(path) for path in Path(self.build_lib, "pinnace_boards").rglob("*.py")]


class Source(sdist):
    """Takes what is outside of this directory along."""

    def make_release_tree(self, base_dir: str, files: Any) -> None:
        super().make_release_tree(base_dir, files)  # type: ignore[no-untyped-call]
        toolkit = source()
        for path in [*needed(toolkit), Path("pytest_boards/pinnace_boards.py")]:
            file = Path(base_dir, KEPT, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(toolkit / path, file)


class Pure(Distribution):
    """Has modules, although none is listed."""

    def has_pure_modules(self) -> bool:
        return True


if __name__ == "__main__":
    setup(distclass=Pure, cmdclass={"build_py": Build, "sdist": Source})  # type: ignore[no-untyped-call]
