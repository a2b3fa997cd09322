"""What a gRPC method is: its path, its two message types and which sides stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from pinnace.api.codec import Message

if TYPE_CHECKING:
    from pinnace.api.codec import Message as AnyMessage

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class Method(Generic[Request, Response]):
    """One method of a service, as the schema declares it; clients and the server share it."""

    __slots__ = ("name", "path", "request", "request_stream", "response", "response_stream")

    def __init__(
        self,
        service: str,
        name: str,
        request: type[Request],
        response: type[Response],
        *,
        request_stream: bool = False,
        response_stream: bool = False,
    ) -> None:
        self.name = name
        self.path = f"/{service}/{name}"
        self.request = request
        self.response = response
        self.request_stream = request_stream
        self.response_stream = response_stream

    @property
    def kind(self) -> str:
        """In the words of gRPC's metrics."""
        if self.request_stream:
            return "bidi_stream" if self.response_stream else "client_stream"
        return "server_stream" if self.response_stream else "unary"


def methods_of(service: type) -> dict[str, Method[AnyMessage, AnyMessage]]:
    """The methods a schema's service class declares, by attribute name."""
    return {name: value for name, value in vars(service).items() if isinstance(value, Method)}
