"""The listener and its chain of HTTP filters.

The order of the chain is the order in which a request meets the filters: each turns one more
protocol into gRPC. The transcoder stays after the bridge, which knows Connect requests by their
headers and would otherwise never see the JSON ones.
"""

from __future__ import annotations

from typing import Any

from draft_services.fuse.routes import Endpoint
from draft_services.fuse.translate.clusters import ADS
from draft_services.fuse.xds.messages import message, packed
from draft_services.fuse.xds.resources import Resource

LISTENER = "ingress"
ROUTE_CONFIGURATION = "ingress"

CORS = "envoy.filters.http.cors"
GRPC_WEB = "envoy.filters.http.grpc_web"
CONNECT_BRIDGE = "envoy.filters.http.connect_grpc_bridge"
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
HEADER_MUTATION = "envoy.filters.http.header_mutation"
ROUTER = "envoy.filters.http.router"

_FILTERS = "envoy.extensions.filters.http"


def listener(address: Endpoint) -> Resource:
    """The one listener, at the address of the ingress."""
    manager = message(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    )(
        stat_prefix=LISTENER,
        codec_type="AUTO",
        rds={"route_config_name": ROUTE_CONFIGURATION, "config_source": ADS},
        use_remote_address={"value": True},
        normalize_path={"value": True},
        http2_protocol_options={
            "connection_keepalive": {"interval": {"seconds": 30}, "timeout": {"seconds": 10}}
        },
        http_filters=_chain(),
    )
    return Resource.of(
        LISTENER,
        message("envoy.config.listener.v3.Listener")(
            name=LISTENER,
            address={"socket_address": {"address": address.host, "port_value": address.port}},
            filter_chains=[
                {
                    "filters": [
                        {
                            "name": "envoy.filters.network.http_connection_manager",
                            "typed_config": packed(manager),
                        }
                    ]
                }
            ],
        ),
    )


def _chain() -> list[dict[str, Any]]:
    transcoder = message(f"{_FILTERS}.grpc_json_transcoder.v3.GrpcJsonTranscoder")
    configured = {
        CORS: message(f"{_FILTERS}.cors.v3.Cors")(),
        GRPC_WEB: message(f"{_FILTERS}.grpc_web.v3.GrpcWeb")(),
        CONNECT_BRIDGE: message(f"{_FILTERS}.connect_grpc_bridge.v3.FilterConfig")(),
        # Without descriptors it does nothing; those that a route needs come with the route.
        TRANSCODER: transcoder(proto_descriptor_bin=b""),
        HEADER_MUTATION: message(f"{_FILTERS}.header_mutation.v3.HeaderMutation")(),
        ROUTER: message(f"{_FILTERS}.router.v3.Router")(),
    }
    return [{"name": name, "typed_config": packed(value)} for name, value in configured.items()]
