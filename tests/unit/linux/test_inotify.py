"""Being told of a file's changes, and of why not."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from pinnace.linux import inotify
from toolkit.paths import RUNTIME

_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(RUNTIME)}
_NONE_LEFT = """
from pinnace.errors import ResourceExhausted
from pinnace.linux import inotify
open("/proc/sys/user/max_inotify_instances", "w").write("0")
try:
    inotify.modified("/proc/self/comm")
except ResourceExhausted as problem:
    print(problem, problem.hint)
"""


def test_a_change_can_be_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    fd = inotify.modified(str(file))
    try:
        assert not select.select([fd], [], [], 0)[0]
        file.write_text("new")
        assert select.select([fd], [], [], 5)[0] == [fd]
    finally:
        os.close(fd)


def test_a_user_with_no_instance_left_is_told_which_limit_it_is() -> None:
    """In a user namespace, which has a limit of its own (namespaces(7), /proc/sys/user)."""
    words = ["unshare", "--user", "--map-root-user", sys.executable, "-c", _NONE_LEFT]
    done = subprocess.run(words, capture_output=True, text=True, env=_ENVIRONMENT, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip("no user namespaces here")
    assert "no inotify instance is left" in done.stdout, done.stderr
    assert "fs.inotify.max_user_instances" in done.stdout


def test_a_process_with_no_descriptor_left_is_told_that(tmp_path: Path) -> None:
    script = f"""
import resource
from pinnace.linux import inotify
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    inotify.modified({str(tmp_path)!r})
except OSError as problem:
    print(problem.strerror)
"""
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, env=_ENVIRONMENT, check=False)
    assert done.stdout == "Too many open files\n", done.stderr
