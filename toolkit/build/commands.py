"""The commands in a bundle's ``bin/``.

Each finds its release from its own real path, so that a running command keeps the release it was
started from when ``/opt/pinnace/current`` moves on. ``-I`` and ``-S`` keep the board's environment and
site packages out; nothing is written into the release, which is read-only.
"""

from __future__ import annotations

from toolkit.tree import Tree

_START = """\
#!/usr/bin/python3 -ISB
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + "/lib")
"""

_COMMAND = (
    _START
    + """\
from pinnace.cli.main import main

sys.exit(main({words}))
"""
)

_KEEPER = (
    _START
    + """\
import runpy

runpy.run_module("pinnace.keeper", run_name="__main__", alter_sys=True)
"""
)

COMMANDS = ("ctr", "runc", "pinnaced", "containerd")
"""The programs that ``pinnace.cli.main`` answers to."""


def add_commands(tree: Tree) -> None:
    for name in COMMANDS:
        tree.file(f"bin/{name}", _COMMAND.format(words="sys.argv"), 0o755)
    tree.file("bin/pinnace-keeper", _KEEPER, 0o755)
