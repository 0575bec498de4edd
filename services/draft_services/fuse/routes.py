"""What a route is, and the checks that a Route message has to pass.

`parse` turns the message into a value that is known to be good: a proxy accepts some wrong input
(a prefix without a slash, say) and then serves nothing, so every rule is held here, before a push.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from draft_api.core.control_plane.networking.v1 import service_pb2 as networking

from chassis import clients

ANY_HOST = "*"
MAX_NAME_BYTES = 1024  # a route's name is a key in Blueprint
MAX_WEIGHT = 2**32 - 1  # Envoy refuses a larger sum
MAX_TIMEOUT_SECONDS = 365 * 24 * 3600

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_HOST_PATTERN = re.compile(rf"\*|(\*[.-])?{_LABEL}(\.{_LABEL})*|{_LABEL}(\.{_LABEL})*\.\*")
_HEADER_KEY = re.compile(r":?[a-z0-9!#$%&'*+.^_`|~-]+")
_PATH = re.compile(r"/[\x21\x22\x24-\x3e\x40-\x7e]*")  # visible ASCII without # and ?
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class InvalidRouteError(ValueError):
    """A Route message breaks a rule: which field, and how."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"route.{field}: {reason}")
        self.field = field


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address. Only an IP address can be sent to a proxy as it is; a name has to be resolved."""

    host: str
    port: int

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address."""
        return _is_ip_address(self.host)


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where requests go: a service by its name, or a fixed set of endpoints with their weights.

    Routes with equal upstreams share one cluster in the proxy."""

    service: str
    endpoints: tuple[tuple[Endpoint, int], ...]
    http2: bool


@dataclass(frozen=True, slots=True)
class Route:
    """A checked route. `timeout` in seconds: None is unset, 0 no limit."""

    name: str
    host: str
    prefix: str
    headers: tuple[tuple[str, str], ...]
    only_grpc: bool
    upstream: Upstream
    timeout: float | None
    retries: int
    rewrite_prefix: str


def parse(message: networking.Route) -> Route:
    """The checked route, or InvalidRouteError naming the first field that is wrong."""
    match = message.match
    return Route(
        name=parse_name(message.name),
        host=_host_pattern(match.host),
        prefix=_prefix(match.prefix),
        headers=_headers(match),
        only_grpc=match.HasField("grpc_match_options"),
        upstream=_upstream(message),
        timeout=_timeout(message),
        retries=message.retries,
        rewrite_prefix=_rewrite_prefix(message.rewrite_prefix),
    )


def parse_name(name: str) -> str:
    """A route's name, checked as a key of Blueprint."""
    if not name:
        raise InvalidRouteError("name", "empty; a route needs a unique name")
    if name != name.strip():
        raise InvalidRouteError("name", f"{name!r} has white space around it; remove it")
    if _CONTROL.search(name):
        raise InvalidRouteError("name", f"{name!r} has a control character; remove it")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidRouteError("name", f"longer than {MAX_NAME_BYTES} bytes; shorten it")
    return name


def parse_address(address: str) -> Endpoint:
    """The endpoint in `host:port`, or ValueError. For addresses that processes advertise."""
    found = clients.parse_address(address)
    return _endpoint(networking.Endpoint(host=found.host, port=found.port), "address")


def _prefix(prefix: str) -> str:
    if not prefix:
        raise InvalidRouteError("match.prefix", 'empty; "/" matches every path')
    if not prefix.startswith("/"):
        raise InvalidRouteError("match.prefix", f'{prefix!r} has to begin with "/"')
    if not _PATH.fullmatch(prefix):
        raise InvalidRouteError(
            "match.prefix", f'{prefix!r} has to be plain ASCII without "?" or "#"'
        )
    return prefix


def _rewrite_prefix(prefix: str) -> str:
    if prefix and not _PATH.fullmatch(prefix):
        raise InvalidRouteError(
            "rewrite_prefix", f'{prefix!r} has to be a path: "/", then ASCII without "?" or "#"'
        )
    return prefix


def _host_pattern(host: str) -> str:
    """Lower case, since proxies refuse two hosts that differ only in case."""
    pattern = host.lower()
    if not pattern:
        return ANY_HOST
    if pattern.startswith("[") and pattern.endswith("]") and _is_ip_address(pattern):
        return pattern
    if _HOST_PATTERN.fullmatch(pattern):
        return pattern
    bare, _, port = pattern.rpartition(":")
    if port.isdigit() and _HOST_PATTERN.fullmatch(bare):
        raise InvalidRouteError("match.host", f"{host!r} has a port; name only the host: {bare!r}")
    raise InvalidRouteError(
        "match.host", f'{host!r} is no host; use a name, "*.example.com", "example.*" or nothing'
    )


def _headers(match: networking.RouteMatch) -> tuple[tuple[str, str], ...]:
    wanted = [("match.headers", match.headers)] if match.HasField("headers") else []
    wanted += [(f"match.header_matches[{i}]", h) for i, h in enumerate(match.header_matches)]
    found = []
    for field, header in wanted:
        key = header.key.lower()
        if not _HEADER_KEY.fullmatch(key):
            raise InvalidRouteError(f"{field}.key", f"{header.key!r} is no header name")
        if _CONTROL.search(header.value):
            raise InvalidRouteError(f"{field}.value", f"{header.value!r} has a control character")
        found.append((key, header.value))
    return tuple(sorted(found))


def _upstream(message: networking.Route) -> Upstream:
    given = [
        field
        for field, is_set in (
            ("endpoint", message.HasField("endpoint")),
            ("endpoints", bool(message.endpoints)),
            ("service", bool(message.service)),
        )
        if is_set
    ]
    if not given:
        raise InvalidRouteError("endpoint", "missing; set one of endpoint, endpoints, service")
    if len(given) > 1:
        raise InvalidRouteError(given[0], f"set together with {given[1]}; keep one of them")
    if message.service:
        service = message.service
        if service != service.strip() or _CONTROL.search(service):
            raise InvalidRouteError("service", f"{service!r} is no service name")
        return Upstream(service, (), message.enable_http2)
    if message.HasField("endpoint"):
        endpoints: tuple[tuple[Endpoint, int], ...] = (
            (_endpoint(message.endpoint, "endpoint"), 1),
        )
    else:
        endpoints = _weighted(message)
    return Upstream("", endpoints, message.enable_http2)


def _weighted(message: networking.Route) -> tuple[tuple[Endpoint, int], ...]:
    weights: dict[Endpoint, int] = {}
    for i, weighted in enumerate(message.endpoints):
        if not weighted.HasField("endpoint"):
            raise InvalidRouteError(f"endpoints[{i}].endpoint", "missing; set its host and port")
        endpoint = _endpoint(weighted.endpoint, f"endpoints[{i}].endpoint")
        weights[endpoint] = weights.get(endpoint, 0) + weighted.weight
    total = sum(weights.values())
    if not 0 < total <= MAX_WEIGHT:
        raise InvalidRouteError(
            "endpoints", f"the weights add up to {total}; it has to be 1 to {MAX_WEIGHT}"
        )
    in_order = sorted(weights.items(), key=lambda item: (item[0].host, item[0].port))
    return tuple((endpoint, weight) for endpoint, weight in in_order if weight)


def _endpoint(endpoint: networking.Endpoint, field: str) -> Endpoint:
    host = endpoint.host.lower()
    if not host:
        raise InvalidRouteError(f"{field}.host", "empty; set a name or an IP address")
    if _is_ip_address(host):
        host = host.strip("[]")
    elif not _HOST_NAME.fullmatch(host) or _looks_like_ipv4(host):
        raise InvalidRouteError(
            f"{field}.host", f"{endpoint.host!r} is neither a name nor an IP address"
        )
    if not 1 <= endpoint.port <= 65535:
        raise InvalidRouteError(f"{field}.port", f"{endpoint.port} is not a port; use 1 to 65535")
    return Endpoint(host, endpoint.port)


def _timeout(message: networking.Route) -> float | None:
    if not message.HasField("timeout"):
        return None
    seconds = message.timeout.seconds + message.timeout.nanos / 1e9
    if not 0 <= seconds <= MAX_TIMEOUT_SECONDS:
        raise InvalidRouteError("timeout", f"{seconds:g} s; use 0 (no limit) to a year")
    return seconds


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _looks_like_ipv4(host: str) -> bool:
    return host.replace(".", "").isdigit()
