"""supervisor's XML-RPC over its unix socket.

By hand and not with xmlrpc.client, whose import alone takes longer than a whole observe, and
which knows no unix sockets.
"""

from __future__ import annotations

import socket
from html import escape  # xml.sax.saxutils has one too, and with it all of http.client
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

# supervisor's faults that a caller may expect (supervisor.xmlrpc.Faults).
BAD_NAME = 10
ALREADY_STARTED = 60
NOT_RUNNING = 70
ALREADY_ADDED = 90


class FaultError(Exception):
    """supervisord answered that it cannot."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class DownError(Exception):
    """Nobody listens there."""


class HungError(Exception):
    """Somebody listens, but does not answer."""


def call(path: Path, method: str, *arguments: str | bool, timeout: float = 10.0) -> Any:
    """Call `supervisor.<method>`; raises FaultError, DownError or HungError."""
    body = _request(f"supervisor.{method}", arguments)
    # 1.0, so that the answer ends with the connection and is never chunked.
    head = f"POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(head.encode() + body)
            answer = b""
            while part := connection.recv(65536):
                answer += part
    except (FileNotFoundError, ConnectionError) as error:
        raise DownError(str(error)) from error
    except TimeoutError as error:
        raise HungError(f"no answer within {timeout:g}s") from error
    except OSError as error:  # a full queue of connections, for one: it is there, but too busy
        raise HungError(str(error)) from error
    return _response(answer)


def _request(method: str, arguments: tuple[str | bool, ...]) -> bytes:
    values = "".join(
        f"<param><value><boolean>{a:d}</boolean></value></param>"
        if isinstance(a, bool)
        else f"<param><value><string>{escape(a)}</string></value></param>"
        for a in arguments
    )
    return (
        f'<?xml version="1.0"?><methodCall><methodName>{method}</methodName>'
        f"<params>{values}</params></methodCall>"
    ).encode()


def _response(answer: bytes) -> Any:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not body:
        raise DownError("it ended while it answered")
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        status = head.split(b"\r\n")[0].decode(errors="replace")
        raise FaultError(0, f"{status}: {error}") from error
    value = root.find("./fault/value")
    if value is not None:
        fault = _value(value)
        raise FaultError(fault["faultCode"], fault["faultString"])
    return _value(root.find("./params/param/value"))


def _value(node: ElementTree.Element | None) -> Any:
    if node is None:
        return None
    if len(node) == 0:
        return node.text or ""
    inner = node[0]
    match inner.tag:
        case "struct":
            return {m.findtext("name", ""): _value(m.find("value")) for m in inner}
        case "array":
            return [_value(v) for v in inner.iterfind("./data/value")]
        case "int" | "i4":
            return int(inner.text or 0)
        case "boolean":
            return inner.text == "1"
        case _:
            return inner.text or ""
