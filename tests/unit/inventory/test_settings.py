"""Variables are checked on the laptop: type, range, URL, image name, and their spelling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import UsageError
from toolkit.inventory import parser
from toolkit.inventory.settings import Settings, Target, resolve
from toolkit.paths import PROJECT


def settings(lines: str) -> tuple[Target, Settings]:
    return resolve(parser.parse(f"pi\n[g]\npi\n[g:vars]\n{lines}\n", "inv.ini"), "pi")


@pytest.mark.parametrize(
    ("line", "field", "expected"),
    [
        ("sandbox_image=registry.lab/pause:3.10", "sandbox_image", "registry.lab/pause:3.10"),
        ("sandbox_image=localhost:5000/a/b@sha256:" + "0" * 64, "sandbox_image", "localhost:5000/a/b@sha256:" + "0" * 64),
        ("config_version=2", "config_version", 2),
        ("memory_cgroup=no", "memory_cgroup", False),
        ("roles=base,kernel", "roles", ("base", "kernel")),
        ("sysctls={'vm.swappiness': 10}", "sysctls", {"vm.swappiness": "10"}),
        ("snapshotter=native", "snapshotter", "native"),
        ("cgroup_driver=systemd", "cgroup_driver", "systemd"),
    ],
)  # fmt: skip
def test_right_values(line: str, field: str, expected: Any) -> None:
    assert getattr(settings(line)[1], field) == expected


def test_mirrors_are_urls_or_mappings() -> None:
    text = "registry_mirrors={'docker.io': ['http://m:5000/', {'url': 'https://n', 'capabilities': 'pull'}]}"
    first, second = settings(text)[1].registry_mirrors["docker.io"]
    assert (first["url"], first["capabilities"]) == ("http://m:5000", ("pull", "resolve"))
    assert (second["url"], second["capabilities"]) == ("https://n", ("pull",))


def test_connection_variables_and_their_old_names() -> None:
    target, _ = settings(
        "ansible_ssh_host=10.0.0.5\nansible_port=2222\nansible_user=me\njump_host=a,b@c"
    )
    assert target == Target("pi", "10.0.0.5", 2222, "me", None, ("a", "b@c"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sandbox_image=busybox", "it should be a full image name"),
        ("sandbox_image=registry.lab/Pause:1", "it should be a full image name"),
        ("config_version=4", "one of 2, 3"),
        ("config_version=True", "one of 2, 3"),
        ("snapshotter=overlay", "one of overlayfs, native"),
        ("cgroup_driver=cgroupv2", "one of cgroupfs, systemd"),
        ("stream_server_port=70000", "from 0 to 65535"),
        ("stream_server_port=http", "whole number"),
        ("registry_mirrors={'docker.io': ['mirror.example']}", "is not a URL"),
        ("registry_mirrors={'docker.io': ['https://']}", "is not a URL"),
        ("registry_mirrors={'docker.io': ['https://m:99999']}", "is not a URL"),
        ("registry_mirrors={'docker.io': ['https://u:p@m']}", "is not a URL"),
        ("registry_mirrors={'docker.io/library': ['https://m']}", "host name or an IP"),
        ("registry_mirrors={'../etc': ['https://m']}", "host name or an IP"),
        ("registry_mirrors={'docker.io': [{'uri': 'https://m'}]}", "mapping with 'url'"),
        ("registry_mirrors=https://m", "it should be a mapping"),
        ("registry_ca={'r': '/nonexistent.pem'}", "does not exist"),
        ("root=var/lib", "absolute path"),
        ("root=/var/../etc", "absolute path"),
        ("memory_cgroup=perhaps", "true or false"),
        ("hostname=-x", "host name"),
        ("ansible_host=10.0.0.256", "host name or an IP address"),
        ("ansible_port=0", "from 1 to 65535"),
        ("sysctls={'../x': 1}", "kernel parameter"),
        ("ansible_connection=local", "one of ssh"),
        ("ansible_become_method=su", "one of sudo"),
        ("ansible_ssh_common_args=-o ProxyCommand=nc", "only -J and -o ProxyJump"),
    ],
)
def test_wrong_values_name_the_line(line: str, message: str) -> None:
    with pytest.raises(UsageError) as problem:
        settings(line)
    assert problem.value.message.startswith(f"inv.ini:5:1: {line.split('=')[0]} = ")
    assert message in problem.value.message


def test_an_unknown_variable_names_the_nearest() -> None:
    with pytest.raises(UsageError) as problem:
        settings("sandbox_imgae=registry.lab/pause:1")
    assert problem.value.message == "inv.ini:5:1: unknown variable 'sandbox_imgae'"
    assert problem.value.hint == "did you mean 'sandbox_image'?"


def test_jump_hosts_from_options_of_ssh() -> None:
    assert settings("ansible_ssh_common_args=-J a,b@c")[0].jump == ("a", "b@c")
    assert settings("ansible_ssh_common_args='-o ProxyJump=a'")[0].jump == ("a",)


@pytest.mark.parametrize("name", ["ansible_password", "ansible_ssh_pass", "ansible_become_pass"])
def test_a_password_that_stands_there_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(UsageError, match="should name a secret, not be one") as problem:
        settings(f"{name}=hunter22hunter")
    assert "hunter22" not in problem.value.message


def test_passwords_are_named() -> None:
    target, _ = settings(
        "ansible_ssh_pass='!secret env:A'\nansible_become_password='!secret env:B'"
    )
    assert (str(target.password), str(target.become_password)) == ("<secret env:A>", "<secret env:B>")  # fmt: skip


def test_variables_of_others_are_left_alone() -> None:
    assert settings("http_port=80\nfleet_owner=boats") == settings("memory_cgroup=True")


def test_a_variable_of_ansible_without_meaning_here_is_an_error() -> None:
    with pytest.raises(UsageError, match="has no meaning here"):
        settings("ansible_shell_executable=/bin/zsh")


def test_the_sample_inventory_is_right() -> None:
    inventory = parser.load(PROJECT / "inventory.ini")
    assert inventory.members("emulated") == ["emu-armv6l", "emu-armv7l", "emu-arm64", "emu-amd64"]
    target, _ = resolve(inventory, "pi")
    assert (target.address, target.user) == ("raspberrypi.local", "pi")


def test_a_missing_inventory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        parser.load(tmp_path / "none.ini")
