"""After a reboot everything is back; the last module, because it replaces the connection."""

from __future__ import annotations

import time
from typing import Any

import pytest

from toolkit.verify.backend import host as host_over
from toolkit.verify.session import Subject

_SECONDS = 120.0


@pytest.mark.usefixtures("pulled")
def test_stack_survives_a_reboot(subject: Subject, image: str) -> None:
    if subject.reboot is None:
        pytest.skip("not wanted: --no-reboot")
    with subject.reboot() as connection:
        again: Any = host_over(connection)
        deadline = time.monotonic() + _SECONDS
        while not again.run("ctr version").succeeded and time.monotonic() < deadline:
            time.sleep(1)
        assert image in again.run("ctr image ls -q").stdout.split()
        done = again.run(f"ctr run --rm {image} verify-reboot true")
        assert done.succeeded, done.stderr
