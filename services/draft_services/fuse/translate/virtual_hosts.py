"""Routes -> the route configuration.

A route that speaks HTTP/2 to its upstream is one to a gRPC service: it takes gRPC, gRPC-Web,
Connect and, where descriptors are known, JSON. Any other route passes requests untouched.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from draft_services.fuse.descriptors import Transcoding, transcoding
from draft_services.fuse.routes import Route
from draft_services.fuse.translate import filters, matching
from draft_services.fuse.translate.clusters import cluster_name
from draft_services.fuse.translate.listener import ROUTE_CONFIGURATION
from draft_services.fuse.xds.messages import message, packed
from draft_services.fuse.xds.resources import Resource

# Tells Blueprint that a caller came through the ingress, and under which address. Set on every
# request, so that a caller cannot claim it.
INGRESS_HEADER = {
    "header": {"key": "x-draft-ingress", "value": "http://%REQ(:authority)%"},
    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
}
# What the first byte was sent of is never tried again unless the route asks for it.
UNDELIVERED = "connect-failure,refused-stream,reset-before-request"
# The registry notices a killed process after seconds; until then its share goes to another one.
SERVICE_RETRIES = 2
NO_LIMIT = {"seconds": 0}


def route_configuration(
    routes: Iterable[Route], descriptors: Mapping[str, bytes], cors_origins: tuple[str, ...] = ()
) -> Resource:
    """The one configuration that holds every route."""
    virtual_hosts = [
        {
            "name": host,
            "domains": [host],
            "typed_per_filter_config": filters.cors(cors_origins),
            "routes": [one for route in ordered for one in _routes(route, descriptors)],
        }
        for host, ordered in matching.by_host(routes).items()
    ]
    configuration = message("envoy.config.route.v3.RouteConfiguration")(
        name=ROUTE_CONFIGURATION,
        virtual_hosts=virtual_hosts,
        ignore_port_in_host_matching=True,
        request_headers_to_add=[INGRESS_HEADER],
    )
    return Resource.of(ROUTE_CONFIGURATION, configuration)


def _routes(route: Route, descriptors: Mapping[str, bytes]) -> tuple[Any, ...]:
    json = None
    # A rewritten path names no method, and JSON is not gRPC.
    if _is_grpc(route) and not (route.rewrite_prefix or route.only_grpc):
        json = transcoding(route.prefix, descriptors)
    return _with_json(route, json)


# Most calls repeat an earlier one: a change touches one route of thousands.
@functools.lru_cache(maxsize=16_384)
def _with_json(route: Route, json: Transcoding | None) -> tuple[Any, ...]:
    if not _is_grpc(route):
        return (_route(route, filters.untouched()),)
    if json is None:
        return (_route(route, {}),)
    transcoded = filters.transcoded(json)
    by_json = _route(route, transcoded | filters.unbridged())
    by_json.name += " (json)"
    by_json.match.headers.add(
        name="content-type", string_match={"prefix": "application/json", "ignore_case": True}
    )
    return by_json, _route(route, transcoded)


def _route(route: Route, per_filter: dict[str, Any]) -> Any:
    return message("envoy.config.route.v3.Route")(
        name=route.name,
        stat_prefix=route.name,
        match=_match(route),
        route=_action(route),
        typed_per_filter_config=per_filter,
    )


def _match(route: Route) -> dict[str, Any]:
    headers = [{"name": key, "string_match": {"exact": value}} for key, value in route.headers]
    kind = "path_separated_prefix" if matching.is_whole_segment(route.prefix) else "prefix"
    match: dict[str, Any] = {kind: route.prefix, "headers": headers}
    if route.only_grpc:
        match["grpc"] = {}
    return match


def _action(route: Route) -> dict[str, Any]:
    action: dict[str, Any] = {"cluster": cluster_name(route.upstream)}
    action |= _grpc_limits(route) if _is_grpc(route) else {"timeout": _duration(route.timeout or 0)}
    action |= _retry_policy(route)
    action |= _rewrite(route)
    return action


def _grpc_limits(route: Route) -> dict[str, Any]:
    """A limit on the stream, not on the response: only so is the answer DEADLINE_EXCEEDED. The
    caller's own deadline counts when it is shorter."""
    limit = _duration(route.timeout or 0)
    return {
        "timeout": NO_LIMIT,
        "idle_timeout": NO_LIMIT,  # a watch may be silent for hours
        "max_stream_duration": {"max_stream_duration": limit, "grpc_timeout_header_max": limit},
    }


def _retry_policy(route: Route) -> dict[str, Any]:
    retries = route.retries or (SERVICE_RETRIES if route.upstream.service else 0)
    if not retries:
        return {}
    answered = ",unavailable" if _is_grpc(route) else ",gateway-error"
    previous_hosts = message("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")
    return {
        "retry_policy": {
            "retry_on": UNDELIVERED + (answered if route.retries else ""),
            "num_retries": {"value": retries},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": packed(previous_hosts()),
                }
            ],
            "host_selection_retry_max_attempts": 5,
        }
    }


def _rewrite(route: Route) -> dict[str, Any]:
    """Keeps exactly one slash where the new prefix meets the rest of the path."""
    new, old = route.rewrite_prefix, route.prefix
    if not new:
        return {}
    if old.endswith("/"):
        return {"prefix_rewrite": new if new.endswith("/") else new + "/"}
    if new.endswith("/"):
        return {
            "regex_rewrite": {
                "pattern": {"regex": f"^{re.escape(old)}/?"},
                "substitution": new.replace("\\", "\\\\"),
            }
        }
    return {"prefix_rewrite": new}


def _is_grpc(route: Route) -> bool:
    return route.upstream.http2


def _duration(seconds: float) -> dict[str, int]:
    whole = int(seconds)
    return {"seconds": whole, "nanos": round((seconds - whole) * 1e9)}
