"""The examples of docs/concepts, typed as they stand: commands with our daemon, the configuration checked by it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pinnace.daemon import config
from tests.conformance.ctr.daemons import IMAGE, Daemon
from tests.conformance.ctr.test_documentation import examples
from toolkit.paths import PROJECT

pytestmark = [pytest.mark.root, pytest.mark.peer]
PAGES = PROJECT / "docs" / "concepts"
WITH_COMMANDS = sorted(page.name for page in PAGES.glob("*.md") if examples(page))


def test_there_are_examples() -> None:
    assert set(WITH_COMMANDS) == {
        "namespaces.md", "content-and-snapshots.md", "garbage-collection.md", "tasks-and-shims.md",
    }  # fmt: skip


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_examples_print_what_the_page_says(pinnaced: Daemon, name: str) -> None:
    assert pinnaced.ctr("image", "check", "-q").stdout == f"{IMAGE}\n"
    try:
        for command, expected in examples(PAGES / name):
            done = pinnaced.ctr(*shlex.split(command)[1:])
            printed = (done.stdout + done.stderr).replace(pinnaced.arena.name, "default")
            assert re.fullmatch(_pattern(expected), printed), f"{command}: {printed!r}"
    finally:
        pinnaced.ctr("task", "rm", "-f", "pinnace")
        pinnaced.ctr("container", "rm", "pinnace", "concept")


def _pattern(expected: str) -> str:
    """What the page shows: ``...`` is anything, and columns may be wider than on the page."""
    pattern = re.escape(expected).replace(r"\.\.\.", r"[\s\S]*?")
    return re.sub(r"(\\ )+", r"\\s+", pattern).replace("\\\n", r"\s*\n")


def test_the_configuration_of_the_page_is_one(tmp_path: Path) -> None:
    lines = (PAGES / "configuration.md").read_text().splitlines()
    text = "\n".join(
        line.removeprefix("    ") for line in lines if line.startswith("    ") or not line
    )
    path = tmp_path / "config.toml"
    path.write_text(text)
    found = config.load(str(path))
    assert found.warnings == ()
    assert found.text("metrics_address") == "127.0.0.1:1338"
