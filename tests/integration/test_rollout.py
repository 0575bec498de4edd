"""A rollout under load: not one request fails, and a bad release changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.support.clusters import Cluster, raised
from tests.support.load import Load
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with raised(tmp_path_factory.mktemp("rollout")) as cluster:
        yield cluster


def test_a_service_of_one_replica_is_exchanged_without_a_failed_request(cluster: Cluster) -> None:
    before = cluster.pids()
    with Load(cluster.address("envoy-1")).on() as load:
        wait_until(lambda: load.answered > 50)
        cluster.write(extra="    env: {COLOR: red}\n")
        cluster.dctl("infra", "apply", "-y")
        then = load.answered
        wait_until(lambda: load.answered > then + 50)
    assert load.failures == []
    after = cluster.pids()
    assert [name for name in before if before[name] != after[name]] == ["echo-1"]
    assert set(before) == set(after)


def test_a_release_that_does_not_start_leaves_the_old_one_serving(cluster: Cluster) -> None:
    before = cluster.pids()
    main = cluster.folder / "services" / "examples" / "echo" / "main.py"
    good = main.read_text()
    try:
        with Load(cluster.address("envoy-1")).on(1) as load:
            main.write_text("raise SystemExit('no good')\n")
            done = cluster.dctl("infra", "apply", "-y", code=4)
            then = load.answered
            wait_until(lambda: load.answered > then + 20)
    finally:
        main.write_text(good)
    assert load.failures == []
    assert "no good" in done.stderr
    assert "echo-1 still runs as before" in done.stderr
    assert cluster.pids() == before
    cluster.dctl("infra", "apply", "-y")


PAGE = """\
import http.server, os, pathlib

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if pathlib.Path("ill-" + os.environ["COLOR"]).exists() else 200)
        self.end_headers()

port = int(os.environ["DRAFT_PORT_HTTP"])
http.server.HTTPServer(("127.0.0.1", port), Page).serve_forever()
"""


def test_a_release_that_falls_ill_while_it_is_watched_is_taken_back(cluster: Cluster) -> None:
    (cluster.folder / "page.py").write_text(PAGE)

    def write(color: str) -> None:
        cluster.write(
            extra=f"""\
  page:
    command: [{sys.executable}, page.py]
    env: {{COLOR: {color}}}
    replicas: 2
    ports: {{http: 0}}
    health: {{http: /, interval: 100ms}}
    update: {{monitor: 60s}}
"""
        )

    write("blue")
    cluster.dctl("infra", "apply", "-y")
    write("red")
    rollout = cluster.start("infra", "apply", "-y", "--progress", "json")
    assert rollout.stderr
    said = ""
    for line in rollout.stderr:
        said += line
        if '"process/page-2"' in line and '"watching"' in line:
            (cluster.folder / "ill-red").touch()
    assert rollout.wait(timeout=60) == 4, said
    assert "it was well, then unhealthy" in said
    assert "answers 503" in said
    assert "run again as before: page-1, page-2" in said
    plan = {step["name"]: step for step in cluster.json("infra", "plan")["steps"]}
    for name in ("page-1", "page-2"):
        (change,) = plan[name]["changes"]
        assert change == {"field": "env.COLOR", "before": "blue", "after": "red"}
