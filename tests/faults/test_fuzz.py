"""Archives and documents with anything in them: taken, or refused with a reason; nothing outside, little memory.

``PINNACE_FUZZ`` is how many of each, 15 in every test run.
"""

from __future__ import annotations

import io
import json
import os
import resource
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinnace.errors import Error
from pinnace.images.load import import_
from pinnace.spec import image as images
from pinnace.spec import platform as platforms
from pinnace.spec.digest import sha256
from pinnace.store.store import Store
from tests.images import TestImage
from tests.layers import LayerBuilder

NS = "default"
_BOUND_KIB = 64 << 10
_IMAGE = TestImage(
    ["linux/amd64"],
    [LayerBuilder().directory("d").add("d/f", b"1" * 3000).hard_link("l", "d/f").bytes()],
    indexed=False,
)
_LAYOUT = _IMAGE.layout("x:1")
_SETTINGS = settings(
    max_examples=int(os.environ.get("PINNACE_FUZZ", "15")), deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip

_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=80)
    | st.sampled_from(["../../x", "/etc/passwd", "sha256:../../x", -1, 1 << 62, "sha512:" + "0" * 128])
)  # fmt: skip
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


def attempt(archive: bytes) -> None:
    """Import it in a directory of its own, beside a file that must stay as it is."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as scratch:
        outside = Path(scratch, "outside")
        outside.write_text("untouched")
        with closing(Store(Path(scratch, "store"))) as store:
            with suppress(Error):
                import_(store, NS, io.BytesIO(archive), platform=platforms.parse("linux/amd64"))
            for info in store.content.walk(NS):
                assert store.content.blobs.verify(info.digest)
            assert store.leases.list(NS) == []
        assert outside.read_text() == "untouched"
        assert sorted(os.listdir(scratch)) == ["outside", "store"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < _BOUND_KIB


@_SETTINGS
@given(
    st.lists(st.tuples(st.integers(0, len(_LAYOUT) - 1), st.binary(min_size=1, max_size=40)), min_size=1, max_size=6),
    st.integers(0, len(_LAYOUT)),
)  # fmt: skip
def test_bytes_of_an_archive(changes: list[tuple[int, bytes]], length: int) -> None:
    data = bytearray(_LAYOUT)
    for at, change in changes:
        data[at : at + len(change)] = change
    attempt(bytes(data[:length] if length % 4 == 0 else data))


@_SETTINGS
@given(st.data(), st.sampled_from(["index", "manifest", "config"]))
def test_documents_of_an_archive(data: st.DataObject, which: str) -> None:
    """A value somewhere in the document is another one; digests further up fit."""
    config_item, manifest_item = _IMAGE.blobs[-2], _IMAGE.blobs[-1]
    config, manifest = json.loads(config_item[1]), json.loads(manifest_item[1])
    index: dict[str, Any] = {"schemaVersion": 2, "manifests": [dict(_IMAGE.root.to_json())]}
    place = {"index": index, "manifest": manifest, "config": config}[which]
    while True:
        key = data.draw(
            st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))
        )
        if place[key] and isinstance(place[key], dict | list) and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(_JSON)
        break
    builder = LayerBuilder().add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    for item, blob in _IMAGE.blobs[:-2]:
        builder.add(f"blobs/sha256/{item.digest.hex}", blob)
    if which == "config":
        manifest["config"] = _add(builder, config, images.OCI_CONFIG)
    else:
        builder.add(f"blobs/sha256/{config_item[0].digest.hex}", config_item[1])
    if which in ("config", "manifest"):
        index["manifests"][0] = _add(builder, manifest, images.OCI_MANIFEST)
    else:
        builder.add(f"blobs/sha256/{manifest_item[0].digest.hex}", manifest_item[1])
    attempt(builder.add("index.json", json.dumps(index).encode()).bytes())


def _add(builder: LayerBuilder, document: object, media_type: str) -> dict[str, Any]:
    """Put a document into the archive; its descriptor."""
    data = json.dumps(document).encode()
    digest = sha256(data)
    builder.add(f"blobs/sha256/{digest.hex}", data)
    return images.Descriptor(media_type, digest, len(data)).to_json()
