"""hosts.toml, Docker's certs.d, and what a registry's hosts are without either."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinnace.errors import InvalidArgument
from pinnace.registry import hosts

FULL = """
server = "https://registry.example"
ca = "upstream.pem"

[host."https://mirror.example:5000"]
  capabilities = ["pull", "resolve"]
  ca = ["/etc/ca.pem", "own.pem"]
  client = [["a.cert", "a.key"], ["b.pem", ""]]
  skip_verify = true
  dial_timeout = "500ms"
  [host."https://mirror.example:5000".header]
    x-token = "1"
    x-many = ["2", "3"]

[host."http://cache.example/prefix"]
[host."https://proxy.example/api/docker"]
  override_path = true
  surprise = 1
"""


def write(tmp_path: Path, text: str, name: str = "registry.example") -> Path:
    path = tmp_path / name / "hosts.toml"
    path.parent.mkdir()
    path.write_text(text)
    return path


def test_every_field(tmp_path: Path) -> None:
    path = write(tmp_path, FULL)
    found = hosts.find("registry.example", [str(tmp_path)])
    mirror, cache, proxy, upstream = found.hosts
    assert (mirror.url, mirror.path) == ("https://mirror.example:5000", "/v2")
    assert mirror.capabilities == {"pull", "resolve"}
    assert mirror.ca == ("/etc/ca.pem", str(path.parent / "own.pem"))
    assert mirror.client[0] == (str(path.parent / "a.cert"), str(path.parent / "a.key"))
    assert mirror.client[1] == (str(path.parent / "b.pem"),) * 2
    assert mirror.skip_verify
    assert mirror.dial_timeout == 0.5
    assert mirror.headers == (("x-token", "1"), ("x-many", "2"), ("x-many", "3"))
    assert mirror.stands_for == "registry.example"
    assert (cache.scheme, cache.address, cache.path) == ("http", "cache.example", "/prefix/v2")
    assert proxy.path == "/api/docker"
    assert upstream.ca == (str(path.parent / "upstream.pem"),)
    assert upstream.stands_for == ""
    assert found.warnings == (
        f'{path}: host."https://proxy.example/api/docker".surprise is not known and ignored',
    )


@pytest.mark.parametrize(
    ("registry", "url"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("registry.lab", "https://registry.lab"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("localhost:443", "https://localhost:443"),
        ("localhost.example", "https://localhost.example"),
    ],
)
def test_without_configuration(registry: str, url: str) -> None:
    assert [host.url for host in hosts.find(registry, []).hosts] == [url]


def test_plain_http_when_asked() -> None:
    assert hosts.find("registry.lab", [], plain_http=True).hosts[0].scheme == "http"


@pytest.mark.parametrize("name", ["registry.lab_5000_", "registry.lab:5000", "_default"])
def test_directory_names(tmp_path: Path, name: str) -> None:
    write(tmp_path, '[host."https://m"]\n', name)
    found = hosts.find("registry.lab:5000", ["/nonexistent", str(tmp_path)]).hosts
    assert [host.address for host in found] == ["m", "registry.lab:5000"]


def test_docker_certificates(tmp_path: Path) -> None:
    folder = tmp_path / "localhost:5000"
    folder.mkdir()
    for name in ("ca.crt", "me.cert", "me.key", "alone.cert"):
        (folder / name).touch()
    (host,) = hosts.find("localhost:5000", [str(tmp_path)]).hosts
    assert host.scheme == "https"
    assert host.ca == (str(folder / "ca.crt"),)
    assert host.client == ((str(folder / "me.cert"), str(folder / "me.key")),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("server = = 1", r"hosts\.toml: Invalid value \(at line 1"),
        ("server = 1", "server: must be a string"),
        ('server = "ftp://x"', "server: 'ftp://x' is not a URL"),
        ("host = 1", "host: must be a table"),
        ('[host."https://m"]\ncapabilities = ["fly"]', "'fly' is none of pull, resolve, push"),
        ('[host."https://m"]\nskip_verify = "yes"', r"skip_verify: must be true or false"),
        ('[host."https://m"]\nca = 1', "ca: must be a string or a list of strings"),
        ('[host."https://m"]\nclient = [["a","b","c"]]', "client: must be a file"),
        ('[host."https://m"]\ndial_timeout = "soon"', "must be a duration"),
        ('[host."https://m"].header]\n', "at line 1"),
        ('[host."https://m".header]\nx = "a\\nb"', "must be one line"),
    ],
)
def test_mistakes_name_file_and_key(tmp_path: Path, text: str, why: str) -> None:
    write(tmp_path, text)
    with pytest.raises(InvalidArgument, match=why) as caught:
        hosts.find("registry.example", [str(tmp_path)])
    assert "hosts.toml" in str(caught.value)


@pytest.mark.parametrize("registry", ["..", "a/b", ""])
def test_no_way_out_of_the_directory(registry: str) -> None:
    with pytest.raises(InvalidArgument):
        hosts.find(registry, ["/etc"])
