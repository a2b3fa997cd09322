"""Logins as files keep them, the older keys of ``config.toml``, and what ``config dump`` says of both."""

from __future__ import annotations

import base64
import email.utils
import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pinnace.cli.main import main
from pinnace.daemon import config, registries
from pinnace.errors import Error, InvalidArgument, Unavailable
from pinnace.registry import credentials, transport
from pinnace.registry.auth import IDENTITY
from pinnace.registry.hosts import Host
from pinnace.registry.legacy import Keys
from pinnace.registry.transport import Client
from pinnace.spec.reference import Reference
from tests.fakeregistry import FakeRegistry, Handler
from tests.images import TestImage
from toolkit.paths import PROJECT


def auth(user: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:word".encode()).decode()}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "auth.json"
    path.write_text(
        json.dumps(
            {
                "auths": {
                    "lab.example": auth("host"),
                    "lab.example/team": auth("team"),
                    "lab.example/team/app": auth("app"),
                    "https://index.docker.io/v1/": auth("hub"),
                    "token.example": {"identitytoken": "abc"},
                    "mirror.example:5000": auth("mirror"),
                }
            }
        )
    )
    return path


@pytest.mark.parametrize(
    ("image", "host", "user"),
    [
        ("lab.example/team/app", "lab.example", "app"),
        ("lab.example/team/other", "lab.example", "team"),
        ("lab.example/teams/app", "lab.example", "host"),
        ("docker.io/library/busybox", "registry-1.docker.io", "hub"),
        ("token.example/x", "token.example", IDENTITY),
        ("other.example/x", "other.example", ""),
        ("lab.example/team/app", "mirror.example:5000", "mirror"),
        ("mirror.example/x", "evil.example", ""),
    ],
)
def test_the_longest_key_counts(kept: Path, image: str, host: str, user: str) -> None:
    assert credentials.for_image(Reference(image), [str(kept)])(host)[0] == user


def test_flags_are_for_the_registry_alone() -> None:
    answer = credentials.fixed(Reference("docker.io/x/y"), credentials.Login("me", "word"))
    assert answer("registry-1.docker.io") == ("me", "word")
    assert answer("mirror.example") == ("", "")


def test_logins_are_kept_and_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "new" / "auth.json"
    credentials.store(str(path), "a.example", credentials.Login("me", "w:rd"))
    credentials.store(str(path), "b.example", credentials.Login("you", "x"))
    assert credentials.find("a.example/x", [str(path)]) == ("me", "w:rd")
    assert path.stat().st_mode & 0o777 == 0o600
    assert credentials.erase(str(path), "a.example")
    assert not credentials.erase(str(path), "a.example")
    assert credentials.find("a.example", [str(path)]) is None
    assert credentials.find("b.example", [str(path)]) == ("you", "x")


def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    program = tmp_path / "docker-credential-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"credHelpers": {"lab.example": "test"}, "auths": {}}))
    return path


def test_a_credential_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = '{"ServerURL":"x","Username":"from","Secret":"helper"}'
    path = helper(tmp_path, monkeypatch, f"cat >/dev/null; [ $1 = get ] && echo '{said}'")
    assert credentials.find("lab.example/x", [str(path)]) == ("from", "helper")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo broken; exit 1", "failed for lab.example: broken"),
        ("echo '[]'", "malformed answer"),
    ],
)
def test_a_helper_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    path = helper(tmp_path, monkeypatch, script)
    with pytest.raises(Unavailable, match=why):
        credentials.find("lab.example", [str(path)])


def test_a_helper_that_knows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = helper(tmp_path, monkeypatch, "echo credentials not found in native keychain; exit 1")
    assert credentials.find("lab.example", [str(path)]) is None


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("{", "auth.json"),
        ("[]", "not a JSON object"),
        ({"auths": [1]}, "auths is not an object"),
        ({"auths": {"lab.example": {"auth": "!"}}}, "not valid base64"),
        ({"auths": {"lab.example": {"auth": "eA=="}}}, "has no password"),
        ({"credHelpers": {"lab.example": "../../bin/sh"}}, "not the name of a program"),
        ({"credsStore": "no-such-helper"}, "is not installed"),
    ],
)
def test_damaged_files_of_logins(tmp_path: Path, document: object, why: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(Error, match=why):
        credentials.find("lab.example", [str(path)])


# The older keys.


def keys(**tables: Any) -> Keys:
    return Keys(*(tables.get(name, {}) for name in ("mirrors", "configs", "auths")))


def test_mirrors_come_first_and_the_registry_last() -> None:
    table = {"docker.io": {"endpoint": ["https://m.example:5000/proxy", "http://n.example/v2"]}}
    found = keys(mirrors=table).find("docker.io")
    assert found
    assert [f"{host.url}{host.path}" for host in found.hosts] == [
        "https://m.example:5000/proxy/v2", "http://n.example/v2", "https://registry-1.docker.io/v2",
    ]  # fmt: skip
    assert [host.stands_for for host in found.hosts] == ["docker.io", "docker.io", ""]
    assert "push" not in found.hosts[0].capabilities
    assert "push" in found.hosts[2].capabilities


def test_the_star_is_for_all_others() -> None:
    table = {"*": {"endpoint": ["https://m.example"]}, "a.example": {"endpoint": []}}
    found = keys(mirrors=table)
    assert found.find("b.example").hosts[0].address == "m.example"  # type: ignore[union-attr]
    assert found.find("a.example") is None


def test_tls_and_logins_of_hosts() -> None:
    configs = {
        "m.example": {
            "tls": {"ca_file": "/ca", "cert_file": "/c", "key_file": "/k", "extra": 1},
            "auth": {"username": "me", "password": "word"},
        },
        "docker.io": {"tls": {"insecure_skip_verify": True}, "auth": auth("hub")},
    }
    found = keys(
        mirrors={"docker.io": {"endpoint": ["https://m.example"]}}, configs=configs,
        auths={"https://old.example": {"identitytoken": "t"}},
    )  # fmt: skip
    hosts = found.find("docker.io")
    assert hosts
    assert (hosts.hosts[0].ca, hosts.hosts[0].client) == (("/ca",), (("/c", "/k"),))
    assert [host.skip_verify for host in hosts.hosts] == [False, True]
    assert "extra: not known and ignored" in hosts.warnings[0]
    assert found.login("m.example") == ("me", "word")
    assert found.login("registry-1.docker.io") == ("hub", "word")
    assert found.login("old.example") == (IDENTITY, "t")
    assert found.login("else.example") == ("", "")


@pytest.mark.parametrize(
    ("tables", "why"),
    [
        ({"mirrors": {"a": {"endpoint": "x"}}}, "must be a list"),
        ({"mirrors": {"a": {"endpoint": ["ftp://x"]}}}, "is not a URL"),
        ({"configs": {"a": {"tls": {"ca_file": 1}}}}, "ca_file must be a file"),
        ({"configs": {"a": {"tls": {"insecure_skip_verify": "yes"}}}}, "must be true or false"),
    ],
)
def test_wrong_values_name_their_key(tables: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        keys(**tables).find("a")


def test_config_dump_shows_the_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "certs.d" / "lab.example_5000_"
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text('[host."http://near.example"]\ncapabilities = ["pull"]\n')
    path = tmp_path / "config.toml"
    path.write_text(
        "version = 2\n"
        f'[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{tmp_path}/certs.d"\n'
        '[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\n'
        'endpoint = ["https://m.example"]\n'
    )
    assert main(["pinnaced", "--config", str(path), "config", "dump"]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    at = shown.index(f"# lab.example:5000 ({folder}/hosts.toml)")
    assert shown[at + 1] == "# 1. http://near.example/v2 (pull)"
    assert shown[at + 2] == "# 2. https://lab.example:5000/v2 (pull, push, resolve)"
    assert "# 1. https://m.example/v2 (pull, resolve)" in shown
    # What is shown is what is done.
    resolver = registries.resolver(config.load(str(path)))
    assert [host.address for host in resolver.hosts("docker.io")] == ["m.example", "registry-1.docker.io"]  # fmt: skip
    assert resolver.hosts("lab.example:5000")[0].address == "near.example"


def test_the_examples_of_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What docs/registries.md shows is what these files mean, but for where the files are."""
    page = (PROJECT / "docs" / "registries.md").read_text()
    blocks = [
        "\n".join(line.removeprefix("    ") for line in block.splitlines())
        for block in re.findall(r"(?:^    .*\n)+", page, re.M)
    ]
    server, host, older, dump = blocks
    hosts = f"{server}\n{host}\n"
    assert hosts.startswith("server =")
    folder = tmp_path / "certs.d" / "lab.example"
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(hosts)
    path = tmp_path / "config.toml"
    kept = f'[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "{tmp_path}/certs.d"\n'
    path.write_text(f"version = 3\n{kept}{older}\n")
    assert main(["pinnaced", "--config", str(path), "config", "dump"]) == 0
    shown = capsys.readouterr().out
    at = shown.index("#   docker.io (")
    assert shown[at:].startswith("\n".join(dump.splitlines()[1:]))
    mirror, registry = registries.resolver(config.load(str(path))).hosts("lab.example")
    assert (mirror.address, mirror.ca) == ("mirror.example:5000", (f"{folder}/mirror.crt",))
    assert (registry.address, mirror.capabilities) == ("registry-1.docker.io", {"pull", "resolve"})


# Transport.


def test_no_more_than_so_many_requests_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECTIONS", 3)
    running, most, lock = [0], [0], threading.Lock()

    def slowly(handler: Handler, path: str) -> bool:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.03)
        with lock:
            running[0] -= 1
        return handler.reply(200, b"x")

    with FakeRegistry(TestImage()) as registry:
        registry.faults.append(slowly)
        client = Client(Host("http", registry.host))

        def ask() -> None:
            with client.request("GET", f"http://{registry.host}/x", {}) as response:
                response.document(10)

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
    assert len(registry.requests) == 12
    assert 1 < most[0] <= 3


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("7", 7, 7), ("date", 500, 600), ("x", 0, 0), ("", 0, 0)],
)
def test_retry_after(text: str, low: float, high: float) -> None:
    if text == "date":
        text = email.utils.formatdate(time.time() + 600, usegmt=True)
    assert low <= transport._seconds_until(text) <= high
