"""The blueprint of three hosts: raised on three machines, used through the edge, drifted, and
changed while one of them does not answer."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.load import Load, speak
from tests.support.machines import Machine
from tests.support.three import NAMES, Three, three
from tests.support.waiting import wait_until

# The first test of a computer makes the machines' image.
pytestmark = pytest.mark.timeout(900)

ON_CORE_1 = {"nats-1", "blueprint-1", "catalyst-1", "fuse-1", "echo-1"}
ON_CORE_2 = {"nats-2", "blueprint-2", "catalyst-2", "fuse-2", "echo-2"}
ON_EDGE_1 = {"nats-3", "envoy-1"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    with three(tmp_path_factory.mktemp("three")) as made:
        made.dctl("infra", "apply", "-y", timeout=300)
        yield made
        made.dctl("infra", "clean", "--full", "-y")
        assert {name: left_on(machine) for name, machine in made.machines.items()} == dict.fromkeys(
            NAMES, ""
        )


def left_on(machine: Machine) -> str:
    """What a machine still has of any cluster."""
    look = "ls -d /etc/draft /var/lib/draft /opt/draft; pgrep -a 'nats|python|envoy';"
    return machine.inside("sh", "-c", f"{look} ls /etc/systemd/system | grep draft", check=False)


@pytest.fixture
def standing(cluster: Three) -> Iterator[Three]:
    """The shared cluster, which each test finds as its spec says."""
    yield cluster
    cluster.write()
    cluster.dctl("infra", "apply", "-y")


def changes(cluster: Three) -> dict[tuple[str, str], str]:
    """What a plan would do, by host and name."""
    steps = cluster.json("infra", "plan")["steps"]
    return {(s["host"], s["name"]): s["action"] for s in steps if s["action"] != "none"}


def greeting(cluster: Three) -> str:
    """A key's value, asked for at the edge as a client does who knows nothing else."""
    request = urllib.request.Request(
        f"http://{cluster.machines['edge-1'].address}:10000"
        "/core.registry.key_value.v1.KeyValueService/Get",
        data=json.dumps(
            {
                "key": "greeting",
                "value": {"@type": "type.googleapis.com/core.registry.key_value.v1.Value"},
            }
        ).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return str(json.load(answer)["value"]["data"])


def test_each_part_runs_where_the_spec_places_it_and_answers_through_the_edge(
    standing: Three,
) -> None:
    rows = standing.status()
    assert {name for name, row in rows.items() if row["host"] == "core-1"} == ON_CORE_1
    assert {name for name, row in rows.items() if row["host"] == "core-2"} == ON_CORE_2
    assert {name for name, row in rows.items() if row["host"] == "edge-1"} == ON_EDGE_1
    assert {row["health"] for row in rows.values()} <= {"healthy", "-"}
    standing.dctl("kv", "set", "greeting", "hello")
    assert greeting(standing) == "hello"
    standing.dctl("infra", "plan", "--detailed-exitcode")


def test_drift_on_one_machine_is_that_machines_and_is_healed(standing: Three) -> None:
    machine = standing.machines["core-2"]
    machine.inside("systemctl", "stop", f"draft-{standing.name}-fuse-2")
    assert changes(standing) == {("core-2", "fuse-2"): "heal"}
    standing.dctl("infra", "apply", "-y")
    assert changes(standing) == {}


def test_a_part_that_moves_ends_on_one_host_and_begins_on_the_other(standing: Three) -> None:
    standing.write(**{"catalyst: {replicas: 2, on: {role: core}}": "catalyst: {on: core-2}"})
    assert changes(standing) == {
        ("core-1", "catalyst-1"): "delete",
        ("core-2", "catalyst-1"): "create",
        ("core-2", "catalyst-2"): "delete",
    }
    standing.dctl("infra", "apply", "-y")
    assert standing.status()["catalyst-1"]["host"] == "core-2"
    standing.dctl("infra", "rollback", "-y")
    assert standing.status()["catalyst-1"]["host"] == "core-1"


def test_a_service_moves_to_another_host_and_back_without_a_failed_request(standing: Three) -> None:
    edge = f"{standing.machines['edge-1'].address}:10000"
    with Load(edge, expected=("hi",)).on() as load:
        wait_until(lambda: load.answered > 50)
        place = "    on: {role: core}\n    health"
        standing.write(**{place: place.replace("{role: core}", "edge-1")})
        moved = {("core-1", "echo-1"), ("core-2", "echo-2")}
        assert {key for key, action in changes(standing).items() if action == "delete"} >= moved
        standing.dctl("infra", "apply", "-y")
        assert {standing.status()[name]["host"] for name in ("echo-1", "echo-2")} == {"edge-1"}
        standing.dctl("infra", "rollback", "-y")
        assert standing.status()["echo-1"]["host"] == "core-1"
    assert load.failures == []


def test_new_code_is_rolled_out_and_back_without_a_failed_request(standing: Three) -> None:
    main = standing.folder / "services" / "examples" / "echo" / "main.py"
    old = main.read_text()
    edge = f"{standing.machines['edge-1'].address}:10000"
    with Load(edge, expected=("hi", "HI")).on() as load:
        wait_until(lambda: load.answered > 50)
        main.write_text(old.replace("request.input", "request.input.upper()"))
        standing.dctl("infra", "apply", "-y")
        assert speak(edge) == "HI"
        # The code of then is still on the machines, whatever stands in the workspace today.
        standing.dctl("infra", "rollback", "-y")
        assert speak(edge) == "hi"
    assert load.failures == []
    main.write_text(old)


def test_another_computer_sees_the_same_cluster_its_history_and_its_lock(
    standing: Three, tmp_path: Path
) -> None:
    other = standing.elsewhere(tmp_path / "other")
    assert changes(other) == {}
    ids = [record["id"] for record in standing.json("infra", "history")["items"]]
    assert [record["id"] for record in other.json("infra", "history")["items"]] == ids != []


def test_logs_exec_and_restart_reach_the_machine_of_an_instance(standing: Three) -> None:
    said = standing.dctl("infra", "exec", "blueprint-2", "--", "hostname").stdout
    assert said == "core-2\n"
    before = standing.pids()["blueprint-2"]
    standing.dctl("infra", "restart", "blueprint-2")
    standing.dctl("infra", "wait", "--timeout", "60s")
    assert standing.pids()["blueprint-2"] != before
    assert "registered" in standing.dctl("infra", "logs", "blueprint-2").stdout


def test_a_host_that_does_not_answer_is_left_alone_and_the_others_are_changed(
    standing: Three,
) -> None:
    standing.write(**{"expose_core: true": "expose_core: false"})
    with standing.machines["core-2"].frozen():
        planned = standing.dctl("infra", "plan", code=6)
        assert "core-2" in planned.stderr
        assert "4 to delete" in planned.stdout
        applied = standing.dctl("infra", "apply", "-y", code=4)
        assert "core-2 was left as it is" in applied.stderr
        rows = standing.status()
        assert {n for n, row in rows.items() if row["actual"] == "unknown"} >= ON_CORE_2
        assert rows["blueprint-1"]["health"] == "healthy"
    standing.dctl("infra", "apply", "-y")
    standing.dctl("infra", "plan", "--detailed-exitcode")


def test_without_the_first_host_nothing_is_done(standing: Three) -> None:
    with standing.machines["core-1"].frozen():
        refused = standing.dctl("infra", "apply", "-y", code=6)
    assert "core-1" in refused.stderr
