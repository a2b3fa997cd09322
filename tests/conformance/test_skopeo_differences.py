"""``skopeo`` row by row beside Debian's: the same words give the same output and exit status.

A row is a command line of both, in which ``{reg}`` is a registry, ``{auth}`` one with a login, and ``{side}`` a name that
each has for itself. Rows of one table run in order; progress and the wording of errors are each one's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from pinnace.cli import main
from pinnace.registry.resolver import Resolver
from tests.images import TestImage
from tests.layers import LayerBuilder
from toolkit import debian_program
from toolkit.lab.server import SUITE, RegistryServer

pytestmark = pytest.mark.peer
INDEX = TestImage(layers=[LayerBuilder().add("big", os.urandom(20_000)).bytes()])
SINGLE = TestImage(
    ["linux/amd64"], [LayerBuilder().add("x", b"y" * 3000).bytes()], indexed=False
)  # fmt: skip
_HELPER = """\
#!/bin/sh
# A credential helper that keeps "URL user secret" lines.
kept="$HOME/kept"; touch "$kept"
case "$1" in
get) read -r url; line=$(grep "^$url " "$kept") || { echo "credentials not found in native keychain"; exit 1; }
     set -- $line; printf '{"ServerURL":"%s","Username":"%s","Secret":"%s"}' "$1" "$2" "$3";;
store) sed 's/{"ServerURL":"\\(.*\\)","Username":"\\(.*\\)","Secret":"\\(.*\\)"}/\\1 \\2 \\3/' >> "$kept"; echo >> "$kept";;
erase) read -r url; grep -q "^$url " "$kept" || { echo "credentials not found in native keychain"; exit 1; }
       grep -v "^$url " "$kept" > "$kept.new"; mv "$kept.new" "$kept";;
list) awk 'BEGIN {printf "{"} NF {printf "%s\\"%s\\":\\"%s\\"", s, $1, $2; s=","} END {printf "}"}' "$kept";;
esac
"""

_S, _D, _T = "--src-tls-verify=false", "--dest-tls-verify=false", "--tls-verify=false"
_LOOK = f"inspect {_T} docker://{{reg}}/lib/s:1 --format".split()
INSPECT = [
    *([*_LOOK, template] for template in (
        "{{.Name}} {{.Digest}} {{.RepoTags}}", "{{.Labels}}", "{{.Env}}", "{{len .Env}}", "{{json .Env}}", "{{.Created}}",
        "{{.LayersData}}", "{{json .}}", "json", "{{range .LayersData}}{{.Size}} {{end}}", "{{index .Layers 0}}", "{{.Nope}}",
        "{{.Name", "table {{.Os}}/{{.Architecture}}", "{{if .Env}}a{{else}}b{{end}}", '{{join .Layers ","}}',
    )),
    f"inspect {_T} docker://{{reg}}/lib/s:1".split(),
    f"inspect --no-tags {_T} docker://{{reg}}/lib/s:1".split(),
    f"inspect --raw {_T} docker://{{reg}}/lib/a:1".split(),
    f"inspect --config {_T} docker://{{reg}}/lib/s:1".split(),
    f"--override-arch=arm --override-variant=v6 inspect {_T} docker://{{reg}}/lib/a:1".split(),
    f"inspect {_T} docker://{{reg}}/lib/s:9".split(),
    f"inspect {_T} docker://{{reg}}/none".split(),
    f"list-tags {_T} docker://{{reg}}/lib/s".split(),
    f"list-tags {_T} docker://{{reg}}/none".split(),
    [], ["nonsense"], ["copy", "a"], ["inspect", "foo:bar"], ["inspect", "docker://"], ["manifest-digest", "nope"],
]  # fmt: skip
COPY = [
    f"copy -q {_S} docker://{{reg}}/lib/s:1 {target}".split()
    for target in (
        "dir:{side}-dir", "oci:{side}-oci:t", "oci-archive:{side}-oci.tar:t", "docker-archive:{side}-docker.tar:x/y:1",
        "docker-archive:{side}-docker.tar:x/y:2", "--format v2s2 dir:{side}-v2s2", "--format v2s1 dir:{side}-v2s1",
        "--format v2s2 --dest-compress-format zstd dir:{side}-none",
        "--dest-compress --dest-compress-format zstd dir:{side}-zstd", "--dest-decompress dir:{side}-plain",
        f"{_D} docker://{{reg}}/{{side}}/s:1 --digestfile {{side}}-digest",
    )
] + [
    words.split() for words in (
        "inspect dir:{side}-dir", "inspect oci:{side}-oci:t", "inspect oci-archive:{side}-oci.tar:t", "inspect --raw dir:{side}-dir",
        "list-tags docker-archive:{side}-docker.tar", "copy -q docker-archive:{side}-docker.tar dir:{side}-again",
        "copy -q docker-archive:{side}-docker.tar:x/z:1 dir:{side}-none", "copy -q docker-archive:{side}-docker.tar:@7 dir:{side}-none",
        f"copy -q {_S} {_D} docker://{{reg}}/lib/s:1 docker://{{reg}}/{{side}}/s@sha256:" + "0" * 64,
        "copy -q oci:{side}-oci:none dir:{side}-none", "copy -q dir:{side}-none dir:{side}-nowhere",
        "manifest-digest {side}-dir/manifest.json", f"delete {_T} docker://{{reg}}/{{side}}/s:1",
        f"delete {_T} docker://{{reg}}/{{side}}/s:1", "delete dir:{side}-dir",
    )
]  # fmt: skip
_FILE = "--authfile {side}-{kind}.json"
LOGIN = [
    words.split() for words in (
        f"login {_T} -u u -p wrong {{auth}}", f"login {_T} -v -u u -p p {{auth}}", "login --get-login {auth}", f"login {_T} {{auth}}",
        f"login {_T} -u u -p p {{auth}}/some/repo", "logout {auth}/some/repo", "login --get-login {auth}", "logout other:1",
        "logout {auth}", "logout {auth}", "login --get-login {auth}", "logout --all", "logout", "login",
        f"inspect {_T} docker://{{auth}}/x:1",
    )
] + [
    words.replace("FILE", _FILE.replace("{kind}", kind)).split()
    for kind in ("helpers", "store")
    for words in (
        f"login {_T} FILE -u u -p p {{auth}}", "login FILE --get-login {auth}", f"login {_T} FILE {{auth}}",
        f"copy -q {_S} {_D} FILE docker://{{reg}}/lib/s:1 docker://{{auth}}/{{side}}:1", "logout FILE {auth}", "logout FILE {auth}",
        f"inspect {_T} FILE docker://{{auth}}/{{side}}:1", f"login {_T} FILE -u u -p p {{auth}}", "logout FILE --all",
        "login FILE --get-login {auth}",
    )
] + [f"inspect {_T} --authfile {{side}}-missing.json docker://{{auth}}/x:1".split()]  # fmt: skip


class Result(NamedTuple):
    """What a command came to; ``out`` without what only this side calls so."""

    status: int
    out: str
    said: str


class Bench:
    """Both programs, each with a home of its own in ``folder``."""

    def __init__(self, folder: Path, reg: str, auth: str) -> None:
        self.folder = folder
        self._names = {"reg": reg, "auth": auth}
        self._theirs = debian_program.command(SUITE, "skopeo", "usr/bin/skopeo")
        (folder / "bin").mkdir()
        helper = folder / "bin/docker-credential-test"
        helper.write_text(_HELPER)
        helper.chmod(0o755)
        for side in ("ours", "theirs"):
            policy = folder / side / ".config/containers/policy.json"
            policy.parent.mkdir(parents=True)
            policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
            (folder / side / "run").mkdir()
            for kind, document in (
                ("helpers", {"credHelpers": {auth: "test"}}),
                ("store", {"credsStore": "test"}),
                ("missing", {"credHelpers": {auth: "missing"}}),
            ):
                (folder / f"{side}-{kind}.json").write_text(json.dumps(document))

    def run(self, side: str, words: list[str]) -> Result:
        filled = []
        for word in words:
            for key, value in {**self._names, "side": side}.items():
                word = word.replace(f"{{{key}}}", value)
            filled.append(word)
        home = self.folder / side
        environment = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "run"),
        }  # fmt: skip
        out, said = self.folder / f"{side}.out", self.folder / f"{side}.err"
        with out.open("wb") as first, said.open("wb") as second:
            if side == "ours":
                status = _forked(self.folder, environment, filled, first.fileno(), second.fileno())
            else:
                status = subprocess.run(
                    [*self._theirs, *filled], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                    stdout=first, stderr=second, check=False,
                ).returncode  # fmt: skip
        return Result(status, out.read_text().replace(side, "SIDE"), said.read_text())


def _forked(
    folder: Path, environment: dict[str, str], words: list[str], out: int, said: int
) -> int:
    """Our command as the keeper runs it: in a child that has everything imported."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 70
    with suppress(BaseException):
        null = os.open(os.devnull, os.O_RDONLY)
        for own, fd in ((null, 0), (out, 1), (said, 2)):
            os.dup2(own, fd)
        sys.stdout = os.fdopen(1, "w")
        sys.stderr = os.fdopen(2, "w", buffering=1)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        status = main.main(["skopeo", *words])
        sys.stdout.flush()
    os._exit(status)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    place = tmp_path_factory.mktemp("skopeo")
    with (
        RegistryServer(place / "reg") as reg,
        RegistryServer(place / "auth", users={"u": "p"}) as auth,
    ):
        resolver = Resolver(plain_http=True)
        INDEX.push(resolver, f"{reg.host}/lib/a:1")
        SINGLE.push(resolver, f"{reg.host}/lib/s:1")
        SINGLE.push(resolver, f"{reg.host}/lib/s:2")
        resolver.close()
        (place / "work").mkdir()
        yield Bench(place / "work", reg.host, auth.host)


@pytest.mark.parametrize("table", ["INSPECT", "COPY", "LOGIN"])
def test_the_same_words_give_the_same(bench: Bench, table: str) -> None:
    wrong = []
    for words in globals()[table]:
        ours, theirs = (bench.run(side, words) for side in ("ours", "theirs"))
        if ours[:2] != theirs[:2]:
            wrong.append(f"{' '.join(words)}\n   ours: {ours}\n   theirs: {theirs}")
        elif ours.status and len(ours.said.splitlines()) != 1:
            wrong.append(f"{' '.join(words)}: not one line: {ours.said}")
    assert not wrong, "\n".join(wrong)


def test_what_was_copied_is_the_same(bench: Bench) -> None:
    """After the table of copies: the same files, and the same kinds of layers."""
    for name in ("dir", "v2s2", "zstd", "plain"):
        kinds = []
        for side in ("ours", "theirs"):
            manifest = json.loads((bench.folder / f"{side}-{name}/manifest.json").read_bytes())
            kinds.append((manifest["mediaType"], manifest["config"]["mediaType"], [layer["mediaType"] for layer in manifest["layers"]]))  # fmt: skip
        assert kinds[0] == kinds[1], name
    files = [sorted(os.listdir(bench.folder / f"{side}-dir")) for side in ("ours", "theirs")]
    assert files[0] == files[1]
    archives = [_manifest_in(bench.folder / f"{side}-docker.tar") for side in ("ours", "theirs")]
    assert archives[0] == archives[1]
    digests = [(bench.folder / f"{side}-digest").read_text() for side in ("ours", "theirs")]
    assert digests[0] == digests[1]


def _manifest_in(archive: Path) -> object:
    done = subprocess.run(["tar", "-xOf", archive, "manifest.json"], capture_output=True, check=True)  # fmt: skip
    return json.loads(done.stdout)
