"""What a caller who came through the ingress is told about addresses.

Fuse has Envoy add a header that names the ingress, as the caller reached it. Such a caller may not
reach the core services themselves, so every answer that names one of them names the ingress.
"""

from __future__ import annotations

from typing import Any

import grpc

HEADER = "x-draft-ingress"


def through(context: grpc.aio.ServicerContext[Any, Any]) -> str | None:
    """The ingress as a URL; None for a caller who came directly."""
    for key, value in context.invocation_metadata() or ():
        if key == HEADER and value:
            return value if isinstance(value, str) else value.decode()
    return None
