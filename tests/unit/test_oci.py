"""Images that we make: what refers to what, by the right digest, on the right platform."""

import gzip
import hashlib
import io
import json
import tarfile

from toolkit import oci
from toolkit.tree import Tree


def _image(platform: str = "linux/arm/v6") -> oci.Image:
    tree = Tree()
    tree.file("hello", "world")
    return oci.image(platform, [oci.layer(tree.tar())], {"Cmd": ["/hello"]}, created=0)


def test_a_manifest_names_its_config_and_layers_by_digest() -> None:
    image = _image()
    manifest = json.loads(image.manifest.data)
    named = [manifest["config"]["digest"], *(entry["digest"] for entry in manifest["layers"])]
    assert named == [f"sha256:{hashlib.sha256(blob.data).hexdigest()}" for blob in image.blobs]


def test_a_config_says_its_platform_and_the_digest_of_the_unpacked_layer() -> None:
    image = _image()
    config = json.loads(image.blobs[0].data)
    unpacked = hashlib.sha256(gzip.decompress(image.blobs[1].data)).hexdigest()
    assert (config["os"], config["architecture"], config["variant"]) == ("linux", "arm", "v6")
    assert config["rootfs"]["diff_ids"] == [f"sha256:{unpacked}"]


def test_a_platform_without_a_variant_has_none() -> None:
    assert _image("linux/amd64").descriptor()["platform"] == {"os": "linux", "architecture": "amd64"}  # fmt: skip


def test_equal_contents_are_equal_images() -> None:
    assert _image() == _image()


def test_a_layout_holds_every_blob_under_its_digest() -> None:
    data = oci.layout([_image(), _image("linux/amd64")], "example.org/pause:3.10")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = {
            member.name: file.read()
            for member in archive
            if (file := archive.extractfile(member)) is not None
        }
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    [entry] = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"][oci.IMAGE_NAME] == "example.org/pause:3.10"
    assert entry["annotations"][oci.REF_NAME] == "3.10"
    for name, content in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    index = json.loads(files[f"blobs/sha256/{entry['digest'][7:]}"])
    for platform in index["manifests"]:
        assert f"blobs/sha256/{platform['digest'][7:]}" in files
