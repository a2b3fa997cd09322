"""The process beside a running board: starts it, starts it again on reboot, cleans up after it.

One per board, outside its namespaces and cgroups. The kernel tells it what the board's systemd asked
for: reboot(2) in a PID namespace ends the namespace's init by SIGHUP for a restart and by SIGINT for
power off (reboot(2), "Behavior inside PID namespaces"), and unshare(1) passes that on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import IO

from toolkit.boards import cgroups, machine, network
from toolkit.boards.config import Config
from toolkit.errors import PinnaceError
from toolkit.process import start_time

# Joins the cgroups given as $2 ... and only then makes the cgroup namespace, whose root they become.
_ENTER = """\
count=$1; shift
while [ "$count" -gt 0 ]; do
    echo 0 >"$1/cgroup.procs" || exit 125
    shift; count=$((count - 1))
done
exec unshare --cgroup "$@"
"""


def main() -> None:
    """Entry point: the arguments are the board's directory and its id on this machine."""
    config, board_id = Config.read(Path(sys.argv[1])), sys.argv[2]
    # A stop asks the board, not this process; closing a terminal or Ctrl-C is no stop.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with machine.locked():  # whoever started this process holds the lock until the record is there
        record = machine.record(board_id)
    assert record is not None
    try:
        with config.console.open("ab", buffering=0) as console:
            while _boot(config, record, console) == -signal.SIGHUP:
                console.write(b"reboot\n")
    except PinnaceError as problem:
        print(f"board {config.name}: {problem}", file=sys.stderr, flush=True)
    finally:
        with machine.locked():
            machine.release(record)
            machine.settle()


def launch_command(config: Config, directories: list[Path]) -> list[str]:
    """The command that becomes PID 1 of a board, joined to the cgroups in ``directories``."""
    namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid"]
    guest = [sys.executable, "-m", f"{__package__}.guest", str(config.directory)]
    return [
        "unshare", *namespaces, "--fork", "--kill-child=KILL", "--propagation", "private", "--",
        "sh", "-c", _ENTER, "enter", str(len(directories)), *map(str, directories), *guest,
    ]  # fmt: skip


def _boot(config: Config, record: machine.Record, console: IO[bytes]) -> int:
    """Run the board once; returns how it ended, as :attr:`subprocess.Popen.returncode`."""
    directories = cgroups.create(record.id)
    with subprocess.Popen(
        launch_command(config, directories),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=console,
        preexec_fn=_default_signals,
        # Not those of who started it. qemu asks the kernel for a peer's groups with room for one number,
        # and systemd in the board asks again for ever when there are more.
        extra_groups=[],
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            machine.write(
                replace(record, launcher=process.pid, launcher_started=start_time(process.pid))
            )
            if process.stdout.readline():  # the namespaces exist
                network.plug(record.link, process.pid, record.address)
                process.stdin.write(b"go\n")
                process.stdin.close()
            return process.wait()
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    main()
