"""What resources refuse while they are declared, and what a compose file becomes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.errors import PinnaceError, UsageError
from toolkit.resources import (
    AuthorizedKey,
    Container,
    KernelCmdline,
    Line,
    Mount,
    Package,
    Resource,
    Swap,
    Timezone,
    Unit,
    User,
    compose,
)
from toolkit.resources.workloads import quoted


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda: Line(path="/x", match="(", line="a"), "match="),
        (lambda: Line(path="/x", match="a", line="a\nb"), "not one line"),
        (lambda: Unit(unit="../x.service"), "not a file name"),
        (lambda: Unit(unit="x.service", dropins={"a": ""}), "end in .conf"),
        (lambda: KernelCmdline(parameters=("a b",)), "not one word"),
        (lambda: Timezone(zone="../../etc/shadow"), "tz database"),
        (lambda: User(user="Ann"), "not a name"),
        (lambda: User(user="ann", shell="/bin/sh\nroot2::0:0::/:/bin/sh"), "/etc/passwd"),
        (lambda: AuthorizedKey(user="ann", key="hello"), "public key"),
        (lambda: AuthorizedKey(user="ann", key="ssh-rsa AAAA a\nssh-rsa AAAA b"), "public key"),
        (lambda: Mount(path="/", source="x"), "path to mount at"),
        (lambda: Swap(size=5000), "whole pages"),
        (lambda: Container(container="a/b", image="x"), "a name has"),
        (lambda: Container(container="a", image="x", mounts=("a:b",)), "mount 'a:b'"),
        (lambda: Container(container="a", image="x", network="bridge"), "network="),
    ],
)
def test_a_mistake_is_said_on_the_laptop(declare: Callable[[], Resource], said: str) -> None:
    with pytest.raises(UsageError) as problem:
        declare()
    assert said in problem.value.message


def test_what_is_not_a_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.deb").write_text("no")
    with pytest.raises(PinnaceError, match=r"x\.deb is not a Debian package"):
        Package(debs=(tmp_path / "x.deb",)).wire()


def test_words_reach_the_container_as_they_are() -> None:
    assert quoted('a "b" \\ $HOME 50%\n') == '"a \\"b\\" \\\\ $$HOME 50%%\\n"'


COMPOSE = """
name: home
services:
  web:
    image: nginx
    network_mode: host
    depends_on: [db]
    environment: [A=1, "B=x=y"]
    volumes: ["/srv/www:/usr/share/nginx/html:ro"]
    mem_limit: 64m
    restart: unless-stopped
    x-note: ignored
  db:
    image: registry.lab:5000/db@sha256:00
    command: serve --port "1 2" '$$HOME $$$$'
    environment: {N: 3}
"""


def test_a_compose_file_becomes_containers_in_order(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(COMPOSE)
    db, web = compose(path)
    assert (db.container, db.image, db.command) == ("home-db", "registry.lab:5000/db@sha256:00", ("serve", "--port", "1 2", "$HOME $$"))  # fmt: skip
    assert (db.restart, db.network, db.environment) == ("no", "none", {"N": "3"})
    assert (web.image, web.memory, web.environment) == ("docker.io/library/nginx:latest", 64 << 20, {"A": "1", "B": "x=y"})  # fmt: skip
    text = web.unit.source
    assert "After=pinnaced.service container-home-db.service" in text
    assert "Restart=always" in text
    assert '"--mount=type=bind,src=/srv/www,dst=/usr/share/nginx/html,options=rbind:ro"' in text
    assert web.handlers[0].unit == "container-home-web.service"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services: {a: {image: x, ports: ['80:80']}}", "services.a.ports is not supported"),
        ("services: {a: {image: x}}\nnetworks: {}", "networks is not supported"),
        ("services: {a: {build: .}}", "services.a.image"),
        ("services: {a: {image: x, volumes: ['data:/x']}}", "services.a.volumes"),
        ("services: {a: {image: x, environment: [SECRET]}}", "services.a.environment.SECRET"),
        (
            "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}}",
            "depends on",
        ),
        ("services: {a: {image: 'x:$TAG'}}", "services.a.image has the variable $TAG"),
        ("services: {a: {image: x, command: [$$$A]}}", "services.a.command has the variable $A"),
        ("services: [", "compose.yaml"),
        ("a: 1", "no services"),
    ],
)
def test_what_would_not_work_is_an_error_that_names_it(tmp_path: Path, text: str, said: str) -> None:  # fmt: skip
    path = tmp_path / "compose.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as problem:
        list(compose(path))
    assert said in problem.value.message
