"""`./inv provision` as a user has it: a bare board, a second run, a check, and everything that can be wrong.

One native emulated board stands for all boards; what goes wrong is done to it and taken back.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.fresh import fresh
from tests.laptop import Laptop
from toolkit.boards.catalogue import find
from toolkit.boards.emulated import EmulatedBoard
from toolkit.lab import registry
from toolkit.paths import state_dir
from toolkit.provision import journal

pytestmark = [pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(900)]

NAME = "emu-amd64-provision"
PASSWORD = "correct horse"
FAILED, DRIFT, UNREACHABLE = 2, 3, 4


def one_line(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The one line that says what is wrong; the command ended with ``status``, and without a traceback."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


def on(board: EmulatedBoard, script: str) -> str:
    done = subprocess.run(board.ssh_command(["sudo", "sh", "-s"]), input=script, capture_output=True, text=True, check=False, timeout=60)  # fmt: skip
    assert done.returncode == 0, f"{script}: {done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The board, its keys and the known hosts are these tests' own.

    The lab's authority is the user's: the registry is one for the machine, and may be in use.
    """
    lab, state = state_dir("lab"), tmp_path_factory.mktemp("state")
    (state / "pinnace").mkdir()
    (state / "pinnace" / "lab").symlink_to(lab)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        yield


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    return Laptop(tmp_path_factory.mktemp("laptop"))


@pytest.fixture(scope="module")
def bare() -> Iterator[EmulatedBoard]:
    """A board on which nothing was provisioned yet."""
    found = EmulatedBoard(find(NAME))
    with fresh(found):
        yield found


def emulated(**variables: str) -> str:
    return f"{NAME} board={NAME} " + " ".join(f"{k}={v}" for k, v in variables.items())


def by_address(board: EmulatedBoard, user: str = "pi", **variables: str) -> str:
    """The board as a real one would stand in an inventory: an address and a key, no ``board=``."""
    known = {"ansible_host": board.address, "ansible_user": user, "ansible_ssh_private_key_file": str(board.ssh_key)}  # fmt: skip
    return "real " + " ".join(f"{k}={v}" for k, v in {**known, **variables}.items())


def untouched(board: EmulatedBoard) -> bool:
    """Whether nothing of ours is on the board, not even a part."""
    script = "ls -d /etc/pinnace /usr/local/bin/ctr /etc/crictl.yaml /etc/systemd/system/pinnace* /opt/pinnace 2>/dev/null; true"  # fmt: skip
    return on(board, script) == ""


@contextmanager
def mounted(board: EmulatedBoard, where: str, options: str) -> Iterator[None]:
    on(board, f"mkdir -p {where} && mount -t tmpfs -o {options} tmpfs {where}")
    try:
        yield
    finally:
        on(board, f"umount {where}")


# -- what is wrong before the board was ever provisioned: nothing may be half-done ---------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("h sandbox_imag=registry.lab/pause:3.10", "did you mean 'sandbox_image'"),
        ("h sandbox_image=pause", "it should be a full image name"),
        ("h \"registry_mirrors={'docker.io': ['ftp://x']}\"", "is not a URL like https://"),
        ("h snapshotter=btrfs", "one of overlayfs, native"),
        ("h config_version=1", "one of 2, 3"),
        ("h board=emu-z80", "board=emu-z80"),
    ],
)
def test_a_wrong_value_is_told_with_its_line_before_anything_is_sent(
    laptop: Laptop, line: str, said: str
) -> None:
    laptop.inventory(f"# a comment\n{line}\n")
    error = one_line(laptop.inv("provision", "--host", "h"), 1)
    assert said in error
    assert "inventory.ini:2" in error or "emu-z80" in error


def test_an_unknown_host_is_told_with_the_nearest_name(laptop: Laptop) -> None:
    laptop.inventory("kitchen\nattic\n")
    assert "did you mean 'kitchen'" in one_line(laptop.inv("provision", "--host", "kitchn"), 1)


def test_a_host_that_is_not_there_is_unreachable(laptop: Laptop, bare: EmulatedBoard) -> None:
    laptop.inventory(by_address(bare, ansible_port="9"))
    done = laptop.inv("provision", "--host", "real", limit=60)
    assert "Connection refused" in one_line(done, UNREACHABLE)


def test_an_unknown_host_key_is_refused_and_shown(laptop: Laptop, bare: EmulatedBoard) -> None:
    laptop.inventory(by_address(bare))
    error = one_line(laptop.inv("provision", "--host", "real"), UNREACHABLE)
    shown = on(bare, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert shown in error
    assert "--accept-new" in error


def test_a_key_that_does_not_fit_is_unreachable(
    laptop: Laptop, bare: EmulatedBoard, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    laptop.inventory(by_address(bare, ansible_ssh_private_key_file=str(other)))
    error = one_line(laptop.inv("provision", "--host", "real", "--accept-new"), UNREACHABLE)
    assert "does not accept the user and key" in error


def test_a_changed_host_key_is_refused_with_both_fingerprints(
    laptop: Laptop, bare: EmulatedBoard, tmp_path: Path
) -> None:
    """Also with --accept-new: only an unknown key may be accepted."""
    other = tmp_path / "host"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    public = " ".join((tmp_path / "host.pub").read_text().split()[:2])
    known = Path(os.environ["XDG_STATE_HOME"], "pinnace", "known_hosts")
    before = known.read_text() if known.exists() else ""
    known.write_text(f"{bare.address} {public}\n")
    try:
        laptop.inventory(by_address(bare))
        error = one_line(laptop.inv("provision", "--host", "real", "--accept-new"), UNREACHABLE)
    finally:
        known.write_text(before)
    assert "has changed" in error
    assert error.count("SHA256:") == 2


@pytest.fixture
def asker(bare: EmulatedBoard) -> Iterator[str]:
    """A user on the board of whom sudo wants a password."""
    on(bare, f"useradd -m -s /bin/bash -G sudo asker && echo 'asker:{PASSWORD}' | chpasswd && cp -r /home/pi/.ssh /home/asker/ && chown -R asker: /home/asker/.ssh")  # fmt: skip
    yield "asker"
    on(bare, "userdel -r asker 2>/dev/null; true")


def test_sudo_that_asks_needs_somebody_to_answer(
    laptop: Laptop, bare: EmulatedBoard, asker: str
) -> None:
    laptop.inventory(by_address(bare, user=asker))
    error = one_line(laptop.inv("provision", "--host", "real", "--accept-new"), FAILED)
    assert "--ask-sudo-password" in error
    assert untouched(bare)


def test_a_wrong_sudo_password_changes_nothing_and_is_not_shown(
    laptop: Laptop, bare: EmulatedBoard, asker: str
) -> None:
    laptop.inventory(by_address(bare, user=asker))
    words = ("provision", "--host", "real", "--accept-new", "--ask-sudo-password")
    done = laptop.inv(*words, typed="wrong battery\n")
    assert "sudo does not accept the password" in one_line(done, FAILED)
    assert "wrong battery" not in done.stdout + done.stderr
    assert untouched(bare)


def test_the_right_sudo_password_works(laptop: Laptop, bare: EmulatedBoard, asker: str) -> None:
    laptop.inventory(by_address(bare, user=asker))
    words = ("provision", "--host", "real", "--accept-new", "--ask-sudo-password", "--check")
    done = laptop.inv(*words, typed=f"{PASSWORD}\n")
    assert "differs from what the roles say" in one_line(done, DRIFT)


def test_a_check_changes_nothing(laptop: Laptop, bare: EmulatedBoard) -> None:
    laptop.inventory(emulated())
    done = laptop.inv("provision", "--host", NAME, "--check")
    assert "differs" in one_line(done, DRIFT)
    assert "+version = 3" in done.stderr
    assert untouched(bare)


@pytest.mark.parametrize(
    ("where", "options", "said"),
    [
        ("/opt", "size=1m,mode=755", "full"),
        ("/opt", "ro,mode=755", "read-only"),
        ("/etc/systemd/system", "ro,mode=755", "read-only"),
    ],
)
def test_a_disk_without_room_or_not_writable_is_told_before_anything_is_changed(
    laptop: Laptop, bare: EmulatedBoard, where: str, options: str, said: str
) -> None:
    laptop.inventory(emulated())
    with mounted(bare, where, options):
        error = one_line(laptop.inv("provision", "--host", NAME, "--no-verify"), FAILED)
        assert on(bare, f"ls -A {where}") == ""
    assert said in error
    assert untouched(bare)


# -- the board is provisioned ------------------------------------------------------------------


@pytest.fixture(scope="module")
def provisioned(laptop: Laptop, bare: EmulatedBoard, tmp_path_factory: pytest.TempPathFactory) -> Path:  # fmt: skip
    """The first run, with verification; returns its JUnit file."""
    report = tmp_path_factory.mktemp("junit") / "report.xml"
    laptop.inventory(emulated())
    done = laptop.inv("provision", "--host", NAME, "--junit", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed=0" in done.stderr
    return report


def test_the_first_run_provisions_and_verifies(provisioned: Path, bare: EmulatedBoard) -> None:
    cases = list(ElementTree.parse(provisioned).getroot().iter("testcase"))
    assert len(cases) > 10
    assert all(case.find("failure") is None and case.find("error") is None for case in cases)
    assert on(bare, "systemctl is-active pinnaced pinnace-keeper") == "active\nactive"
    image = f"{registry.host()}/library/busybox:latest"
    assert on(bare, f"ctr run --rm {image} t1 uname -m") == "x86_64"


@pytest.mark.usefixtures("provisioned")
def test_the_second_run_changes_nothing_and_is_quick(laptop: Laptop, bare: EmulatedBoard) -> None:
    laptop.inventory(emulated())
    before = on(bare, "systemctl show -p MainPID --value pinnaced pinnace-keeper")
    started = time.monotonic()
    done = laptop.inv("provision", "--host", NAME)
    assert done.returncode == 0
    assert "changed=0" in done.stderr
    assert time.monotonic() - started < 60
    assert on(bare, "systemctl show -p MainPID --value pinnaced pinnace-keeper") == before


@pytest.mark.usefixtures("provisioned")
def test_plan_status_and_history_tell_of_a_drift(laptop: Laptop, bare: EmulatedBoard) -> None:
    laptop.inventory(emulated())
    on(bare, "echo '# by hand' >> /etc/crictl.yaml")
    planned = laptop.inv("plan", "--host", NAME, "--tags", "runtime")
    assert planned.returncode == DRIFT
    assert "-# by hand" in planned.stderr
    assert "would change  1 file" in planned.stderr
    [seen] = json.loads(laptop.inv("status", "--host", NAME, "--json").stdout).values()
    assert (seen["drift"], seen["units"]["pinnaced.service"]) == (1, "active")
    assert seen["release"] == on(bare, "basename $(readlink /opt/pinnace/current)")
    table = laptop.inv("status", "--host", NAME)
    assert (table.returncode, "1 differ" in table.stdout) == (0, True)
    repaired = laptop.inv("provision", "--host", NAME, "--tags", "runtime", "--no-verify")
    assert "changed=1" in repaired.stderr
    last = next(journal.runs())
    assert (last.command, last.status, last.hosts[NAME]["changed"]) == ("provision", 0, 1)


@pytest.mark.usefixtures("provisioned")
def test_a_changed_file_is_found_by_check_repaired_and_restarts_once(
    laptop: Laptop, bare: EmulatedBoard
) -> None:
    laptop.inventory(emulated())
    on(bare, "echo '# by hand' >> /etc/pinnace/config.toml")
    checked = laptop.inv("provision", "--host", NAME, "--check")
    one_line(checked, DRIFT)
    assert "-# by hand" in checked.stderr
    assert "# by hand" in on(bare, "cat /etc/pinnace/config.toml")
    repaired = laptop.inv("provision", "--host", NAME, "--no-verify")
    assert repaired.returncode == 0
    assert "changed=1" in repaired.stderr
    assert repaired.stderr.count("restart pinnaced.service") == 1
    assert "restart pinnace-keeper.service" not in repaired.stderr
    assert "# by hand" not in on(bare, "cat /etc/pinnace/config.toml")
    assert laptop.inv("provision", "--host", NAME, "--check").returncode == 0


@pytest.mark.usefixtures("provisioned")
def test_variables_reach_the_configuration_which_the_daemon_accepts(
    laptop: Laptop, bare: EmulatedBoard
) -> None:
    laptop.inventory(emulated(config_version="2", sandbox_image="registry.lab/pause:3.10"))
    try:
        assert laptop.inv("provision", "--host", NAME, "--no-verify").returncode == 0
        text = on(bare, "cat /etc/pinnace/config.toml")
        assert text.count("version = 2") >= 1
        dumped = on(bare, "pinnaced --config /etc/pinnace/config.toml config dump 2>&1")
        assert "registry.lab/pause:3.10" in dumped
        assert "warning" not in dumped
    finally:
        laptop.inventory(emulated())
        assert laptop.inv("provision", "--host", NAME, "--no-verify").returncode == 0
