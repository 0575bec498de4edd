"""An exported spec comes up where no dctl watches: docker compose raises it, and it serves."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import compose as tool
from tests.support.base_image import base_image
from tests.support.waiting import wait_until

# The first test of a machine makes the base image, and all images on it.
pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def ports() -> tuple[int, ...]:
    from dctl.hosts import ports

    return tuple(ports.free("127.0.0.1") for _ in range(6))


@pytest.fixture
def exported(tmp_path: Path, ports: tuple[int, ...]) -> Iterator[Path]:
    """The compose file of a workspace with echo, with the secrets that stderr asks for."""
    base, name = base_image(), f"t{secrets.token_hex(4)}"
    shutil.copytree(ROOT / "services" / "examples" / "echo", tmp_path / "services" / "echo")
    (tmp_path / "draft.yaml").write_text(f"name: {name}\ncluster: cluster.yaml\n")
    nats, monitor, blueprint, catalyst, fuse, ingress = ports
    (tmp_path / "cluster.yaml").write_text(f"""\
apiVersion: draft/v1
kind: Cluster
name: {name}
images: {{base: "{base}"}}
core:
  nats: {{listen: {nats}, monitor: {monitor}}}
  blueprint: {{listen: {blueprint}}}
  catalyst: {{listen: {catalyst}}}
  fuse: {{listen: {fuse}}}
  envoy: {{listen: {ingress}, admin: 0, expose_core: true}}
services:
  echo:
    run: services/echo
    replicas: 2
""")
    file = tmp_path / "compose.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "dctl", "export", "compose", "--build", "--out", str(file)],
        cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    asked = [line for line in done.stderr.splitlines() if line.startswith("  secrets/")]
    for line in asked:  # as somebody does who reads it
        target, command = line.strip().split(": ", 1)
        (tmp_path / target).parent.mkdir(mode=0o700, exist_ok=True)
        subprocess.run(f"{command} > {target}", shell=True, cwd=tmp_path, check=True, timeout=60)
        (tmp_path / target).chmod(0o444)
    try:
        yield file
    finally:
        tool.compose(file, "down", "--volumes", "--timeout", "5")
        images = subprocess.run(
            ["docker", "images", "-q", f"draft/{name}-echo"], capture_output=True, text=True
        )
        for image in images.stdout.split():
            subprocess.run(["docker", "rmi", "-f", image], capture_output=True)


def ask(port: int, method: str, request: dict[str, object]) -> dict[str, object]:
    """The JSON answer of a method at the ingress; empty while there is none."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/{method}",
        data=json.dumps(request).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return {"answer": json.load(answer)}
    except OSError:
        return {}


def test_docker_compose_raises_what_is_exported_and_its_routes_serve(
    exported: Path, ports: tuple[int, ...]
) -> None:
    tool.compose(exported, "up", "--detach", timeout=300)
    echo, listing = (
        "examples.echo.v1.EchoService/Speak",
        "core.control_plane.networking.v1.NetworkingService/ListRoutes",
    )
    spoken = wait_until(lambda: ask(ports[-1], echo, {"input": "hi"}), within=120)
    assert spoken == {"answer": {"output": "hi"}}
    # A route of the spec, which only the job can have declared.
    assert wait_until(lambda: ask(ports[-1], listing, {}), within=60)
    states = tool.compose(
        exported, "ps", "--all", "--format", "{{.Service}} {{.State}} {{.ExitCode}}"
    )
    assert "routes-1 exited 0" in states.splitlines()
    assert states.count("running") == 7
