"""Where things are: the project's own files, and the caches outside it."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
"""The checkout that this toolkit runs from."""

IMPORTS = Path(__file__).resolve().parents[(__package__ or "toolkit").count(".") + 1]
"""Where this package is imported from: a program that is started with ``-m`` has to find it there, too.

The checkout, or an environment's ``site-packages``, where the package is part of another one.
"""

RUNTIME = PROJECT / "runtime"
TEMPLATES = PROJECT / "templates"
LOCKS = PROJECT / "locks"


def cache_dir(*parts: str) -> Path:
    """A directory under ``$XDG_CACHE_HOME/pinnace`` (default ``~/.cache/pinnace``), created.

    What is here can be deleted at any time; every entry is keyed by what it was made from and
    verified before use, so that a stale or broken one is made again.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return _directory(Path(base, "pinnace", *parts))


def state_dir(*parts: str) -> Path:
    """A directory under ``$XDG_STATE_HOME/pinnace`` (default ``~/.local/state/pinnace``), created.

    Running boards, known host keys, the lab's certificate authority: kept between runs.
    """
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return _directory(Path(base, "pinnace", *parts))


def _directory(path: Path) -> Path:
    if not path.is_dir():
        _directory(path.parent)
        path.mkdir(exist_ok=True)
        give_to_user(path)
    return path


def give_to_user(path: Path) -> None:
    """Give what root made through sudo to the person behind sudo, whose cache and state it is in.

    Without this, a command that needs root once would spoil the directories for all that do not.
    """
    uid, gid = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if os.geteuid() == 0 and uid and gid:
        os.lchown(path, int(uid), int(gid))
