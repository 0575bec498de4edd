"""The listener."""

from __future__ import annotations

from chassis.clients import MAX_MESSAGE
from draft_services.fuse.routes import Endpoint
from draft_services.fuse.translate.clusters import ADS
from draft_services.fuse.translate.filters import chain
from draft_services.fuse.xds.messages import message, packed
from draft_services.fuse.xds.resources import Resource

LISTENER = "ingress"
ROUTE_CONFIGURATION = "ingress"


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
        http_filters=chain(),
    )
    return Resource.of(
        LISTENER,
        message("envoy.config.listener.v3.Listener")(
            name=LISTENER,
            # Bridge and transcoder hold whole messages; Envoy's own limit is 1 MiB.
            per_connection_buffer_limit_bytes={"value": MAX_MESSAGE},
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
