"""Byte code for a board's Python, compiled on the laptop.

Compiling a few hundred modules takes an ARMv6 board longer than everything else of an installation, and
byte code does not depend on the processor, only on Python's minor version. Debian's own interpreter of
the board's release compiles it, whatever Python the laptop has, so every laptop makes the same bytes.

The files are "unchecked hash" byte code (PEP 552): a release never changes after it was made, so its
sources are not looked at again.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from toolkit import console
from toolkit.debian import content_key, kept_tree
from toolkit.debian_program import command
from toolkit.errors import PinnaceError
from toolkit.paths import cache_dir
from toolkit.tree import Tree

RELEASES = {"3.11": "bookworm", "3.13": "trixie"}
"""The Pythons that boards have, and the Debian release that each comes from."""

# Reads a line per module: source, name in tracebacks, target. Modules of Debian's python-minimal only.
# Documentation and the annotations of functions are left out, which nothing asks for at run time and every process would
# hold in memory; those of classes are what their fields are made from.
_SCRIPT = """
import ast, importlib.util, os, sys
from importlib._bootstrap_external import _code_to_hash_pyc

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

def lean(tree):
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            # The statement behind it must not become one, and a body is never empty.
            node.body[0] = ast.copy_location(ast.Pass(), node.body[0])
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return tree

for line in sys.stdin:
    source, name, target = line.rstrip("\\n").split("\\t")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(source, "rb") as file:
        data = file.read()
    tree = lean(ast.parse(data, name))
    if isinstance(tree.body[0] if tree.body else None, ast.Pass):
        del tree.body[0]  # what is imported from __future__ must come first
    code = compile(tree, name, "exec", dont_inherit=True, optimize=0)
    with open(target, "wb") as file:
        file.write(_code_to_hash_pyc(code, importlib.util.source_hash(data), False))
"""
# Where in its line something happened (PEP 657) takes memory as well; a traceback still names the line.
_FLAGS = ("-ISE", "-B", "-X", "no_debug_ranges")


def compiled(sources: Tree, python: str) -> dict[str, bytes]:
    """Byte code for every module below ``lib`` in ``sources``, by its path in ``__pycache__``.

    Empty on a laptop that cannot run Debian's Python (macOS): the board then compiles for itself.
    Raises :class:`PinnaceError` for a module that this Python does not accept.
    """
    if sys.platform != "linux":
        return {}
    modules = [path for path in sources.files() if path.startswith("lib/") and path.endswith(".py")]
    digests = (f"{path} {hashlib.sha256(sources.read(path)).hexdigest()}" for path in modules)
    interpreter = command(RELEASES[python], f"python{python}-minimal", f"usr/bin/python{python}")
    key = content_key(_SCRIPT, " ".join((*interpreter, *_FLAGS)), *digests)

    def fill(folder: Path) -> None:
        with console.step(f"byte code for Python {python}", total=None) as step:
            _compile(sources, modules, folder, (*interpreter, *_FLAGS, "-c", _SCRIPT), python)
            step.detail = f"{len(modules)} modules"

    made = kept_tree(cache_dir("bytecode") / key, fill)
    tag = python.replace(".", "")
    return {
        target: (made / "out" / target).read_bytes()
        for target in (_target(path, tag) for path in modules)
    }


def _compile(
    sources: Tree, modules: list[str], folder: Path, compiler: tuple[str, ...], python: str
) -> None:
    tag = python.replace(".", "")
    lines = []
    for path in modules:
        source = folder / "in" / path
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(sources.read(path))
        lines.append(f"{source}\t{path}\t{folder / 'out' / _target(path, tag)}\n")
    done = subprocess.run(
        compiler,
        input="".join(lines),
        capture_output=True,
        text=True,
        check=False,
        # The order inside a frozen set of constants follows the hashes of strings.
        env={"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"},
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PinnaceError(f"Python {python} does not accept the runtime: {reason}")


def _target(path: str, tag: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-{tag}.pyc"
