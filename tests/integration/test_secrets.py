"""Secrets of a real cluster: delivered to those who need them, and nowhere else.

All of it is applied by dctl as a child process, and then everything that it printed and wrote is
searched for a value that nobody else knows.
"""

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clusters import Cluster
from tests.support.docker import docker, image
from tests.support.leaks import files_with, holds, in_docker, processes_with
from tests.support.processes import kill
from tests.support.waiting import wait_until

HEAD = """\
apiVersion: draft/v1
kind: Cluster
name: {name}
runtime: {runtime}
core: {{nats: false, blueprint: false, catalyst: false, fuse: false, envoy: false}}
"""
# It runs on with what it was given, or ends when that is not what it wants.
CART = """\
secrets: {db: {env: DB_PEARL}, key: {file: key.pem}, api: {store: api}}
services:
  cart:
    command: [sh, -c, 'grep -q pearl "$DB_FILE" "$KEY_FILE" "$API_FILE" && exec sleep 1000']
    env: {DB: secret://db, KEY: secret://key, API: secret://api}
    restart: {when: never}
"""


class Shop(Cluster):
    """A cluster of one service, or whatever is written; `said` is all that dctl ever printed."""

    def __init__(self, folder: Path, runtime: str = "process") -> None:
        (folder / "work").mkdir()
        name = f"test-{secrets.token_hex(3)}"
        super().__init__(folder / "work", name)
        self.runtime = runtime
        self.said = b""
        self.env["XDG_CONFIG_HOME"] = str(folder / "config")
        self.env.pop("DCTL_AGE_KEY_FILE", None)
        self.db = f"pearl-{secrets.token_hex(8)}"
        self.key = f"-----BEGIN KEY-----\npearl{secrets.token_hex(16)}\n-----END KEY-----"
        self.api = f"pearl/{secrets.token_hex(8)}+ä"
        (self.folder / "key.pem").write_text(self.key + "\n")

    @property
    def values(self) -> tuple[str, str, str]:
        return self.db, self.key, self.api

    def spec(self, body: str) -> None:
        (self.folder / "cluster.yaml").write_text(
            HEAD.format(name=self.name, runtime=self.runtime) + body
        )

    def keep(self, name: str, value: str) -> None:
        """dctl secret set, as a script does it."""
        subprocess.run(
            [sys.executable, "-m", "dctl", "secret", "set", name],
            cwd=self.folder, env=self.env, input=value.encode(), check=True, timeout=60,
        )  # fmt: skip

    def dctl(self, *arguments: str, code: int | None = 0, timeout: float = 90, **env: str) -> Any:
        done = super().dctl(*arguments, code=code, timeout=timeout, **{"DB_PEARL": self.db, **env})
        self.said += (done.stdout + done.stderr).encode()
        return done

    def delivered(self, instance: str = "cart-1") -> dict[str, str]:
        folder = self.state / "delivered" / instance
        return {file.name: file.read_text() for file in folder.iterdir()}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    made.spec(CART)
    made.keep("api", made.api)
    yield made
    made.close()


def everything(shop: Shop) -> None:
    """Every command that tells something."""
    plan = str(shop.folder / "plan.json")
    shop.dctl("infra", "plan")
    shop.dctl("infra", "plan", "-o", "json")
    shop.dctl("infra", "plan", "--out", plan)
    shop.dctl("infra", "apply", plan)
    shop.dctl("infra", "apply", "-y", "--progress", "json", "-o", "yaml")
    for command in ("status", "history", "logs", "plan"):
        shop.dctl("infra", command)
    shop.dctl("config", "--show-origin")
    shop.dctl("config", "-o", "json")
    shop.dctl("secret", "list", "-o", "json")


def test_a_process_gets_files_in_memory_that_only_its_user_reads(shop: Shop) -> None:
    shop.dctl("infra", "apply", "-y")
    assert shop.delivered() == {"db": shop.db, "key": shop.key, "api": shop.api}
    folder = (shop.state / "delivered").resolve()
    kind = subprocess.check_output(["stat", "-f", "-c", "%T", str(folder)], text=True).strip()
    assert kind == "tmpfs"
    for path in [folder, *folder.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0


def test_after_every_command_only_the_delivered_files_hold_a_secret(
    shop: Shop, tmp_path: Path
) -> None:
    everything(shop)
    shop.dctl("infra", "restart", "cart")
    memory = (shop.state / "delivered").resolve()
    for value in shop.values:
        assert not holds(shop.said, value)
        own = [shop.folder / "key.pem"] if value == shop.key else []
        assert files_with(value, tmp_path) == own
        assert len(files_with(value, memory)) == 1
        assert processes_with(value) == []


def test_clean_leaves_nothing_in_memory(shop: Shop) -> None:
    shop.dctl("infra", "apply", "-y")
    memory = (shop.state / "delivered").resolve()
    assert memory.is_dir()
    shop.dctl("infra", "clean", "--full", "-y")
    assert not memory.exists()


def test_a_changed_secret_is_an_update_of_who_uses_it_without_its_value(shop: Shop) -> None:
    shop.dctl("infra", "apply", "-y")
    before = shop.pids()
    shop.db = f"pearl-{secrets.token_hex(8)}"
    planned = shop.dctl("infra", "plan").stdout
    assert re.search(r"~ process +cart-1 +update +secret db changed\n", planned)
    shop.dctl("infra", "apply", "-y")
    assert shop.delivered()["db"] == shop.db
    assert shop.pids() != before
    assert "No changes" in shop.dctl("infra", "plan").stdout
    assert not holds(shop.said, shop.db)


def test_a_changed_nonce_is_an_update_of_who_reads_it_without_its_value(shop: Shop) -> None:
    shop.spec(
        "secrets: {nonce: {env: DB_PEARL}}\nsecurity: {nonce: secret://nonce}\n"
        "services: {cart: {command: [sh, -c, 'cat $DRAFT_NONCE_FILE; echo; exec sleep 1000']}}\n"
    )
    shop.dctl("infra", "apply", "-y")
    assert "No changes" in shop.dctl("infra", "plan").stdout
    shop.db = f"pearl-{secrets.token_hex(8)}"
    planned = shop.dctl("infra", "plan").stdout
    assert re.search(r"~ process +cart-1 +update +secret nonce changed\n", planned)
    shop.dctl("infra", "apply", "-y")
    log = shop.state / "logs" / "cart-1.log"
    wait_until(lambda: shop.db in log.read_text())
    assert "No changes" in shop.dctl("infra", "plan").stdout
    assert not holds(shop.said, shop.db)
    # Unlike what is in memory alone, it is there when the machine is started anew.
    subprocess.run(["rm", "-rf", str((shop.state / "delivered").resolve())], check=True)
    shop.dctl("infra", "restart", "cart")
    assert shop.status()["cart-1"]["actual"] == "running"


def test_what_memory_has_lost_is_drift_and_is_given_again(shop: Shop) -> None:
    shop.dctl("infra", "apply", "-y")
    memory = (shop.state / "delivered").resolve()
    subprocess.run(["rm", "-r", str(memory)], check=True)  # as a start of the machine does
    assert 'secret db (none) -> "(hidden)"' in shop.dctl("infra", "plan").stdout
    shop.dctl("infra", "apply", "-y")
    assert shop.delivered()["db"] == shop.db


def test_a_process_is_not_started_again_without_its_secret_and_says_so(shop: Shop) -> None:
    shop.spec(CART.replace("{when: never}", "{when: always, backoff: 1s..2s}"))
    shop.dctl("infra", "apply", "-y")
    subprocess.run(["rm", "-r", str((shop.state / "delivered").resolve())], check=True)
    kill(shop.pids()["cart-1"])
    log = shop.state / "logs" / "cart-1.log"
    wait_until(lambda: "cart-1 misses the secret" in log.read_text(), within=20)
    shop.dctl("infra", "apply", "-y")
    assert shop.status()["cart-1"]["actual"] == "running"


def test_looking_and_restarting_ask_no_source(shop: Shop) -> None:
    shop.dctl("infra", "apply", "-y")
    (shop.folder / "key.pem").unlink()
    for command in ("status", "logs", "restart", "wait"):
        shop.dctl("infra", command)
    assert shop.delivered()["key"] == shop.key
    told = shop.dctl("infra", "plan", code=3).stderr
    assert "secrets.key: there is no file" in told


def test_a_new_value_that_fails_is_taken_back_with_the_rollout(shop: Shop) -> None:
    shop.dctl("infra", "apply", "-y")
    old, shop.db = shop.db, f"oyster-{secrets.token_hex(8)}"
    (shop.folder / "key.pem").write_text("oyster")
    shop.keep("api", "oyster-api")
    told = shop.dctl("infra", "apply", "-y", code=4).stderr
    assert "run again as before: cart-1" in told
    assert shop.delivered() == {"db": old, "key": shop.key, "api": shop.api}
    assert shop.status()["cart-1"]["actual"] == "running"
    assert not holds(shop.said, shop.db)
    assert not holds(shop.said, old)


def test_a_saved_plan_is_refused_when_a_secret_has_changed_since(shop: Shop) -> None:
    plan = str(shop.folder / "plan.json")
    shop.dctl("infra", "apply", "-y")
    shop.dctl("infra", "plan", "--out", plan)
    shop.db = f"pearl-{secrets.token_hex(8)}"
    told = shop.dctl("infra", "apply", plan, code=1).stderr
    assert "cart-1 on local: the spec asks for other secret db" in told


def test_a_rollback_tells_that_the_secrets_are_those_of_today(shop: Shop) -> None:
    shop.dctl("infra", "apply", "-y")
    shop.db = f"pearl-{secrets.token_hex(8)}"
    shop.dctl("infra", "apply", "-y")
    shop.spec(CART.replace("sleep 1000", "sleep 2000"))
    shop.dctl("infra", "apply", "-y")
    told = shop.dctl("infra", "rollback", "1", "-y").stderr
    assert "not as it was then: the secret db has its value of today" in told
    assert shop.delivered()["db"] == shop.db


PRINTS = """\
secrets: {db: {env: DB_PEARL}, key: {file: key.pem}}
services:
  cart:
    command:
    - sh
    - -c
    - |
      cat "$DB_FILE" "$KEY_FILE"; base64 -w0 "$DB_FILE"; echo
      printf '{"a": "%s"}\\n' "$(cat "$DB_FILE")"; exec sleep 1000
    env: {DB: secret://db, KEY: secret://key}
"""


def test_what_a_service_prints_of_its_secrets_is_hidden_in_its_logs(shop: Shop) -> None:
    shop.spec(PRINTS)
    shop.dctl("infra", "apply", "-y")
    wait_until(lambda: '"a"' in (shop.state / "logs" / "cart-1.log").read_text())
    told = shop.dctl("infra", "logs", "cart", DB_PEARL="").stdout
    assert '{"a": "(hidden)"}' in told
    assert told.count("(hidden)") == 4
    assert not holds(shop.said, shop.db)
    assert not holds(shop.said, shop.key.splitlines()[1])


def test_what_a_service_prints_before_it_fails_is_hidden_in_the_report_and_the_journal(
    shop: Shop,
) -> None:
    shop.spec(PRINTS.replace("exec sleep 1000", "exit 3") + "    restart: {when: never}\n")
    told = shop.dctl("infra", "apply", "-y", code=4).stderr
    assert "| (hidden)" in told
    shop.dctl("infra", "history", "-o", "json")
    assert not holds(shop.said, shop.db)
    assert not holds((shop.state / "journal.jsonl").read_bytes(), shop.db)


def test_a_variable_that_brings_a_secret_into_the_spec_is_hidden_in_plans(shop: Shop) -> None:
    shop.spec(CART.replace("env: {DB:", 'env: {ODD: "${DB_PEARL}", URL: "a?b=${DB_PEARL}", DB:'))
    shop.dctl("infra", "apply", "-y")
    shop.spec(CART)
    planned = shop.dctl("infra", "plan").stdout
    assert 'env.ODD "(hidden)" -> (none)' in planned
    shop.dctl("infra", "plan", "-o", "json")
    assert not holds(shop.said, shop.db)


BOX = """\
secrets: {{db: {{env: DB_PEARL}}, key: {{file: key.pem}}, api: {{store: api}}}}
infra:
  box:
    image: {image}
    command: [sh, -c, 'cat "$DB_FILE"; trap "exit 0" TERM; while :; do sleep 1000 & wait $!; done']
    env: {{DB: secret://db, API: secret://api}}
    files: {{/etc/box/key.pem: secret://key}}
"""


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path, "docker")
    made.spec(BOX.format(image=image()))
    made.keep("api", made.api)
    yield made
    made.close()


@pytest.mark.timeout(300)
def test_of_a_container_only_its_own_files_hold_a_secret(box: Shop, tmp_path: Path) -> None:
    everything(box)
    name = f"draft-{box.name}-box-1"
    assert docker("exec", name, "cat", "/run/draft/secrets/db") == box.db
    assert docker("exec", name, "cat", "/etc/box/key.pem") == box.key
    for value in box.values:
        assert not holds(box.said, value)
        assert files_with(value, tmp_path) == ([box.folder / "key.pem"] if value == box.key else [])
        assert processes_with(value) == []
        assert [*in_docker(value, [name, image(), f"draft-{box.name}"])] == []


@pytest.mark.timeout(300)
def test_a_changed_secret_of_a_container_forces_its_replacement(box: Shop) -> None:
    box.dctl("infra", "apply", "-y")
    box.db = f"pearl-{secrets.token_hex(8)}"
    assert "secret db changed   # forces replacement" in box.dctl("infra", "plan").stdout
    box.dctl("infra", "apply", "-y")
    name = f"draft-{box.name}-box-1"
    assert docker("exec", name, "cat", "/run/draft/secrets/db") == box.db
    assert "No changes" in box.dctl("infra", "plan").stdout
    assert json.loads(box.dctl("infra", "plan", "-o", "json").stdout)["changes"] == 0
