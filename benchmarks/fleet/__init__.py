"""``fleet``: `./inv provision` beside ansible-core and pyinfra: the same 30 resources on the same hosts.

* ``converge-first``: everything is missing; ``converge-noop``: everything is there; ``converge-one-file``: one of the
  files has changed. Seconds from the command's start to its end, for all hosts.
* ``converge-first-confirmed``: ours as it is used, with the confirmation over a second connection. Nobody else does that.

``PINNACE_BENCH_FLEET`` says on how many native boards, and on which board else: ``1,10,50,armv6l`` (default ``1,3``);
``PINNACE_BENCH_ROUNDS`` how often. The three take turns, and each has to leave the boards the same.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fleet.tools import Ansible, Confirmed, Job, Ours, Pyinfra, Tool
from benchmarks.harness import Result, median
from toolkit import boards, console, host
from toolkit.arch import Arch
from toolkit.boards.board import Board
from toolkit.errors import PinnaceError, UsageError
from toolkit.process import last_line

SIZES = "1,3"
ROUNDS = 2
_PEERS = (Ansible, Pyinfra)
_SERVICE = """[Unit]
Description=Work of the fleet benchmark
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
_RESET = """systemctl disable --quiet --now fleet-a fleet-b; userdel fleet; groupdel fleet
rm -rf /srv/fleet /etc/systemd/system/fleet-*; sed -i /^FLEET_/d /etc/environment; systemctl daemon-reload"""
_STATE = """cd / && find srv/fleet etc/environment etc/systemd/system/fleet-* etc/systemd/system/multi-user.target.wants/fleet-* \
    -printf '%y %m %u %g %p %l\\n' | sort
find /srv/fleet /etc/environment /etc/systemd/system/fleet-* -type f | sort | xargs sha256sum; getent passwd fleet | cut -d: -f1,6-
systemctl is-active fleet-a fleet-b"""


def run() -> list[Result]:
    """Measure; raises :class:`PinnaceError` when a board does not start or a tool does not do its work."""
    host.need_root("measuring fleets")
    results: list[Result] = []
    rounds = int(os.environ.get("PINNACE_BENCH_ROUNDS", ROUNDS))
    for size in os.environ.get("PINNACE_BENCH_FLEET", SIZES).split(","):
        with fleet(size) as job, console.step(f"converge a fleet of {size}"):
            results += _results(size, measure(job, rounds))
    return results


@contextmanager
def fleet(size: str) -> Iterator[Job]:
    """``size``: a number of native boards, or the machine of one board."""
    own, native = os.getpid(), Arch.from_machine(os.uname().machine).label
    names = [f"emu-{native}-fleet{own}n{n}" for n in range(int(size))] if size.isdigit() else [f"emu-{size}-fleet{own}"]  # fmt: skip
    if not names:
        raise UsageError("PINNACE_BENCH_FLEET: a fleet of 0 has nothing to do")
    made = [boards.get(name) for name in names]
    with tempfile.TemporaryDirectory(prefix="fleet-") as home:
        try:
            for board in made:
                board.ensure_started(yes=True)
            job = Job(tuple(made), Path(home))
            job.files.mkdir()
            for number in range(12):
                (job.files / f"{number:02}.conf").write_text(f"# file {number}\n" + "key = value\n" * 100)  # fmt: skip
            (job.files / "fleet.service").write_text(_SERVICE)
            job.known_hosts.parent.mkdir(mode=0o700)
            job.known_hosts.write_text("".join(f"{board.address} {board.host_key}\n" for board in made))  # fmt: skip
            yield job
        finally:
            for board in made:
                board.destroy()


def measure(
    job: Job, rounds: int, peers: Sequence[type[Tool]] = _PEERS
) -> dict[tuple[str, str], list[float]]:
    """Seconds by measurement and tool; raises :class:`PinnaceError` when one does other work than ours."""
    tools: list[Tool] = [Ours(job), Confirmed(job), *(peer(job) for peer in peers)]
    measured: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(rounds):
        states: dict[str, list[str]] = {}
        turn = number % len(tools)
        for tool in tools[turn:] + tools[:turn]:
            _reset(job)
            measured["first", tool.name].append(tool.converge(changes=True))
            if isinstance(tool, Confirmed):
                continue
            measured["noop", tool.name].append(tool.converge(changes=False))
            with _changed(job.files / "05.conf", f"# changed in round {number}\n"):
                measured["one-file", tool.name].append(tool.converge(changes=True))
            states[tool.name] = _each(job, _STATE)
        _compare(states)
    return measured


@contextmanager
def _changed(path: Path, line: str) -> Iterator[None]:
    before = path.read_text()
    path.write_text(line + before)
    try:
        yield
    finally:
        path.write_text(before)


def _results(size: str, measured: dict[tuple[str, str], list[float]]) -> Iterator[Result]:
    ours = {what: median(values) for (what, name), values in measured.items() if name == Ours.name}
    for (what, name), values in measured.items():
        if name not in (Ours.name, Confirmed.name):
            yield Result(f"converge-{what} {size}", name, ours[what], median(values), "s")
    confirmed = median(measured["first", Confirmed.name])
    yield Result(f"converge-first-confirmed {size}", "", confirmed, None, "s")


def _compare(states: dict[str, list[str]]) -> None:
    """Raise :class:`PinnaceError` unless all left all boards the same."""
    expected = states[Ours.name]
    for name, found in states.items():
        for ours, theirs in zip(expected, found, strict=True):
            lines = set(ours.splitlines()) ^ set(theirs.splitlines())
            if lines:
                raise PinnaceError(f"{name} did other work than {Ours.name}: {sorted(lines)[0]}")


def _reset(job: Job) -> None:
    _each(job, f"{{ {_RESET}; }} 2>/dev/null")


def _each(job: Job, command: str) -> list[str]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda board: _on(board, command), job.boards))


def _on(board: Board, command: str) -> str:
    words = board.ssh_command([shlex.join(["sudo", "sh", "-c", command])])
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise PinnaceError(f"{board.name}: {last_line(done.stderr)}")
    return done.stdout
