"""`python -m draft_services.fuse.declare`: the routes of an export, on a real Fuse."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from draft_api.core.control_plane.networking.v1 import service_pb2 as pb
from draft_services.blueprint.settings import Settings
from google.protobuf.json_format import MessageToDict

from dctl.hosts.routes import RouteSpec, to_proto
from tests.support import blueprint
from tests.support.envoy import free_port
from tests.support.fuse import Node
from tests.support.nats import running_nats


@pytest.fixture
async def fuse(tmp_path: Path) -> AsyncIterator[Node]:
    with running_nats(tmp_path / "nats") as nats:
        async with blueprint.blueprint_node(Settings(nats=nats.url)) as registry:
            node = Node(registry.address, free_port())
            await node.start()
            yield node
            await node.crash()


async def declare(fuse: Node, folder: Path, *routes: RouteSpec) -> subprocess.CompletedProcess[str]:
    file = folder / "routes.json"
    names = [f"spec/echo/{number}" for number in range(1, len(routes) + 1)]
    found = [to_proto(name, route) for name, route in zip(names, routes, strict=True)]
    file.write_text(json.dumps([MessageToDict(route) for route in found]))
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "draft_services.fuse.declare", str(file)],
        env={**os.environ, "DRAFT_FUSE": f"127.0.0.1:{fuse.port}"},
        capture_output=True,
        text=True,
        timeout=60,
    )


async def test_the_routes_of_a_file_are_there_afterwards_also_when_they_were_before(
    fuse: Node, tmp_path: Path
) -> None:
    route = RouteSpec(prefix="/a/", service="echo", timeout=5.0, endpoints=())
    plain = RouteSpec(prefix="/b/", endpoints=("127.0.0.1:1",), http2=False)
    for _ in range(2):
        done = await declare(fuse, tmp_path, route, plain)
        assert (done.returncode, done.stderr) == (0, "")
    listed = await fuse.routes.ListRoutes(pb.ListRoutesRequest(), timeout=5)
    assert [each.name for each in listed.routes] == ["spec/echo/1", "spec/echo/2"]
    assert listed.routes[0] == to_proto("spec/echo/1", route)


async def test_what_fuse_refuses_ends_it_with_fuses_words(fuse: Node, tmp_path: Path) -> None:
    done = await declare(fuse, tmp_path, RouteSpec(prefix="no-slash/", service="echo"))
    assert done.returncode == 1
    assert "Fuse answers INVALID_ARGUMENT" in done.stderr
    assert "Traceback" not in done.stderr
