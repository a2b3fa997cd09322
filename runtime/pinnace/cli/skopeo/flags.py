"""The flags that skopeo's commands share: how to reach a registry, for either side of a copy."""

from __future__ import annotations

from pinnace.cli.options import Flag, duration, integer, switch, text

AUTHFILE = text("authfile", about="file with the logins", placeholder="FILE")
RETRY: tuple[Flag, ...] = (
    integer("retry-times", about="begin again this often when a registry fails"),
    duration("retry-delay", about="wait this long before; longer each time if it is not given"),
)


def registry(prefix: str = "") -> tuple[Flag, ...]:
    """How to reach a registry; *prefix* is ``src-`` or ``dest-`` where there are two."""
    which = {"": "the registry", "src-": "the source", "dest-": "the destination"}[prefix]
    return (
        text(f"{prefix}creds", about=f"login for {which} (NAME[:PASSWORD])"),
        text(f"{prefix}username", about=f"user name for {which}"),
        text(f"{prefix}password", about=f"password for {which}"),
        switch(f"{prefix}no-creds", about=f"do not log in to {which}"),
        text(f"{prefix}registry-token", about=f"Bearer token for {which}"),
        text(f"{prefix}cert-dir", about=f"directory with certificates for {which}"),
        switch(f"{prefix}tls-verify", about=f"=false takes any certificate of {which}, or none"),
    )


def place(prefix: str = "") -> tuple[Flag, ...]:
    """Like :func:`registry`, for commands that take any transport."""
    return (
        *registry(prefix),
        text(f"{prefix}daemon-host", about="not used: there is no docker-daemon transport"),
        text(f"{prefix}shared-blob-dir", about="directory of blobs that OCI layouts share"),
    )


SIGNING: tuple[Flag, ...] = (
    text("sign-by", about="sign with the GPG key of this fingerprint"),
    text("sign-by-sigstore", about="sign as this parameter file says (sigstore)"),
    text("sign-by-sigstore-private-key", about="sign with this private key (sigstore)"),
    text("sign-by-sq-fingerprint", about="refused: Sequoia-PGP is not supported"),
    text("sign-passphrase-file", about="file with the passphrase of the key"),
    text("sign-identity", about="name of the image in the signature"),
)
