"""One probe of one health check; every answer is one sentence."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable

from dctl.hosts.base import Check, Identify, Probe, nobody

_HEALTH = "/grpc.health.v1.Health/Check"
# HealthCheckResponse{status: SERVING} and the names of the others; parsed by hand, for its
# generated code would be one more import at the start of every status.
_SERVING = b"\x08\x01"
# Trailing metadata with which the chassis says why it does not serve.
_WHY = "draft-why-bin"
_SAID = 2000  # bytes of an answer that is not well, in which it may say why
_STATUS = {b"": "UNKNOWN", b"\x08\x02": "NOT_SERVING", b"\x08\x03": "SERVICE_UNKNOWN"}


def probe(check: Check, own: Identify = nobody) -> Probe:
    """Ask once, within `check.timeout`; as `own` where one has to say who asks."""
    match check.type:
        case "grpc":
            return _grpc(check, own)
        case "http":
            return _http(check)
        case "tcp":
            return _tcp(check)
        case "exec":
            return _exec(check)


def _grpc(check: Check, own: Identify) -> Probe:
    import grpc

    # An own pool: a shared one keeps the back-off of the last failed probe. No proxy: it is near.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    if not check.service:
        opened = grpc.insecure_channel(check.target, options)
    elif identity := own():
        secure = identity.to(check.service)
        opened = grpc.secure_channel(check.target, secure.credentials, [*options, *secure.options])
    else:
        return Probe(False, f"{check.target} is encrypted, and there is no certificate to ask with")
    with opened as channel:
        ask: Callable[..., tuple[bytes, grpc.Call]] = channel.unary_unary(_HEALTH).with_call
        try:
            answer, call = ask(b"", timeout=check.timeout)
        except grpc.RpcError as error:
            return Probe(False, _why_not(check, error.code(), error.details() or ""))
    if answer == _SERVING:
        return Probe(True)
    status = _STATUS.get(answer, "something unknown")
    return Probe(False, f"{check.target} answers {status}{_told(call.trailing_metadata())}")


def _told(trailing: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Why it does not serve, where it says so."""
    for key, value in trailing or ():
        if key == _WHY and isinstance(value, bytes):
            return f": {' '.join(value.decode(errors='replace').split())}"
    return ""


def _why_not(check: Check, code: object, details: str) -> str:
    name = getattr(code, "name", str(code))
    if name == "DEADLINE_EXCEEDED":
        return _late(check)
    if name == "UNAVAILABLE":
        refused = "Connection refused" in details
        return f"{check.target} refused the connection" if refused else f"{check.target}: {details}"
    if name == "UNIMPLEMENTED":
        return f"{check.target} speaks gRPC but offers no health service"
    return f"{check.target} answers {name}: {details}"


def _http(check: Check) -> Probe:
    import http.client
    import ssl
    from urllib.parse import urlsplit

    url = urlsplit(check.target)
    host, port = url.hostname or "", url.port
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        # Is it there and well? Whose certificate it has is not asked here.
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(host, port, timeout=check.timeout, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=check.timeout)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        connection.request("GET", path, headers={"User-Agent": "dctl"})
        answer = connection.getresponse()
        said = b"" if answer.status < 400 else answer.read(_SAID)
    except OSError as error:
        return Probe(False, _failed(check, error))
    except http.client.HTTPException as error:
        return Probe(False, f"{check.target} does not speak HTTP ({type(error).__name__})")
    finally:
        connection.close()
    if 200 <= answer.status < 400:
        return Probe(True)
    return Probe(False, f"{check.target} answers {answer.status} {answer.reason}{_error(said)}")


def _error(body: bytes) -> str:
    """Why, where a JSON document says so, as NATS's does."""
    import json

    try:
        error = json.loads(body)["error"]
    except (ValueError, LookupError, TypeError):
        return ""
    return f": {' '.join(error.split())}" if isinstance(error, str) else ""


def _tcp(check: Check) -> Probe:
    host, _, port = check.target.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), check.timeout).close()
    except OSError as error:
        return Probe(False, _failed(check, error))
    return Probe(True)


def _exec(check: Check) -> Probe:
    command = " ".join(check.argv)
    try:
        child = subprocess.Popen(
            check.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return Probe(False, f"{command} cannot be run: {error.strerror}")
    with child:
        try:
            said, _ = child.communicate(timeout=check.timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # with all that it started
            return Probe(False, f"{command} did not end within {check.timeout:g}s")
    if child.returncode == 0:
        return Probe(True)
    lines = said.strip().splitlines()
    last = f": {lines[-1]}" if lines else ""
    return Probe(False, f"{command} ended with exit status {child.returncode}{last}")


def _failed(check: Check, error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return _late(check)
    if isinstance(error, ConnectionRefusedError):
        return f"{check.target} refused the connection"
    return f"{check.target}: {error.strerror or error}"


def _late(check: Check) -> str:
    return f"{check.target} did not answer within {check.timeout:g}s"
