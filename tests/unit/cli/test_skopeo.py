"""``skopeo`` without a network: names of images, flags, templates, and copies between files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pinnace.cli import gotemplate, skopeo
from pinnace.cli.skopeo import places
from pinnace.errors import Error, InvalidArgument, Unimplemented
from tests.fakeregistry import FakeRegistry
from tests.images import TestImage
from tests.layers import LayerBuilder
from toolkit.paths import RUNTIME

IMAGE = TestImage(layers=[LayerBuilder().add("big", os.urandom(50_000)).bytes()])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("docker://a/b:1", ("docker", "a/b:1", "")),
        ("oci:/x/y", ("oci", "/x/y", "")),
        ("oci:x:tag:with", ("oci", "x", "tag:with")),
        ("oci-archive:x.tar@2", ("oci-archive", "x.tar", "@2")),
        ("docker-archive:x.tar:a/b:1", ("docker-archive", "x.tar", "a/b:1")),
        ("dir:/x:y", ("dir", "/x:y", "")),
    ],
)
def test_names_of_images(text: str, place: tuple[str, str, str]) -> None:
    assert tuple(places.parse(text)) == place


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("busybox", "names no transport"),
        ("docker:busybox", "invalid image name"),
        ("oci:", "the path is missing"),
        ("oci:x:", "invalid image name"),
        ("nfs:x", "is no transport"),
    ],
)
def test_names_that_mean_nothing(text: str, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        places.parse(text)


@pytest.mark.parametrize("transport", ["containers-storage", "docker-daemon", "ostree"])
def test_foreign_transports_are_refused_with_a_way_out(transport: str) -> None:
    with pytest.raises(Unimplemented, match=f"^{transport}: "):
        places.parse(f"{transport}:x")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "image.tar"
    path.write_bytes(IMAGE.layout("one"))
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert skopeo.main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_every_pair_of_files_keeps_the_image(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [f"oci:{tmp_path}/l:x", f"dir:{tmp_path}/d", f"oci-archive:{tmp_path}/o.tar:x"]
    before = run(capsys, "inspect", "--raw", f"oci-archive:{archive}:one")
    came_from = f"oci-archive:{archive}:one"
    for place in places * 2:
        run(capsys, "copy", "--all", came_from, place)
        assert run(capsys, "inspect", "--raw", place) == before
        came_from = place


def test_docker_archives_and_back(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    platform = ["--override-arch", "arm", "--override-variant", "v6"]
    docker = f"docker-archive:{tmp_path}/d.tar"
    run(capsys, *platform, "copy", f"oci-archive:{archive}", f"{docker}:pi/x:1")
    assert json.loads(run(capsys, "list-tags", docker)) == {"Tags": ["docker.io/pi/x:1"]}
    run(
        capsys,
        "copy",
        docker,
        f"oci:{tmp_path}/l",
        "--override-arch",
        "arm",
        "--override-variant=v6",
    )
    first = json.loads(run(capsys, "inspect", "--config", f"oci-archive:{archive}", *platform))
    assert json.loads(run(capsys, "inspect", "--config", f"oci:{tmp_path}/l", *platform)) == first
    with pytest.raises(Error, match="exists, and images cannot be added"):
        run(capsys, "copy", f"oci:{tmp_path}/l", docker)


def test_layers_are_compressed_anew(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = f"oci:{tmp_path}/l:z"
    run(capsys, "copy", f"oci-archive:{archive}", layout, "--dest-compress-format=zstd")
    shown = json.loads(run(capsys, "inspect", layout))
    assert {layer["MIMEType"] for layer in shown["LayersData"]} == {
        "application/vnd.oci.image.layer.v1.tar+zstd"
    }
    run(capsys, "copy", layout, f"dir:{tmp_path}/d", "--format=v2s2", "--dest-decompress")
    manifest = json.loads((tmp_path / "d" / "manifest.json").read_text())
    assert manifest["mediaType"].endswith("manifest.v2+json")
    plain = (tmp_path / "d" / manifest["layers"][0]["digest"].partition(":")[2]).read_bytes()
    assert subprocess.run(["tar", "-t"], input=plain, capture_output=True).stdout == b"big\n"
    with pytest.raises(Error, match="its digest would change"):
        run(capsys, "copy", layout, f"docker-archive:{tmp_path}/p.tar", "--preserve-digests")
    assert not (tmp_path / "p.tar").exists()


def test_a_damaged_layer_is_never_in_the_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "layout"
    source.mkdir()
    subprocess.run(["tar", "-x", "-C", source], input=IMAGE.layout("one"), check=True)
    blob = max(source.glob("blobs/sha256/*"), key=lambda path: path.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    for target in ("oci:{}/o", "dir:{}/d", "oci-archive:{}/a.tar", "docker-archive:{}/x.tar"):
        with pytest.raises(Error, match=r"damaged|another digest"):
            run(capsys, "copy", f"oci:{source}", target.format(tmp_path))
    assert not list(tmp_path.rglob(blob.name))[1:]
    assert not (tmp_path / "a.tar").exists()
    assert not (tmp_path / "d" / "manifest.json").exists()


def test_a_directory_with_other_files_is_left_alone(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "notes.txt").write_text("mine")
    with pytest.raises(InvalidArgument, match="not an image directory"):
        skopeo.main(["copy", f"oci-archive:{archive}", f"dir:{tmp_path}/d"])
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["notes.txt"]


def test_the_digest_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m").write_bytes(b"{}")
    assert run(capsys, "manifest-digest", tmp_path / "m").startswith("sha256:44136fa355b3678a")


DOCUMENT = {
    "Name": "x", "Tags": ["b", "a"], "Labels": {"k": "v", "a.b": "c"}, "None": None, "Number": 7,
    "Rows": [{"A": 1}, {"A": 2}], "Yes": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}}", "x"),
        ("{{ .Name | upper }}-{{len .Tags}}", "X-2"),
        ("{{.Tags}} {{.Labels}} {{.None}} {{.Yes}}", "[b a] map[a.b:c k:v] <nil> true"),
        ("{{json .Labels}}", '{"k":"v","a.b":"c"}'),
        ('{{index .Labels "a.b"}} {{index .Tags 1}}', "c a"),
        ("{{range .Tags}}<{{.}}>{{end}}", "<b><a>"),
        ("{{range $i, $t := .Tags}}{{$i}}={{$t}} {{end}}", "0=b 1=a "),
        ("{{range .Rows}}{{.A}}{{$.Name}}{{end}}", "1x2x"),
        ("{{range .None}}x{{else}}none{{end}}", "none"),
        ("{{if .None}}a{{else if eq .Number 7}}b{{else}}c{{end}}", "b"),
        ("{{with .Labels}}{{.k}}{{end}}", "v"),
        ("{{.Labels.missing}}", "<no value>"),
        ('{{printf "%-4s|%03d|%q" .Name .Number .Name}}', 'x   |007|"x"'),
        ('{{join .Tags ", "}}', "b, a"),
        ("a {{- .Name -}} b", "axb"),
        ("{{/* nothing */}}{{(index .Rows 0).A}}", "1"),
        ("{{$n := .Number}}{{if and (gt $n 5) (lt $n 9)}}yes{{end}}", "yes"),
        ("{{`raw`}}{{println \"a\" 1}}", "rawa 1\n"),
    ],
)  # fmt: skip
def test_templates(template: str, text: str) -> None:
    assert gotemplate.render(template, DOCUMENT) == text


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{.Nam}}", "there is no field 'Nam'.*there are"),
        ("{{.Name", "not closed"),
        ("{{if .Name}}", "end.* is missing"),
        ("{{end}}", "unexpected"),
        ("{{frob .Name}}", "no function 'frob'"),
        ("{{len .Number}}", "len cannot be used on 7"),
        ("{{.Name.x}}", "is asked of x"),
        ("{{$x}}", "no variable"),
        ("{{template \"x\"}}", "not supported"),
        ("{{}}", "empty"),
    ],
)  # fmt: skip
def test_wrong_templates_say_why(template: str, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        gotemplate.render(template, DOCUMENT)


@pytest.mark.parametrize("words", ["inspect docker://{}", "copy docker://{} dir:{}"])
def test_the_keeper_has_what_common_verbs_import(words: str, tmp_path: Path) -> None:
    """They start warm: nothing of ours is imported after the fork."""
    program = (
        "import sys, pinnace.cli.warm, pinnace.cli.warm_registries, pinnace.cli.main; before = set(sys.modules);"
        "status = pinnace.cli.main.main(['skopeo', *sys.argv[1:]]);"
        "print(*(name for name in set(sys.modules) - before if name.startswith('pinnace')));"
        "sys.exit(status)"
    )
    with FakeRegistry(TestImage(["linux/amd64"])) as registry:
        done = subprocess.run(
            [sys.executable, "-c", program, "--override-arch=amd64", "--insecure-policy",
             *words.format(registry.reference, tmp_path / "copy").split()],
            env={"PYTHONPATH": str(RUNTIME)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""
