"""Addresses and channels: all that a client needs. Light, so that dctl uses it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc

    from chassis.proof import Prove
    from chassis.tls import Secure

MAX_MESSAGE = 8 << 20
"""Bytes of the largest message that our clients and servers take: a page of a list may hold many
values of 1 MiB."""

OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # A peer that vanished without a word (power cut, SIGSTOP) is noticed within 15 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A service that is being restarted is back within a second; gRPC would wait up to 2 minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # The proxy of the environment is for the web, not for the next process.
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The same as an URL, as clients of the Go framework write it."""
        return f"http://{self}"


def parse_address(text: str) -> Address:
    """`host:port` or `http://host:port`, IPv6 in brackets; raises ValueError that says which."""
    rest = text.strip().removeprefix("http://").rstrip("/")
    host, colon, port = rest.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    ambiguous = ":" in bare and bare == host  # IPv6 without brackets, or another scheme
    number = int(port) if port.isascii() and port.isdecimal() else -1
    if not colon or not bare or ambiguous or "/" in bare or not 0 <= number <= 65535:
        raise ValueError(f'"{text}" is no address: write host:port or http://host:port')
    return Address(bare, number)


def connect(
    address: str | Address, prove: Prove | None = None, secure: Secure | None = None
) -> grpc.aio.Channel:
    """An asyncio channel to `address`. It connects when it is used; each call proves with `prove`
    who makes it. With `secure` it is encrypted, and whoever is there has to prove who it is."""
    import grpc

    from chassis.proof import interceptors

    proving = interceptors(prove) if prove else None
    target = _target(address)
    if secure is None:
        return grpc.aio.insecure_channel(target, options=OPTIONS, interceptors=proving)
    options = (*OPTIONS, *secure.options)
    return grpc.aio.secure_channel(target, secure.credentials, options, interceptors=proving)


def connect_sync(address: str | Address) -> grpc.Channel:
    """The same for code without a loop."""
    import grpc

    return grpc.insecure_channel(_target(address), options=OPTIONS)


def _target(address: str | Address) -> str:
    return str(parse_address(address) if isinstance(address, str) else address)
