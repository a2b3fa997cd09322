"""Moving images: pull, push, import, export and tag, with their events."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import InvalidArgument, NotFound, Unimplemented

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pinnace.daemon.daemon import Daemon
    from pinnace.images.compression import Readable
    from pinnace.images.progress import Report
    from pinnace.images.tarwrite import Writable
    from pinnace.registry.auth import Credentials
    from pinnace.registry.resolver import Resolver
    from pinnace.spec.platform import Platform
    from pinnace.store.images import Image


class Registry(NamedTuple):
    """How to reach a registry, as the client wishes; the rest is in ``config.toml``."""

    hosts_directory: str = ""
    plain_http: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    credentials: Credentials | None = None


class Transfer:
    """One piece of work for one client."""

    def __init__(self, daemon: Daemon, namespace: str, report: Report) -> None:
        self._daemon = daemon
        self._store = daemon.store
        self.namespace = namespace
        self._report = report

    def pull(
        self,
        reference: str,
        registry: Registry,
        *,
        name: str,
        labels: Mapping[str, str],
        platforms: Sequence[Platform],
        unpack: bool,
        snapshotter: str,
    ) -> Image:
        """Raises what ``images.pull`` raises. No platforms means all of them."""
        from pinnace.images import pull

        before = self._existing()
        with closing(self._resolver(registry)) as resolver:
            made = pull.pull(
                self._store,
                self.namespace,
                reference,
                resolver,
                platform=_one(platforms),
                all_platforms=not platforms,
                snapshotter=self._snapshotter(snapshotter),
                unpack=unpack,
                name=name,
                image_labels=labels,
                parallel=self._daemon.config.number("max_concurrent_downloads"),
                report=self._report,
            )
        self._announce([made], before)
        return made

    def push(
        self, name: str, reference: str, registry: Registry, platforms: Sequence[Platform]
    ) -> None:
        """Raises what ``images.push`` raises."""
        from pinnace.images import push

        with closing(self._resolver(registry)) as resolver:
            push.push(
                self._store,
                self.namespace,
                name,
                reference,
                resolver,
                platform=_one(platforms),
                report=self._report,
            )

    def import_(
        self,
        source: Readable,
        *,
        base_name: str,
        index_name: str,
        digests: bool,
        labels: Mapping[str, str],
        platforms: Sequence[Platform],
        unpack: bool,
        snapshotter: str,
    ) -> list[Image]:
        """Raises what ``images.load`` raises."""
        from pinnace.images import load

        before = self._existing()
        made = load.import_(
            self._store,
            self.namespace,
            source,
            platform=_one(platforms),
            all_platforms=not platforms,
            base_name=base_name,
            index_name=index_name,
            digests=digests,
            snapshotter=self._snapshotter(snapshotter),
            unpack=unpack,
            image_labels=labels,
            report=self._report,
        )
        self._announce(made, before)
        return made

    def export(
        self,
        names: Sequence[str],
        target: Writable,
        *,
        platforms: Sequence[Platform],
        all_platforms: bool,
        docker_manifest: bool,
    ) -> None:
        """Raises what ``images.archive`` raises."""
        from pinnace.images import archive

        if not names:
            raise InvalidArgument("no image was named for the export")
        archive.export(
            self._store,
            self.namespace,
            names,
            target,
            platform=_one(platforms),
            all_platforms=all_platforms,
            docker_manifest=docker_manifest,
            report=self._report,
        )

    def tag(self, name: str, new: str, labels: Mapping[str, str]) -> None:
        """Give an image one more name, which loses what it meant before; raises NotFound."""
        image = self._store.images.get(self.namespace, name)
        renamed = image._replace(name=new, labels={**image.labels, **labels})
        try:
            self._daemon.catalog.update_image(self.namespace, renamed)
        except NotFound:
            self._daemon.catalog.create_image(self.namespace, renamed)

    def _resolver(self, registry: Registry) -> Resolver:
        from pinnace.daemon import registries

        return registries.resolver(
            self._daemon.config,
            directory=registry.hosts_directory,
            credentials=registry.credentials,
            plain_http=registry.plain_http,
            headers=registry.headers,
            on_warning=self._daemon.log.warn,
        )

    def _snapshotter(self, name: str) -> str:
        return name or self._daemon.config.text("snapshotter")

    def _existing(self) -> set[str]:
        return {image.name for image in self._store.images.list(self.namespace)}

    def _announce(self, made: Sequence[Image], before: set[str]) -> None:
        for image in made:
            what = "update" if image.name in before else "create"
            self._daemon.events.publish(
                self.namespace, f"/images/{what}", name=image.name, labels=dict(image.labels)
            )
        self._daemon.collector.changed()


def _one(platforms: Sequence[Platform]) -> Platform | None:
    """The platform, when it is one; several at once are more than the images layer does."""
    if len(platforms) > 1:
        raise Unimplemented("choose one platform, or all")
    return platforms[0] if platforms else None
