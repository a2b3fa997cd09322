"""The examples of docs/resources.md: the agent makes each so, and there is one for every kind."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conformance.resources.cases import archive, image
from tests.conformance.resources.private_root import converge, counts, run, sh
from toolkit import resources
from toolkit.agent.kinds import KINDS
from toolkit.paths import PROJECT
from toolkit.resources import Resource
from toolkit.secrets.secret import Secret

EXAMPLES = re.findall(r"```python\n(.*?)```", (PROJECT / "docs/resources.md").read_text(), re.S)
PREPARE = "mkdir -p /boot/firmware; echo console=tty1 >/boot/firmware/cmdline.txt; mkdir -p /usr/share/zoneinfo/Europe; touch /usr/share/zoneinfo/Europe/Berlin"
COMPOSE = "services:\n  web:\n    image: busybox\n    network_mode: host\n    command: httpd -f\n"


class Named:
    """Gives every secret that an example asks for."""

    def secret(self, name: str) -> Secret:
        return Secret(f"test:{name}", lambda: b"correct horse")


def made(example: str) -> Sequence[Resource]:
    """The resources of an example, which names files of the working directory."""
    names = {name: getattr(resources, name) for name in resources.__all__}
    found = eval(example.strip(), {"Path": Path, "board": Named(), **names})
    return [found] if isinstance(found, Resource) else list(found)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bundle.tar.gz").write_bytes(archive({"bin/ctr": ""}))
    (tmp_path / "busybox.tar").write_bytes(image("docker.io/library/busybox:latest"))
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("files")
def test_there_is_one_for_every_kind_and_every_class() -> None:
    found = [resource for example in EXAMPLES for resource in made(example)]
    assert {resource.kind for resource in found} == set(KINDS)
    classes = {one for one in vars(resources).values() if inspect.isclass(one) and issubclass(one, Resource)}  # fmt: skip
    assert {type(resource) for resource in found} == classes - {Resource}


@pytest.mark.root
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: re.match(r"\W*(\w+)", text)[1])
def test_the_agent_makes_it_so(example: str, scratch: Path, files: Path) -> None:
    def scenario() -> None:
        sh(PREPARE)
        os.chdir(files)
        wanted = made(example)
        if wanted[0].kind == "link":
            sh("rm /usr/local/bin/ctr")  # that of the stand-ins is in its place
        if wanted[0].kind == "authorized_key":
            sh("useradd -m ann")
        looked = counts(converge(wanted, mode="check"))
        assert looked["ok"] + looked["changed"] == len(wanted)
        if wanted[0].kind == "sysctl":
            return  # the parameter of the page is this machine's
        assert counts(converge(wanted)) == looked
        assert counts(converge(wanted)) == {"ok": len(wanted), "changed": 0, "failed": 0}

    run(scratch, scenario)
