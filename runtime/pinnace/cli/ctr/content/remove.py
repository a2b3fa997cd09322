"""``ctr content delete``: delete blobs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, DeleteContentRequest
from pinnace.cli.client import Client
from pinnace.errors import Error, NotFound
from pinnace.spec.digest import Digest

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "<digest> [<digest>, ...]"
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    names = call.need_args("please specify a digest")
    status = 0
    with Client.of(call) as client:
        for name in names:
            try:
                client.call(Content.delete, DeleteContentRequest(digest=str(Digest.parse(name))))
            except NotFound:
                continue  # what is not there need not be deleted
            except Error as problem:
                # The others are deleted all the same.
                sys.stderr.write(f'ctr: failed to delete "{name}": {problem}\n')
                status = problem.exit_status
                continue
            sys.stdout.write(f"{name}\n")
    return status
