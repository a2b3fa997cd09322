"""The commands in a bundle's ``bin/``.

``ctr``, ``runc`` and ``skopeo`` are the C launcher, which has the warm keeper run them and falls back to Python. The
daemon and the keeper are not sessions of a keeper: they are Python from the start.

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
from pinnace import typing_at_runtime

typing_at_runtime.install()
"""

_DAEMON = (
    _START
    + """\
from pinnace.cli.main import main

sys.exit(main(sys.argv))
"""
)

_KEEPER = (
    _START
    + """\
from pinnace.keeper.__main__ import main

sys.exit(main(sys.argv[1:]))
"""
)

LAUNCHED = ("ctr", "runc", "skopeo", "containerd-shim-pinnace-v2")
DAEMONS = ("pinnaced", "containerd")
"""Both kinds are programs that ``pinnace.cli.main`` answers to."""


def add_commands(tree: Tree) -> None:
    for name in LAUNCHED:
        tree.symlink(f"bin/{name}", "../libexec/launch")
    for name in DAEMONS:
        tree.file(f"bin/{name}", _DAEMON, 0o755)
    tree.file("bin/pinnace-keeper", _KEEPER, 0o755)
