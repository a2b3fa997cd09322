"""The examples of docs/ctr.md, typed as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.conformance.ctr.daemons import Daemon
from toolkit.paths import PROJECT

pytestmark = [pytest.mark.root, pytest.mark.peer]
PAGE = PROJECT / "docs" / "ctr.md"


def examples(page: Path) -> list[tuple[str, str]]:
    """Each command behind a ``$`` with the lines that follow it."""
    found: list[tuple[str, list[str]]] = []
    for line in page.read_text().splitlines():
        if line.startswith("    $ ctr "):
            found.append((line.removeprefix("    $ "), []))
        elif line.startswith("    ") and found:
            found[-1][1].append(line.removeprefix("    "))
        elif line and found:
            found.append(("", []))  # prose: what follows belongs to no command
    return [
        (command, "".join(f"{line}\n" for line in lines)) for command, lines in found if command
    ]


def test_examples_print_what_the_page_says(containerd: Daemon) -> None:
    shown = examples(PAGE)
    assert len(shown) >= 8
    for command, expected in shown:
        done = containerd.ctr(*shlex.split(command)[1:])
        printed = (done.stdout + done.stderr).replace(containerd.arena.name, "default")
        pattern = re.escape(expected).replace(r"\.\.\.", r"[\s\S]*?")
        pattern = re.sub(r"(\\ )+", r" +", pattern)
        # A listing may have fewer spaces than the page's example, whose process id is longer.
        assert re.fullmatch(pattern, printed), f"{command}: {printed!r}"
