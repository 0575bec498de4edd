"""Encrypted connections, by which both sides prove that they are of this cluster.

`DRAFT_TLS_FILE` names a file that holds all that a process needs, as PEM in this order: its key,
its certificate, and that of the cluster's authority. dctl makes one for each service. Addresses
change, so a certificate is for the name of a service, and a caller says whom it means to reach.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from chassis.errors import ConfigError

if TYPE_CHECKING:
    import ssl

    import grpc

_BLOCK = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]+)-----\s.+?-----END \1-----\n?",
    re.DOTALL,
)


def host_name(service: str) -> str:
    """The name in a service's certificate."""
    return f"{service}.draft"


class Secure(NamedTuple):
    """For a channel to one service: nobody else is spoken to."""

    credentials: grpc.ChannelCredentials
    options: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """A key, its certificate and the certificate of the authority, each as PEM."""

    key: bytes = field(repr=False)
    certificate: bytes
    authority: bytes
    path: Path | None = None

    @classmethod
    def of(cls, text: bytes, path: Path | None = None) -> Self:
        """The identity that a file holds. Raises ValueError that says what is missing."""
        blocks = [(match[1], match[0]) for match in _BLOCK.finditer(text)]
        match blocks:
            case [(kind, key), (b"CERTIFICATE", own), (b"CERTIFICATE", above)] if kind.endswith(
                b"PRIVATE KEY"
            ):
                return cls(key, own, above, path)
        raise ValueError("holds no key, certificate and certificate of an authority, in this order")

    def to(self, service: str) -> Secure:
        """What a channel to that service needs."""
        import grpc

        credentials = grpc.ssl_channel_credentials(self.authority, self.key, self.certificate)
        # Also what calls are addressed to: by it, nothing is told of where a service is.
        return Secure(credentials, (("grpc.ssl_target_name_override", host_name(service)),))

    def server(self) -> grpc.ServerCredentials:
        """For a server that answers the cluster's own alone."""
        import grpc

        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)], self.authority, require_client_auth=True
        )

    def context(self) -> ssl.SSLContext:
        """For clients of Python's own streams; only for an identity that was read from a file."""
        import ssl

        assert self.path is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.path)
        context.load_verify_locations(cadata=self.authority.decode("ascii"))
        return context


def read_identity(path: Path) -> Identity:
    """The identity in a file. Raises ConfigError."""
    try:
        return Identity.of(path.read_bytes(), path)
    except OSError as error:
        raise ConfigError(f"DRAFT_TLS_FILE: {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"DRAFT_TLS_FILE: {path} {error}") from None
