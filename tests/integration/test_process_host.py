"""The process runtime on a real supervisord: what is asked is what runs, and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dctl.errors import DctlError, LockedError, NotFoundError
from dctl.hosts.base import Endpoint, Reader, State
from dctl.hosts.process import ProcessHost, ProcessReader
from tests.support.processes import Cluster, cluster, home
from tests.support.waiting import wait_until


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with home(monkeypatch) as made:
        yield made


@pytest.fixture
def shop(folder: Path) -> Iterator[Cluster]:
    with cluster(folder) as made:
        yield made


def tree(root: Path) -> dict[str, object]:
    """Every path under `root` with what is in it and when it was written."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted([root, *root.rglob("*")])
    }


# Looking


def test_where_nothing_was_started_nothing_is_seen_and_nothing_made(folder: Path) -> None:
    reader = ProcessReader("shop", workspace=folder)
    assert reader.observe() == []
    with pytest.raises(NotFoundError, match="a-1"):
        reader.logs("a-1", lines=1)
    assert list(folder.iterdir()) == []


def test_what_runs_is_seen_as_it_was_asked(shop: Cluster) -> None:
    asked = shop.ensure("db-1", ports={"sql": "127.0.0.1:0"}, env={"KEY": "100%"}, source="v1")
    shop.ensure("api-1", needs=("db-1",))
    api, db = shop.reader.observe()
    assert (api.name, api.needs, db.name) == ("api-1", ("db-1",), "db-1")
    assert (db.state, db.owner, db.service) == (State.RUNNING, "shop", "db")
    assert db.spec == asked.spec
    assert db.ports == {"sql": Endpoint("127.0.0.1", 0)}
    assert abs(db.started - time.time()) < 30
    assert (db.restarts, db.last_exit) == (0, "")
    os.kill(db.pid, 0)


def test_looking_has_no_verb_that_changes_and_leaves_every_byte(shop: Cluster) -> None:
    verbs = {name for name in dir(ProcessReader) if not name.startswith("_")}
    declared = {name for name in vars(Reader) if not name.startswith("_")}
    assert verbs == declared
    shop.ensure("a-1")
    shop.await_state("a-1", State.RUNNING)
    wait_until(lambda: "up" in shop.log("a-1"))
    before = tree(shop.state)
    shop.reader.observe()
    list(shop.reader.logs("a-1", lines=5))
    shop.reader.port_owner(Endpoint("127.0.0.1", shop.reader.free_port("127.0.0.1")))
    assert tree(shop.state) == before


def test_a_look_costs_a_few_milliseconds(shop: Cluster) -> None:
    for i in range(10):
        shop.ensure(f"a-{i}")
    took = []
    for _ in range(10):
        began = time.perf_counter()
        shop.reader.observe()
        took.append(time.perf_counter() - began)
    assert min(took) < 0.05  # 4 ms on an idle machine


# Changing


def test_only_what_changed_is_restarted(shop: Cluster) -> None:
    shop.ensure("a-1")
    shop.ensure("b-1", stop_timeout=5)
    before = shop.pids()
    shop.ensure("b-1", stop_timeout=6)  # supervisor's own section changes
    middle = shop.pids()
    shop.ensure("b-1", stop_timeout=6, env={"A": "1"})  # only the manifest does
    after = shop.pids()
    assert before["a-1"] == middle["a-1"] == after["a-1"]
    assert len({before["b-1"], middle["b-1"], after["b-1"]}) == 3
    assert shop.seen("b-1").restarts == 0


def test_a_program_gets_its_environment_files_and_folder_and_no_more(
    shop: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL_SECRET", "hidden")
    code = (
        "import os, signal, sys\n"
        "print(os.getcwd(), os.environ['KEY'], 'SHELL_SECRET' in os.environ,"
        " [k for k in os.environ if k.startswith('SUPERVISOR')],"
        " sys.stdin.read() == '', signal.getsignal(signal.SIGXFSZ) == signal.SIG_DFL)\n"
        "print(open(sys.argv[1]).read())\n"
    )
    files = shop.state / "processes" / "a-1"
    shop.ensure(
        "a-1", sys.executable, "-c", code, f"{files}/etc/a.conf",
        env={"KEY": "100%s"}, files={"etc/a.conf": "rate: 5%"}, restart="never",
    )  # fmt: skip
    shop.await_state("a-1", State.COMPLETED)
    folder = shop.state / "data" / "a-1"
    # CPython ignores SIGXFSZ itself, so its own answer is False.
    assert shop.log("a-1") == [f"{folder} 100%s False [] True False", "rate: 5%"]
    shop.ensure("a-1", files={"other": ""})
    assert [p.name for p in files.rglob("*")] == ["other"]


def test_signals_that_python_ignores_are_as_usual_for_programs(shop: Cluster) -> None:
    shop.ensure(
        "a-1", "sh", "-c", "grep SigIgn /proc/self/status || echo SigIgn: 0", restart="never"
    )
    shop.await_state("a-1", State.COMPLETED)
    (line,) = shop.log("a-1")
    ignored = int(line.split()[1], 16)  # what our own parent ignores stays so, and is not ours
    assert not [s for s in (signal.SIGPIPE, signal.SIGXFSZ) if ignored & 1 << (s - 1)]


def test_nobody_else_can_read_what_is_kept(shop: Cluster) -> None:
    shop.ensure("a-1", env={"PASSWORD": "swordfish"}, files={"key": "swordfish"})
    assert stat.S_IMODE(shop.state.stat().st_mode) == 0o700
    holders = [p for p in shop.state.rglob("*") if p.is_file() and b"swordfish" in p.read_bytes()]
    assert {stat.S_IMODE(p.stat().st_mode) for p in holders} == {0o600}
    assert "supervisord.conf" not in {p.name for p in holders}
    assert stat.S_IMODE((shop.state / "run" / "supervisord.sock").stat().st_mode) == 0o600


def test_many_may_be_started_at_once(shop: Cluster) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(shop.ensure, [f"a-{i}" for i in range(6)]))
    assert set(shop.states().values()) == {State.RUNNING}
    assert len(set(shop.pids().values())) == 6
    shop.one("supervisord")


def test_stop_holds_and_start_releases(shop: Cluster) -> None:
    shop.ensure("a-1")
    shop.host.stop("a-1")
    shop.host.stop("a-1")
    held = shop.seen("a-1")
    assert (held.state, held.pid) == (State.HELD, 0)
    shop.ensure("b-1")
    assert shop.seen("a-1").state is State.HELD
    shop.host.start("a-1")
    pid = shop.seen("a-1").pid
    shop.host.start("a-1")
    assert shop.seen("a-1").pid == pid


def test_restart_ends_it_and_starts_it_as_it_was_asked(shop: Cluster) -> None:
    asked = shop.ensure("a-1")
    before = shop.seen("a-1").pid
    shop.host.restart("a-1")
    after = shop.seen("a-1")
    assert (after.state, after.spec, after.restarts) == (State.RUNNING, asked.spec, 0)
    assert after.pid != before


def test_verbs_name_what_is_not_there(shop: Cluster) -> None:
    for verb in (shop.host.start, shop.host.stop, shop.host.restart):
        with pytest.raises(NotFoundError, match="ghost-1 is not on local"):
            verb("ghost-1")
    shop.host.remove("ghost-1")


def test_remove_ends_it_and_forgets_it_but_keeps_its_data(shop: Cluster) -> None:
    shop.ensure("a-1", "sh", "-c", "echo kept > kept; exec sleep 1000")
    shop.ensure("b-1")
    kept = shop.state / "data" / "a-1" / "kept"
    wait_until(kept.exists)
    shop.host.remove("a-1")
    assert list(shop.states()) == ["b-1"]
    assert kept.exists()
    assert not (shop.state / "processes" / "a-1").exists()
    assert not any("a-1" in command for command in shop.everyone().values())


def test_a_removal_that_was_cut_off_is_seen_and_can_be_ended(shop: Cluster) -> None:
    shop.ensure("a-1")
    (shop.state / "manifests" / "a-1.json").unlink()
    orphan = shop.seen("a-1")
    assert (orphan.state, orphan.owner, orphan.service) == (State.RUNNING, "shop", "a")
    shop.host.remove("a-1")
    assert shop.states() == {}


def test_stop_is_polite_then_certain_and_ends_the_whole_group(shop: Cluster) -> None:
    stubborn = "trap '' TERM; sleep 1000 & echo started; while :; do sleep 1; done"
    shop.ensure("a-1", "sh", "-c", stubborn, stop_timeout=1)
    wait_until(lambda: shop.log("a-1") == ["started"])
    shop.host.stop("a-1")
    assert not any("sleep" in command for command in shop.everyone().values())


def test_what_left_the_group_is_ended_too(shop: Cluster) -> None:
    code = (
        "import subprocess, time\n"
        "subprocess.Popen(['sleep', '999'], start_new_session=True)\n"
        "print('started', flush=True)\n"
        "time.sleep(1000)\n"
    )
    shop.ensure("a-1", sys.executable, "-c", code)
    wait_until(lambda: shop.log("a-1") == ["started"])
    shop.host.stop("a-1")
    assert not any("999" in command for command in shop.everyone().values())


def test_stop_signal_is_the_asked_one(shop: Cluster) -> None:
    script = "trap 'echo got INT; exit 0' INT; echo ready; while :; do sleep 0.05; done"
    shop.ensure("a-1", "sh", "-c", script, stop_signal="INT")
    wait_until(lambda: shop.log("a-1") == ["ready"])
    shop.host.stop("a-1")
    assert shop.log("a-1")[-1] == "got INT"


# The whole cluster


def test_down_ends_first_what_needs_others_and_keeps_what_was_asked(shop: Cluster) -> None:
    note = shop.workspace / "order"
    script = f"trap 'echo $0 >> {note}; exit' TERM; echo ready; while :; do sleep 0.05; done"
    for name, needs in {"db-1": (), "api-1": ("db-1",), "web-1": ("api-1",)}.items():
        shop.ensure(name, "sh", "-c", script, name, needs=needs)
        wait_until(lambda name=name: shop.log(name) == ["ready"])  # type: ignore[misc]
    shop.host.down()
    assert note.read_text().split() == ["web-1", "api-1", "db-1"]
    assert shop.everyone() == {}
    assert set(shop.states().values()) == {State.STOPPED}
    shop.host.down()
    shop.host.start("db-1")
    # The rest is not started along: the engine does that, in the order of needs.
    assert shop.states() == {
        "api-1": State.STOPPED,
        "db-1": State.RUNNING,
        "web-1": State.STOPPED,
    }
    assert shop.seen("db-1").restarts == 0


def test_clean_keeps_data_and_full_leaves_nothing(folder: Path) -> None:
    shop = Cluster(folder)
    try:
        shop.ensure("a-1", "sh", "-c", "echo kept > kept; exec sleep 1000", files={"f": "x"})
        wait_until((shop.state / "data" / "a-1" / "kept").exists)
        shop.host.record({"verb": "apply"})
        shop.host.clean(full=False)
        assert shop.everyone() == {}
        assert shop.reader.observe() == []
        assert sorted(p.name for p in shop.state.iterdir()) == [
            "data",
            "journal.jsonl",
            "logs",
            "workspace.json",
        ]
        shop.ensure("a-1")
        with shop.host.lock("me"):
            shop.host.clean(full=True)
        assert shop.everyone() == {}
        assert [p.name for p in folder.iterdir()] == ["work"]
        shop.host.clean(full=True)
    finally:
        shop.close()


def test_a_long_path_gets_a_short_socket_that_is_removed_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / ("long" * 20)))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    (folder / ("long" * 20)).mkdir()
    with cluster(folder / ("long" * 20)) as shop:
        shop.ensure("a-1")
        assert shop.seen("a-1").state is State.RUNNING
        [sockets] = folder.glob(f"draft-{os.getuid()}-*")
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert len(list(sockets.iterdir())) == 1
    assert not sockets.exists()


def test_two_clusters_live_side_by_side(folder: Path) -> None:
    with cluster(folder, "one") as one, cluster(folder, "two") as two:
        one.ensure("a-1")
        two.ensure("a-1")
        before = two.pids()
        one.host.clean(full=True)
        assert two.pids() == before
        assert two.states() == {"a-1": State.RUNNING}


def test_a_second_checkout_is_refused_and_told_of_the_first(shop: Cluster) -> None:
    shop.ensure("a-1")
    second = shop.state.parent.parent / "second"
    second.mkdir()
    other = ProcessHost("shop", workspace=second)
    for verb in (other.observe, other.down, lambda: other.stop("a-1")):
        with pytest.raises(DctlError, match=str(shop.workspace)):
            verb()
    with pytest.raises(DctlError, match=str(shop.workspace)), other.lock("me"):
        pass
    assert shop.seen("a-1").state is State.RUNNING
    shop.workspace.rmdir()  # moved away: the cluster belongs to who has it now
    assert other.observe()[0].state is State.RUNNING


def test_one_changes_a_cluster_at_a_time(shop: Cluster) -> None:
    with (
        shop.host.lock("ann@laptop"),
        pytest.raises(LockedError, match="ann@laptop"),
        shop.host.lock("bob@laptop"),
    ):
        pass
    shop.host.record({"verb": "apply", "n": 1})
    shop.host.record({"verb": "stop", "n": 2})
    assert [entry["n"] for entry in shop.host.journal()] == [1, 2]


# Logs and ports


def test_logs_hold_both_streams_and_follow_goes_on_over_restarts(shop: Cluster) -> None:
    shop.ensure("a-1", "sh", "-c", "echo out; echo err >&2; exec sleep 1000")
    wait_until(lambda: sorted(shop.log("a-1")) == ["err", "out"])
    got: list[str] = []

    def collect() -> None:
        for line in shop.reader.logs("a-1", lines=1, follow=True):
            got.append(line)

    # A daemon: it waits for more when the test is over.
    threading.Thread(target=collect, daemon=True).start()
    wait_until(lambda: len(got) == 1)
    shop.host.restart("a-1")
    wait_until(lambda: len(got) == 3)


def test_the_owner_of_a_port_is_named(shop: Cluster) -> None:
    port = shop.reader.free_port("127.0.0.1")
    code = f"import socket,time; s=socket.create_server(('127.0.0.1',{port})); time.sleep(1000)"
    endpoint = Endpoint("127.0.0.1", port)
    assert shop.reader.port_owner(endpoint) is None
    shop.ensure("a-1", sys.executable, "-c", code)
    wait_until(lambda: _listens(port))
    owner = shop.reader.port_owner(endpoint)
    assert owner is not None
    assert owner.pid == shop.seen("a-1").pid


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
