"""`./inv bundle --limit` and `provision --offline`, on a real board, from a namespace that reaches only it."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.airgap.bench import NAMESPACE, SECRET, Bench
from toolkit.boards import network
from toolkit.signing import keys

pytestmark = [pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def first(bench: Bench) -> Path:
    bench.hosts(roles="base,registry,runtime,agent", packages="tree", follow_confirm=60)
    return bench.bundle("first.tar")


def test_the_namespace_reaches_nobody_else(bench: Bench) -> None:
    for address in (network.gateway(), "151.101.2.132"):
        code = f"import socket; socket.create_connection(({address!r}, 443), 2)"
        done = subprocess.run(["ip", "netns", "exec", NAMESPACE, sys.executable, "-c", code], capture_output=True, text=True, check=False)  # fmt: skip
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
    # The secret came beside the file.
    assert SECRET in bench.on("cat /etc/pinnace/conf.d/*")
    assert SECRET.encode() not in first.read_bytes()
    assert SECRET not in done.stdout + done.stderr
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
