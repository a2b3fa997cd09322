"""The first tier: Debian in namespaces, its programs run by qemu-user, or natively on this machine."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from toolkit import console, host
from toolkit.boards import binfmt, capability, cgroups, emulator, identity, machine, network, root
from toolkit.boards.board import Board
from toolkit.boards.catalogue import Spec
from toolkit.boards.config import Config
from toolkit.errors import MissingPrerequisite, PinnaceError, UsageError
from toolkit.paths import IMPORTS, state_dir
from toolkit.process import last_line, start_time

_BOOT_SECONDS = 180
"""Two seconds on an idle machine; this is for a loaded one that emulates."""

_POWEROFF_SECONDS = 40

# Where an overlay cannot have its upper layer; a container's own root is the usual case.
_UNFIT = ("overlay", "nfs", "nfs4", "fuse.sshfs", "vfat", "9p")


_NATIVE = frozenset(
    {
        capability.SECCOMP,
        capability.NETFILTER,
        capability.USER_NAMESPACES,
        capability.CLONE_NAMESPACES,
        capability.PTRACE,
        capability.BPF,
        capability.KEYCTL,
        capability.IO_URING,
        capability.SANDBOXING,
        capability.PIDS_LIMIT,
    }
)
"""What a native board shows; qemu-user has none of it (docs/boards.md)."""


class EmulatedBoard(Board):
    """A board of the tier ``emu``; see :class:`~toolkit.boards.board.Board`."""

    def __init__(self, spec: Spec) -> None:
        self.name = spec.name
        self.arch = spec.arch
        self.release = spec.release
        self._state = state_dir("boards")
        self._directory = self._state / spec.name

    # -- what it is ----------------------------------------------------------------------------

    @property
    def _is_native(self) -> bool:
        return self.arch.facts.machine == os.uname().machine

    @property
    def tier(self) -> str:
        return "native" if self._is_native else "user"

    @property
    def cpu(self) -> str:
        return "host" if self._is_native else self.arch.facts.qemu_cpu

    @property
    def kernel(self) -> str:
        return f"host, {os.uname().release}"

    @property
    def shows(self) -> frozenset[str]:
        return (_NATIVE | cgroups.shown()) if self._is_native else frozenset()

    @property
    def id(self) -> str:
        """Its name on this machine, where other people's boards may have the same name."""
        return f"{self.name}-{hashlib.sha256(str(self._state.resolve()).encode()).hexdigest()[:8]}"

    @property
    def is_created(self) -> bool:
        return (self._directory / "board.json").exists()

    @property
    def is_running(self) -> bool:
        record = self._record()
        return record is not None and record.alive

    @property
    def address(self) -> str:
        record = self._record()
        return record.address if record else self.config.address

    @property
    def config(self) -> Config:
        """What was decided when it was created; raises when it was not."""
        if not self.is_created:
            raise UsageError(f"{self.name} does not exist", hint=f"./inv board create {self.name}")
        return Config.read(self._directory)

    @property
    def ssh_key(self) -> Path:
        return identity.client_key(self._state)

    @property
    def host_key(self) -> str:
        return identity.public_key(self.config.host_key)

    @property
    def known_hosts(self) -> Path:
        path = self._directory / "known_hosts"
        line = f"{self.name} {self.host_key}\n"
        if not path.exists() or path.read_text() != line:
            path.write_text(line)
        return path

    def _record(self) -> machine.Record | None:
        return machine.record(self.id)

    # -- what can be done with it --------------------------------------------------------------

    def create(self, *, yes: bool = False, system: str = "", image: Path | None = None) -> None:
        if image:
            raise self._cannot(capability.OWN_KERNEL)
        if system:
            raise self._cannot(capability.KERNEL_CMDLINE)
        if not self.is_created:
            need_machine(f"creating {self.name}", yes=yes)
            _need_fit_disk(self._state)
        with self._locked():
            if self.is_created:
                console.line("skipped", f"create {self.name}", "exists already")
            else:
                self._create(yes)

    def _create(self, yes: bool) -> None:
        lower = root.build(self.arch, self.release, host.debian_arch(), yes=yes)
        with console.step(f"create {self.name}") as step:
            config = Config(
                name=self.name,
                directory=self._directory,
                arch=self.arch.label,
                release=self.release,
                root=lower,
                emulator=self._emulator(),
                address=network.free_address("", [one.address for one in machine.records()]),
            )
            shutil.rmtree(self._directory, ignore_errors=True)
            try:
                self._make_disk(config)
                config.write()
            except BaseException:
                shutil.rmtree(self._directory, ignore_errors=True)
                raise
            step.detail = f"Debian {self.release} {self.arch.facts.debian}"

    def start(self, *, yes: bool = False, cold: bool = False) -> None:
        config = self.config
        need_machine(f"starting {self.name}", yes=yes)
        with console.step(f"start {self.name}") as step:
            with machine.locked():
                machine.sweep()
                runs = self.is_running
                if not runs:
                    step.say("network and emulator")
                    self._launch(self._refreshed(config))
            step.say("waiting for SSH")
            try:
                self._wait_for_login()
            except BaseException:
                if not runs:
                    self._kill()
                raise
            step.status, step.detail = ("skipped", "runs already") if runs else ("ok", self.address)

    def stop(self) -> None:
        record = self._record()
        if record is None:
            console.line("skipped", f"stop {self.name}", "does not run")
            return
        host.need_root(f"stopping {self.name}")
        with console.step(f"stop {self.name}") as step:
            if record.alive:
                _ask_to_power_off(record)
                gone = machine.wait_until(lambda: not record.alive, _POWEROFF_SECONDS)
                if not gone:
                    step.detail = "did not power off in time; killed"
            self._kill()

    def destroy(self) -> None:
        if self._record() is not None:
            self.stop()
        if not self._directory.exists():
            console.line("skipped", f"destroy {self.name}", "does not exist")
            return
        host.need_root(f"destroying {self.name}")
        with console.step(f"destroy {self.name}"):
            shutil.rmtree(self._directory)
            (self._state / f"{self.name}.lock").unlink(missing_ok=True)

    # -- steps ---------------------------------------------------------------------------------

    def _emulator(self) -> str:
        native = self.arch.facts.debian == host.debian_arch()
        return "" if native else str(emulator.build(self.arch, host.debian_arch()))

    def _make_disk(self, config: Config) -> None:
        for folder in (config.upper, config.work, config.storage, config.mountpoint):
            folder.mkdir(parents=True, mode=0o755)
        config.storage.chmod(0o711)
        identity.make_key(config.host_key, f"root@{self.name}")
        identity.install(
            config.upper,
            name=self.name,
            machine_id=secrets.token_hex(16),
            host_key=config.host_key,
            login_key=identity.public_key(identity.client_key(self._state)),
            hosts={network.gateway(): network.REGISTRY},
        )

    def _refreshed(self, config: Config) -> Config:
        """``config`` with what may have changed since the last start: cache paths and the address."""
        if not config.root.is_dir():
            raise PinnaceError(
                f"the root file system under {self.name} is gone from the cache: {config.root}",
                hint=f"./inv board destroy {self.name}, and create it again",
            )
        taken = [one.address for one in machine.records()]
        fresh = Config(
            name=config.name,
            directory=config.directory,
            arch=config.arch,
            release=config.release,
            root=config.root,
            emulator=self._emulator(),
            address=network.free_address(config.address, taken),
        )
        fresh.write()
        return fresh

    def _launch(self, config: Config) -> None:
        """Start the supervisor; called with the machine's lock held."""
        starting = [(self.arch, Path(config.emulator))] if config.emulator else []
        try:
            machine.settle(starting)
            if starting:
                binfmt.prove(self.arch)
            network.up()
            config.console.write_bytes(b"")
            with config.console.open("ab") as log:
                process = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        f"{__package__}.supervisor",
                        str(config.directory),
                        self.id,
                    ],
                    cwd="/",
                    env={**os.environ, "PYTHONPATH": str(IMPORTS)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            # It waits for this record.
            machine.write(
                machine.Record(
                    id=self.id,
                    name=self.name,
                    state=str(self._state),
                    arch=config.arch,
                    address=config.address,
                    emulator=config.emulator,
                    supervisor=process.pid,
                    supervisor_started=start_time(process.pid),
                )
            )
        except BaseException:
            machine.settle()
            raise

    def _wait_for_login(self) -> None:
        deadline = time.monotonic() + _BOOT_SECONDS
        problem = "no answer"
        while time.monotonic() < deadline:
            if not self.is_running:
                log = self.config.console.read_text(errors="replace")
                raise PinnaceError(f"{self.name} did not start: {last_line(log)}")
            try:
                # By itself it would outlive us, and the board, when both are ended meanwhile.
                lively = ["-o", "ServerAliveInterval=3", "-o", "ServerAliveCountMax=3"]
                done = subprocess.run(
                    [*self.ssh_command()[:-1], "-o", "BatchMode=yes", "-o", "ConnectTimeout=3", *lively, self.ssh_command()[-1], "true"],
                    stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                    timeout=max(1.0, deadline - time.monotonic()),
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                problem = "a login is taken, and then nothing happens"
                break
            if done.returncode == 0:
                return
            problem = last_line(done.stderr)
            time.sleep(0.2)
        raise PinnaceError(f"{self.name} accepts no login after {_BOOT_SECONDS} s: {problem}")

    def _kill(self) -> None:
        """End what still runs, and take everything away."""
        with machine.locked():
            record = self._record()
            if record is not None:
                _end(record)
                machine.release(record)
            machine.sweep()


def _end(record: machine.Record) -> None:
    if record.alive:
        os.kill(record.supervisor, signal.SIGKILL)
        machine.wait_until(lambda: not record.alive, 5)


def _ask_to_power_off(record: machine.Record) -> None:
    """Have the board's own systemctl ask its systemd; a board that is too broken is killed later."""
    children = Path(f"/proc/{record.launcher}/task/{record.launcher}/children")
    try:
        init = children.read_text().split()[0]
    except (OSError, IndexError):
        return
    inside = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
    subprocess.run(
        ["nsenter", "--target", init, *inside, "--", "systemctl", "--no-block", "poweroff"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_POWEROFF_SECONDS,
        check=False,
    )


def need_machine(what: str, *, yes: bool) -> None:
    """Make sure of Linux, root and the programs for all that boards do; ``what`` needs them."""
    host.need_linux("an emulated board")
    host.need_root(what)
    programs = {
        "ip": "iproute2",
        "ssh": "openssh-client",
        "ssh-keygen": "openssh-client",
        "unshare": "util-linux",
        "nsenter": "util-linux",
        "mount": "mount",
        "mmdebstrap": "mmdebstrap",
    }
    host.need_programs(programs, yes=yes, why="emulated boards")


def _need_fit_disk(path: Path) -> None:
    kind = host.filesystem_type(path)
    if kind in _UNFIT:
        raise MissingPrerequisite(
            f"a board's disk is an overlay, which cannot be kept on {kind} ({path})",
            hint="point XDG_STATE_HOME at a directory on ext4, xfs or btrfs",
        )
    if any(char in str(path) for char in ":,\\"):
        raise MissingPrerequisite(
            f"the path {path} has a colon, comma or backslash, which overlays cannot take",
            hint="point XDG_STATE_HOME elsewhere",
        )


def created_names() -> list[str]:
    """The boards that have a disk, by name."""
    # A name with a dot is a board that makes a snapshot right now.
    found = (path.parent.name for path in state_dir("boards").glob("*/board.json"))
    return sorted(name for name in found if "." not in name)
