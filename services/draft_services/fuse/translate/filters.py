"""The chain of HTTP filters, and what a route changes in it.

The order of the chain is the order in which a request meets the filters: each turns one more
protocol into gRPC. The transcoder stays after the bridge, which knows Connect requests by their
headers.
"""

from __future__ import annotations

from typing import Any

from draft_services.fuse.descriptors import Transcoding
from draft_services.fuse.xds.messages import message, packed

CORS = "envoy.filters.http.cors"
GRPC_WEB = "envoy.filters.http.grpc_web"
CONNECT_BRIDGE = "envoy.filters.http.connect_grpc_bridge"
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
ROUTER = "envoy.filters.http.router"

_PACKAGE = "envoy.extensions.filters.http"
_TRANSCODER = f"{_PACKAGE}.grpc_json_transcoder.v3.GrpcJsonTranscoder"


def chain() -> list[dict[str, Any]]:
    """The filters that every request meets."""
    configured = {
        CORS: message(f"{_PACKAGE}.cors.v3.Cors")(),
        GRPC_WEB: message(f"{_PACKAGE}.grpc_web.v3.GrpcWeb")(),
        CONNECT_BRIDGE: message(f"{_PACKAGE}.connect_grpc_bridge.v3.FilterConfig")(),
        # Without descriptors it does nothing; those that a route needs come with the route.
        TRANSCODER: message(_TRANSCODER)(proto_descriptor_bin=b""),
        ROUTER: message(f"{_PACKAGE}.router.v3.Router")(),
    }
    return [{"name": name, "typed_config": packed(value)} for name, value in configured.items()]


def untouched() -> dict[str, Any]:
    """For a route that passes requests as they are."""
    return dict.fromkeys((CORS, GRPC_WEB, CONNECT_BRIDGE, TRANSCODER), _off())


def transcoded(json: Transcoding) -> dict[str, Any]:
    """For a route whose methods can be called with JSON."""
    transcoder = message(_TRANSCODER)(
        proto_descriptor_bin=json.files,
        services=json.services,
        auto_mapping=True,
        convert_grpc_status=True,
        # The route that was matched serves, whatever path the method has.
        match_incoming_request_route=True,
    )
    return {TRANSCODER: packed(transcoder)}


def unbridged() -> dict[str, Any]:
    """For a route that leaves the JSON of Connect clients to the transcoder: the bridge would pass
    it on as it is, and few gRPC servers read JSON."""
    return {CONNECT_BRIDGE: _off()}


def cors(origins: tuple[str, ...]) -> dict[str, Any]:
    """For a virtual host whose services these web origins may call; without any: nothing."""
    if not origins:
        return {}
    policy = message(f"{_PACKAGE}.cors.v3.CorsPolicy")(
        allow_origin_string_match=[
            {"prefix": ""} if origin == "*" else {"exact": origin} for origin in origins
        ],
        allow_methods="GET, POST, OPTIONS",
        allow_headers=(
            "content-type, authorization, grpc-timeout, x-grpc-web, x-user-agent, "
            "connect-protocol-version, connect-timeout-ms"
        ),
        expose_headers="grpc-status, grpc-message, grpc-status-details-bin",
        max_age="7200",
    )
    return {CORS: packed(policy)}


def _off() -> dict[str, Any]:
    return packed(message("envoy.config.route.v3.FilterConfig")(disabled=True))
