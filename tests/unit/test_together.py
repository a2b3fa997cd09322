"""The one file of a cold ``runc``: what is in it, and that it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from toolkit.build import together
from toolkit.paths import RUNTIME

_COLD = """
from pinnace import typing_at_runtime
typing_at_runtime.install()
import importlib, sys
for name in ("pinnace.cli.main", "pinnace.cli.runc", "pinnace.cli.runc.run"):
    importlib.import_module(name)
print(*(name for name in sys.modules if name.startswith("pinnace.")))
"""


def test_what_a_cold_run_imports_is_in_it() -> None:
    environment = {**os.environ, "PYTHONPATH": str(RUNTIME)}
    done = subprocess.run(
        [sys.executable, "-c", _COLD], env=environment, capture_output=True, text=True, check=True
    )
    assert sorted(done.stdout.split()) == sorted(together.MODULES)


def _compiled(folder: Path) -> dict[str, bytes]:
    """Byte code of this Python, as a bundle has it, of packages and a module that say where they are from."""
    import py_compile

    made = {}
    for name in together.MODULES:
        place = name.replace(".", "/")
        is_package = (RUNTIME / place).is_dir()
        path = f"lib/{place}/__init__.py" if is_package else f"lib/{place}.py"
        source = folder / "source.py"
        source.write_text(f"NAME = {name!r}\n")
        above, _, file = path.rpartition("/")
        target = folder / "compiled"
        py_compile.compile(str(source), str(target), path, doraise=True)
        made[f"{above}/__pycache__/{file.removesuffix('.py')}.cpython-3.pyc"] = target.read_bytes()
    return made


def test_modules_come_from_it(tmp_path: Path) -> None:
    package = tmp_path / "lib/pinnace"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "together.py").write_bytes((RUNTIME / "pinnace/together.py").read_bytes())
    (package / "runc").mkdir()
    (package / "runc/other.py").write_text("NAME = 'found as ever'\n")
    (package / "together.bin").write_bytes(together.joined(_compiled(tmp_path)))
    script = (
        "from pinnace import together; together.install()\n"
        "import pinnace.runc.create, pinnace.runc.other\n"
        "from pinnace import runc\n"
        "print(runc.create.NAME, runc.create.__file__, runc.__file__, runc.other.NAME)"
    )
    done = subprocess.run(
        [sys.executable, "-Ic", f"import sys; sys.path.insert(0, {str(package.parent)!r})\n{script}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = (
        f"pinnace.runc.create {package}/runc/create.py {package}/runc/__init__.py found as ever"
    )
    assert done.stdout.strip() == expected


def test_byte_code_of_another_python_is_left_alone(tmp_path: Path) -> None:
    package = tmp_path / "lib/pinnace"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "together.py").write_bytes((RUNTIME / "pinnace/together.py").read_bytes())
    (package / "together.bin").write_bytes(b"\0\0\0\0" + together.joined(_compiled(tmp_path))[4:])
    script = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r})\n"
        "from pinnace import together; before = list(sys.meta_path); together.install()\n"
        "print(sys.meta_path == before)"
    )
    done = subprocess.run(
        [sys.executable, "-Ic", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"
