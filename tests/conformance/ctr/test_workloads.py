"""What roles declare of images and containers, with real daemons: the words that they give to ctr work."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conformance.ctr.daemons import IMAGE, Daemon, busybox
from tests.images import TestImage
from toolkit.agent.kinds.images import Image as Kind
from toolkit.agent.system import SPOOL, System
from toolkit.resources import Container, Image

pytestmark = [pytest.mark.root, pytest.mark.peer]


def system(daemon: Daemon, root: Path) -> System:
    """A board whose ctr is ours, and reaches this daemon."""

    def run(argv: Sequence[str], _: float) -> tuple[int, str]:
        assert list(argv[:2]) == ["ctr", "-n"]
        words = [f"{root}{word}" if word.startswith(SPOOL) else word for word in argv[3:]]
        done = daemon.ctr(*words)
        return done.returncode, done.stdout + done.stderr

    return System(str(root), run)


def test_an_image_is_brought_and_one_of_another_digest_replaced(
    pinnaced: Daemon, tmp_path: Path
) -> None:
    daemon = pinnaced
    name = "registry.lab/library/preloaded:1"
    kind, board = Kind(), system(daemon, tmp_path)
    (tmp_path / SPOOL.lstrip("/")).mkdir(parents=True)
    for layers in ([], [b""]):
        archive = tmp_path / "image.tar"
        archive.write_bytes(TestImage(layers=layers).layout(name))
        wanted = Image(reference=name, archive=archive).wire()
        [change] = kind.diff(wanted, kind.look(wanted, board))
        assert change.after == wanted["target"]
        assert (change.before == "absent") == (layers == [])
        [(digest, _)] = kind.wants(wanted, [change])
        Path(board.spooled(digest)).write_bytes(archive.read_bytes())
        kind.apply(wanted, board, lambda _: iter(()))
        assert kind.diff(wanted, kind.look(wanted, board)) == []
    assert daemon.ctr("images", "rm", name).returncode == 0


def test_an_archive_of_the_lab_names_its_image(tmp_path: Path) -> None:
    (tmp_path / "busybox.tar").write_bytes(busybox())
    wanted = Image(reference=IMAGE, archive=tmp_path / "busybox.tar").wire()
    assert wanted["target"].startswith("sha256:")


def test_a_container_of_a_unit_runs_as_it_was_declared(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the board\n")
    tmp_path.chmod(0o755)
    script = 'id -u; hostname; pwd; echo "$HELLO 50%"; cat /data/file; touch /data/x /x 2>&1 | grep -c Read-only; ls /sys/class/net | wc -w'
    made = Container(
        container="declared",
        image=IMAGE,
        command=("sh", "-c", script),
        environment={"HELLO": 'a "b" $c'},
        mounts=(f"{tmp_path}:/data:ro",),
        user="33:44",
        hostname="inside",
        directory="/etc",
        memory=64 << 20,
        cpus=0.5,
        read_only=True,
        cap_drop=("MKNOD",),
    )
    [start] = [line for line in made.unit.source.splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(start.partition("=")[2])
    plain = [word.replace("$$", "$").replace("%%", "%") for word in words]
    assert plain[:3] == ["/usr/local/bin/ctr", "-n", "default"]
    done = daemon.ctr(*plain[3:])
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["33", "inside", "/etc", 'a "b" $c 50%', "from the board", "2", "1"]  # fmt: skip
