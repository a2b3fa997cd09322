"""Which shim a runtime's name means."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinnace.api.foreign.program import parse
from pinnace.daemon import runtimes
from pinnace.errors import Error, InvalidArgument, NotFound


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "containerd-shim-kata-v2"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return str(path)


def test_names(program: str) -> None:
    assert runtimes.find("io.containerd.runc.v2", {}).program == ""
    assert runtimes.find("io.containerd.pinnace.v2", {}).program == ""
    assert runtimes.find("io.containerd.kata.v2", {}).program == program
    assert runtimes.find(program, {}).program == program
    named = {"io.containerd.runc.v2": program}
    assert runtimes.find("io.containerd.runc.v2", named).program == program


@pytest.mark.parametrize("name", ["io.containerd.gvisor.v1", "/nonexistent", "kata", "a.b/c.d", ""])
def test_what_is_not_there(program: str, name: str) -> None:
    with pytest.raises((NotFound, InvalidArgument)):
        runtimes.find(name, {})


def test_what_start_prints() -> None:
    assert parse("unix:///run/s\n") == ("/run/s", 2)
    assert parse('{"version":3,"address":"unix:///run/s","protocol":"ttrpc"}') == ("/run/s", 3)
    assert parse('{"version":2,"address":"unix:///run/s"}') == ("/run/s", 2)


@pytest.mark.parametrize(
    "text", ["", "vsock://1", "{", '{"version":3}', '{"version":9,"address":"unix:///s"}',
             '{"version":3,"address":"unix:///s","protocol":"grpc"}', '["a"]'],
)  # fmt: skip
def test_what_start_must_not_print(text: str) -> None:
    with pytest.raises(Error):
        parse(text)
