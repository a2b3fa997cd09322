"""Changes that lock the laptop out take themselves back, on a real board with systemd and sshd."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from time import sleep

import pytest

from tests.conformance.rollout.boards import Machine, started
from toolkit.errors import HostFailed, HostUnreachable
from toolkit.resources import File, Handler, Link, Resource, Unit

pytestmark = [pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(600)]

TIMES = int(os.environ.get("PINNACE_CONFIRM_TIMES", "1"))
"""How often each change is made; 20 for the whole."""
_NETWORK = "/etc/network/up.sh"
_SSH = "/etc/ssh/sshd_config.d/10-test.conf"
_SERVICE = "/etc/systemd/system/pinnaced.service"
AGAIN = pytest.mark.parametrize("time", range(TIMES))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with started("emu-amd64-confirm", tmp_path_factory.mktemp("confirm")) as found:
        found.converge(
            *_network("ip link set eth0 up"), *_sshd("LogLevel INFO"), *_daemon("true"), confirm=30
        )
        yield found


def _network(command: str) -> list[Resource]:
    script = f"#!/bin/sh\n{command}\n".encode()
    return [File(path=_NETWORK, source=script, notify=(Handler.command("sh", _NETWORK),))]


def _sshd(line: str) -> list[Resource]:
    text = f"{line}\n".encode()
    return [File(path=_SSH, source=text, notify=(Handler.restart("ssh.service"),))]


def _daemon(check: str) -> list[Resource]:
    """A daemon of the runtime's name, which starts, and is well while ``check`` is."""
    text = f"""[Unit]
Description=stands for the daemon
[Service]
ExecStart=/bin/sh -c '{check} && exec sleep infinity'
[Install]
WantedBy=multi-user.target
"""
    answers = File(path="/usr/local/bin/ctr", source=b"#!/bin/sh\ntrue\n", mode="0755")
    handler = Handler.restart("pinnaced.service")
    return [answers, File(path=_SERVICE, source=text.encode(), notify=(handler,)), Unit(unit="pinnaced.service")]  # fmt: skip


def _state(machine: Machine) -> str:
    """Everything that the changes of this module are about, and that nobody waits any more."""
    return machine.shell(
        f"cat {_NETWORK} {_SSH} {_SERVICE}; systemctl is-active ssh pinnaced; "
        "ls /var/lib/pinnace-agent; systemctl list-unit-files 'pinnace-revert*' --no-legend; true",
        seconds=60,
    )


def _is_put_back(machine: Machine, before: str) -> None:
    deadline = 60
    machine.reachable(deadline).close()
    found = ""
    for _ in range(deadline):
        # A busy machine may let a connection wait too long: that says nothing about the board.
        with contextlib.suppress(HostUnreachable):
            found = _state(machine)
        if found == before:
            return
        sleep(1)
    assert found == before


@AGAIN
def test_a_cut_network_comes_back(machine: Machine, time: int) -> None:
    before = _state(machine)
    with pytest.raises(HostFailed, match=r"puts back|is put back"):
        machine.converge(*_network("ip link set eth0 down"))
    _is_put_back(machine, before)


@AGAIN
def test_a_port_that_nobody_knows_is_left_again(machine: Machine, time: int) -> None:
    before = _state(machine)
    with pytest.raises(HostFailed, match="not reachable any more after the change"):
        machine.converge(*_sshd("Port 2222"))
    _is_put_back(machine, before)


@AGAIN
def test_an_sshd_that_does_not_start_is_put_back_at_once(machine: Machine, time: int) -> None:
    before = _state(machine)
    with pytest.raises(HostFailed, match="what this run had changed is put back"):
        machine.converge(*_sshd("NoSuchWord yes"))
    assert _state(machine) == before


@AGAIN
def test_a_daemon_that_ends_is_put_back(machine: Machine, time: int) -> None:
    before = _state(machine)
    with pytest.raises(HostFailed, match=r"puts back|is put back"):
        machine.converge(*_daemon("sleep 1; false"), confirm=8)
    _is_put_back(machine, before)


@AGAIN
@pytest.mark.parametrize("what", ["network", "sshd", "daemon"] if TIMES > 1 else ["sshd"])
def test_a_reboot_in_between_puts_back_too(machine: Machine, what: str, time: int) -> None:
    """Nobody comes, and the power fails before the time is up."""
    before = _state(machine)
    bad = {
        "network": _network("ip link set eth0 down"),
        "sshd": _sshd("Port 2222"),
        "daemon": _daemon("false"),
    }
    with contextlib.suppress(HostFailed, HostUnreachable):  # the network may go while it speaks
        machine.converge_and_leave(*bad[what], confirm=3)
    machine.board.stop()
    machine.board.start()
    _is_put_back(machine, before)


def test_a_good_change_stays_and_can_be_taken_back(machine: Machine) -> None:
    before = _state(machine)
    outcome = machine.converge(
        *_sshd("LogLevel VERBOSE"), Link(path="/usr/local/bin/other", target="ctr"), confirm=30
    )
    assert "VERBOSE" in _state(machine)
    machine.revert(of="another run")
    assert "VERBOSE" in _state(machine)
    machine.revert(of=outcome.run)
    assert _state(machine) == before
    assert machine.shell("ls /usr/local/bin").split() == ["ctr"]
