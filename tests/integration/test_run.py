"""dctl run: services from their code, and nothing that stays behind."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from dctl.errors import ExitCode
from tests.support.clusters import Cluster, raised
from tests.support.waiting import wait_until

# Clusters are raised here, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)

MAIN = "services/examples/echo/main.py"
SAY = '{"input": "hi"}'


class Run:
    """A `dctl run` in the background, what it says in files."""

    def __init__(self, cluster: Cluster, *arguments: str) -> None:
        self.cluster = cluster
        self._file = cluster.folder / f"run-{len(list(cluster.folder.glob('run-*')))}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dctl", "run", *arguments],
            cwd=cluster.folder,
            env=cluster.env,
            stdin=subprocess.DEVNULL,
            stdout=self._file.open("w"),
            stderr=subprocess.STDOUT,
        )

    def said(self) -> str:
        return self._file.read_text()

    def hears(self, text: str, times: int = 1) -> None:
        def heard() -> bool:
            assert self.process.poll() is None or text in self.said(), self.said()
            return self.said().count(text) >= times

        wait_until(heard, within=60)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def workspace(folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.close()


def runs(cluster: Cluster) -> list[str]:
    """What runs of a cluster, in words."""
    found = []
    for process in cluster.processes():
        try:
            found.append(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return found


def changes(cluster: Cluster) -> set[str]:
    """What an apply would change."""
    steps = cluster.json("infra", "plan")["steps"]
    return {step["name"] for step in steps if step["action"] != "none"}


def with_another(cluster: Cluster, needs: str = "{}") -> None:
    """A second service in the workspace and in the spec."""
    folder = cluster.folder / "services/examples/other"
    folder.mkdir()
    text = (cluster.folder / MAIN).read_text().replace("app.route", "0 and app.route")
    (folder / "main.py").write_text(text)
    spec = f"  other:\n    run: services/examples/other\n    depends_on: {needs}\n"
    cluster.write(extra=spec)


def test_what_is_missing_is_raised_what_changes_is_started_anew_and_nothing_stays(
    tmp_path: Path,
) -> None:
    with workspace(tmp_path) as cluster:
        run = Run(cluster, "-d", "examples")
        run.hears("echo is ready at")
        said = json.loads(cluster.dctl("call", "echo", "Speak", SAY).stdout)
        assert said == {"output": "hi"}
        assert "+ process    echo-1" not in cluster.dctl("infra", "plan").stdout

        main = tmp_path / MAIN
        good = main.read_text()
        main.write_text(good + "x = (\n")
        run.hears("echo goes on as it was")
        assert f"{MAIN}:{len(good.splitlines()) + 1}:5: '(' was never closed" in run.said()
        assert json.loads(cluster.dctl("call", "echo", "Speak", SAY).stdout) == {"output": "hi"}

        main.write_text(good.replace("output=request.input", "output=request.input.upper()"))
        run.hears("echo is ready at", times=2)
        assert json.loads(cluster.dctl("call", "echo", "Speak", SAY).stdout) == {"output": "HI"}
        assert "echo has ended" in run.said(), "the one before drained"

        config = tmp_path / "services/examples/echo/config.yaml"
        config.write_text("draft: [")
        run.hears("config.yaml: not a YAML file")
        assert json.loads(cluster.dctl("call", "echo", "Speak", SAY).stdout) == {"output": "HI"}
        config.write_text("draft: {log: {format: json}}")
        run.hears('"message": "echo serves"')
        assert run.end() == ExitCode.OK, run.said()
        assert not runs(cluster)
        assert not (cluster.state / "dev").exists()


def test_what_ran_before_runs_again_even_after_kill_9(tmp_path: Path) -> None:
    with raised(tmp_path, replicas=2) as cluster:
        before = cluster.pids()
        spec = tmp_path / "cluster.yaml"
        spec.write_text(spec.read_text().replace("max_store: 64M", "max_store: 64M, env: {X: a}"))
        run = Run(cluster, "-s", "echo")
        run.hears("nats runs, but not as the spec asks for by now")
        run.hears("echo is ready at")
        assert {"echo-1", "echo-2"}.isdisjoint(cluster.pids())
        registered = [p for p in cluster.json("ps")["items"] if p["name"] == "echo"]
        assert len(registered) == 1
        refused = cluster.dctl("run", "-s", "echo", code=ExitCode.LOCKED)
        assert "is run by another dctl run" in refused.stderr
        assert changes(cluster) == {"nats-1"}, "what stands aside is no drift"

        run.end(signal.SIGKILL)
        wait_until(lambda: {"echo-1", "echo-2"} <= cluster.pids().keys(), within=60)
        after = cluster.pids()
        assert {n: p for n, p in after.items() if n[:4] != "echo"} == {
            n: p for n, p in before.items() if n[:4] != "echo"
        }
        assert not [words for words in runs(cluster) if " run" in words]
        assert changes(cluster) == {"nats-1"}


def test_the_last_of_several_takes_down_what_the_first_raised_and_what_one_left_that_was_cut_off(
    tmp_path: Path,
) -> None:
    with workspace(tmp_path) as cluster:
        with_another(cluster)
        first = Run(cluster, "-s", "echo")
        first.hears("echo is ready at")
        second = Run(cluster, "-s", "examples/other")
        second.hears("other is ready at")
        assert first.end() == ExitCode.OK
        assert {"nats-1", "blueprint-1"} <= cluster.pids().keys()
        names = {p["name"] for p in cluster.json("ps")["items"]}
        assert {"other"} == names - {"blueprint", "catalyst", "fuse", "envoy"}
        keepers = [p for p in cluster.processes() if "dctl.dev.keeper" in p.cmdline()]
        for process in (*keepers, psutil.Process(second.process.pid)):
            process.kill()
        second.process.wait(60)
        wait_until(lambda: not [words for words in runs(cluster) if "other/main.py" in words])
        assert {"nats-1", "blueprint-1"} <= cluster.pids().keys(), "nobody was left to end them"

        third = Run(cluster, "-s", "echo")
        third.hears("echo is ready at")
        third.end(signal.SIGKILL)
        wait_until(lambda: not runs(cluster), within=60)


def test_one_that_needs_another_waits_for_it_and_a_terminal_that_is_closed_leaves_nothing(
    tmp_path: Path,
) -> None:
    with workspace(tmp_path / "my shöp") as cluster:
        with_another(cluster, needs="{echo: healthy}")
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(cluster.folder)
            command = [sys.executable, "-m", "dctl", "run", "--progress", "plain"]
            os.execve(sys.executable, command, cluster.env)
        said = b""
        while b"other is ready at" not in said:
            said += os.read(terminal, 4096)
        words = [b"other waits for echo", b"echo is ready at", b"other is ready at"]
        assert [said.index(each) for each in words] == sorted(map(said.index, words))
        os.killpg(pid, signal.SIGHUP)  # all that are on it hear of its end
        os.close(terminal)
        os.waitpid(pid, 0)
        wait_until(lambda: not runs(cluster), within=60)


def test_a_debugger_that_is_not_there_is_told_before_anything_is_raised(tmp_path: Path) -> None:
    if importlib.util.find_spec("debugpy"):
        pytest.skip("debugpy is installed here")
    with workspace(tmp_path) as cluster:
        done = cluster.dctl("run", "--debug", code=ExitCode.ERROR)
        assert "-m pip install debugpy" in done.stderr
        assert not runs(cluster)
