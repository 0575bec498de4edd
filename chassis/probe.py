"""Asks once whether something is well, and exits 0 if it is: for an engine that asks by commands.

python -m chassis.probe grpc 127.0.0.1:2221
python -m chassis.probe http http://127.0.0.1:8222/healthz
python -m chassis.probe tcp 127.0.0.1:6379
"""

from __future__ import annotations

import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable

from chassis.clients import connect_sync, parse_address

_TIMEOUT = 5.0  # seconds; who asks has a limit of its own, and a shorter one
_HEALTH = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"  # HealthCheckResponse{status: SERVING}


def ask(kind: str, target: str) -> str:
    """Why it is not well; "" when it is."""
    match kind:
        case "grpc":
            return _grpc(target)
        case "http":
            return _http(target)
        case "tcp":
            return _tcp(target)
    return f'no way to ask is called "{kind}": grpc, http or tcp'


def _grpc(target: str) -> str:
    import grpc

    with connect_sync(target) as channel:
        call: Callable[..., bytes] = channel.unary_unary(_HEALTH)
        try:
            answer = call(b"", timeout=_TIMEOUT)
        except grpc.RpcError as error:
            return f"{target}: {error}"
    return "" if answer == _SERVING else f"{target} does not serve"


def _http(target: str) -> str:
    # No proxy of the environment: it is near.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(target, timeout=_TIMEOUT):
            return ""
    except (urllib.error.URLError, OSError, ValueError) as error:
        return f"{target}: {error}"


def _tcp(target: str) -> str:
    address = parse_address(target)
    try:
        with socket.create_connection((address.host, address.port), timeout=_TIMEOUT):
            return ""
    except OSError as error:
        return f"{target}: {error}"


if __name__ == "__main__":
    sys.exit((ask(*sys.argv[1:3]) or 0) if len(sys.argv) == 3 else __doc__)
