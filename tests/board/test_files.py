"""Files, their modes, and commands on the PATH."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.verify.session import Subject


@pytest.mark.parametrize("path", ["/etc/pinnace/config.toml", "/etc/crictl.yaml"])
def test_configuration_belongs_to_root_and_others_cannot_write_it(host: Any, path: str) -> None:
    file = host.file(path)
    assert file.is_file
    assert (file.user, file.group, file.mode) == ("root", "root", 0o644)


def test_current_release_is_complete_and_read_only(host: Any) -> None:
    assert host.file("/opt/pinnace/current").is_symlink
    release = host.file("/opt/pinnace/current/").linked_to
    assert release.startswith("/opt/pinnace/releases/")
    assert host.file(f"{release}/manifest.json").mode & 0o222 == 0


@pytest.mark.parametrize("command", ["ctr", "pinnaced"])
def test_command_is_on_the_path(host: Any, command: str) -> None:
    assert host.run(f"{command} --version").succeeded


def test_socket_is_for_root_only(host: Any, subject: Subject) -> None:
    socket = host.file(f"{subject.settings.state}/pinnace.sock")
    assert socket.is_socket
    assert socket.mode & 0o007 == 0
    assert socket.user == "root"


def test_clients_find_the_socket_where_containerd_has_it(host: Any) -> None:
    assert host.run("test -S /run/containerd/containerd.sock").succeeded
