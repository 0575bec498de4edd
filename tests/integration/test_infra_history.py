"""Who changed a cluster, the way back, plans that are kept, and a watch: by dctl alone."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import stat
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dctl.hosts.process import rpc
from dctl.hosts.process.layout import Layout
from tests.support.clusters import Cluster
from tests.support.waiting import wait_until

# Small parts of our own, so that each test has a cluster to itself.
SPEC = """\
apiVersion: draft/v1
kind: Cluster
name: test
core: {{nats: false, blueprint: false, catalyst: false, fuse: false, envoy: false}}
security: {{nonce: any}}
services:
  keep:
    command: [python3, -u, keep.py]
    env: {{COLOR: {color}}}
  other:
    command: [python3, -u, keep.py]
{extra}"""

KEEP = "import signal, os; print('up', os.environ.get('COLOR')); signal.pause()\n"
# Never healthy: an apply waits for it until it is killed.
SICK = """\
  sick:
    command: [python3, -u, keep.py]
    ports: {main: 0}
    health: {tcp: true, start: 10m}
"""
BROKEN = "  broken: {command: [no-such-program]}\n"


class Shop(Cluster):
    """A cluster of small processes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "keep.py").write_text(KEEP)

    def write(self, *, replicas: int = 1, extra: str = "", color: str = "red") -> None:
        text = SPEC.format(color=color, extra=extra)
        (self.folder / "cluster.yaml").write_text(text)

    def apply(self, **spec: Any) -> None:
        self.write(**spec)
        self.dctl("infra", "apply", "-y")

    def history(self) -> list[dict[str, Any]]:
        return list(self.json("infra", "history")["items"])

    def results(self) -> list[tuple[str, str]]:
        return [(item["what"], item["result"]) for item in self.history()]

    def color(self) -> str:
        """As the process that runs has it."""
        environ = Path(f"/proc/{self.pids()['keep-1']}/environ").read_bytes()
        return dict(pair.split("=", 1) for pair in environ.decode().split("\0") if pair)["COLOR"]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    try:
        yield shop
    finally:
        shop.close()


def holder(shop: Shop) -> dict[str, Any]:
    return dict(shop.json("infra", "lock", "status"))


# The history and the way back


def test_every_change_is_told_with_who_when_what_and_how_it_ended(shop: Shop) -> None:
    shop.apply()
    shop.write(extra=BROKEN)
    shop.dctl("infra", "apply", "-y", code=4)
    shop.dctl("infra", "stop", "keep")
    shop.dctl("infra", "down")
    assert shop.results() == [
        ("apply", "ok"),
        ("apply", "failed"),
        ("stop", "ok"),
        ("down", "ok"),
    ]
    first, second, *_ = shop.history()
    assert "@" in first["who"]
    assert first["planned"] == {"create": 2}
    assert first["release"] is True
    assert list(second["failed"]) == ["broken-1"]
    assert second["release"] is False
    shown = shop.dctl("infra", "history").stdout
    assert shown.splitlines()[0].split()[:3] == ["ID", "WHEN", "WHO"]


def test_what_is_kept_is_closed_to_others(shop: Shop) -> None:
    shop.apply()
    kept = [shop.state / "journal.jsonl", *(shop.state / "releases").iterdir()]
    assert len(kept) == 2
    for path in kept:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_rollback_goes_to_the_release_before_and_leaves_the_rest_alone(shop: Shop) -> None:
    shop.apply(color="red")
    shop.apply(color="blue", extra="  late: {command: [python3, -u, keep.py]}\n")
    before = shop.pids()
    done = shop.dctl("infra", "rollback", "-y")
    assert shop.color() == "red"
    after = shop.pids()
    assert sorted(after) == ["keep-1", "other-1"]
    assert after["other-1"] == before["other-1"]
    assert "back to release 1" in done.stderr
    assert "the spec asks for something else still" in done.stderr
    assert shop.history()[-1]["to"] == 1
    shop.dctl("infra", "rollback", "-y", code=1)  # there is none before the first
    shop.dctl("infra", "rollback", "2", "-y")
    assert shop.color() == "blue"
    shop.dctl("infra", "plan", "--detailed-exitcode")


def test_after_an_apply_that_failed_a_rollback_restores_what_was_good(shop: Shop) -> None:
    shop.apply(color="red")
    shop.write(color="blue", extra=BROKEN)
    shop.dctl("infra", "apply", "-y", code=4)
    shop.dctl("infra", "rollback", "-y")
    assert shop.color() == "red"
    assert sorted(shop.status()) == ["broken-1", "keep-1", "other-1"]
    assert sorted(shop.pids()) == ["keep-1", "other-1"]


def test_a_rollback_asks_and_shows_what_it_would_do(shop: Shop) -> None:
    shop.apply(color="red")
    shop.apply(color="blue")
    done = shop.dctl("infra", "rollback", code=64)
    assert 'env.COLOR "blue" -> "red"' in done.stderr
    assert "-y" in done.stderr
    assert shop.color() == "blue"


def test_without_a_good_release_a_rollback_says_so(shop: Shop) -> None:
    done = shop.dctl("infra", "rollback", "-y", code=1)
    assert "no good release" in done.stderr
    shop.apply()
    done = shop.dctl("infra", "rollback", "7", "-y", code=1)
    assert "no release 7; kept are: 1" in done.stderr


def test_that_code_does_not_come_back_is_said_before_anything_is_done(shop: Shop) -> None:
    folder = shop.folder / "services" / "job"
    folder.mkdir()
    (folder / "main.py").write_text(KEEP)
    job = "  job: {{run: services/job, health: {{tcp: true}}, env: {{SIZE: {}}}}}\n"
    (folder / "main.py").write_text(
        "import os, socket, signal\n"
        "s = socket.create_server(('127.0.0.1', int(os.environ['DRAFT_PORT_GRPC'])))\n"
        "signal.pause()\n"
    )
    shop.apply(extra=job.format("small"))
    (folder / "main.py").write_text((folder / "main.py").read_text() + "# new\n")
    shop.apply(extra=job.format("large"))
    asked = shop.dctl("infra", "rollback", code=64)
    assert "not as it was then: job runs today's code" in asked.stderr
    shop.dctl("infra", "rollback", "-y")
    plan = shop.json("infra", "plan")
    changed = {s["name"]: s["changes"] for s in plan["steps"] if s["action"] != "none"}
    assert [c["field"] for c in changed["job-1"]] == ["env.SIZE"]


def test_what_cannot_be_had_again_is_refused_before_anything_is_done(shop: Shop) -> None:
    folder = shop.folder / "services" / "job"
    folder.mkdir()
    (folder / "main.py").write_text(
        "import os, socket, signal\n"
        "s = socket.create_server(('127.0.0.1', int(os.environ['DRAFT_PORT_GRPC'])))\n"
        "signal.pause()\n"
    )
    shop.apply(extra="  job: {run: services/job, health: {tcp: true}}\n")
    shop.apply()
    (folder / "main.py").unlink()
    folder.rmdir()
    before = shop.pids()
    done = shop.dctl("infra", "rollback", "-y", code=1)
    assert "release 1 cannot be had again, nothing was changed" in done.stderr
    assert f"job-1 ran from {folder}" in done.stderr
    assert shop.pids() == before


# A part alone


def test_a_part_is_changed_alone_and_said_to_be_one_by_plan_history_and_release(
    shop: Shop,
) -> None:
    shop.apply()
    before = shop.pids()
    # keep is asked for otherwise, and fresh instead of other
    text = (shop.folder / "cluster.yaml").read_text().replace("red", "blue")
    (shop.folder / "cluster.yaml").write_text(text.replace("  other:", "  fresh:"))
    shown = shop.dctl("infra", "plan", "--service", "keep").stdout
    assert "Partial: only service keep, and what that needs; 2 other changes left out." in shown
    assert "Plan: 1 to update." in shown
    shop.dctl("infra", "plan", "--service", "kep", code=1)
    said = shop.dctl("infra", "apply", "-y", "--service", "keep", "--host", "lo*").stderr
    assert "test (service keep on host lo*) is healthy" in said
    assert shop.color() == "blue"
    after = shop.pids()
    assert "fresh-1" not in after
    assert after["other-1"] == before["other-1"]
    *_, record = shop.history()
    assert (record["scope"], record["planned"]) == (
        {"services": ["keep"], "hosts": ["lo*"]},
        {"update": 1},
    )
    rows = shop.json("infra", "status", "--service", "o*")["items"]
    assert [row["name"] for row in rows] == ["other-1"]
    shop.dctl("infra", "rollback", "-y")  # of that part: the rest was not changed
    assert shop.color() == "red"
    assert shop.pids()["other-1"] == before["other-1"]


def test_a_kept_plan_of_a_part_is_carried_out_for_that_part(shop: Shop) -> None:
    shop.apply()
    before = shop.pids()
    shop.write(color="blue", extra=BROKEN)
    shop.dctl("infra", "plan", "--out", "p.json", "--service", "keep")
    shop.dctl("infra", "apply", "p.json", "--service", "other", code=64)
    shop.dctl("infra", "apply", "p.json", "--watch", code=64)
    shop.dctl("infra", "apply", "p.json")
    assert shop.color() == "blue"
    assert shop.pids().keys() == before.keys()


def test_what_is_stopped_started_and_shown_can_be_a_part(shop: Shop) -> None:
    shop.apply()
    shop.dctl("infra", "stop", "--service", "keep", "--host", "local")
    assert shop.pids().keys() == {"other-1"}
    shop.dctl("infra", "start", "other", "--service", "keep", code=1)
    shop.dctl("infra", "restart", "--service", "ke*")
    assert shop.pids().keys() == {"keep-1", "other-1"}
    logs = shop.dctl("infra", "logs", "--service", "keep").stdout
    assert "other" not in logs
    assert logs.count("up red") == 2
    shop.dctl("infra", "wait", "--service", "keep")


# Plans that are kept


def test_a_plan_that_was_kept_is_carried_out_without_asking(shop: Shop) -> None:
    shop.write(extra=SICK.replace("health: {tcp: true, start: 10m}", "health: {exec: ['true']}"))
    done = shop.dctl("infra", "plan", "--out", "p.json")
    assert "dctl infra apply p.json" in done.stderr
    assert stat.S_IMODE((shop.folder / "p.json").stat().st_mode) == 0o600
    assert not shop.state.exists()  # planning writes nothing else
    asked = json.loads((shop.folder / "p.json").read_text())["resources"]
    picked = {r["name"]: r["ports"] for r in asked}["sick-1"]["main"]
    shop.dctl("infra", "apply", "p.json")
    assert shop.address("sick-1") == f"{picked[0]}:{picked[1]}"
    shop.dctl("infra", "plan", "--detailed-exitcode")


def test_a_plan_is_refused_when_what_is_there_has_moved(shop: Shop) -> None:
    shop.apply(color="red")
    shop.write(color="blue")
    shop.dctl("infra", "plan", "--out", "p.json")
    shop.dctl("infra", "apply", "-y")
    before = shop.pids()
    done = shop.dctl("infra", "apply", "p.json", code=1)
    assert "keep-1 on local: update when planned, now no change" in done.stderr
    assert "dctl infra plan --out p.json" in done.stderr
    assert shop.pids() == before


def test_a_plan_is_refused_when_the_spec_has_moved(shop: Shop) -> None:
    shop.apply(color="red")
    shop.write(color="blue")
    shop.dctl("infra", "plan", "--out", "p.json")
    shop.write(color="green")
    done = shop.dctl("infra", "apply", "p.json", code=1)
    assert "keep-1 on local: the spec asks for other env.COLOR" in done.stderr
    assert shop.color() == "red"


def test_what_is_no_plan_is_refused_with_the_way_to_make_one(shop: Shop) -> None:
    done = shop.dctl("infra", "apply", "cluster.yaml", code=1)
    assert "cluster.yaml is no saved plan" in done.stderr
    done = shop.dctl("infra", "apply", "q.json", code=1)
    assert "there is no saved plan q.json" in done.stderr


# The lock


@pytest.fixture
def stuck(shop: Shop) -> Iterator[subprocess.Popen[str]]:
    """An apply that waits for something that never gets well."""
    shop.write(extra=SICK)
    running = shop.start("infra", "apply", "-y", "--progress", "json")
    try:
        assert running.stderr is not None
        for line in running.stderr:
            if '"step": "process/sick-1"' in line and '"phase": "gating"' in line:
                break
        yield running
    finally:
        running.kill()
        running.communicate()


def test_of_two_applies_at_once_the_second_is_refused_with_5_and_told_who(
    shop: Shop, stuck: subprocess.Popen[str]
) -> None:
    said = holder(shop)
    assert (said["held"], said["pid"]) == (True, stuck.pid)
    shop.write(color="blue")
    done = shop.dctl("infra", "apply", "-y", code=5)
    assert f"(pid {stuck.pid}) since " in done.stderr
    assert "Traceback" not in done.stderr
    assert shop.results() == [("apply", "running")]
    assert f"pid {stuck.pid}" in shop.dctl("infra", "lock", "status").stdout


def test_a_dead_holders_lock_is_free_at_once_and_its_change_is_told_as_cut_off(
    shop: Shop, stuck: subprocess.Popen[str]
) -> None:
    stuck.kill()
    stuck.wait()
    assert holder(shop)["held"] is False
    shop.apply()
    assert shop.results() == [("apply", "cut off"), ("apply", "ok")]
    shop.dctl("infra", "plan", "--detailed-exitcode")


def test_a_lock_that_is_taken_away_ends_its_holders_change(
    shop: Shop, stuck: subprocess.Popen[str]
) -> None:
    refused = shop.dctl("infra", "lock", "release", code=64)
    assert "-y" in refused.stderr
    done = shop.dctl("infra", "lock", "release", "-y")
    assert "taken from" in done.stderr
    _, said = stuck.communicate(timeout=30)
    assert stuck.returncode == 4
    assert "its lock was taken away" in said
    shop.apply()
    assert shop.results()[0] == ("apply", "interrupted")
    assert shop.results()[-1] == ("apply", "ok")


def test_a_lock_that_nobody_has_is_nothing_to_release(shop: Shop) -> None:
    assert "nobody" in shop.dctl("infra", "lock", "release", "-y").stderr
    assert not shop.state.exists()


# Commands beside what runs


def test_a_command_runs_with_the_environment_and_in_the_folder_of_the_process(shop: Shop) -> None:
    shop.apply(color="blue")
    done = shop.dctl("infra", "exec", "keep", "--", "sh", "-c", "echo $COLOR; pwd")
    assert done.stdout.split() == ["blue", str(shop.folder)]


def test_the_commands_input_output_and_exit_code_are_passed_on(shop: Shop) -> None:
    shop.apply()
    done = subprocess.run(
        [sys.executable, "-m", "dctl", "infra", "exec", "keep-1", "--", "sh", "-c",
         "cat; echo oops >&2; exit 7"],
        cwd=shop.folder, env=shop.env, input="hello", capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("hello", "oops\n", 7)


def test_a_command_that_a_signal_ends_and_one_that_is_not_there(shop: Shop) -> None:
    shop.apply()
    shop.dctl("infra", "exec", "keep", "--", "sh", "-c", "kill -KILL $$", code=128 + 9)
    done = shop.dctl("infra", "exec", "keep", "--", "no-such-program", code=1)
    assert "no-such-program cannot be run" in done.stderr
    done = shop.dctl("infra", "exec", "nobody", "--", "true", code=1)
    assert "keep, other" in done.stderr
    shop.dctl("infra", "exec", "keep", "--", code=64)


def test_a_terminal_is_the_commands_own(shop: Shop) -> None:
    shop.apply()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(shop.folder)
        script = "test -t 0 && test -t 1 && stty size; read x; echo got:$x; exit 3"
        argv = [sys.executable, "-m", "dctl", "infra", "exec", "keep", "--", "sh", "-c", script]
        os.execve(sys.executable, argv, shop.env)
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        said = b""

        def read(word: bytes) -> bool:
            nonlocal said
            if select.select([terminal], [], [], 0)[0]:
                said += os.read(terminal, 4096)
            return word in said

        wait_until(lambda: read(b"33 77"), within=30)
        os.write(terminal, b"yes\n")
        wait_until(lambda: read(b"got:yes"), within=30)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 3
    finally:
        os.close(terminal)


# The watch


@pytest.fixture
def watched(shop: Shop) -> Iterator[subprocess.Popen[str]]:
    """A watch that is past its beginning."""
    running = shop.start("infra", "apply", "-y", "--watch", "--every", "100ms")
    try:
        read_until(running, "watching test")
        yield running
    finally:
        running.kill()
        running.communicate()


def read_until(running: subprocess.Popen[str], words: str) -> str:
    assert running.stderr is not None
    for line in running.stderr:
        if words in line:
            return line
    raise AssertionError(f"it ended without saying {words!r}")


def test_a_watch_heals_what_was_removed_behind_its_back(
    shop: Shop, watched: subprocess.Popen[str]
) -> None:
    before = shop.pids()
    socket = Layout(shop.state).socket.read_text()
    rpc.call(Path(socket), "stopProcess", "keep-1")
    line = read_until(watched, "keep-1")
    assert "healed keep-1 on local" in line
    after = shop.pids()
    assert after["keep-1"] != before["keep-1"]
    assert after["other-1"] == before["other-1"]
    wait_until(lambda: shop.results() == [("apply", "ok"), ("heal", "ok")])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_ends_cleanly(
    shop: Shop, watched: subprocess.Popen[str], number: signal.Signals
) -> None:
    watched.send_signal(number)
    _, said = watched.communicate(timeout=30)
    assert watched.returncode == 0
    assert "no longer watched" in said
    assert "Traceback" not in said
    assert holder(shop)["held"] is False
    assert sorted(shop.pids()) == ["keep-1", "other-1"]


def test_a_watch_follows_an_apply_and_ends_with_the_cluster(
    shop: Shop, watched: subprocess.Popen[str]
) -> None:
    shop.write(color="blue")
    wait_until(lambda: shop.dctl("infra", "apply", "-y", code=None).returncode == 0, within=60)
    read_until(watched, "following apply ")  # not the first one, if that met the lock
    assert shop.color() == "blue"
    shop.dctl("infra", "down")
    read_until(watched, "the watch ends")
    watched.communicate(timeout=30)
    assert watched.returncode == 0
    assert shop.pids() == {}
