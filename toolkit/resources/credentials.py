"""Secrets of services."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from toolkit.errors import UsageError
from toolkit.resources.base import RELOAD_UNITS, Content, Handler, Resource
from toolkit.secrets.key import digest_key
from toolkit.secrets.secret import Secret

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]{1,240}\.(service|socket|mount|swap)")


@dataclass(frozen=True, kw_only=True)
class Credential(Resource):
    """A secret that the service ``unit`` finds as the file ``credential`` in ``$CREDENTIALS_DIRECTORY``.

    Declare it before the unit. systemd shows it to nobody else; on the disk it is encrypted with the
    board's own key, where its systemd does that.
    """

    kind = "credential"
    unit: str
    credential: str
    source: Secret = field(repr=False)

    def __post_init__(self) -> None:
        if not _UNIT.fullmatch(self.unit):
            raise UsageError(f"Credential: {self.unit!r} is not the name of a service")
        if not _NAME.fullmatch(self.credential):
            raise UsageError(f"Credential of {self.unit}: {self.credential!r} is not a name for one", hint="letters, digits, '.', '_' and '-'")  # fmt: skip
        if not isinstance(self.source, Secret):
            raise UsageError(f"Credential {self.credential} of {self.unit}: its source is not a secret", hint='board.secret("NAME")')  # fmt: skip

    @property
    def name(self) -> str:
        return f"{self.unit} {self.credential}"

    @property
    def contents(self) -> tuple[Content, ...]:
        return (Content(self.source, digest_key(f"{self.unit} {self.credential}")),)

    @property
    def handlers(self) -> tuple[Handler, ...]:
        return (*self.notify, RELOAD_UNITS, Handler.restart(self.unit))

    def wanted(self) -> dict[str, Any]:
        [content] = self.contents
        return {"unit": self.unit, "credential": self.credential, **content.wire()}
