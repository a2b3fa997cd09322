"""What resources refuse, what hostile users try on them, and what a run leaves for the next one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pinnace.linux import mount as mounts
from tests.conformance.resources.cases import KEY, PI
from tests.conformance.resources.private_root import Killed, converge, counts, run, sh
from toolkit.agent import undo
from toolkit.agent.system import System
from toolkit.errors import HostFailed
from toolkit.resources import (
    REBOOT,
    AuthorizedKey,
    File,
    Handler,
    KernelCmdline,
    Mount,
    Package,
    Reboot,
    Unit,
)

pytestmark = pytest.mark.root

GOOD = "[Service]\nExecStart=/bin/sleep 1000\n"


@pytest.mark.parametrize(
    ("source", "dropin", "said"),
    [
        ("[Service]\nExecStart=/bin/sleep 9\nRestat=always\n", "", "Unknown key"),
        ("[Service]\nExecStart=/no/such/program\n", "", "is not executable"),
        (GOOD, "[Service]\nType=sdf\n", "Failed to parse service type"),
    ],
)
def test_a_unit_that_is_not_good_is_not_installed(scratch: Path, source: str, dropin: str, said: str) -> None:  # fmt: skip
    def scenario() -> None:
        dropins = {"10-x.conf": dropin} if dropin else {}
        with pytest.raises(HostFailed, match=said):
            converge([Unit(unit="demo.service", source=source, dropins=dropins)])
        assert not Path("/etc/systemd/system/demo.service").exists()
        assert not Path("/run/pinnace-agent-units").exists()

    run(scratch, scenario)


def test_a_unit_whose_files_changed_is_restarted_also_after_a_kill(scratch: Path) -> None:
    def scenario() -> None:
        converge([Unit(unit="demo.service", source=GOOD)])
        changed = [Unit(unit="demo.service", source=GOOD + "Nice=3\n")]
        active = Path("/var/lib/stand-in-systemd/active/demo.service")
        for step in range(1, 60):
            try:
                converge(changed, kill_at=step)
            except Killed:
                written = "Nice" in Path("/etc/systemd/system/demo.service").read_text()
                if written and "Nice" not in active.read_text():
                    break  # written, and not restarted yet
        events = converge(changed)
        assert [event["name"] for event in events if event["event"] == "handler"] == ["restart demo.service"]  # fmt: skip
        assert "Nice" in active.read_text()

    run(scratch, scenario)


def test_a_unit_that_starts_before_a_file_it_reads_has_changed_is_restarted(scratch: Path) -> None:
    def scenario() -> None:
        settings = File(path="/etc/demo.conf", source=b"x", notify=(Handler.restart("demo.service"),))  # fmt: skip
        demo = Unit(unit="demo.service", source=GOOD)
        for order, restarts in (([demo, settings], 1), ([settings, demo], 0)):
            sh("rm -rf /etc/demo.conf; systemctl stop demo.service")
            looked, done = converge(order, mode="check"), converge(order)
            told = [[event["name"] for event in events if event["event"] == "handler"] for events in (looked, done)]  # fmt: skip
            assert told == [["restart demo.service"] * restarts] * 2

    run(scratch, scenario)


def test_a_link_in_a_home_directory_leads_nowhere(scratch: Path) -> None:
    def scenario() -> None:
        sh("useradd -m web; mkdir -p -m 700 /root/.ssh; echo root >/root/.ssh/authorized_keys")
        sh("ln -s /root/.ssh /home/web/.ssh")
        with pytest.raises(HostFailed, match=r"permission denied|cannot read"):
            converge([AuthorizedKey(user="web", key=KEY)])
        assert Path("/root/.ssh/authorized_keys").read_text() == "root\n"

    run(scratch, scenario)


def test_a_fifo_in_a_home_directory_does_not_hold_the_run_up(scratch: Path) -> None:
    def scenario() -> None:
        sh("useradd -m web; cd /home/web; mkdir -m 700 .ssh; mkfifo .ssh/authorized_keys; chown -R web .ssh")  # fmt: skip
        converge([AuthorizedKey(user="web", key=KEY)])
        assert Path("/home/web/.ssh/authorized_keys").read_text() == KEY + "\n"

    run(scratch, scenario)


def test_a_mount_that_does_not_work_never_gets_into_fstab(scratch: Path) -> None:
    def scenario() -> None:
        before = Path("/etc/fstab").read_text() if os.path.exists("/etc/fstab") else ""
        with pytest.raises(HostFailed, match="mount -t ext4"):
            converge([Mount(path="/mnt/x", source="/dev/no-such-disk", fstype="ext4")])
        assert (Path("/etc/fstab").read_text() if os.path.exists("/etc/fstab") else "") == before

    run(scratch, scenario)


def _boot_under(identity: str) -> None:
    Path("/run/boot_id").write_text(identity + "\n")
    mounts.mount("/run/boot_id", "/proc/sys/kernel/random/boot_id", "", mounts.MS_BIND)


def test_a_reboot_in_the_middle_parts_the_plan(scratch: Path) -> None:
    def scenario() -> None:
        sh(PI)
        _boot_under("first")
        plan = [
            KernelCmdline(parameters=("cma=64M",), notify=(REBOOT,)),
            Reboot(),
            File(path="/etc/after", source=b"x"),
        ]
        looked = converge(plan, mode="check")
        assert counts(looked)["changed"] == 3
        for changed in (2, 1):  # again, because the laptop died before it rebooted the board
            events = converge(plan)
            assert (events[-1]["next"], counts(events)["changed"]) == ("again", changed)
            assert not Path("/etc/after").exists()
        Path("/run/boot_id").write_text("second\n")
        assert converge(plan)[-1]["next"] == "done"
        assert Path("/etc/after").exists()
        assert counts(converge(plan)) == {"ok": 3, "changed": 0, "failed": 0}

    run(scratch, scenario)


def test_a_reboot_is_owed_until_it_happened(scratch: Path) -> None:
    def scenario() -> None:
        sh(PI)
        _boot_under("first")
        plan = [KernelCmdline(parameters=("cma=64M",), notify=(REBOOT,))]
        assert converge(plan)[-1]["next"] == "reboot"
        assert converge(plan, mode="check")[-1]["handlers"] == 1
        assert converge(plan)[-1]["next"] == "reboot"
        Path("/run/boot_id").write_text("second\n")
        assert converge(plan)[-1]["next"] == "done"

    run(scratch, scenario)


_REPOSITORY = """
mkdir -p /srv/repo/p/DEBIAN; cd /srv/repo
printf 'Package: pinnace-test\\nVersion: 1\\nArchitecture: all\\nMaintainer: a <a@b.c>\\nDescription: test\\n' >p/DEBIAN/control
dpkg-deb -b p test.deb >/dev/null
{ cat p/DEBIAN/control; echo Filename: ./test.deb; echo Size: $(stat -c %s test.deb); echo SHA256: $(sha256sum test.deb | cut -d' ' -f1); } >Packages
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list
"""


def test_a_package_comes_from_the_boards_sources_with_lists_that_are_new(scratch: Path) -> None:
    def scenario() -> None:
        sh(_REPOSITORY)
        sh("rm -rf /var/lib/apt/lists/*")
        assert counts(converge([Package(names=("pinnace-test",))]))["changed"] == 1
        assert "ok installed" in sh("dpkg -s pinnace-test")
        assert counts(converge([Package(names=("pinnace-test",))]))["changed"] == 0

    run(scratch, scenario)


def test_keys_of_another_group_are_put_back(scratch: Path) -> None:
    def scenario() -> None:
        sh("useradd -m web; cd /home/web; mkdir -m 700 .ssh; echo old >.ssh/authorized_keys; chown -R web:root .ssh")  # fmt: skip
        converge([AuthorizedKey(user="web", key=KEY)])
        board = System("/")
        undo.revert(board, undo.runs(board)[-1])
        assert Path("/home/web/.ssh/authorized_keys").read_text() == "old\n"

    run(scratch, scenario)
