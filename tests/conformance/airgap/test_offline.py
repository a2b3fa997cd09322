"""`./inv bundle --limit` and `provision --offline`, on a real board, from a namespace that reaches only it."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.laptop import Laptop
from toolkit import boards
from toolkit.boards import network
from toolkit.boards.emulated import EmulatedBoard
from toolkit.paths import PROJECT, cache_dir
from toolkit.signing import keys

pytestmark = [pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(900)]

BOARD = "emu-amd64-offline"
_NAMESPACE = f"offline-{os.getpid()}"
_HERE = "10.87.137.9"


class Bench:
    """A board, the laptop that makes bundles, and a way to the board alone."""

    def __init__(self, folder: Path) -> None:
        found = boards.get(BOARD)
        assert isinstance(found, EmulatedBoard)
        found.ensure_started(yes=True)
        self.board, self.folder = found, folder
        # The state of the laptop is its own: signing keys, known hosts.
        self.laptop = Laptop(folder, HOME=str(folder), XDG_STATE_HOME=str(folder), XDG_CACHE_HOME=str(cache_dir().parent))  # fmt: skip

    def hosts(self, **variables: str) -> None:
        about = {"ansible_host": self.board.address, "ansible_user": "pi", "ansible_ssh_private_key_file": str(self.board.ssh_key), **variables}  # fmt: skip
        self.laptop.inventory("pi " + " ".join(f"{name}={value}" for name, value in about.items()))

    def bundle(self, name: str, *words: str) -> Path:
        path = self.folder / name
        done = self.laptop.inv("bundle", "--limit", "pi", "-o", str(path), "--accept-new", *words)
        assert done.returncode == 0, done.stderr
        self.shown = done.stdout
        return path

    def offline(self, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """From where no registry, no mirror and no name server is."""
        command = ["ip", "netns", "exec", _NAMESPACE, sys.executable, "-m", "invoke", "provision"]
        inventory = ["--inventory", str(self.folder / "inventory.ini")]
        return subprocess.run(
            [*command, *inventory, "--offline", str(path), *words], cwd=PROJECT, capture_output=True,
            text=True, check=False, timeout=300, stdin=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "empty"), "COLUMNS": "200"},
        )  # fmt: skip

    def on(self, command: str) -> str:
        words = self.board.ssh_command([shlex.join(["sudo", "sh", "-c", command])])
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout

    def state(self) -> str:
        """What a run that is refused must not have touched."""
        return self.on("dpkg -l | md5sum; find /etc /opt /var/lib/pinnace-agent -type f | sort | xargs md5sum | md5sum")  # fmt: skip


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("offline"))
    outer, inner = f"off{os.getpid() % 100000}", "eth0"
    try:
        _ip("netns", "add", _NAMESPACE)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", _NAMESPACE)
        _ip("link", "set", outer, "master", network.BRIDGE, "up")
        _ip("-n", _NAMESPACE, "address", "add", f"{_HERE}/32", "dev", inner)
        _ip("-n", _NAMESPACE, "link", "set", inner, "up")
        _ip("-n", _NAMESPACE, "route", "add", f"{made.board.address}/32", "dev", inner)
        # The board has no way to the lab registry either.
        made.on("sed -i /registry.lab/d /etc/hosts; rm -rf /var/lib/apt/lists/*")
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", _NAMESPACE], check=False)
        made.board.destroy()


@pytest.fixture(scope="module")
def first(bench: Bench) -> Path:
    bench.hosts(roles="base,runtime", packages="tree")
    return bench.bundle("first.tar")


def test_the_namespace_reaches_nobody_else(bench: Bench) -> None:
    for address in (network.gateway(), "151.101.2.132"):
        code = f"import socket; socket.create_connection(({address!r}, 443), 2)"
        done = subprocess.run(["ip", "netns", "exec", _NAMESPACE, sys.executable, "-c", code], capture_output=True, text=True, check=False)  # fmt: skip
        assert "unreachable" in done.stderr


def test_a_board_that_trusts_nobody_takes_nothing(bench: Bench, first: Path) -> None:
    before = bench.state()
    done = bench.offline(first)
    assert done.returncode == 2
    assert "trusts no signers yet" in done.stderr
    assert bench.state() == before


def test_everything_comes_from_the_file(bench: Bench, first: Path) -> None:
    assert "tree" in bench.shown
    assert "bundle" in bench.shown
    assert bench.bundle("again.tar").read_bytes() == first.read_bytes()
    checked = bench.offline(first, "--accept-new", "--check")
    assert checked.returncode == 3, checked.stderr
    assert bench.on("ls -d /etc/pinnace /opt/pinnace 2>/dev/null; true") == ""
    done = bench.offline(first, "--accept-new")
    assert done.returncode == 0, done.stderr
    assert "pinnace" in bench.on("tree --version >/dev/null && ctr version && cat /etc/pinnace/signing/allowed_signers")  # fmt: skip
    # apt's own lists are as they were: none.
    assert bench.on("ls /var/lib/apt/lists; ls /var/lib/pinnace-agent").split() == ["journal.jsonl", "owed.json", "signed.json", "undo"]  # fmt: skip
    again = bench.offline(first)
    assert "changed=0" in again.stderr


def test_bundles_that_are_not_for_it(bench: Bench, first: Path) -> None:
    before = bench.state()
    eve = bench.folder / "eve"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(eve)], check=True)
    foreign = _changed(first, "foreign.tar", "index.json.sig", lambda index, _: keys.sign(index, keys._of_file(eve)).encode())  # fmt: skip
    swapped = _changed(first, "swapped.tar", "index.json", lambda index, _: index.replace(b'"expires":0', b'"expires":1'))  # fmt: skip
    altered = bench.folder / "altered.tar"
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    altered.write_bytes(data)
    for path, status, why in (
        (foreign, 2, "not signed by anybody this board trusts"),
        (altered, 1, "damaged or was altered"),
        (swapped, 2, "its signature is not good"),
    ):
        done = bench.offline(path)
        assert (done.returncode, why in done.stderr) == (status, True), done.stderr
        assert bench.state() == before


def test_an_older_one_is_refused_after_a_newer(bench: Bench, first: Path) -> None:
    newer = bench.bundle("newer.tar", "--role", "base")
    assert bench.offline(newer).returncode == 0
    done = bench.offline(first)
    assert done.returncode == 2
    assert "nothing was changed" in done.stderr


def _changed(path: Path, name: str, member: str, change: Callable[[bytes, bytes], bytes]) -> Path:
    """A copy of the file with one member as ``change`` makes it of the index and the member."""
    found = {}
    with tarfile.open(path) as tar, tarfile.open(path.with_name(name), "w") as out:
        for info in tar:
            file = tar.extractfile(info)
            assert file is not None
            found[info.name] = file.read()
            if info.name == member:
                found[info.name] = change(found["index.json"], found[info.name])
            info.size = len(found[info.name])
            out.addfile(info, io.BytesIO(found[info.name]))
    return path.with_name(name)
