"""When a machine is taken for quiet: real processes stand for QEMU."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from toolkit.boards.system import quiet


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "_LOOK_SECONDS", 0.1)


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[int]:
    """A process that runs the program of the parameter; its id."""
    words = [sys.executable, "-IS", "-c", request.param]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        yield running.pid
        running.kill()


@pytest.mark.parametrize(
    "process", ["import time; print(flush=True); time.sleep(99)"], indirect=True
)
def test_a_process_that_waits_is_quiet(process: int) -> None:
    assert quiet.wait(process, 20)


_THREAD = """\
import threading
def busy():
    while True: pass
threading.Thread(target=busy).start()
print(flush=True)
"""


@pytest.mark.parametrize("process", [_THREAD], indirect=True)
def test_one_with_a_busy_thread_is_not(process: int) -> None:
    assert not quiet.wait(process, 1)
