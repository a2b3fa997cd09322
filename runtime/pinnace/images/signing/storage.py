"""Where the signatures of images in registries are.

Simple signing keeps them in a directory or on a web server beside the registry ("lookaside"), sigstore in
the repository itself, under the tag ``sha256-<hex>.sig``. ``registries.d`` says which, for each part
of the namespace of names. Source: containers-registries.d(5) and containers/image's documentation
of its signature storage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.errors import Unimplemented

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.images.signing.signature import Signature
    from pinnace.registry.resolver import Resolver
    from pinnace.spec.digest import Digest
    from pinnace.spec.reference import Reference


class Storage:
    """Reads and writes signatures, as ``registries.d`` has it."""

    def read(self, resolver: Resolver, reference: Reference, digest: Digest) -> Sequence[Signature]:
        """The signatures of a manifest: none are looked for."""
        return ()

    def write(
        self,
        resolver: Resolver,
        reference: Reference,
        digest: Digest,
        signatures: Sequence[Signature],
    ) -> None:
        """Keep signatures of a manifest; raises Unimplemented: there is no place for them."""
        raise Unimplemented(
            f"{reference}: signatures cannot be kept in a registry",
            hint="leave them out: --remove-signatures",
        )
