"""Over random graphs: what can be reached stays, everything else goes."""

from __future__ import annotations

import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.spec import image as images
from pinnace.spec.digest import Digest, sha256
from pinnace.spec.image import Descriptor
from pinnace.store import gc
from pinnace.store.images import Image
from pinnace.store.store import Store

NODES = st.integers(0, 11)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(NODES, NODES), max_size=25),
    st.lists(st.tuples(NODES, NODES), max_size=5),
    st.sets(NODES, max_size=3),
)
def test_exactly_the_unreachable_is_removed(
    forward: list[tuple[int, int]], back: list[tuple[int, int]], roots: set[int]
) -> None:
    def name(number: int) -> Digest:
        return sha256(str(number).encode())

    with tempfile.TemporaryDirectory() as scratch:
        store = Store(scratch)
        with store.db.transaction(durable=False) as tx:
            for number in range(12):
                labels = {
                    f"containerd.io/gc.ref.content.{n}": name(to)
                    for n, (source, to) in enumerate(forward)
                    if source == number
                }
                labels.update(
                    (f"containerd.io/gc.bref.content.{n}", name(to))
                    for n, (source, to) in enumerate(back)
                    if source == number
                )
                store.content.record(tx, "default", name(number), 1, labels)
            for number in roots:
                target = Descriptor(images.OCI_MANIFEST, name(number), 1)
                store.images.create("default", Image(str(number), target))
        edges = set(forward) | {(to, source) for source, to in back}
        reachable = set(roots)
        while more := {to for source, to in edges if source in reachable} - reachable:
            reachable |= more
        gc.collect(store.db, store.content, store.snapshotters)
        left = {info.digest for info in store.content.walk("default")}
        store.close()
        assert left == {name(number) for number in reachable}
