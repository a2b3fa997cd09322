"""Images, containers, leases, namespaces and filters over the metadata database."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from pinnace.spec import image as images
from pinnace.spec.digest import sha256
from pinnace.spec.image import Descriptor
from pinnace.store import filters
from pinnace.store.containers import Container, ContainerStore
from pinnace.store.images import Image, ImageStore
from pinnace.store.leases import Lease, LeaseStore, Resource
from pinnace.store.metadata import Database
from pinnace.store.namespaces import NamespaceStore
from pinnace.store.records import TypedValue


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "metadata.db")
    yield database
    database.close()


def some_image(name: str = "docker.io/library/x:1", **labels: str) -> Image:
    return Image(name, Descriptor(images.OCI_INDEX, sha256(name.encode()), 7), labels)


def some_container(name: str = "web", **changes: object) -> Container:
    spec = TypedValue("types.containerd.io/opencontainers/runtime-spec/1/Spec", b"{}")
    return Container(id=name, spec=spec, runtime_name="io.containerd.runc.v2")._replace(**changes)  # type: ignore[arg-type]


def test_an_image_is_kept_in_its_namespace(db: Database) -> None:
    store = ImageStore(db)
    made = store.create("default", some_image(a="b"))
    assert store.get("default", made.name) == made
    assert made.created_at == made.updated_at > 0
    with pytest.raises(NotFound, match=r'image "docker.io/library/x:1": not found'):
        store.get("k8s.io", made.name)
    with pytest.raises(AlreadyExists, match=r'image "docker.io/library/x:1": already exists'):
        store.create("default", some_image())
    assert list(NamespaceStore(db).list()) == ["default"]


def test_resting_costs_nobody_what_it_needs(db: Database) -> None:
    """Inside a transaction, in the middle of reading, and again."""
    with db.transaction() as tx, db.read():
        tx.execute("CREATE TABLE rests (number)")
        db.rest()
        tx.execute("INSERT INTO rests VALUES (1)")
    db.rest()
    db.rest()
    with db.read() as reading:
        assert reading.execute("SELECT number FROM rests").fetchone()[0] == 1
        db.rest()
        assert reading.execute("SELECT count(*) FROM rests").fetchone()[0] == 1


def test_field_masks_change_what_they_name(db: Database) -> None:
    store = ImageStore(db)
    store.create("default", some_image(keep="1", change="1", drop="1"))
    wanted = some_image(change="2", other="3")._replace(
        target=Descriptor(images.OCI_MANIFEST, sha256(b"new"), 9)
    )
    updated = store.update("default", wanted, ["labels.change", "labels.drop"])
    assert updated.labels == {"keep": "1", "change": "2"}
    assert updated.target.size == 7
    assert store.update("default", wanted, ["target"]).target.size == 9
    assert store.update("default", wanted).labels == {"change": "2", "other": "3"}
    with pytest.raises(InvalidArgument, match='cannot update "name" field'):
        store.update("default", wanted, ["name"])


def test_removal_can_be_held_to_a_digest(db: Database) -> None:
    store = ImageStore(db)
    made = store.create("default", some_image())
    with pytest.raises(NotFound, match="has target"):
        store.remove("default", made.name, str(sha256(b"other")))
    store.remove("default", made.name, str(made.target.digest))
    assert store.list("default") == []


def test_containers_keep_their_typed_values(db: Database) -> None:
    store = ContainerStore(db)
    made = store.create(
        "default",
        some_container(
            image="x",
            labels={"a": "b"},
            runtime_options=TypedValue("t", b"\x00\xff"),
            extensions={"e": TypedValue("u", b"1")},
            snapshotter="overlayfs",
            snapshot_key="web",
        ),
    )
    assert store.get("default", "web") == made
    assert made.runtime_options == TypedValue("t", b"\x00\xff")
    with pytest.raises(NotFound, match='container "db" in namespace "default": not found'):
        store.get("default", "db")


@pytest.mark.parametrize(
    "bad",
    [
        some_container("../etc"),
        some_container(""),
        some_container("a" * 77),
        some_container(spec=None),
        some_container(runtime_name=""),
        some_container(snapshot_key="k"),
        some_container(labels={"k": "v" * 4096}),
    ],
)
def test_bad_containers_are_refused(db: Database, bad: Container) -> None:
    with pytest.raises(InvalidArgument):
        ContainerStore(db).create("default", bad)
    assert ContainerStore(db).list("default") == []


def test_immutable_fields_of_a_container(db: Database) -> None:
    store = ContainerStore(db)
    store.create("default", some_container())
    with pytest.raises(InvalidArgument, match=r"Runtime\.Name field is immutable"):
        store.update("default", some_container(runtime_name="other"))
    assert store.update("default", some_container(image="y"), ["image"]).image == "y"


def test_leases_hold_resources(db: Database) -> None:
    store = LeaseStore(db)
    store.create("default", Lease("l", {"a": "b"}))
    held = Resource("content", str(sha256(b"x")))
    store.add_resource("default", "l", held)
    store.add_resource("default", "l", Resource("snapshots/overlayfs", "k"))
    assert set(store.resources("default", "l")) == {held, Resource("snapshots/overlayfs", "k")}
    store.delete_resource("default", "l", held)
    assert len(store.resources("default", "l")) == 1
    with pytest.raises(Unimplemented, match="not supported"):
        store.add_resource("default", "l", Resource("cheese", "k"))
    with pytest.raises(InvalidArgument):
        store.add_resource("default", "l", Resource("content", "k"))
    store.delete("default", "l")
    with pytest.raises(NotFound, match='lease "l"'):
        store.resources("default", "l")


def test_a_full_namespace_stays(db: Database) -> None:
    namespaces = NamespaceStore(db)
    ImageStore(db).create("default", some_image())
    with pytest.raises(FailedPrecondition, match="must be empty, but it still has images"):
        namespaces.delete("default")
    ImageStore(db).delete("default", some_image().name)
    namespaces.delete("default")
    with pytest.raises(NotFound):
        namespaces.delete("default")


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        ([], {"a", "b"}),
        (["name==a"], {"a"}),
        (["name==a", "name==b"], {"a", "b"}),
        (["name!=a"], {"b"}),
        (["name~=^[ab]$,labels.x==1"], {"a"}),
        (['labels."io.x/y.z"==w'], {"b"}),
        (['labels."io.x/y.z"'], {"b"}),
        (["labels.x==2"], set()),
        (["name~=/^b/"], {"b"}),
    ],
)
def test_filters(db: Database, texts: list[str], names: set[str]) -> None:
    store = ImageStore(db)
    store.create("default", some_image("a", x="1"))
    store.create("default", some_image("b", **{"io.x/y.z": "w"}))
    assert {image.name for image in store.list("default", texts)} == names


@pytest.mark.parametrize("text", ["==x", "name==", 'name=="x', "name~=[", "name==a b", "a,,b"])
def test_broken_filters_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="filters: parse error"):
        filters.parse_all([text])


def test_a_transaction_is_all_or_nothing(db: Database) -> None:
    store = ImageStore(db)

    def create_two_and_fail() -> None:
        with db.transaction():
            store.create("default", some_image("a"))
            assert store.get("default", "a").name == "a"
            raise KeyError

    with pytest.raises(KeyError):
        create_two_and_fail()
    assert store.list("default") == []


def test_readers_do_not_see_or_wait_for_a_writer(db: Database) -> None:
    store = ImageStore(db)
    seen: list[int] = []
    with db.transaction():
        store.create("default", some_image())
        thread = threading.Thread(target=lambda: seen.append(len(store.list("default"))))
        thread.start()
        thread.join(10)
    assert seen == [0]


def test_writers_from_many_threads_all_succeed(db: Database) -> None:
    store = ImageStore(db)
    threads = [
        threading.Thread(target=store.create, args=("default", some_image(f"i{n}")))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(store.list("default")) == 8


def test_synchronous_is_full_again_after_a_quick_commit(db: Database) -> None:
    with db.transaction(durable=False):
        pass
    with db.transaction() as tx:
        assert tx.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert tx.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(DataLoss, match=r"metadata\.db is damaged"):
        Database(path)


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=999")
    connection.close()
    with pytest.raises(FailedPrecondition, match="version 999"):
        Database(path)
