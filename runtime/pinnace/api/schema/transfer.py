"""The Transfer service: pull, push, import, export, tag."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.wellknown import Any, Empty

PACKAGE = "containerd.services.transfer.v1"


class TransferOptions(pb.Message):
    progress_stream = pb.string(1)


class TransferRequest(pb.Message):
    source = pb.message(1, Any)
    destination = pb.message(2, Any)
    options = pb.message(3, TransferOptions)


_SERVICE = "containerd.services.transfer.v1.Transfer"


class Transfer:
    """The methods of ``containerd.services.transfer.v1.Transfer``."""

    transfer = Method(_SERVICE, "Transfer", TransferRequest, Empty)
