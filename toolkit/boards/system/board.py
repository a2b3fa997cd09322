"""The second tier: a whole machine in QEMU. Needs no root, and nothing installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from toolkit import console, debian, host
from toolkit.boards import capability, identity
from toolkit.boards.board import Board
from toolkit.boards.machine import wait_until
from toolkit.boards.system import (
    exported,
    firmware,
    login,
    network_card,
    overlay,
    quiet,
    shell,
    snapshots,
    tools,
)
from toolkit.boards.system.image import Image, build
from toolkit.boards.system.launch import Run, free_port
from toolkit.boards.system.model import Model
from toolkit.boards.system.qmp import Monitor
from toolkit.errors import PinnaceError, UsageError
from toolkit.paths import IMPORTS, state_dir
from toolkit.process import last_line, start_time

_RESTORE_SECONDS = 180
"""Half a minute and two seconds on an idle machine; these are for a loaded one."""

_QUIET_SECONDS = 30
_POWEROFF_SECONDS = 180
_END_SECONDS = 20

_PROGRAMS = {"ssh": "openssh-client", "ssh-keygen": "openssh-client", "setpriv": "util-linux"}


@dataclass(frozen=True, slots=True)
class _Disk:
    """What a created board has: its image, its writable layer, and whether that was ever used.

    ``system``: whose kernel it is like, where that is not Debian's (toolkit.boards.system.firmware).
    """

    image: str
    layer: str
    fresh: bool
    system: str = ""


class SystemBoard(Board):
    """A board of the tier ``sys``; see :class:`~toolkit.boards.board.Board`.

    Its directory::

        board.json      the image and the layer of the disk that it writes to
        layer-*.qcow2   layers of its disk
        snapshots/TAG/  its own snapshots
        run.json        while it runs: the supervisor, its sockets, its port
        console.log     the serial console, over all its lives
    """

    def __init__(self, name: str, model: Model) -> None:
        self.name = name
        self.model = model
        self.arch = model.arch
        self.release = model.release
        self._directory = state_dir("boards") / name

    # -- what it is ----------------------------------------------------------------------------

    @property
    def tier(self) -> str:
        return "system"

    @property
    def cpu(self) -> str:
        return self.model.cpu

    @property
    def kernel(self) -> str:
        return self.model.kernel

    @property
    def shows(self) -> frozenset[str]:
        return capability.FULL_SYSTEM

    @property
    def is_created(self) -> bool:
        return (self._directory / "board.json").exists()

    @property
    def is_running(self) -> bool:
        run = self._run()
        return run is not None and run.alive

    @property
    def address(self) -> str:
        return "127.0.0.1"

    @property
    def ssh_port(self) -> int:
        run = self._run()
        return run.port if run else 22

    @property
    def ssh_key(self) -> Path:
        return self._image.login_key

    @property
    def host_key(self) -> str:
        return identity.public_key(self._image.host_key)

    @property
    def known_hosts(self) -> Path:
        path = self._directory / "known_hosts"
        line = f"{self.name} {self.host_key}\n"
        if not path.exists() or path.read_text() != line:
            path.write_text(line)
        return path

    @property
    def console(self) -> Path:
        """What the board wrote on its serial console, over all its lives."""
        return self._directory / "console.log"

    @property
    def console_socket(self) -> Path:
        """The socket of its serial console, while it runs."""
        return self._running().serial

    @property
    def snapshot_tags(self) -> list[str]:
        return sorted(path.parent.name for path in self._directory.glob("snapshots/*/memory"))

    # -- what can be done with it --------------------------------------------------------------

    @property
    def machine(self) -> str:
        return self.model.label

    def create(self, *, yes: bool = False, system: str = "", image: Path | None = None) -> None:
        firmware.checked(system)
        need_machine(yes=yes)
        with self._locked():
            if self.is_created:
                self._need_system(system)
                console.line("skipped", f"create {self.name}", "exists already")
                return
            tools.check_qemu(self.model.program)
            made = exported.checked(image, self.model.label) if image else build(self.model)
            with console.step(f"create {self.name}") as step:
                shutil.rmtree(self._directory, ignore_errors=True)
                self._directory.mkdir(mode=0o700)
                try:
                    self._new_layer(made.folder, *exported.backing(made.folder), fresh=True)
                    self._write_disk(replace(self._disk(), system=system))
                except BaseException:
                    shutil.rmtree(self._directory, ignore_errors=True)
                    raise
                step.detail = f"Debian {self.release} {self.arch.facts.debian}"
                step.detail += f" as {system}" if system else ""
                step.detail += f" from {image}" if image else ""

    def start(self, *, yes: bool = False, cold: bool = False) -> None:
        """Start it: a new board from the snapshot of a booted one, any other, or when ``cold``, by booting."""
        disk = self._disk()
        need_machine(yes=yes)
        with self._locked():
            if self.is_running:
                console.line("skipped", f"start {self.name}", f"runs, port {self.ssh_port}")
                return
            self._forget_run()
            if disk.fresh and not cold and not disk.system:
                self._restore(self._booted(Path(disk.image)), f"start {self.name}")
            else:
                with console.step(f"boot {self.name}") as step:
                    self._boot()
                    step.detail = f"port {self.ssh_port}"

    def stop(self) -> None:
        run = self._run()
        if run is None:
            console.line("skipped", f"stop {self.name}", "does not run")
            return
        with console.step(f"stop {self.name}") as step:
            if run.alive:
                login.power_off(self, run)
                if not wait_until(lambda: not run.alive, _POWEROFF_SECONDS):
                    step.detail = "did not power off in time; killed"
                    self._quit(run)
            self._end(run)

    def destroy(self) -> None:
        run = self._run()
        if run is not None:
            self._end(run)
        if not self._directory.exists():
            console.line("skipped", f"destroy {self.name}", "does not exist")
            return
        with console.step(f"destroy {self.name}"):
            shutil.rmtree(self._directory)
            (state_dir("boards") / f"{self.name}.lock").unlink(missing_ok=True)

    def snapshot(self, tag: str = "kept") -> None:
        run, target = self._running(), self._snapshot(tag)
        with console.step(f"snapshot {self.name} as {tag}") as step:
            scratch = target.with_name(f"{tag}.part")
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            if self.model.late_network:
                network_card.take_out(self, run)
            try:
                self._save(run, scratch)
            except BaseException:
                if self.model.late_network and run.alive:
                    network_card.put_back(run)
                raise
            shutil.rmtree(target, ignore_errors=True)
            scratch.rename(target)
            step.detail = f"{snapshots.memory(target).stat().st_blocks // 2048} MiB"
        self._restore(target, f"resume {self.name}")

    def export(self, target: Path) -> None:
        disk = self._disk()
        if self.is_running:
            raise UsageError(f"{self.name} runs", hint=f"./inv board stop {self.name}")
        with console.step(f"export {self.name}") as step:
            size = exported.write(target, self.model.label, self._image, Path(disk.layer))
            step.detail = f"{target}, {size >> 20} MiB"

    def restore(self, tag: str = "") -> None:
        if not tag and self._disk().system:
            self._renew()
            return
        target = self._snapshot(tag) if tag else self._booted(Path(self._disk().image))
        if not snapshots.memory(target).exists():
            raise UsageError(
                f"{self.name} has no snapshot {tag!r}",
                hint=f"it has: {', '.join(self.snapshot_tags) or 'none'}",
            )
        run = self._run()
        if run is not None:
            self._end(run)
        self._restore(target, f"restore {self.name}")

    def _renew(self) -> None:
        """Boot it with an empty disk: the snapshot in the cache is one of Debian's kernel as it is."""
        run = self._run()
        if run is not None:
            self._end(run)
        folder = self._image.folder
        self._new_layer(folder, *exported.backing(folder), fresh=True)
        with console.step(f"boot {self.name} anew"):
            self._boot()

    def _need_system(self, system: str) -> None:
        found = self._disk().system
        if system and found != system:
            raise UsageError(
                f"{self.name} exists, as {found or 'Debian'}",
                hint=f"./inv board destroy {self.name}, and create it as {system}",
            )

    def reset(self) -> None:
        run = self._running()
        with console.step(f"reset {self.name}"):
            with Monitor(run.monitor) as monitor:
                monitor.execute("system_reset")
            self._wait_for_login(self.model.boot_seconds)

    def power_cut(self, *, kept: float = 0.0, seed: int = 0) -> None:
        run = self._running()
        with console.step(f"power-cut {self.name}") as step:
            run.loss.write_text(json.dumps({"kept": kept, "seed": seed}))
            os.kill(int(run.qemu_pid.read_text()), signal.SIGKILL)
            if not wait_until(lambda: not run.alive, _END_SECONDS):
                raise PinnaceError(f"the supervisor of {self.name} did not end")
            step.detail = last_line((self._directory / "supervisor.log").read_text())
            self._end(run)

    # -- steps ---------------------------------------------------------------------------------

    def _booted(self, folder: Path) -> Path:
        """The snapshot of a booted machine of this kind; boots one when there is none yet."""

        def boot(target: Path) -> None:
            maker = SystemBoard(f"{self.name}.booting", self.model)
            maker._make_booted(folder, target)

        return snapshots.booted(self.model, Image(folder), boot)

    def _make_booted(self, folder: Path, target: Path) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(mode=0o700)
        try:
            self._new_layer(folder, *exported.backing(folder), fresh=True)
            with console.step(f"boot sys-{self.model.label}, to be kept") as step:
                if self.model.late_network:
                    self._boot_alone()
                else:
                    self._boot()
                    login.settle(self)
                step.say("waiting until it is quiet")
                quiet.wait(int(self._running().qemu_pid.read_text()), _QUIET_SECONDS)
                step.say("snapshot")
                self._save(self._running(), target)
                step.detail = f"{snapshots.memory(target).stat().st_blocks // 2048} MiB"
        finally:
            run = self._run()
            if run is not None:
                self._end(run)
            shutil.rmtree(self._directory, ignore_errors=True)

    def _boot(self) -> None:
        self._used()
        self._launch("")
        self._wait_for_login(self.model.boot_seconds)

    def _boot_alone(self) -> None:
        """Boot it without its network card, with which it cannot be kept."""
        self._used()
        self._launch("", alone=True)
        run = self._running()
        # On a loaded machine it takes QEMU its time to make its sockets.
        wait_until(lambda: run.serial.exists() or not run.alive, self.model.boot_seconds)
        try:
            shell.settle(run.serial, self.model.boot_seconds)
        except PinnaceError as problem:
            words = login.last_words(self.console)
            raise PinnaceError(f"{self.name} did not start: {problem}", hint=words) from None

    def _restore(self, folder: Path, title: str) -> None:
        with console.step(title) as step:
            self._new_layer(Path(self._disk().image), snapshots.disk(folder), "qcow2", fresh=False)
            self._launch(str(snapshots.memory(folder)))
            self._wait_for_login(_RESTORE_SECONDS)
            step.detail = f"port {self.ssh_port}"

    def _save(self, run: Run, folder: Path) -> None:
        """Keep the running machine in ``folder``; it does not run afterwards."""
        snapshots.save(run.monitor, snapshots.memory(folder))
        if not wait_until(lambda: not run.alive, _END_SECONDS):
            raise PinnaceError(f"QEMU of {self.name} did not end after its snapshot")
        self._end(run)
        layer = Path(run.disk)
        overlay.freeze(layer)
        layer.rename(snapshots.disk(folder))

    def _launch(self, incoming: str, *, alone: bool = False) -> None:
        disk = self._disk()
        folder = tempfile.mkdtemp(prefix="pinnace-", dir=os.environ.get("XDG_RUNTIME_DIR"))
        run = Run(
            label=self.model.label,
            image=disk.image,
            disk=disk.layer,
            folder=folder,
            console=str(self.console),
            port=free_port(),
            incoming=incoming,
            alone=alone,
            system=disk.system,
        )
        run.write(self._record)
        # The toolkit's own modules first, then what whoever started us added.
        paths = [str(IMPORTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        with (self._directory / "supervisor.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.supervisor", str(self._record)],
                cwd="/",
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started = replace(run, supervisor=process.pid, supervisor_started=start_time(process.pid))
        started.write(self._record)

    def _wait_for_login(self, seconds: float) -> None:
        """Return when the board takes a command; end a board that does not, and show its last words."""
        run = self._running()
        try:
            login.wait(self, run, seconds)
        except BaseException:
            self._end(run)
            raise

    def _new_layer(self, folder: Path, backing: Path, kind: str, *, fresh: bool) -> None:
        """Give the board an empty layer over ``backing``; the one it had before goes."""
        old = self._disk().layer if self.is_created else ""
        layer = self._directory / f"layer-{time.time_ns()}.qcow2"
        overlay.create(layer, backing, kind)
        system = self._disk().system if self.is_created else ""
        self._write_disk(_Disk(str(folder), str(layer), fresh, system))
        if old:
            Path(old).unlink(missing_ok=True)

    def _used(self) -> None:
        self._write_disk(replace(self._disk(), fresh=False))

    def _write_disk(self, disk: _Disk) -> None:
        values = asdict(disk)
        scratch = self._directory / "board.json.new"
        scratch.write_text(json.dumps(values, indent=2) + "\n")
        scratch.replace(self._directory / "board.json")

    def _disk(self) -> _Disk:
        try:
            return _Disk(**json.loads((self._directory / "board.json").read_text()))
        except FileNotFoundError:
            raise UsageError(
                f"{self.name} does not exist", hint=f"./inv board create {self.name}"
            ) from None
        except (ValueError, TypeError) as problem:
            raise PinnaceError(
                f"{self._directory / 'board.json'} is damaged: {problem}",
                hint=f"./inv board destroy {self.name}",
            ) from None

    @property
    def _image(self) -> Image:
        found = Image(Path(self._disk().image))
        if not found.login_key.exists():
            raise PinnaceError(
                f"the image under {self.name} is gone from the cache: {found.folder}",
                hint=f"./inv board destroy {self.name}, and create it again",
            )
        return found

    def _snapshot(self, tag: str) -> Path:
        if not tag.replace("-", "").isalnum():
            raise UsageError(f"a snapshot's name has letters, digits and dashes, not {tag!r}")
        return self._directory / "snapshots" / tag

    @property
    def _record(self) -> Path:
        return self._directory / "run.json"

    def _run(self) -> Run | None:
        return Run.read(self._record)

    def _running(self) -> Run:
        run = self._run()
        if run is None or not run.alive:
            raise UsageError(f"{self.name} does not run", hint=f"./inv board start {self.name}")
        return run

    def _forget_run(self) -> None:
        """Take away what a board left that ended by itself, or with the machine."""
        run = self._run()
        if run is not None:
            self._end(run)

    def _quit(self, run: Run) -> None:
        """Have QEMU write what the disk's cache holds, and end."""
        with suppress(PinnaceError), Monitor(run.monitor) as monitor:
            monitor.execute("quit")
            wait_until(lambda: not run.alive, _END_SECONDS)

    def _end(self, run: Run) -> None:
        """End what still runs, QEMU with its supervisor, and forget the run."""
        if run.alive:
            with suppress(ProcessLookupError):
                os.kill(run.supervisor, signal.SIGKILL)
            wait_until(lambda: not run.alive, _END_SECONDS)
        shutil.rmtree(run.folder, ignore_errors=True)
        self._record.unlink(missing_ok=True)


def need_machine(*, yes: bool) -> None:
    """Make sure of Linux, apt and the few everyday programs that boards use."""
    host.need_linux("a full-system board")
    debian.need_apt()
    host.need_programs(_PROGRAMS, yes=yes, why="full-system boards")
