"""Boards whose clock is wrong: a TLS failure is a sentence about the clock, not about certificates."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.arch import Arch
from toolkit.debian import Archive
from toolkit.lab.authority import Authority
from toolkit.lab.server import RegistryServer
from toolkit.paths import RUNTIME

pytestmark = pytest.mark.peer


@pytest.mark.parametrize(
    ("date", "said"),
    [
        # What a board without a clock shows after power came back: its certificate is of the future.
        ("1970-01-01 00:02:00", "is not valid yet (this machine's clock is wrong: it says 1970-01-01"),
        ("2099-01-01 12:00:00", "has expired (this machine's clock says 2099-01-01 12:00 UTC; if that is right"),
    ],
)  # fmt: skip
def test_a_wrong_clock_is_named(tmp_path: Path, date: str, said: str) -> None:
    authority = Authority(tmp_path / "authority")
    certificate = authority.server(("127.0.0.1",))
    # Debian 12's, because it works with the C library of every Debian and Ubuntu since.
    machine = Arch.from_machine(os.uname().machine)
    unpacked = Archive("bookworm", machine.facts.debian).unpack(["libfaketime"])
    (library,) = unpacked.rglob("faketime/libfaketime.so.1")
    with RegistryServer(tmp_path / "registry", certificate=certificate) as registry:
        certs = tmp_path / "certs"
        certs.mkdir()
        (certs / "ca.crt").write_bytes(authority.ca_certificate().read_bytes())
        words = ["skopeo", "inspect", "--cert-dir", str(certs), f"docker://{registry.host}/a:1"]
        done = subprocess.run(
            [sys.executable, "-m", "pinnace.cli.main", *words],
            env={"PYTHONPATH": str(RUNTIME), "LD_PRELOAD": str(library), "FAKETIME": f"@{date}",
                 "TZ": "UTC", "HOME": str(tmp_path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert said in done.stderr
    assert "the certificate of 127.0.0.1" in done.stderr
    assert done.stderr.count("\n") == 1
