"""The agent on Debian 11's Python 3.9, the oldest that it promises to run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.resources.cases import BY_NAME
from tests.conformance.resources.private_root import converge, counts, run, sh
from toolkit import debian_program

pytestmark = [pytest.mark.root, pytest.mark.peer]

# The clock would be this machine's; what is absent in one plan cannot be there.
SECOND = ("-absent", "-before-250")
NAMES = [name for name in BY_NAME if name != "clock" and not name.endswith(SECOND)]


def test_every_kind_in_one_run(scratch: Path) -> None:
    python = debian_program.command("bullseye", "python3.9", "usr/bin/python3.9")

    def scenario() -> None:
        for name in NAMES:
            if name != "authorized-key":  # its user is made by the same plan
                sh(BY_NAME[name].prepare)
        wanted = [BY_NAME[name].resource() for name in NAMES]
        looked = converge(wanted, mode="check", python=python)
        assert counts(looked)["changed"] == len(NAMES)
        done = converge(wanted, python=python)
        assert counts(done) == {"ok": 0, "changed": len(NAMES), "failed": 0}
        for name in NAMES:
            sh(BY_NAME[name].right)
        assert counts(converge(wanted, python=python))["ok"] == len(NAMES)

    run(scratch, scenario)
