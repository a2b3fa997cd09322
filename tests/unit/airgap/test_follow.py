"""Artifacts of a registry, and the agent as a file."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from toolkit.agent.errors import AgentError
from toolkit.agent.follow import artifact
from toolkit.agent.follow.memory import Memory
from toolkit.agent.system import System
from toolkit.follow import program

DIGEST = "sha256:" + 64 * "a"


def _release(**changes: object) -> bytes:
    good = json.loads(artifact.release((DIGEST, 10), (DIGEST, 20), {"b" * 64: 30}))
    return json.dumps({**good, **changes}).encode()


def test_a_release_says_where_its_index_is() -> None:
    assert artifact.parts(_release()) == ((DIGEST, 10), (DIGEST, 20))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"[" * 100_000,
        _release(artifactType="application/vnd.oci.image.config.v1+json"),
        _release(config={"mediaType": artifact.INDEX, "digest": "md5:x", "size": 1}),
        _release(config={"mediaType": artifact.INDEX, "digest": DIGEST, "size": 1 << 40}),
        _release(config={"mediaType": artifact.INDEX, "digest": DIGEST, "size": -1}),
        _release(config={"mediaType": artifact.INDEX, "digest": DIGEST, "size": "many"}),
        _release(layers=[]),
        _release(layers=[{"mediaType": artifact.CONTENT, "digest": DIGEST, "size": 1}]),
        _release(layers=[{"mediaType": artifact.SIGNATURE, "digest": DIGEST, "size": 1 << 20}]),
    ],
)
def test_everything_else_is_no_release(data: bytes) -> None:
    with pytest.raises(AgentError, match=r"not a release of ours|of a size that none has"):
        artifact.parts(data)


def test_statuses_there_and_back() -> None:
    data = artifact.status(b'{"a":1}', DIGEST, DIGEST, "signature")
    assert artifact.read_status(data) == (b'{"a":1}', "signature")
    for wrong in (b"[]", b"{}", _release(), data.replace(b"eyJhIjoxfQ==", b"!!!")):
        with pytest.raises(ValueError, match=r"."):
            artifact.read_status(wrong)


def test_the_agent_is_a_program_of_its_own(tmp_path: Path) -> None:
    """Isolated, without site packages: the standard library is all it may use."""
    path = tmp_path / "agent.pyz"
    path.write_bytes(program.archive())
    modules = [name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in zipfile.ZipFile(io.BytesIO(program.archive())).namelist() if name != "__main__.py"]  # fmt: skip
    code = f"import sys; sys.path[:0] = [{str(path)!r}]\nfor name in {modules!r}: __import__(name)"
    subprocess.run([sys.executable, "-I", "-S", "-B", "-c", code], check=True, cwd=tmp_path)
    assert program.archive.__wrapped__() == program.archive()


def test_a_damaged_memory_is_none(tmp_path: Path) -> None:
    memory = Memory(System(str(tmp_path)))
    memory.set(phase="done", manifest="x")
    assert Memory(System(str(tmp_path))).phase == "done"
    path = tmp_path / "var/lib/pinnace-agent/follow.json"
    for text in ("{", "[]", ""):
        path.write_text(text)
        assert Memory(System(str(tmp_path))).phase == ""
