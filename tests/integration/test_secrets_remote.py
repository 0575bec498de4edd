"""Secrets of a cluster on other machines: a unit on one, a container on another's engine."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dctl.hosts.ssh.known import KnownHosts
from dctl.hosts.systemd import Layout
from tests.support.clusters import Cluster
from tests.support.docker import docker, image
from tests.support.leaks import holds, in_docker, processes_with
from tests.support.machines import Machine, machines
from tests.support.waiting import wait_until

# The first test on a computer makes the machines' image.
pytestmark = pytest.mark.timeout(900)

SPEC = """\
apiVersion: draft/v1
kind: Cluster
name: {name}
core: {{nats: false, blueprint: false, catalyst: false, fuse: false, envoy: false}}
security: {{nonce: secret://nonce}}
hosts:
  unit: {{ssh: deploy@{unit}}}
  engine: {{ssh: root@{engine}, runtime: docker}}
secrets: {{db: {{env: DB_PEARL}}, nonce: {{env: NONCE_PEARL}}}}
services:
  cart:
    on: unit
    command: [sh, -c, 'echo "it is $(cat "$DB_FILE")"; exec sleep 1000']
    env: {{DB: secret://db}}
infra:
  box:
    on: engine
    image: {image}
    command: [sh, -c, 'echo "it is $(cat "$DB_FILE")"; trap "exit 0" TERM; sleep 1000 & wait']
    env: {{DB: secret://db}}
"""


class Far(Cluster):
    """`said` is all that dctl ever printed."""

    def __init__(self, folder: Path, unit: Machine, engine: Machine) -> None:
        super().__init__(folder / "work", f"test-{secrets.token_hex(3)}")
        self.unit = unit
        self.said = ""
        self.db, self.nonce = (f"{name}-{secrets.token_hex(8)}" for name in ("pearl", "oyster"))
        self.env["HOME"] = str(folder)
        config = folder / ".ssh" / "config"
        config.parent.mkdir(mode=0o700)
        config.write_text(f"Host *\n  IdentityFile {unit.key}\n")
        for machine in (unit, engine):
            machine.accept(KnownHosts(self.folder / "config" / "draft" / "known_hosts"))
        (self.folder / "cluster.yaml").write_text(
            SPEC.format(name=self.name, unit=unit.address, engine=engine.address, image=image())
        )

    def dctl(self, *arguments: str, code: int | None = 0, timeout: float = 90, **env: str) -> Any:
        known = {"DB_PEARL": self.db, "NONCE_PEARL": self.nonce}
        done = super().dctl(*arguments, code=code, timeout=timeout, **{**known, **env})
        self.said += done.stdout + done.stderr
        return done


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    (tmp_path / "work").mkdir()
    with machines(tmp_path, "unit", "engine", engine=True) as (unit, engine):
        made = Far(tmp_path, unit, engine)
        try:
            yield made
        finally:
            made.close()


def test_they_reach_those_who_use_them_and_nobody_else_and_changes_are_seen(
    far: Far, tmp_path: Path
) -> None:
    far.dctl("infra", "apply", "-y", timeout=240)
    assert "No changes" in far.dctl("infra", "plan").stdout
    nobody = {"DB_PEARL": "", "NONCE_PEARL": ""}
    for instance in ("cart", "box"):
        wait_until(lambda name=instance: "it is" in far.dctl("infra", "logs", name).stdout)
        assert "it is (hidden)" in far.dctl("infra", "logs", instance, **nobody).stdout
    at, box = Layout(far.name), f"draft-{far.name}-box-1"
    held = far.unit.inside("sh", "-c", f"grep -rls {far.db} /etc /var/lib/draft /tmp; true")
    assert held.splitlines() == [f"{at.secrets('cart-1')}/db"]
    assert far.unit.inside("cat", at.secret("nonce")) == far.nonce
    assert docker("exec", box, "cat", "/run/draft/secrets/db") == far.db
    assert docker("exec", box, "sh", "-c", "echo /run/draft/*") == "/run/draft/secrets"
    for value in (far.db, far.nonce):
        assert not holds(far.said.encode(), value)
        assert processes_with(value) == []
        assert [*in_docker(value, [box])] == []
        kept = [p for p in tmp_path.rglob("*") if p.is_file() and holds(p.read_bytes(), value)]
        # The first host keeps the nonce, as it keeps one that dctl makes.
        assert all(path == far.state / "secrets" / "nonce" for path in kept)

    far.db = f"pearl-{secrets.token_hex(8)}"
    plan = far.json("infra", "plan")
    changed = {s["name"]: s["changes"] for s in plan["steps"] if s["action"] != "none"}
    hidden = {"field": "secret db", "before": "(hidden)", "after": "(hidden)"}
    assert changed == {"cart-1": [hidden], "box-1": [hidden]}
    far.dctl("infra", "apply", "-y", timeout=240)
    assert "No changes" in far.dctl("infra", "plan").stdout
    assert docker("exec", box, "cat", "/run/draft/secrets/db") == far.db
    assert not holds(far.said.encode(), far.db)

    far.nonce = f"oyster-{secrets.token_hex(8)}"
    steps = far.json("infra", "plan")["steps"]
    sealed = {**hidden, "field": "secret nonce"}
    changed = {s["name"]: s["changes"] for s in steps if s["action"] != "none"}
    assert changed == {"cart-1": [sealed]}
    far.dctl("infra", "apply", "-y", timeout=240)
    assert "No changes" in far.dctl("infra", "plan").stdout
    assert far.unit.inside("cat", at.secret("nonce")) == far.nonce
