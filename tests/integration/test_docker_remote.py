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
from tests.support.docker import FOREVER, image
from tests.support.machines import machines
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
