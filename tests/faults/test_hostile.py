"""Hostile archives through every door: refused with a reason, nothing left, memory bounded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinnace.cli import skopeo
from pinnace.errors import Error
from pinnace.images.archive import import_
from pinnace.spec import image as images
from pinnace.spec import platform as platforms
from pinnace.store import gc
from pinnace.store.store import Store
from tests import hostile
from tests.hostile_layers import LAYERS

NS = "default"
AMD64 = platforms.parse("linux/amd64")
_MOST_MEMORY = 64 << 20


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(hostile.CORPUS) >= 100
    assert len(LAYERS) >= 45


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "in" / "image.tar"


def _source(archive: Path, data: bytes) -> str:
    archive.parent.mkdir()
    archive.write_bytes(data)
    return f"{'docker' if b'manifest.json' in data[:512] else 'oci'}-archive:{archive}"


def test_the_image_that_is_spoiled_here_is_a_good_one(archive: Path, tmp_path: Path) -> None:
    words = ["--override-arch=amd64", "copy", _source(archive, hostile.GOOD)]
    assert skopeo.main([*words, f"docker-archive:{tmp_path}/out.tar"]) == 0


@pytest.mark.parametrize("case", hostile.CORPUS)
def test_skopeo_refuses(archive: Path, tmp_path: Path, case: str) -> None:
    """Copying unpacks the layers, so that their diff ids are looked at, too."""
    source = _source(archive, hostile.CORPUS[case])
    with pytest.raises(Error) as caught:
        skopeo.main(["--override-arch=amd64", "copy", source, f"docker-archive:{tmp_path}/out.tar"])
    _is_a_reason(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


_EVERYTHING = {**hostile.CORPUS, **LAYERS}


@pytest.mark.parametrize("case", _EVERYTHING)
def test_the_store_refuses(store: Store, archive: Path, case: str) -> None:
    """What skopeo does not, it unpacks: layers are looked at, too."""
    _source(archive, _EVERYTHING[case])
    with pytest.raises(Error) as caught, archive.open("rb") as stream:
        import_(store, NS, stream, platform=AMD64)
    _is_a_reason(caught.value)
    assert store.images.list(NS) == []
    assert store.leases.list(NS) == []
    assert list(store.snapshotter().walk(NS)) == []
    gc.collect(store.db, store.content, store.snapshotters)
    assert list(store.content.blobs.walk()) == []


def _is_a_reason(error: Error) -> None:
    text = str(error)
    assert text.isprintable(), text
    assert 10 < len(text) < 700, text


_MEASURE = """
import os, resource, sys
from pinnace.cli import skopeo
from pinnace.errors import Error
from pinnace.images.archive import import_
from pinnace.spec import platform as platforms
from pinnace.store.store import Store

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

folder, work = sys.argv[1:]
def run(path, number):
    kind = open(path + ".kind").read()
    try:
        skopeo.main(["--override-arch=amd64", "copy", "-q", f"{kind}-archive:{path}", f"docker-archive:{work}/{number}"])
    except Error:
        pass
    try:
        with open(path, "rb") as stream:
            import_(store, "default", stream, platform=platforms.parse("linux/amd64"))
    except Error:
        pass

store = Store(work + "/store")
run(folder + "/good", "good")
before = peak()
for number, name in enumerate(sorted(os.listdir(folder))):
    if not name.endswith(".kind"):
        run(os.path.join(folder, name), number)
print(peak() - before)
"""


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """In a process of its own, above what a good image takes."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number, data in enumerate(_EVERYTHING.values()):
        (folder / f"case{number}").write_bytes(data)
        kind = "docker" if b"manifest.json" in data[:512] else "oci"
        (folder / f"case{number}.kind").write_text(kind)
    (folder / "good").write_bytes(hostile.GOOD)
    (folder / "good.kind").write_text("oci")
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(folder), str(tmp_path)],
        env={"PYTHONPATH": "runtime", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < _MOST_MEMORY


# Fuzzing: whatever comes, it is an image or an error of ours.


_SLOW = settings(
    max_examples=60, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@_SLOW
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(hostile.GOOD) - 1), st.integers(0, 40), st.binary(max_size=40)
        ),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_spoiled_archives(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, int, bytes]]
) -> None:
    data = hostile.GOOD
    for at, size, new in cuts:
        data = data[:at] + new + data[at + size :]
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "in.tar").write_bytes(data)
    target = f"dir:{folder}/out"
    with suppress(Error):
        skopeo.main(["--override-arch=amd64", "copy", f"oci-archive:{folder}/in.tar", target])
    assert {path.name for path in folder.iterdir()} <= {"in.tar", "out"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
_FIELDS = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "annotations", "rootfs", "os",
     "architecture", "digest", "size", "platform", "diff_ids", "type", "urls", "subject"]
)  # fmt: skip
_DOCUMENTS = st.dictionaries(_FIELDS, st.dictionaries(_FIELDS, _JSON, max_size=4) | st.lists(st.dictionaries(_FIELDS, _JSON, max_size=5), max_size=3) | _JSON, max_size=7)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(_DOCUMENTS)
def test_documents_of_any_shape(document: dict[str, object]) -> None:
    data = images.dump(document)
    for parse in (images.parse_manifest, images.parse_index, images.parse_config):
        with suppress(Error):
            parse(data)
