"""The lab registry as a service of this machine: started once, found again, stopped without a trace."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.errors import PinnaceError
from toolkit.lab import registry
from toolkit.lab.server import RegistryServer, program
from toolkit.paths import cache_dir

pytestmark = pytest.mark.peer


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port for a lab registry of this test's own: other state and data than the machine's."""
    program()  # fetched into the machine's cache, before there is another
    debian = cache_dir("debian")
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    (cache_dir() / "debian").symlink_to(debian)
    with RegistryServer(tmp_path / "probe") as probe:
        free = probe.port
    yield free
    registry.stop()


def test_it_is_started_once(port: int) -> None:
    first = registry.start("127.0.0.1", port)
    assert registry.start("127.0.0.1", port) == first
    assert registry.running() == first


def test_it_is_gone_after_stop(port: int) -> None:
    now = registry.start("127.0.0.1", port)
    assert registry.stop()
    assert not now.alive()
    assert registry.running() is None
    assert not registry.stop()


def test_one_that_was_killed_is_started_anew(port: int) -> None:
    first = registry.start("127.0.0.1", port)
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    assert registry.running() is None
    second = registry.start("127.0.0.1", port)
    assert second.pid != first.pid


def test_a_new_certificate_is_served_after_the_next_start(port: int) -> None:
    first = registry.start("127.0.0.1", port)
    registry.ca_certificate().unlink()
    second = registry.start("127.0.0.1", port)
    assert second.pid != first.pid
    assert registry.contents() == []


def test_listing_one_that_does_not_run_says_what_to_do(port: int) -> None:
    with pytest.raises(PinnaceError, match="registry start"):
        registry.contents()
