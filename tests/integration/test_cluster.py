"""One command raises Draft: spec -> plan -> apply -> a live cluster, used as its README says."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.clusters import Cluster, raised
from tests.support.waiting import wait_until

CORE = ["nats-1", "blueprint-1", "catalyst-1", "fuse-1", "envoy-1"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with raised(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def standing(cluster: Cluster) -> Iterator[Cluster]:
    """The shared cluster, which each test finds as its spec says."""
    yield cluster
    cluster.write()
    cluster.dctl("infra", "apply", "-y")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


def speak(cluster: Cluster, text: str) -> str:
    """One JSON request through the ingress, as curl makes it."""
    request = urllib.request.Request(
        f"http://{cluster.address('envoy-1')}/examples.echo.v1.EchoService/Speak",
        data=json.dumps({"input": text}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return str(json.load(answer)["output"])


def speaks(cluster: Cluster, text: str = "hi") -> bool:
    try:
        return speak(cluster, text) == text
    except OSError:
        return False


def tree(folder: Path) -> dict[str, Any]:
    """Every file below, with its content and its time of change (logs grow on their own)."""
    return {
        str(file): (file.stat().st_mtime_ns, file.read_bytes())
        for file in folder.rglob("*")
        if file.is_file() and "logs" not in file.parts and "data" not in file.parts
    }


def test_everything_is_there_and_healthy(standing: Cluster) -> None:
    rows = standing.status()
    assert [*CORE, "echo-1"] == [name for name, row in rows.items() if row["kind"] == "process"]
    assert {row["health"] for row in rows.values()} == {"healthy"}
    assert {row["actual"] for row in rows.values()} == {"running"}


def test_a_second_apply_changes_nothing(standing: Cluster) -> None:
    before = standing.pids()
    done = standing.dctl("infra", "apply", "-y")
    assert "no changes" in done.stderr
    assert standing.pids() == before


def test_a_plan_without_changes_says_so_and_exits_with_0(standing: Cluster) -> None:
    done = standing.dctl("infra", "plan", "--detailed-exitcode")
    assert "No changes" in done.stdout


def test_a_plan_with_changes_exits_with_2_only_when_asked(standing: Cluster) -> None:
    standing.write(replicas=2)
    assert "echo-2" in standing.dctl("infra", "plan").stdout
    standing.dctl("infra", "plan", "--detailed-exitcode", code=2)


def test_planning_writes_nothing(standing: Cluster) -> None:
    standing.write(replicas=3)
    before = tree(standing.state)
    standing.dctl("infra", "plan")
    standing.dctl("infra", "status")
    assert tree(standing.state) == before


def test_a_key_that_is_set_can_be_read(standing: Cluster) -> None:
    standing.dctl("kv", "set", "greeting", "hello")
    assert standing.dctl("kv", "get", "greeting").stdout == "hello\n"


def test_an_absent_key_exits_with_1_and_one_line(standing: Cluster) -> None:
    done = standing.dctl("kv", "get", "no-such-key", code=1)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_the_registry_lists_every_service(standing: Cluster) -> None:
    rows = standing.json("ps")["items"]
    assert {row["name"] for row in rows} == {"blueprint", "catalyst", "fuse", "echo"}
    assert {(row["state"], row["health"]) for row in rows} == {("running", "healthy")}


def test_a_request_goes_through_the_ingress_to_the_service_and_back(standing: Cluster) -> None:
    wait_until(lambda: speaks(standing))
    names = {row["name"] for row in standing.json("route", "list")["items"]}
    assert any(name.startswith("echo/") for name in names)


def test_the_core_services_answer_at_the_ingress_too(standing: Cluster) -> None:
    names = {row["name"] for row in standing.json("route", "list")["items"]}
    assert {"spec/blueprint/1", "spec/catalyst/1", "spec/fuse/1"} <= names


def test_an_event_that_was_produced_can_be_consumed_from_the_beginning(standing: Cluster) -> None:
    standing.dctl("broker", "produce", "--type", "demo.greeting", "--data", '{"a":1}')
    done = standing.dctl(
        "broker", "consume", "--type", "demo.greeting", "--from", "all", "--count", "1"
    )
    assert '{"a":1}' in done.stdout.replace(" ", "")


def test_changing_one_service_restarts_that_one_only(standing: Cluster) -> None:
    before = standing.pids()
    standing.write(extra="    env: {COLOR: blue}\n")
    plan = standing.dctl("infra", "plan").stdout
    assert re.search(r'~ process +echo-1 +update +env.COLOR \(none\) -> "blue"', plan)
    standing.dctl("infra", "apply", "-y")
    after = standing.pids()
    assert {name for name in before if before[name] != after[name]} == {"echo-1"}


def test_changing_a_services_code_restarts_it(standing: Cluster) -> None:
    main = standing.folder / "services/examples/echo/main.py"
    main.write_text(main.read_text() + "\n# changed\n")
    assert "echo-1" in standing.dctl("infra", "plan").stdout


def test_three_replicas_are_balanced_by_envoy(standing: Cluster) -> None:
    standing.write(replicas=3)
    standing.dctl("infra", "apply", "-y")

    def all_three_answered() -> bool:
        for _ in range(30):
            if not speaks(standing):
                return False
        return len(answered(standing)) == 3

    wait_until(all_three_answered, within=20)


def answered(cluster: Cluster) -> set[str]:
    """The endpoints of echo that served a request, as Envoy counts them."""
    admin = cluster.address("envoy-1", 1)
    with urllib.request.urlopen(f"http://{admin}/clusters?format=json", timeout=5) as answer:
        clusters = json.load(answer)["cluster_statuses"]
    echoes = {cluster.address(f"echo-{i}") for i in (1, 2, 3)}
    return {
        address
        for one in clusters
        for host in one.get("host_statuses", [])
        for address in [_address(host)]
        if address in echoes and _counter(host, "rq_success") > 0
    }


def _address(host: dict[str, Any]) -> str:
    place = host["address"]["socket_address"]
    return f"{place['address']}:{place['port_value']}"


def _counter(host: dict[str, Any], name: str) -> int:
    return sum(int(stat.get("value", 0)) for stat in host["stats"] if stat["name"] == name)


@pytest.mark.parametrize("victim", [*CORE, "echo-1"])
def test_any_part_may_be_killed_and_nothing_is_lost(standing: Cluster, victim: str) -> None:
    standing.dctl("kv", "set", "before", victim)
    standing.dctl("broker", "produce", "--type", f"kill.{victim}", "--data", "1")
    routes = standing.dctl("route", "list", "-o", "json").stdout
    before = standing.pids()

    os.kill(before[victim], signal.SIGKILL)
    wait_until(lambda: standing.pids().get(victim) not in (None, before[victim]), within=30)
    standing.dctl("infra", "wait", "--timeout", "30s")

    assert standing.dctl("kv", "get", "before").stdout == f"{victim}\n"
    consumed = standing.dctl(
        "broker", "consume", "--type", f"kill.{victim}", "--from", "all", "--count", "1"
    )
    assert f"kill.{victim}" in consumed.stdout
    assert standing.dctl("route", "list", "-o", "json").stdout == routes
    wait_until(lambda: speaks(standing), within=20)
    after = standing.pids()
    assert {name for name in before if before[name] != after[name]} == {victim}
    wait_until(lambda: registered(standing) == ["blueprint", "catalyst", "echo", "fuse"], within=30)
    standing.dctl("infra", "plan", "--detailed-exitcode")


def registered(cluster: Cluster) -> list[str]:
    """The names of the healthy processes in the registry, sorted; each stands once."""
    rows = cluster.json("ps")["items"]
    return sorted(row["name"] for row in rows if row["health"] == "healthy")


def test_the_supervisor_may_be_killed_and_everything_is_back(standing: Cluster) -> None:
    standing.dctl("kv", "set", "before", "supervisor")
    (supervisor,) = [
        p for p in standing.processes() if any("supervisord" in w for w in p.cmdline()[:3])
    ]
    supervisor.kill()
    wait_until(lambda: not supervisor.is_running(), within=10)
    wait_until(lambda: len(standing.pids()) == len(CORE) + 1, within=30)
    standing.dctl("infra", "wait", "--timeout", "30s")
    assert standing.dctl("kv", "get", "before").stdout == "supervisor\n"
    assert len([p for p in standing.processes() if "nats-server" in p.name()]) == 1


def test_a_stopped_blueprint_is_named_as_unreachable(standing: Cluster) -> None:
    standing.dctl("infra", "stop", "blueprint")
    try:
        done = standing.dctl("kv", "get", "greeting", code=6)
        assert "Blueprint" in done.stderr
        assert standing.status()["blueprint-1"]["actual"] == "held"
        standing.dctl("infra", "plan", "--detailed-exitcode")  # held is no drift
    finally:
        standing.dctl("infra", "start", "blueprint")
        standing.dctl("infra", "wait", "--timeout", "30s")


def test_a_cluster_is_mended_also_while_the_ingress_cannot_tell_its_routes(
    standing: Cluster,
) -> None:
    spec = standing.folder / "cluster.yaml"
    wrong = "blueprint: {listen: 0, config: {max_keys: 0}, update: {auto_rollback: false}}"
    spec.write_text(spec.read_text().replace("blueprint: {listen: 0}", wrong))
    standing.dctl("infra", "apply", "-y", code=4)
    standing.dctl("infra", "restart", "fuse")  # it has to be told anew, and nobody does
    standing.write()
    standing.dctl("infra", "apply", "-y")
    assert {row["health"] for row in standing.status().values()} == {"healthy"}
    assert speaks(standing)
    standing.dctl("infra", "plan", "--detailed-exitcode")


def test_a_service_that_dies_at_start_is_named_with_its_exit_and_last_lines(
    standing: Cluster,
) -> None:
    script = "; ".join(["import sys", "[print('line', i) for i in range(30)]", "sys.exit(7)"])
    standing.write(extra=f'  dying:\n    command: [python3, -c, "{script}"]\n')
    done = standing.dctl("infra", "apply", "-y", code=4)
    assert "dying-1 on local" in done.stderr
    assert "exit status 7" in done.stderr
    assert "line 10" in done.stderr
    assert "line 29" in done.stderr
    assert "line 9\n" not in done.stderr


def test_a_value_over_1_mib_is_refused_and_the_limit_named(standing: Cluster) -> None:
    big = standing.folder / "big"
    big.write_text("x" * ((1 << 20) + 1))
    done = subprocess.run(
        [sys.executable, "-m", "dctl", "kv", "set", "big", "-"],
        cwd=standing.folder,
        env=standing.env,
        stdin=big.open(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "1 MiB" in done.stderr
    assert "Traceback" not in done.stderr


def test_logs_show_what_a_service_printed(standing: Cluster) -> None:
    assert standing.dctl("infra", "logs", "echo").stdout
    done = standing.dctl("infra", "logs", "ecko", code=1)
    assert "echo" in done.stderr


def test_a_snapshot_of_the_live_screen_shows_the_services(standing: Cluster) -> None:
    standing.dctl("tui", "--snapshot", "now.txt")
    text = (standing.folder / "now.txt").read_text()
    assert "echo-1" in text
    assert "● registry" in text
    assert "✗" not in text


def test_a_taken_port_names_who_holds_it_and_nothing_is_started(fresh: Cluster) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        spec = fresh.folder / "cluster.yaml"
        spec.write_text(
            spec.read_text().replace("{listen: 0, admin: 0", f"{{listen: {port}, admin: 0")
        )
        done = fresh.dctl("infra", "apply", "-y", code=1)
        assert f"port {port}" in done.stderr
        assert f"held by {psutil.Process().name()} (pid {os.getpid()})" in done.stderr
        assert "--port-offset" in done.stderr
        assert fresh.processes() == []


NEVER_WELL = """\
  never:
    command: [sleep, "600"]
    health: {exec: ["false"], start: 60s}
"""


def test_an_interrupted_apply_is_finished_by_the_next(fresh: Cluster) -> None:
    fresh.write(extra=NEVER_WELL)  # so that it does not end before it is interrupted
    running = fresh.start("infra", "apply", "-y", "--progress", "json")
    assert running.stderr is not None
    for line in running.stderr:
        if '"phase": "done"' in line:
            break
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in err
    fresh.write()
    fresh.dctl("infra", "apply", "-y")
    fresh.dctl("infra", "plan", "--detailed-exitcode")


def test_two_clusters_stand_side_by_side_and_clean_leaves_nothing(
    standing: Cluster, fresh: Cluster
) -> None:
    fresh.dctl("infra", "apply", "-y")
    ports = [
        int(address.rpartition(":")[2])
        for row in fresh.status().values()
        for address in filter(None, row["address"].split(", "))
    ]
    # A file in memory would outlive who made it.
    maps = [Path(f"/proc/{pid}/maps").read_text() for pid in fresh.pids().values()]
    assert not any("/dev/shm/" in text for text in maps)
    fresh.dctl("infra", "clean", "--full", "-y")
    assert fresh.processes() == []
    assert not fresh.state.exists()
    assert list((fresh.folder / "run").rglob("*")) == []
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    standing.dctl("infra", "wait", "--timeout", "10s")


def test_a_cluster_that_is_down_leaves_alone_the_one_that_has_its_ports_now(fresh: Cluster) -> None:
    fresh.dctl("infra", "apply", "-y")
    taken = {part: fresh.address(f"{part}-1") for part in ("blueprint", "fuse")}
    fresh.dctl("infra", "down")
    spec = (fresh.folder / "cluster.yaml").read_text().replace("name: test", "name: other")
    for part, address in taken.items():
        spec = spec.replace(f"{part}: {{listen: 0}}", f"{part}: {{listen: '{address}'}}")
    (fresh.folder / "other.yaml").write_text(spec)
    fresh.dctl("infra", "apply", "-y", "-f", "other.yaml")
    try:
        routes = [s for s in fresh.json("infra", "plan")["steps"] if s["kind"] == "route"]
        assert {step["action"] for step in routes} == {"create"}
        refused = fresh.dctl("kv", "set", "a", "1", code=6)
        assert "Blueprint of cluster test is stopped" in refused.stderr
    finally:
        fresh.dctl("infra", "clean", "--full", "-y", "-f", "other.yaml")


def test_while_fuse_hangs_the_processes_are_still_told(standing: Cluster) -> None:
    fuse = psutil.Process(standing.pids()["fuse-1"])
    fuse.suspend()
    try:
        rows = standing.status()
        late = standing.dctl("infra", "wait", "--timeout", "100ms", code=7)
    finally:
        fuse.resume()
    assert rows["blueprint-1"]["health"] == "healthy"
    assert rows["fuse-1"]["health"] == "unhealthy"
    assert rows["spec/fuse/1"]["actual"] == "unknown"
    assert "fuse-1: unhealthy" in late.stderr


def test_down_keeps_the_data_and_apply_brings_it_back(fresh: Cluster) -> None:
    fresh.dctl("infra", "apply", "-y")
    fresh.dctl("kv", "set", "kept", "yes")
    fresh.dctl("infra", "down")
    assert fresh.processes() == []
    fresh.dctl("infra", "apply", "-y")
    assert fresh.dctl("kv", "get", "kept").stdout == "yes\n"
