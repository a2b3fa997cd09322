"""How much disk a tree takes."""

from __future__ import annotations

import os
from typing import NamedTuple


class Usage(NamedTuple):
    """Inodes and bytes of disk space (blocks, as du counts; a hard-linked file once)."""

    inodes: int
    size: int


def disk_usage(path: str) -> Usage:
    """Count what is below *path* and itself, following no link, staying on its file system."""
    seen: set[int] = set()
    top = os.lstat(path)
    inodes, blocks = 1, top.st_blocks
    stack = [path]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # a container works in there
                if status.st_dev != top.st_dev:
                    continue
                if status.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                    if status.st_ino in seen:
                        continue
                    seen.add(status.st_ino)
                inodes += 1
                blocks += status.st_blocks
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
    return Usage(inodes, blocks * 512)
