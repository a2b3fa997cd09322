"""The page of a rollout, or of provision, in a real browser: what a person sees, and that hosts cannot write into it."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.rollout.fleet import CHANGED, Simulated
from toolkit.arch import Arch
from toolkit.debian import Archive
from toolkit.errors import HostFailed
from toolkit.provision.converge import Outcome
from toolkit.provision.follow import Follower, Output
from toolkit.report import html
from toolkit.report.events import Event, Status
from toolkit.report.timeline import Timeline
from toolkit.report.together import Told
from toolkit.rollout.batches import amounts, split
from toolkit.rollout.model import Applied, Rules
from toolkit.rollout.runner import Rollout

pytestmark = [pytest.mark.root, pytest.mark.peer]

Browse = Callable[..., str]
_SECONDS = 120


@pytest.fixture(scope="module")
def browse() -> Browse:
    """Open a page in Debian's Chromium; returns the document as it is after its scripts ran."""
    debian = Arch.from_machine(os.uname().machine).facts.debian
    root = Archive("bookworm", debian).unpack(["chromium-headless-shell"], dependencies=True)
    program = next(root.glob("usr/lib/chromium/*headless*shell"))
    libraries = [*root.glob("usr/lib/*-linux-gnu"), *root.glob("lib/*-linux-gnu")]
    pulse = [path / "pulseaudio" for path in libraries]
    environment = {
        "LD_LIBRARY_PATH": ":".join(map(str, [*libraries, *pulse])),
        "HOME": "/nonexistent", "PATH": os.environ["PATH"],
    }  # fmt: skip

    def run(page: Path, *flags: str) -> str:
        words = [str(program), "--headless", "--no-sandbox", "--disable-gpu", *flags, page.as_uri()]
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=True
        )
        return done.stdout

    return run


def _nasty(fleet: Simulated, host: str) -> Applied:
    raise HostFailed(f"{host}: </td><img src=x onerror=\"document.title='taken'\"> & <b>bold</b>")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    hosts = [f"pi-{number}" for number in range(30)]
    timeline = Timeline()
    fleet = Simulated({"pi-7": _nasty, "pi-3": lambda fleet, host: CHANGED})
    Rollout(Rules(tuple(split(hosts, amounts("1,30%", "--batch")))), fleet, timeline).run()
    html.write(tmp_path / "page.html", timeline, "Rollout of boards")
    return tmp_path / "page.html"


def test_every_host_has_its_line_and_hosts_write_nothing(browse: Browse, page: Path) -> None:
    seen = browse(page, "--dump-dom")
    assert len(re.findall(r"<tr>\s*<td>pi-\d+</td>", seen)) == 30
    assert "<title>Rollout of boards</title>" in seen
    assert "onerror" in seen
    assert not re.search(r"<(img|b)\b[^>]*>bold|<img", seen)


def test_it_fits_a_screen_and_is_drawn(browse: Browse, page: Path, tmp_path: Path) -> None:
    shot = tmp_path / "page.png"
    browse(page, f"--screenshot={shot}", "--window-size=1280,900")
    data = shot.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (1280, 900)
    assert len(data) > 20_000  # an empty page is a tenth of this


def test_the_page_of_provision_tells_what_changed_and_how_far_each_host_came(
    browse: Browse, tmp_path: Path
) -> None:
    follower = Follower("provision", ["pi-1", "pi-2"], Output(json=True, html=str(tmp_path / "p.html")), looking=False)  # fmt: skip
    change = ["content", "</li><img src=x>", "b"]
    for host in ("pi-1", "pi-2"):
        follower.hear(Told(host, word=Status.CHANGING))
    data = {"id": "file /etc/x", "changes": [change], "result": "changed"}
    follower.hear(Told("pi-1", word=Event(time.time(), "result", "pi-1", data=data)))
    follower.hear(Told("pi-1", result=Outcome({"ok": 2, "changed": 1}, "plan"), last=True))
    follower.verifying("pi-1")
    follower.ended("pi-1", Outcome({"ok": 2, "changed": 1}, "plan"))
    follower.hear(Told("pi-2", problem=HostFailed("pi-2: the disk is full"), last=True))
    follower.write([])
    seen = browse(tmp_path / "p.html", "--dump-dom")
    assert len(re.findall(r"<tr>\s*<td>pi-[12]</td>", seen)) == 2
    assert re.search(r"<details><summary>1 change, ok 2, changed 1</summary>", seen)
    assert "the disk is full" in seen
    assert "pi-2: the disk" not in seen, "the line is its host's"
    assert 'class="verifying"' in seen
    assert "Batch" not in seen
    assert "<img" not in seen
    shot = tmp_path / "p.png"
    browse(tmp_path / "p.html", f"--screenshot={shot}", "--window-size=1280,600")
    assert len(shot.read_bytes()) > 15_000
