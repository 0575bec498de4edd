"""The container runtime, on a real engine."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dctl.engine.verdict import Action, differences, verdict
from dctl.errors import DctlError, ExitCode, ForeignError, UnreachableError
from dctl.hosts.base import Check, Endpoint, Observed, Resource, State
from dctl.hosts.docker import DockerHost, DockerReader
from dctl.hosts.docker.client import Engine
from tests.support.docker import SHELL, Containers, containers, docker, image, make_image
from tests.support.waiting import wait_until

LISTEN = "trap 'exit 0' TERM; while :; do nc -l -p 80 -e echo hello & wait $!; done"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Containers]:
    with containers(tmp_path, monkeypatch) as made:
        yield made


def changed(asked: Resource, seen: Observed) -> dict[str, tuple[Any, Any]]:
    assert seen.spec is not None
    return {c.field: (c.before, c.after) for c in differences(seen.spec, asked.spec)}


# What is seen


def test_all_that_can_be_asked_is_seen_as_it_was_asked(cluster: Containers) -> None:
    cluster.host.keep_secret("nonce")
    asked = cluster.ensure(
        env={"COLOR": "red", "EMPTY": "", "EQUALS": "a=b"},
        files={"/etc/draft/config.yaml": "greeting: hellö\n"},
        secrets={"/run/secrets/nonce": "nonce"},
        volumes={"data": "/var/lib/data"},
        aliases=("zed", "alpha"),
        at={"grpc": 50051, "http": 8080},
        restart="always",
        stop_signal="INT",
        stop_timeout=1.5,
        memory=64 << 20,
        cpus=0.5,
        user="app",
        source="abc",
    )
    seen = cluster.seen()
    assert seen.spec == asked.spec
    assert seen.ports == asked.ports


def test_what_is_left_to_the_image_is_seen_as_it_was_asked(cluster: Containers) -> None:
    asked = cluster.ensure(command=())
    assert cluster.seen().spec == asked.spec
    wait_until(lambda: list(cluster.reader.logs("a-1", lines=1)) == ["the image"])


@pytest.mark.parametrize(
    ("edit", "field", "before", "after"),
    [
        ("--restart=always", "restart.when", "always", "on-failure"),
        ("--memory=32m --memory-swap=64m", "memory", 32 << 20, None),
        ("--cpus=0.25", "cpus", 0.25, None),
    ],
)
def test_a_foreign_update_is_seen_as_the_field_that_it_changed(
    cluster: Containers, edit: str, field: str, before: object, after: object
) -> None:
    asked = cluster.ensure()
    docker("update", *edit.split(), cluster.container())
    assert changed(asked, cluster.seen()) == {field: (before, after)}
    cluster.host.ensure(asked)
    assert verdict(asked, cluster.seen(), cluster.name).action is Action.NONE


def test_a_container_cut_off_from_the_network_is_seen_and_mended(cluster: Containers) -> None:
    asked = cluster.ensure(aliases=("alpha",))
    docker("network", "disconnect", f"draft-{cluster.name}", cluster.container())
    assert changed(asked, cluster.seen()) == {"network": ("none", "cluster")}
    cluster.host.ensure(asked)
    assert cluster.seen().spec == asked.spec


def test_a_network_that_was_added_is_seen(cluster: Containers) -> None:
    asked = cluster.ensure()
    other = f"draft-{cluster.name}-other"
    docker("network", "create", other)
    docker("network", "connect", other, cluster.container())
    assert changed(asked, cluster.seen()) == {"network": (f"cluster, {other}", "cluster")}


def test_an_environment_that_was_edited_by_making_the_container_anew_is_seen(
    cluster: Containers,
) -> None:
    asked = cluster.ensure(env={"COLOR": "red", "SIZE": "1"})
    about = json.loads(docker("inspect", cluster.container()))[0]
    labels = [f"--label={name}={value}" for name, value in about["Config"]["Labels"].items()]
    docker("rm", "-f", cluster.container())
    made = ("--name", cluster.container(), "--net", f"draft-{cluster.name}", "--restart=on-failure")
    script = asked.spec["command"]
    docker("run", "-d", *made, *labels, "-e", "COLOR=blue", "-e", "X=1", "--stop-timeout=1",
           image(), *script)  # fmt: skip
    assert changed(asked, cluster.seen()) == {
        "env.COLOR": ("blue", "red"),
        "env.SIZE": (None, "1"),
        "env.X": ("1", None),
    }


def test_a_tag_that_moved_is_seen_and_names_the_image_that_runs(cluster: Containers) -> None:
    tag = f"{image().partition(':')[0]}-{cluster.name}:1"
    try:
        make_image(tag, "ENV GENERATION=1")
        asked = cluster.ensure(image=tag)
        first = docker("inspect", "--format", "{{.Image}}", cluster.container())
        assert cluster.seen().spec == asked.spec
        make_image(tag, "ENV GENERATION=2")
        assert changed(asked, cluster.seen()) == {"image": (f"{tag}@{first[:19]}", tag)}
        cluster.host.ensure(asked)
        assert cluster.seen().spec == asked.spec
        assert "GENERATION=2" in cluster.inside("env")
    finally:
        docker("rm", "-f", cluster.container(), check=False)
        docker("rmi", "-f", tag, check=False)
        docker("rmi", "-f", first, check=False)


def test_a_changed_file_is_seen(cluster: Containers) -> None:
    cluster.ensure(files={"/etc/a.yaml": "x: 1"})
    wanted = cluster.resource(files={"/etc/a.yaml": "x: 2"})
    assert changed(wanted, cluster.seen()) == {"files./etc/a.yaml": ("x: 1", "x: 2")}


# States


def test_a_server_that_somebody_stopped_is_drift_though_it_ended_well(cluster: Containers) -> None:
    asked = cluster.ensure(at={"http": 80})
    cluster.await_output("up")
    docker("stop", cluster.container())
    seen = cluster.seen()
    assert (seen.state, seen.last_exit) == (State.STOPPED, "exit status 0")
    assert verdict(asked, seen, cluster.name).action is Action.HEAL
    cluster.host.start("a-1")
    cluster.await_state(State.RUNNING)


def test_a_worker_without_ports_that_somebody_stopped_is_not_taken_for_a_finished_job(
    cluster: Containers,
) -> None:
    cluster.ensure()
    cluster.await_output("up")
    docker("stop", cluster.container())
    assert cluster.seen().state is State.STOPPED


def test_a_job_that_ended_with_success_is_completed(cluster: Containers) -> None:
    asked = cluster.ensure("job-1", "echo done", restart="never")
    cluster.await_state(State.COMPLETED, "job-1")
    assert verdict(asked, cluster.seen("job-1"), cluster.name).action is Action.NONE
    cluster.host.start("job-1")
    assert list(cluster.reader.logs("job-1", lines=9)) == ["done"]


def test_a_job_that_failed_says_how(cluster: Containers) -> None:
    cluster.ensure("job-1", "exit 3", restart="never")
    assert cluster.await_state(State.FAILED, "job-1").last_exit == "exit status 3"


def test_what_was_killed_for_its_memory_says_so(cluster: Containers) -> None:
    cluster.ensure("a-1", "dd if=/dev/zero of=/dev/null bs=200M", restart="never", memory=16 << 20)
    seen = cluster.await_state(State.FAILED)
    assert seen.last_exit == "killed for lack of memory (limit 16M)"


def test_what_crashes_is_started_again_and_counted(cluster: Containers) -> None:
    cluster.ensure("a-1", "exit 1", restart="always")
    wait_until(lambda: cluster.seen().restarts >= 2, within=20)


def test_what_somebody_paused_is_drift_and_goes_on(cluster: Containers) -> None:
    asked = cluster.ensure()
    docker("pause", cluster.container())
    assert cluster.seen().last_exit == "paused"
    assert verdict(asked, cluster.seen(), cluster.name).action is Action.HEAL
    cluster.host.start("a-1")
    cluster.await_state(State.RUNNING)


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_what_somebody_paused_can_be_ended_gracefully(cluster: Containers, verb: str) -> None:
    cluster.ensure("a-1", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep .1; done")
    cluster.await_output("up")
    docker("pause", cluster.container())
    getattr(cluster.host, verb)("a-1")
    assert "bye" in list(cluster.reader.logs("a-1", lines=9))


def test_what_is_held_is_held_for_every_reader(cluster: Containers) -> None:
    cluster.ensure(restart="always")
    cluster.host.stop("a-1")
    reader = DockerReader(cluster.name, workspace=cluster.workspace)
    assert [o.state for o in reader.observe()] == [State.HELD]


# Making and replacing


def test_a_missing_image_is_named_before_anything_is_stopped(cluster: Containers) -> None:
    cluster.ensure()
    before = cluster.id()
    with pytest.raises(DctlError, match=r"no/such:image of a-1 is not on local") as refused:
        cluster.ensure(image="no/such:image")
    assert "docker pull no/such:image" in refused.value.hint
    assert (cluster.id(), cluster.seen().state) == (before, State.RUNNING)


def test_a_missing_secret_is_named_before_anything_is_stopped(cluster: Containers) -> None:
    cluster.ensure()
    before = cluster.id()
    with pytest.raises(DctlError, match='needs the secret "nonce"'):
        cluster.ensure(secrets={"/run/nonce": "nonce"})
    assert (cluster.id(), cluster.seen().state) == (before, State.RUNNING)


def test_what_does_not_start_leaves_the_old_one_running(cluster: Containers) -> None:
    asked = cluster.ensure()
    before = cluster.id()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DctlError, match=rf"(?s){port}.*in use"):
            cluster.ensure(at={"http": 80}, picked={"http": port})
    cluster.await_state(State.RUNNING)
    assert cluster.id() == before
    assert cluster.seen().spec == asked.spec
    assert cluster.everything() == [f"draft-{cluster.name}", cluster.container()]


@pytest.mark.parametrize("user", ["", "app", "app:other", "4567:89"])
def test_files_are_readable_by_the_user_that_the_container_runs_as_alone(
    cluster: Containers, user: str
) -> None:
    cluster.host.keep_secret("nonce")
    cluster.ensure(
        files={"/srv/app/conf/a.txt": "hello", "/etc/b.txt": "b"},
        secrets={"/run/secrets/nonce": "nonce"},
        user=user,
    )
    assert cluster.inside("cat", "/srv/app/conf/a.txt") == "hello"
    secret = cluster.inside("cat", "/run/secrets/nonce")
    ids = cluster.inside("sh", "-c", "echo $(id -u):$(id -g)")
    for path in ("/srv/app/conf/a.txt", "/etc/b.txt", "/run/secrets/nonce"):
        assert cluster.inside("stat", "-L", "-c", "%a %u:%g", path) == f"600 {ids}"
    assert secret not in docker("inspect", cluster.container())


def test_no_image_that_is_made_of_a_container_has_its_secrets_and_they_end_with_it(
    cluster: Containers, tmp_path: Path
) -> None:
    cluster.host.keep_secret("nonce")
    before = set(docker("volume", "ls", "-q").split())
    cluster.ensure(secrets={"/etc/app/nonce": "nonce"})
    secret = cluster.inside("cat", "/etc/app/nonce")
    cluster.host.stop("a-1")
    cluster.host.start("a-1")
    assert cluster.inside("cat", "/etc/app/nonce") == secret
    docker("export", "-o", str(tmp_path / "all.tar"), cluster.container())
    assert b"/etc/app/nonce"[1:] in (tmp_path / "all.tar").read_bytes()
    assert secret.encode() not in (tmp_path / "all.tar").read_bytes()
    cluster.host.remove("a-1")
    assert set(docker("volume", "ls", "-q").split()) <= before


def test_folders_that_are_there_keep_their_mode_and_new_ones_can_be_entered(
    cluster: Containers,
) -> None:
    before = docker("run", "--rm", "--net=none", image(), "stat", "-c", "%a", "/tmp")
    cluster.ensure(files={"/tmp/deep/er/a.txt": "a"}, user="app")
    assert cluster.inside("stat", "-c", "%a", "/tmp", "/tmp/deep/er") == f"{before}\n755"


def test_a_user_that_the_image_does_not_know_is_named_and_nothing_is_left(
    cluster: Containers,
) -> None:
    with pytest.raises(DctlError, match='no user "nobody-here"'):
        cluster.ensure(user="nobody-here", files={"/etc/a": ""})
    assert list(cluster.reader.observe()) == []


def test_volumes_outlive_the_container_until_all_is_cleaned(cluster: Containers) -> None:
    data = {"data": "/var/lib/data"}
    cluster.ensure(volumes=data)
    cluster.inside("sh", "-c", "echo kept > /var/lib/data/it")
    cluster.host.remove("a-1")
    cluster.ensure(volumes=data, env={"A": "1"})
    assert cluster.inside("cat", "/var/lib/data/it") == "kept"
    cluster.host.clean(full=False)
    assert cluster.everything() == [f"{cluster.container()}-data"]
    cluster.host.clean(full=True)
    assert cluster.everything() == []
    assert not (cluster.workspace / "state" / "draft").exists()


CHANGING = ("create", "put", "start", "stop", "rename", "remove", "create_volume")


@pytest.mark.parametrize("replaces", [True, False])
def test_what_is_cut_off_after_any_call_is_finished_by_the_next_apply(
    cluster: Containers, monkeypatch: pytest.MonkeyPatch, replaces: bool
) -> None:
    cuts = 0
    while True:
        name = f"a-{cuts + 1}"
        if replaces:
            cluster.ensure(name)
        wanted = cluster.resource(
            name, env={"A": "1"}, files={"/etc/a": "text"}, volumes={"data": "/data"}
        )
        with monkeypatch.context() as patch:
            was_cut = cut_after(patch, cuts)
            with suppress(Cut):
                DockerHost(cluster.name, workspace=cluster.workspace).ensure(wanted)
        converge(cluster, wanted)
        assert cluster.inside("cat", "/etc/a", name=name) == "text"
        if not was_cut():
            break
        cuts += 1
    assert cuts >= (8 if replaces else 5)
    for number in range(cuts + 1):
        cluster.host.remove(f"a-{number + 1}")
    assert all(one.endswith("-data") for one in cluster.everything())


class Cut(BaseException):
    """The end of dctl, at this very point."""


def cut_after(patch: pytest.MonkeyPatch, calls: int) -> Callable[[], bool]:
    """Let the engine's client end everything right after its changing call number `calls`; the
    answer tells whether there was one."""
    left = calls

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            answer = call(*args, **kwargs)
            left -= 1
            if left == -1:
                raise Cut
            return answer

        return wrapped

    for name in CHANGING:
        patch.setattr(Engine, name, wrap(getattr(Engine, name)))
    return lambda: left < 0


def converge(cluster: Containers, wanted: Resource) -> None:
    """Do what plans say until one says nothing."""
    for _ in range(3):
        seen = next((o for o in cluster.reader.observe() if o.name == wanted.name), None)
        match verdict(wanted, seen, cluster.name).action:
            case Action.NONE:
                return
            case Action.HEAL:
                cluster.host.start(wanted.name)
            case _:
                cluster.host.ensure(wanted)
    raise AssertionError(f"{wanted.name} does not converge")


def test_a_container_that_somebody_renamed_gets_its_name_back(cluster: Containers) -> None:
    asked = cluster.ensure()
    docker("rename", cluster.container(), f"{cluster.container()}-mine")
    assert cluster.seen().spec == asked.spec
    cluster.host.restart("a-1")
    assert cluster.everything() == [f"draft-{cluster.name}", cluster.container()]


# Whose it is


def test_a_name_that_somebody_else_uses_is_seen_and_refused(cluster: Containers) -> None:
    docker("run", "-d", "--net=none", "--name", cluster.container(), image(), "sleep", "1000")
    asked = cluster.resource()
    assert verdict(asked, cluster.seen(), cluster.name).action is Action.REFUSE
    with pytest.raises(ForeignError, match="was not made by dctl"):
        cluster.host.ensure(asked)
    cluster.host.remove("a-1")
    assert docker("ps", "--filter", f"name={cluster.container()}", "-q")


@pytest.mark.parametrize("what", ["volume", "network"])
def test_a_volume_or_network_of_somebody_else_is_refused(cluster: Containers, what: str) -> None:
    name = {"volume": f"{cluster.container()}-data", "network": f"draft-{cluster.name}"}[what]
    docker(what, "create", name)
    with pytest.raises(ForeignError, match=f"the {what} {name}"):
        cluster.ensure(volumes={"data": "/data"})
    cluster.host.clean(full=True)
    assert docker(what, "inspect", name)


def test_cleaning_touches_nothing_without_our_label(cluster: Containers) -> None:
    stranger = cluster.container("b-1")
    theirs = ("--net=none", "--name", stranger, "-v", f"{stranger}-data:/data")
    docker("run", "-d", *theirs, image(), "sleep", "1000")
    cluster.ensure()
    cluster.host.down()
    cluster.host.clean(full=True)
    assert docker("inspect", "--format", "{{.State.Running}}", stranger) == "true"
    assert docker("volume", "inspect", f"{stranger}-data")


def test_two_clusters_side_by_side_do_not_see_each_other(
    cluster: Containers, tmp_path: Path
) -> None:
    # The hardest names: draft-x-a-1 could be of both.
    other = Containers(tmp_path, f"{cluster.name}-a")
    try:
        cluster.ensure("b-1")
        other.ensure("b-1")
        assert [o.name for o in cluster.reader.observe()] == ["b-1"]
        assert [o.name for o in other.reader.observe()] == ["b-1"]
        with pytest.raises(ForeignError, match=other.name):
            cluster.ensure("a-b-1")
        cluster.host.clean(full=True)
        assert other.seen("b-1").state is State.RUNNING
    finally:
        other.close()


def test_a_cluster_of_another_checkout_is_refused(cluster: Containers, tmp_path: Path) -> None:
    cluster.ensure()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    stranger = DockerHost(cluster.name, workspace=elsewhere)
    for verb in (stranger.observe, stranger.down, lambda: stranger.ensure(cluster.resource())):
        with pytest.raises(DctlError, match=str(cluster.workspace)):
            verb()


# Network and ports


def test_containers_find_each_other_by_name_and_alias(cluster: Containers) -> None:
    cluster.ensure("a-1", LISTEN, aliases=("alpha",))
    cluster.ensure("b-1")
    for name in ("a-1", "alpha"):
        said = wait_until(
            lambda name=name: docker(  # type: ignore[misc]
                "exec", cluster.container("b-1"), "nc", name, "80", check=False
            )
        )
        assert said == "hello"


def test_ports_are_published_on_this_machine_alone_unless_asked_otherwise(
    cluster: Containers,
) -> None:
    asked = cluster.ensure("a-1", LISTEN, at={"http": 80})
    at = asked.ports["http"]
    assert docker("port", cluster.container()) == f"80/tcp -> 127.0.0.1:{at.port}"
    wait_until(lambda: cluster.reader.probe(Check("tcp", str(at))).ok)
    owner = cluster.reader.port_owner(at)
    assert owner is not None
    assert owner.name == f"container {cluster.container()}"
    free = Endpoint("127.0.0.1", cluster.reader.free_port("127.0.0.1"))
    assert cluster.reader.port_owner(free) is None


def test_the_network_goes_with_the_last_container(cluster: Containers) -> None:
    cluster.ensure("a-1")
    cluster.ensure("b-1")
    cluster.host.remove("a-1")
    assert f"draft-{cluster.name}" in cluster.everything()
    cluster.host.remove("b-1")
    assert cluster.everything() == []


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_what_was_down_while_its_network_went_starts_again(cluster: Containers, verb: str) -> None:
    asked = cluster.ensure()
    cluster.host.down()
    docker("network", "rm", f"draft-{cluster.name}")
    getattr(cluster.host, verb)("a-1")
    assert cluster.await_state(State.RUNNING).spec == asked.spec


def test_dependents_end_before_what_they_need(cluster: Containers) -> None:
    cluster.ensure("db-1")
    cluster.ensure("api-1", needs=("db-1",))
    cluster.ensure("web-1", needs=("api-1",))
    cluster.host.down()
    ended = {
        name: docker("inspect", "--format", "{{.State.FinishedAt}}", cluster.container(name))
        for name in ("db-1", "api-1", "web-1")
    }
    assert sorted(ended, key=ended.__getitem__) == ["web-1", "api-1", "db-1"]


# Logs and checks


def test_logs_go_on_across_restarts_and_the_next_container(cluster: Containers) -> None:
    script = "trap 'exit 0' TERM; echo {} $$ $(cat /proc/uptime); sleep 1000 & wait"
    cluster.ensure("a-1", script.format("first"))
    lines: list[str] = []
    following = threading.Thread(
        target=lambda: lines.extend(take(cluster.reader.logs("a-1", lines=9, follow=True), 4)),
        daemon=True,
    )
    following.start()
    cluster.await_output("first")
    cluster.host.restart("a-1")
    wait_until(lambda: len(list(cluster.reader.logs("a-1", lines=9))) == 2)
    cluster.ensure("a-1", script.format("second"))
    cluster.await_output("second")
    docker("kill", cluster.container())
    cluster.host.start("a-1")
    following.join(20)
    assert not following.is_alive()
    assert [line.split()[0] for line in lines] == ["first", "first", "second", "second"]
    assert len(set(lines)) == 4


def take(lines: Iterator[str], count: int) -> list[str]:
    """The first `count` lines, and the stream is closed."""
    found = [next(lines) for _ in range(count)]
    lines.close()  # type: ignore[attr-defined]
    return found


def test_logs_are_the_last_lines_and_long_ones_are_whole(cluster: Containers) -> None:
    cluster.ensure("a-1", "seq 5; printf '%040000d\\n' 7; echo end; sleep 1000")
    cluster.await_output("end")
    assert list(cluster.reader.logs("a-1", lines=0)) == []
    assert list(cluster.reader.logs("a-1", lines=1)) == ["end"]
    *first, long, _ = cluster.reader.logs("a-1", lines=99)
    assert first == ["1", "2", "3", "4", "5"]
    assert (len(long), set(long)) == (40_000, {"0", "7"})


def test_a_check_runs_in_the_container_and_says_why_not(cluster: Containers) -> None:
    cluster.ensure()

    def probe(*argv: str, timeout: float = 20) -> tuple[bool, str]:
        answer = cluster.reader.probe(Check("exec", "a-1", argv, timeout=timeout))
        return answer.ok, answer.reason

    assert probe("true") == (True, "")
    ok, why = probe(*SHELL, "echo one; echo two; exit 4")
    assert (ok, why.endswith("ended with exit status 4: two")) == (False, True)
    assert probe("sleep", "30", timeout=0.5) == (False, "sleep 30 did not end within 0.5s")
    ok, why = probe("no-such-program")
    assert not ok
    assert "no-such-program" in why
    cluster.host.stop("a-1")
    assert "is not running" in probe("true")[1]


def test_a_check_that_never_ends_is_ended_in_the_container(cluster: Containers) -> None:
    cluster.ensure()
    check = Check("exec", "a-1", ("sleep", "4321"), timeout=0.5)
    assert not cluster.reader.probe(check).ok
    assert "sleep 4321" in docker("top", cluster.container())
    wait_until(lambda: "sleep 4321" not in docker("top", cluster.container()), within=20)


def test_where_a_check_cannot_be_ended_no_second_one_is_begun(cluster: Containers) -> None:
    cluster.ensure()
    cluster.inside("rm", "/bin/timeout")
    check = Check("exec", "a-1", ("sleep", "4321"), timeout=0.5)
    assert cluster.reader.probe(check).reason == "sleep 4321 did not end within 0.5s"
    wait_until(lambda: "sleep 4321" in docker("top", cluster.container()), within=20)
    assert "asked before" in cluster.reader.probe(check).reason
    assert docker("top", cluster.container()).count("sleep 4321") == 1
    other = DockerReader(cluster.name, workspace=cluster.workspace)
    assert other.probe(Check("exec", "a-1", ("true",), timeout=20)).ok


def test_without_an_engine_it_says_so_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")
    with pytest.raises(UnreachableError, match=r"no Docker engine on core-1 at .*nowhere") as said:
        DockerReader("shop", workspace=tmp_path, host="core-1").observe()
    assert said.value.exit_code is ExitCode.UNREACHABLE
    assert "DOCKER_HOST" in said.value.hint
