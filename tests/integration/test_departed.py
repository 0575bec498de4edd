"""A machine that leaves the spec with something of the cluster on it."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from dctl.hosts.ssh.known import KnownHosts
from tests.support.clusters import Cluster
from tests.support.docker import docker, image
from tests.support.machines import Machine, machines

# The first test on a computer makes the machines' image.
pytestmark = pytest.mark.timeout(900)

HEAD = """\
apiVersion: draft/v1
kind: Cluster
name: {name}
core: {{nats: false, blueprint: false, catalyst: false, fuse: false, envoy: false}}
security: {{nonce: any}}
hosts:
  here: {{address: 127.0.0.1}}
"""
KEEP = "services:\n  keep: {on: here, command: [sleep, '1000']}\n"
AWAY = "  away: {{on: {host}, command: [sleep, '1000']}}\n"
# The image's own shell is deaf to SIGTERM.
BOX = "infra:\n  box: {{on: engine, image: {image}, command: [sh, -c, 'sleep 1000 & wait']}}\n"


class Shop(Cluster):
    def __init__(self, folder: Path, machine: Machine) -> None:
        (folder / "work").mkdir()
        super().__init__(folder / "work", f"test-{secrets.token_hex(3)}")
        self.machine = machine
        self.env["HOME"] = str(folder)
        config = folder / ".ssh" / "config"
        config.parent.mkdir(mode=0o700)
        config.write_text(f"Host *\n  IdentityFile {machine.key}\n")
        machine.accept(KnownHosts(self.folder / "config" / "draft" / "known_hosts"))

    def spec(self, body: str, hosts: str = "") -> None:
        (self.folder / "cluster.yaml").write_text(HEAD.format(name=self.name) + hosts + body)

    def on(self, host: str) -> None:
        """The machine is a host under that name, and runs something."""
        hosts = f"  {host}: {{ssh: deploy@{self.machine.address}}}\n"
        self.spec(KEEP + AWAY.format(host=host), hosts)

    def changes(self) -> dict[tuple[str, str], str]:
        steps = self.json("infra", "plan")["steps"]
        return {(s["host"], s["name"]): s["action"] for s in steps if s["action"] != "none"}

    def units(self) -> str:
        return self.machine.inside("sh", "-c", f"ls /etc/systemd/system | grep {self.name}; true")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """The cluster, with one more machine as its host `far`."""
    with machines(tmp_path, "far") as (machine,):
        made = Shop(tmp_path, machine)
        try:
            made.on("far")
            made.dctl("infra", "apply", "-y", timeout=240)
            yield made
        finally:
            made.close()


def test_a_machine_that_leaves_the_spec_is_cleared_as_the_plan_says(shop: Shop) -> None:
    shop.spec(KEEP)
    assert shop.changes() == {("far", "away-1"): "delete"}
    assert shop.status()["away-1"]["desired"] == "absent"
    shop.dctl("infra", "apply", "-y", "--host", "here")  # another part: it is remembered
    assert shop.changes() == {("far", "away-1"): "delete"}
    said = shop.dctl("infra", "apply", "-y").stderr
    assert "warning" not in said
    assert shop.units() == ""
    assert set(shop.status()) == {"keep-1"}
    assert "1 host ·" in shop.dctl("infra", "plan").stdout


def test_a_machine_under_another_name_is_no_machine_that_left(shop: Shop) -> None:
    shop.on("near")
    assert shop.changes() == {}
    shop.dctl("infra", "apply", "-y")
    assert shop.status()["away-1"]["host"] == "near"


def test_a_machine_that_left_and_does_not_answer_is_named_once_and_left_as_it_is(
    shop: Shop,
) -> None:
    shop.spec(KEEP)
    with shop.machine.frozen():
        planned = shop.dctl("infra", "plan", timeout=120).stdout
        assert "No changes" in planned
        assert "? has left the spec, and is left as it is: " in planned
        said = shop.dctl("infra", "apply", "-y", timeout=240).stderr
        assert "warning: far is no longer a host of" in said
        assert "far" not in shop.dctl("infra", "plan").stdout
    assert shop.units()
    shop.on("far")  # the way back to it
    shop.dctl("infra", "apply", "-y")


def test_an_engine_that_leaves_the_spec_is_cleared_too(tmp_path: Path) -> None:
    with machines(tmp_path, "engine", engine=True) as (machine,):
        shop = Shop(tmp_path, machine)
        name = f"draft-{shop.name}-box-1"
        try:
            engine = f"  engine: {{ssh: root@{machine.address}, runtime: docker}}\n"
            shop.spec(KEEP + BOX.format(image=image()), engine)
            shop.dctl("infra", "apply", "-y", timeout=240)
            assert docker("ps", "-q", "--filter", f"name={name}")
            shop.spec(KEEP)
            assert shop.changes() == {("engine", "box-1"): "delete"}
            shop.dctl("infra", "apply", "-y", timeout=240)
            assert docker("ps", "-aq", "--filter", f"name={name}") == ""
        finally:
            shop.close()
