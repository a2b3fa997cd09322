"""Boards that take passwords: the inventory names them, and one that is missing stops its own board alone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.fresh import fresh
from tests.laptop import Laptop
from toolkit import boards
from toolkit.boards.emulated import EmulatedBoard
from toolkit.paths import cache_dir

pytestmark = [pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(600)]

_PASSWORD = "correct-horse-7"
_STRICT = "pi ALL=(ALL) PASSWD: ALL"


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    folder = tmp_path_factory.mktemp("logins")
    two = [boards.get(f"emu-amd64-login{number}") for number in (1, 2)]
    known, lines = "", []
    with fresh(*two):
        for board, secret in zip(two, ("PI_PASSWORD", "PI_NOBODY"), strict=True):
            assert isinstance(board, EmulatedBoard)
            # sudo takes the last line that fits.
            change = (
                f"echo pi:{_PASSWORD} | chpasswd; echo '{_STRICT}' > /etc/sudoers.d/zz-strict; "
                "echo PasswordAuthentication yes > /etc/ssh/sshd_config.d/00-passwords.conf; systemctl reload ssh"
            )
            subprocess.run(board.ssh_command([f'sudo sh -c "{change}"']), check=True, timeout=60)
            known += f"{board.address} {board.host_key}\n"
            lines.append(
                f"{secret.lower()} ansible_host={board.address} ansible_user=pi ansible_password='!secret env:{secret}'"
                f" ansible_become_password='!secret env:{secret}'"
            )
        (folder / ".ssh").mkdir()
        (folder / ".ssh" / "known_hosts").write_text(known)
        made = Laptop(folder, HOME=str(folder), XDG_STATE_HOME=str(folder), XDG_CACHE_HOME=str(cache_dir().parent), PI_PASSWORD=_PASSWORD, SSH_AUTH_SOCK="")  # fmt: skip
        made.inventory("[fleet]\n" + "\n".join(lines) + "\n[fleet:vars]\nroles=registry\n")
        yield made


def test_the_one_with_a_password_is_done_and_the_other_says_what_it_lacks(laptop: Laptop) -> None:
    done = laptop.inv("provision", "--host", "fleet", "--no-verify")
    assert done.returncode != 0
    assert "pi_password  ok=0  changed=1  failed=0" in done.stderr, done.stderr
    assert "pi_nobody  ok=0  changed=0  failed=1" in done.stderr
    assert "secret env:PI_NOBODY" in done.stderr
    assert _PASSWORD not in done.stdout + done.stderr


def test_a_rollout_counts_it_as_failed(laptop: Laptop) -> None:
    done = laptop.inv("rollout", "--limit", "fleet", "--batch", "100%", "--max-fail", "1", "--revert", "nothing", "--health-time", "0s")  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "ok=1  changed=0  failed=1" in done.stderr


def test_the_inventory_shows_the_name_and_no_value(laptop: Laptop) -> None:
    shown = laptop.inv("inventory", "--list").stdout
    assert "!secret env:PI_PASSWORD" in shown
    assert _PASSWORD not in shown
