"""dctl ps shows the registry."""

import time

from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb

from tests.support.core_stub import CoreStub
from tests.unit.dctl.commands.conftest import Dctl


def process(pid: str, name: str, *, joined: int, **fields: object) -> models.Process:
    it = models.Process(pid=pid, name=name, **fields)
    it.joined_time.FromSeconds(joined)
    return it


def test_ps_lists_processes_by_name_and_age(core: CoreStub, dctl: Dctl) -> None:
    now = int(time.time())
    data = [
        process(
            "p3",
            "echo",
            joined=now - 90,
            group="demo",
            ip_address="127.0.0.1:9001",
            running_state=models.PROCESS_DICONNECTED,
            health_state=models.PROCESS_UNHEALTHY,
        ),
        process(
            "p2",
            "echo",
            joined=now - 7230,
            ip_address="127.0.0.1:9000",
            running_state=models.PROCESS_RUNNING,
            health_state=models.PROCESS_HEALTHY,
            metadata=[models.Metadata(key="draft.instance", value="echo-1")],
        ),
        process("p1", "blueprint", joined=now),
    ]
    core.answers["Query"] = lambda request, _: pb.QueryResponse(data={p.pid: p for p in data})
    header, *rows = (line.split() for line in dctl("ps").out.splitlines())
    assert header == ["NAME", "PID", "GROUP", "ADDRESS", "STATE", "HEALTH", "AGE"]
    assert [row[:6] for row in rows] == [
        ["blueprint", "p1", "-", "-", "unknown", "unknown"],
        ["echo", "p2", "-", "127.0.0.1:9000", "running", "healthy"],
        ["echo", "p3", "demo", "127.0.0.1:9001", "disconnected", "unhealthy"],
    ]
    assert rows[1][6].startswith("2h")
    item = dctl("ps", "-o", "json").json()["items"][1]
    assert item["metadata"] == {"draft.instance": "echo-1"}
    assert item["joined"].endswith("Z")
    assert item["lastSeen"] is None


def test_filters_are_the_registrys_work(core: CoreStub, dctl: Dctl) -> None:
    core.answers["Query"] = lambda request, _: pb.QueryResponse()
    outcome = dctl("ps", "--name", "echo", "--group", "demo", "--unhealthy")
    assert outcome == (0, "", "no process is registered\n")
    dctl("ps")
    assert [request.filter for request in core.requests["Query"]] == [
        pb.Filter(name="echo", group="demo", health_state=models.PROCESS_UNHEALTHY),
        pb.Filter(all="all"),
    ]
