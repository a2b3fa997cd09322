"""Rendered templates, read back by the parsers of what they are."""

from __future__ import annotations

import configparser
import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pinnace.daemon import config as daemon_config
from pinnace.daemon.registries import _keys
from roles.runtime import LOGINS
from toolkit.errors import PinnaceError
from toolkit.inventory.settings import Settings
from toolkit.resources.templates import render, template, toml
from toolkit.secrets.secret import Secret


def values(**more: Any) -> dict[str, Any]:
    settings = Settings()
    return {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)} | more


def config(**more: Any) -> dict[str, Any]:
    return tomllib.loads(render("config.toml.j2", **values(**more)))


def test_config_version_2_has_the_places_of_containerd_1() -> None:
    found = config(config_version=2, sandbox_image="r.lab/pause:1", cgroup_driver="systemd")
    cri = found["plugins"]["io.containerd.grpc.v1.cri"]
    assert found["version"] == 2
    assert cri["sandbox_image"] == "r.lab/pause:1"
    assert cri["registry"]["config_path"] == "/etc/pinnace/certs.d"
    assert cri["containerd"]["snapshotter"] == "overlayfs"
    assert cri["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is True
    assert cri["stream_server_port"] == "0"


def test_config_version_3_has_the_places_of_containerd_2() -> None:
    found = config(config_version=3, sandbox_image="r.lab/pause:1", snapshotter="native")
    images = found["plugins"]["io.containerd.cri.v1.images"]
    runtime = found["plugins"]["io.containerd.cri.v1.runtime"]
    assert found["version"] == 3
    assert images["pinned_images"]["sandbox"] == "r.lab/pause:1"
    assert images["snapshotter"] == "native"
    assert images["registry"]["config_path"] == "/etc/pinnace/certs.d"
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is False


@pytest.mark.parametrize("version", [2, 3])
def test_the_daemon_takes_every_key(version: int, tmp_path: Any) -> None:
    path = tmp_path / "config.toml"
    path.write_text(render("config.toml.j2", **values(config_version=version, log_level="debug")))
    found = daemon_config.load(str(path))
    assert found.warnings == ()
    assert (found["sandbox_image"], found["log_level"]) == (Settings().sandbox_image, "debug")


def test_hosts_toml_names_mirrors_in_order_with_their_own_authority() -> None:
    base = {"skip_verify": False, "override_path": False, "capabilities": ("pull", "resolve")}
    mirrors = [
        {**base, "url": "https://near:5000", "ca": "/etc/pinnace/certs.d/near:5000/ca.crt"},
        {**base, "url": "http://far/v2/x", "ca": "", "skip_verify": True, "override_path": True},
    ]
    found = tomllib.loads(render("hosts.toml.j2", registry="docker.io", mirrors=mirrors, ca=""))
    assert found == {
        "server": "https://registry-1.docker.io",
        "host": {
            "https://near:5000": {
                "capabilities": ["pull", "resolve"],
                "ca": "/etc/pinnace/certs.d/near:5000/ca.crt",
            },
            "http://far/v2/x": {
                "capabilities": ["pull", "resolve"],
                "skip_verify": True,
                "override_path": True,
            },
        },
    }


def test_hosts_toml_of_a_registry_with_its_own_authority() -> None:
    found = tomllib.loads(render("hosts.toml.j2", registry="r.lab", mirrors=[], ca="/ca.crt"))
    assert found == {"server": "https://r.lab", "ca": "/ca.crt"}


def test_the_default_namespace_has_no_server() -> None:
    assert tomllib.loads(render("hosts.toml.j2", registry="_default", mirrors=[], ca="")) == {}


@pytest.mark.parametrize("name", ["pinnaced.service.j2", "pinnace-keeper.service.j2"])
def test_units_notify_delegate_and_leave_containers_alone(name: str) -> None:
    text = render(name, current="/opt/x", config="/c", state="/run/p", runtime_directory="p")
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    assert unit["Service"]["Type"] == "notify"
    assert unit["Service"]["Delegate"] == "yes"
    assert unit["Service"]["KillMode"] == "process"
    assert unit["Service"]["ExecStart"].startswith("/opt/x/bin/pinnace")


def test_the_daemon_starts_after_the_keeper() -> None:
    text = render("pinnaced.service.j2", current="/opt/x", config="/c", state="/run/p")
    assert "After=network.target local-fs.target pinnace-keeper.service" in text


def test_crictl_finds_the_socket() -> None:
    text = render("crictl.yaml.j2", socket="/run/pinnace/pinnace.sock")
    assert "runtime-endpoint: unix:///run/pinnace/pinnace.sock\n" in text


def test_a_name_that_is_not_given_is_an_error() -> None:
    with pytest.raises(PinnaceError, match=r"templates/crictl.yaml.j2: 'socket' is undefined"):
        render("crictl.yaml.j2")


@pytest.mark.parametrize(
    "value", ['quo"te', "back\\slash", "tab\there", "ünïcode", "", True, 7, ["a", "b"]]
)
def test_toml_values_are_read_back(value: Any) -> None:
    assert tomllib.loads(f"x = {toml(value)}")["x"] == value


@pytest.mark.parametrize("version", [2, 3])
def test_the_daemon_finds_the_logins_of_registries(version: int, tmp_path: Path) -> None:
    """Beside the configuration, as provision puts them there, and after it."""
    password = Secret("test:login", lambda: b'p"ss\\w\xc3\xb6rd')
    token = Secret("test:token", lambda: b"identity")
    auth = {
        "r.example:5000": {"username": "pi", "password": password},
        "docker.io": {"identitytoken": token},
    }
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "config.toml").write_text(render("config.toml.j2", **values(config_version=version)))  # fmt: skip
    [content] = template(LOGINS, "registry-auth.toml.j2", **values(config_version=version, registry_auth=auth)).contents  # fmt: skip
    (tmp_path / "conf.d" / "50-registry-auth.toml").write_bytes(content.data)
    found = daemon_config.load(str(tmp_path / "config.toml"))
    assert found.warnings == ()
    keys = _keys(found)
    assert keys.login("r.example:5000") == ("pi", 'p"ss\\wörd')
    assert keys.login("registry-1.docker.io")[1] == "identity"
    assert keys.login("other.example") == ("", "")
