"""Who calls, as a call proves it: the value of its metadata key `authorization`.

    Bearer TOKEN         a registered process, by the token that Blueprint issued to it
    Nonce NAME SECRET    who is not registered (yet): dctl, or a process that is about to be

A secret is the cluster's nonce, or one that is derived from it for a service of that name: who has
only that cannot call itself anything else.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import grpc

HEADER = "authorization"
BEARER, NONCE = "Bearer", "Nonce"

Prove = Callable[[], str]
"""The proof as of now; "" for none."""


class Nonce(NamedTuple):
    """A name, and the secret with which it is claimed."""

    name: str
    secret: str


def by_token(token: str) -> str:
    """The proof of a process that is registered."""
    return f"{BEARER} {token}"


def by_nonce(name: str, secret: str) -> str:
    """The proof of somebody who knows a nonce."""
    return f"{NONCE} {name} {secret}"


def read(proof: str) -> str | Nonce | None:
    """A token, a nonce, or nothing that we know."""
    match proof.split():
        case [kind, token] if kind == BEARER:
            return token
        case [kind, name, secret] if kind == NONCE:
            return Nonce(name, secret)
    return None


def nonce_of(secret: str, service: str) -> str:
    """The nonce that is derived from the cluster's for a service; it tells nothing of it."""
    return hmac.new(secret.encode(), f"draft {service}".encode(), hashlib.sha256).hexdigest()


def interceptors(prove: Prove) -> list[Any]:
    """For a channel of asyncio: each call proves who makes it."""
    import grpc

    def proven(details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        pairs = list(details.metadata or ())
        if proof := prove():
            pairs.append((HEADER, proof))
        metadata = grpc.aio.Metadata(*pairs)
        return grpc.aio.ClientCallDetails(
            details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
        )

    async def unary(_: object, go_on: Any, details: Any, request: Any) -> Any:
        return await go_on(proven(details), request)

    # gRPC takes one interceptor for one kind of call only.
    kinds = {
        grpc.aio.UnaryUnaryClientInterceptor: "intercept_unary_unary",
        grpc.aio.UnaryStreamClientInterceptor: "intercept_unary_stream",
        grpc.aio.StreamUnaryClientInterceptor: "intercept_stream_unary",
        grpc.aio.StreamStreamClientInterceptor: "intercept_stream_stream",
    }
    return [type("Proving", (base,), {name: unary})() for base, name in kinds.items()]
