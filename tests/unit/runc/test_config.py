"""Configurations: what is refused, and facts derived from what is accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pinnace.errors import AlreadyExists, DataLoss, Error, InvalidArgument, NotFound
from pinnace.linux import capabilities
from pinnace.runc import executable, process, state, sysctl
from pinnace.runc.namespaces import Plan
from pinnace.runc.state import Status
from pinnace.spec import runtime


def test_the_default_configuration_is_accepted() -> None:
    assert runtime.check(runtime.default_spec("/x"))["root"]["path"] == "rootfs"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"root": None}, "root.path"),
        ({"mounts": {}}, "mounts is not an array"),
        ({"mounts": [{"source": "x"}]}, "no destination"),
        ({"linux": {"namespaces": [{"type": "bogus"}]}}, "not a known namespace"),
        ({"process": {"args": [], "cwd": "/"}}, "args"),
        ({"process": {"args": ["x"], "cwd": "rel"}}, "absolute"),
        ({"process": {"args": ["a\0b"], "cwd": "/"}}, "NUL"),
    ],
)
def test_a_wrong_configuration_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        runtime.check({**runtime.default_spec(), **change})


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        runtime.load(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidArgument, match="not JSON"):
        runtime.load(str(tmp_path))


def test_namespaces_are_made_or_joined_once() -> None:
    with pytest.raises(InvalidArgument, match="named twice"):
        Plan({"linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]}})
    with pytest.raises(InvalidArgument, match="mount namespace"):
        Plan({"linux": {"namespaces": [{"type": "pid"}]}})
    with pytest.raises(InvalidArgument, match="/nowhere"):
        Plan({"linux": {"namespaces": [{"type": "network", "path": "/nowhere"}]}})


@pytest.mark.parametrize(
    ("key", "namespace"),
    [
        ("net.ipv4.ip_forward", "network"),
        ("kernel.shmmax", "ipc"),
        ("fs.mqueue.msg_max", "ipc"),
        ("kernel.panic", ""),
        ("net.ipv4.../kernel.panic", ""),
        ("net.//.//kernel/panic", ""),
        ("net/../../kernel/panic", ""),
    ],
)
def test_only_settings_of_a_namespace_are_a_containers(key: str, namespace: str) -> None:
    assert sysctl.namespace_of(key) == namespace


def test_a_setting_of_the_host_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="separate kernel namespace"):
        sysctl.apply({"kernel.panic": "1"}, {"ipc"})
    with pytest.raises(InvalidArgument, match="host's network"):
        sysctl.apply({"net.ipv4.ip_forward": "1"}, {"ipc"})


def test_capability_numbers() -> None:
    assert capabilities.mask(["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"]) == 1 | 1 << 40
    assert len(capabilities.NAMES) == 41
    assert capabilities.names(0xA80425FB) == sorted(
        runtime.DEFAULT_CAPABILITIES, key=capabilities.NAMES.index
    )
    with pytest.raises(ValueError, match="CAP_BOGUS"):
        capabilities.mask(["CAP_BOGUS"])


def test_programs_are_looked_up_as_go_does(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("")
    path = {"PATH": f"/nowhere:{tmp_path}"}
    with pytest.raises(Error, match=r'exec: "program": permission denied'):
        executable.find("program", path)
    program.chmod(0o755)
    assert executable.find("program", path) == str(program)
    with pytest.raises(Error, match=r'exec: "foo": executable file not found in \$PATH'):
        executable.find("foo", path)
    with pytest.raises(Error, match=r'exec: "/no/foo": stat /no/foo: no such file or directory'):
        executable.find("/no/foo", path)
    with pytest.raises(Error, match="is a directory"):
        executable.find(str(tmp_path), path)


def test_unknown_limits_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="RLIMIT_BOGUS"):
        process.set_limits([{"type": "RLIMIT_BOGUS", "soft": 1, "hard": 1}])
    with pytest.raises(InvalidArgument, match="error"):
        process.set_limits([{"type": "error", "soft": 1, "hard": 1}])


class TestState:
    def test_an_id_is_taken_once_and_is_no_path(self, tmp_path: Path) -> None:
        state.new(str(tmp_path), "one", "/bundle")
        with pytest.raises(AlreadyExists):
            state.new(str(tmp_path), "one", "/bundle")
        for identifier in ("../x", "a/b", "", "..", "a\nb"):
            with pytest.raises(InvalidArgument):
                state.new(str(tmp_path), identifier, "/bundle")

    def test_it_is_read_as_written(self, tmp_path: Path) -> None:
        made = state.new(str(tmp_path), "one", "/bundle")
        made.pid, made.start_time = 1 << 30, 5
        made.save()
        found = state.load(str(tmp_path), "one")
        assert (found.bundle, found.pid, found.status()) == ("/bundle", 1 << 30, Status.STOPPED)
        assert "pid" not in found.oci()
        assert state.all_ids(str(tmp_path)) == ["one"]

    def test_what_a_crash_leaves(self, tmp_path: Path) -> None:
        made = state.new(str(tmp_path), "one", "/bundle")
        assert state.load(str(tmp_path), "one").status() is Status.CREATING
        Path(made.directory, "state.json").write_text(json.dumps({"id": "one"}))
        with pytest.raises(DataLoss):
            state.load(str(tmp_path), "one")
        with pytest.raises(NotFound):
            state.load(str(tmp_path), "two")
