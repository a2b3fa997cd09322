"""`./inv bench fleet` on the smallest fleet: ours and the peers leave the same behind, each says what it changed."""

from __future__ import annotations

import os

import pytest

from benchmarks.fleet import fleet, measure
from benchmarks.fleet.tools import Ansible, Pyinfra, Tool

pytestmark = [pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(1800)]

SIZES = os.environ.get("PINNACE_BENCH_FLEET", "1").split(",")
# Ansible takes a minute for what the others do in seconds.
PEERS: tuple[type[Tool], ...] = (Pyinfra, Ansible) if "PINNACE_BENCH_FLEET" in os.environ else (Pyinfra,)  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_the_tools_do_the_same_work(size: str) -> None:
    with fleet(size) as job:
        measured = measure(job, 1, PEERS)
    tools = {name for _, name in measured}
    assert {what for what, _ in measured} == {"first", "noop", "one-file"}
    assert len(tools) == 2 + len(PEERS)  # ours with and without the confirmation
