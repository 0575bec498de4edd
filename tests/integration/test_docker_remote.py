"""Containers on the engine of another machine, through its SSH tunnel.

The machine is a container that has this machine's engine at the usual place.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from dctl.engine.verdict import Action, verdict
from dctl.errors import UnreachableError
from dctl.hosts.base import Kind, Resource, State
from dctl.hosts.docker import ContainerSpec
from dctl.hosts.docker.remote import RemoteDockerHost
from dctl.hosts.ssh import Fleet
from dctl.hosts.ssh.known import KnownHosts
from tests.support.base_image import base_image
from tests.support.clusters import Cluster
from tests.support.docker import FOREVER, image
from tests.support.machines import Machine, machines
from tests.support.waiting import wait_until

# The first test on a computer makes the machines' image.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteDockerHost]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    known = KnownHosts(tmp_path / "known_hosts")
    name = f"test-{uuid.uuid4().hex[:8]}"
    image()
    with machines(tmp_path, "core-1", engine=True) as (machine,):
        machine.accept(known)
        with Fleet([machine.target("root")], known=known) as fleet:
            made = RemoteDockerHost(name, workspace=tmp_path, fleet=fleet, host="core-1")
            try:
                yield made
            finally:
                made.clean(full=True)


def test_the_same_containers_run_on_another_machines_engine(host: RemoteDockerHost) -> None:
    spec = ContainerSpec(image=image(), command=FOREVER, env={"COLOR": "red"}, stop_timeout=1.0)
    asked = Resource(Kind.CONTAINER, "a-1", "core-1", "a", spec.to_json())
    host.ensure(asked)
    wait_until(lambda: [o.state for o in host.observe()] == [State.RUNNING], within=20)
    (seen,) = host.observe()
    assert (seen.host, verdict(asked, seen, seen.owner).action) == ("core-1", Action.NONE)
    wait_until(lambda: list(host.logs("a-1", lines=1)) == ["up"], within=20)
    host.remove("a-1")
    assert list(host.observe()) == []


def test_a_machine_without_an_engine_is_named(tmp_path: Path) -> None:
    known = KnownHosts(tmp_path / "known_hosts")
    with machines(tmp_path, "core-1") as (machine,):
        machine.accept(known)
        with Fleet([machine.target()], known=known) as fleet:
            host = RemoteDockerHost("shop", workspace=tmp_path, fleet=fleet, host="core-1")
            with pytest.raises(UnreachableError, match=r"Docker engine.*core-1"):
                host.observe()


# Published where both this computer and the machine reach it: `here`.
SPEC = """\
apiVersion: draft/v1
kind: Cluster
name: {name}
runtime: docker
images: {{base: "{base}"}}
hosts:
  core-1: {{ssh: root@{address}, key: {key}}}
core:
  nats: {{max_store: 64M, listen: "{here}:0", monitor: "{here}:0"}}
  blueprint: {{listen: "{here}:0"}}
  catalyst: false
  fuse: {{listen: "{here}:0"}}
  envoy: {{listen: "{here}:0", admin: "{here}:0"}}
"""


class OnOneMachine(Cluster):
    """A whole cluster on the engine of a machine that is reached by SSH."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        here = machine.inside("ip", "route", "show", "default").split()[2]
        self.spec = {"address": machine.address, "key": machine.key, "here": here}
        super().__init__(folder, name=f"far-{uuid.uuid4().hex[:8]}")
        machine.accept(KnownHosts(folder / "config" / "draft" / "known_hosts"))

    def write(self, **_: object) -> None:
        text = SPEC.format(name=self.name, base=base_image(), **self.spec)
        (self.folder / "cluster.yaml").write_text(text)


def test_a_whole_cluster_stands_on_another_machines_engine_and_its_books_are_there(
    tmp_path: Path,
) -> None:
    with machines(tmp_path, "core-1", engine=True) as (machine,):
        cluster = OnOneMachine(tmp_path / "workspace", machine)
        try:
            cluster.dctl("infra", "apply", "-y", timeout=600)
            cluster.dctl("kv", "set", "greeting", "hello")
            assert cluster.dctl("kv", "get", "greeting").stdout == "hello\n"
            cluster.dctl("infra", "stop", "fuse")
            # From a computer that has seen nothing of it: held is held, and history is history.
            cluster.env["XDG_STATE_HOME"] = str(tmp_path / "elsewhere")
            assert cluster.status()["fuse-1"]["actual"] == "held"
            what = [record["what"] for record in cluster.json("infra", "history")["items"]]
            assert what == ["apply", "stop"]
            cluster.dctl("infra", "start", "fuse")
            cluster.dctl("infra", "wait", "--timeout", "60s")
            cluster.dctl("infra", "plan", "--detailed-exitcode")
        finally:
            cluster.close()
        assert machine.inside("sh", "-c", "ls /var/lib/draft", check=False) == ""
