"""The examples of docs/resources.md: each is looked at by the agent, and there is one for every kind."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conformance.resources.cases import archive
from tests.conformance.resources.private_root import converge, counts, run
from toolkit import resources
from toolkit.agent.kinds import KINDS
from toolkit.paths import PROJECT
from toolkit.resources import Resource
from toolkit.secrets.secret import Secret

EXAMPLES = re.findall(r"```python\n(.*?)```", (PROJECT / "docs/resources.md").read_text(), re.S)
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
    (tmp_path / "busybox.tar").write_bytes(archive({"index.json": '{"manifests": []}'}))
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
def test_the_agent_takes_it(example: str, scratch: Path, files: Path) -> None:
    def look() -> None:
        os.makedirs("/boot/firmware", exist_ok=True)
        Path("/boot/firmware/cmdline.txt").write_text("console=tty1\n")
        Path("/usr/local/bin/ctr").unlink()
        os.chdir(files)
        wanted = made(example)
        seen = counts(converge(wanted, mode="check"))
        assert seen["ok"] + seen["changed"] == len(wanted)

    run(scratch, look)
