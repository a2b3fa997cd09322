"""These tests are about one board, which ``./inv verify --host X`` names; a plain test run has none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.verify.backend import host as host_over
from toolkit.verify.session import Plugin, Subject


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Only ``verify`` brings the plugin that knows the board."""
    given = any(isinstance(plugin, Plugin) for plugin in config.pluginmanager.get_plugins())
    return None if given else True


@pytest.fixture(scope="session")
def subject(subject_of_run: Subject) -> Subject:
    return subject_of_run


@pytest.fixture(scope="session")
def host(subject: Subject) -> Any:
    """The board, as testinfra sees it."""
    return host_over(subject.connection)


@pytest.fixture(scope="session")
def image() -> str:
    """A small image that every board can run, by the name that goes through the mirror."""
    return "docker.io/library/busybox:latest"


@pytest.fixture(scope="session")
def pulled(host: Any, image: str) -> str:
    """``image``, pulled once."""
    done = host.run(f"ctr image pull {image}")
    assert done.succeeded, done.stderr
    return image


@pytest.fixture
def container(host: Any) -> Iterator[str]:
    """A name for a container that is gone afterwards."""
    name = "verify-board"
    yield name
    host.run(
        f"ctr task kill -s SIGKILL {name}; ctr task delete -f {name}; ctr container delete {name}"
    )


_ORDER = ("units", "files", "containers", "confinement", "processor", "limits", "reboot")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the rest stands on comes first, and the reboot, which ends the connection, last.

    Called for a plain test run too, with the tests of all directories.
    """
    here = Path(__file__).parent
    if all(item.path.parent == here for item in items):
        items.sort(key=lambda item: _ORDER.index(item.path.stem.removeprefix("test_")))
