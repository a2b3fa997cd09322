"""The content store: durable, resumable, shared between namespaces, and never believing a damaged blob."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pinnace.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from pinnace.spec.digest import Digest, sha256, sha512
from pinnace.store.content import ContentStore
from pinnace.store.leases import Lease, LeaseStore
from pinnace.store.metadata import Database

DATA = b"some content" * 100
NS = "default"


@pytest.fixture
def content(tmp_path: Path) -> Iterator[ContentStore]:
    database = Database(tmp_path / "metadata.db")
    yield ContentStore(tmp_path / "content", database)
    database.close()


def put(content: ContentStore, data: bytes = DATA, namespace: str = NS, **labels: str) -> Digest:
    with content.writer(namespace, "ref", total=len(data)) as writer:
        writer.write(data)
        return writer.commit(len(data), labels=labels)


def test_what_was_committed_can_be_read(content: ContentStore) -> None:
    digest = put(content, a="b")
    info = content.info(NS, digest)
    assert (digest, info.size, info.labels) == (sha256(DATA), len(DATA), {"a": "b"})
    with content.open(NS, digest) as file:
        assert file.read() == DATA
    assert content.read_at(NS, digest, 5, 7) == DATA[5:12]
    assert content.read(NS, digest, 10_000) == DATA
    assert [found.digest for found in content.walk(NS, [f"digest=={digest}"])] == [digest]
    assert content.statuses(NS) == []
    path = Path(content.blobs.root) / "blobs" / "sha256" / digest.hex
    assert path.read_bytes() == DATA
    assert not list((Path(content.blobs.root) / "ingest").iterdir())


def test_data_is_flushed_before_its_name_and_its_record(
    content: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def traced(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object) -> object:
            order.append(name)
            return function(*arguments)

        return run

    monkeypatch.setattr(os, "fsync", traced("fsync", os.fsync))
    monkeypatch.setattr(os, "rename", traced("rename", os.rename))
    monkeypatch.setattr(content, "record", traced("record", content.record))
    put(content)
    assert order == ["fsync", "rename", "fsync", "record"]


def test_sha512(content: ContentStore) -> None:
    expected = sha512(DATA)
    with content.writer(NS, "ref", expected=expected) as writer:
        writer.write(DATA)
        assert writer.commit() == expected
    assert content.read(NS, expected, 10_000) == DATA


def test_an_interrupted_write_goes_on(content: ContentStore) -> None:
    with content.writer(NS, "layer", total=len(DATA)) as writer:
        writer.write(DATA[:100])
    status = content.status(NS, "layer")
    assert (status.ref, status.offset, status.total) == ("layer", 100, len(DATA))
    with content.writer(NS, "layer", expected=sha256(DATA)) as writer:
        assert writer.offset == 100
        writer.write(DATA[100:])
        writer.commit(len(DATA))
    assert content.intact(NS, sha256(DATA))


def test_one_writer_at_a_time(content: ContentStore) -> None:
    with content.writer(NS, "layer"):
        with pytest.raises(Unavailable, match="locked"):
            content.writer(NS, "layer")
        with pytest.raises(Unavailable):
            content.abort(NS, "layer")
        content.writer("other", "layer").close()
    content.abort(NS, "layer")
    with pytest.raises(NotFound):
        content.status(NS, "layer")


def test_wrong_bytes_leave_nothing(content: ContentStore) -> None:
    with content.writer(NS, "layer", expected=sha256(b"else")) as writer:
        writer.write(DATA)
        with pytest.raises(FailedPrecondition, match="failed size validation"):
            writer.commit(len(DATA) - 1)
        with pytest.raises(DataLoss, match="unexpected commit digest"):
            writer.commit()
        assert writer.offset == 0
    assert list(content.walk(NS)) == []
    assert list(content.blobs.walk()) == []


def test_content_is_adopted_from_another_namespace(content: ContentStore) -> None:
    digest = put(content, namespace="one")
    with pytest.raises(AlreadyExists):
        content.writer("two", "layer", total=len(DATA), expected=digest)
    content.delete("one", digest)
    assert content.read("two", digest, 10_000) == DATA
    content.delete("two", digest)
    assert list(content.blobs.walk()) == []


@pytest.mark.parametrize("damage", ["empty", "short", "gone"])
def test_a_damaged_blob_is_noticed_and_healed(content: ContentStore, damage: str) -> None:
    digest = put(content, keep="me")
    path = Path(content.blobs.path(digest))
    path.chmod(0o600)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else DATA[:-1])
    assert not content.intact(NS, digest)
    with pytest.raises(DataLoss, match=r"damaged|missing"):
        content.open(NS, digest)
    with content.writer(NS, "again", total=len(DATA), expected=digest) as writer:
        writer.write(DATA)
        writer.commit(len(DATA), labels={"new": "1"})
    assert content.read(NS, digest, 10_000) == DATA
    assert content.info(NS, digest).labels == {"keep": "me", "new": "1"}


def test_same_size_damage_is_noticed_when_read_whole(content: ContentStore) -> None:
    digest = put(content)
    path = Path(content.blobs.path(digest))
    path.chmod(0o600)
    path.write_bytes(bytes(len(DATA)))
    with pytest.raises(DataLoss, match="damaged"):
        content.read(NS, digest, 10_000)
    assert content.blobs.damaged() == [digest]
    assert put(content) == digest
    assert content.read(NS, digest, 10_000) == DATA


def test_a_file_without_a_record_is_believed_only_if_whole(content: ContentStore) -> None:
    digest = sha256(DATA)
    Path(content.blobs.path(digest)).write_bytes(bytes(len(DATA)))
    with content.writer(NS, "layer", total=len(DATA), expected=digest) as writer:
        writer.write(DATA)
        writer.commit()
    assert content.read(NS, digest, 10_000) == DATA


def test_committing_twice_says_so(content: ContentStore) -> None:
    put(content)
    with pytest.raises(AlreadyExists):
        put(content)
    assert content.statuses(NS) == []


def test_labels_change_by_field_mask(content: ContentStore) -> None:
    digest = put(content, a="1", b="2")
    assert content.update(NS, digest, {"b": "3"}, ["labels.b"]).labels == {"a": "1", "b": "3"}
    assert content.update(NS, digest, {"c": "4"}).labels == {"c": "4"}
    with pytest.raises(InvalidArgument):
        content.update(NS, digest, {}, ["size"])


def test_a_lease_holds_what_is_written_under_it(content: ContentStore) -> None:
    leases = LeaseStore(content.db)
    leases.create(NS, Lease("l"))
    with content.writer(NS, "layer", lease="l") as writer:
        assert [r.type for r in leases.resources(NS, "l")] == ["ingests"]
        writer.write(DATA)
        digest = writer.commit()
    assert leases.resources(NS, "l") == (("content", digest),)


def test_a_full_disk_is_said(content: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with content.writer(NS, "layer") as writer:
        monkeypatch.setattr(os, "write", no_space)
        with pytest.raises(ResourceExhausted, match="No space left"):
            writer.write(DATA)
        monkeypatch.undo()
        writer.discard()
    assert content.statuses(NS) == []
