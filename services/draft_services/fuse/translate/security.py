"""How a proxy speaks to a service where everything is encrypted."""

from __future__ import annotations

from typing import Any

from chassis.tls import host_name
from draft_services.fuse.xds.messages import message, packed

IDENTITY, AUTHORITY = "identity", "authority"
"""Secrets that a proxy's bootstrap holds: its own certificate, and whose it believes."""


def transport_socket(service: str) -> dict[str, Any]:
    """By TLS, to whoever proves to be that service."""
    name = host_name(service)
    context = message("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")(
        sni=name,
        common_tls_context={
            "tls_certificate_sds_secret_configs": [{"name": IDENTITY}],
            "combined_validation_context": {
                "default_validation_context": {
                    "match_typed_subject_alt_names": [
                        {"san_type": "DNS", "matcher": {"exact": name}}
                    ]
                },
                "validation_context_sds_secret_config": {"name": AUTHORITY},
            },
        },
    )
    return {"name": "envoy.transport_sockets.tls", "typed_config": packed(context)}
