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


def changed_usage(path: str, parent: str) -> Usage:
    """Count what is below *path* and differs from *parent*, of which it began as a btrfs snapshot.

    Such a copy keeps inode numbers and times of change, so a file with both is the parent's still.
    """
    inodes, blocks = 0, 0
    stack = [""]
    while stack:
        folder = stack.pop()
        with os.scandir(os.path.join(path, folder)) as entries:
            for entry in entries:
                name = os.path.join(folder, entry.name)
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # a container works in there
                if entry.is_dir(follow_symlinks=False):
                    stack.append(name)
                if not _is_same(status, os.path.join(parent, name)):
                    inodes += 1
                    blocks += status.st_blocks
    return Usage(inodes, blocks * 512)


def _is_same(status: os.stat_result, other: str) -> bool:
    try:
        before = os.lstat(other)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (status.st_ino, status.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
