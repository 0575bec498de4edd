"""What every host promises, held by one suite that runs against the fake and the real ones."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from dctl.engine.verdict import Action, verdict
from dctl.errors import DctlError, LockedError, NotFoundError
from dctl.hosts.base import Check, Endpoint, Host, Kind, Need, Observed, Resource, State
from dctl.hosts.fake import FakeHost
from dctl.hosts.process import ProcessHost, ProcessSpec
from tests.support.docker import containers
from tests.support.remote import Remote, remotes
from tests.support.waiting import wait_until

# The first test on a computer makes the machines' image.
pytestmark = pytest.mark.timeout(900)

SLEEP = ("-c", "import signal; print('up', flush=True); signal.pause()")


class Ask(Protocol):
    """A resource of the kind that the host runs."""

    def __call__(
        self, name: str = "a-1", *, color: str = "red", needs: tuple[str, ...] = ()
    ) -> Resource: ...


@dataclass
class Subject:
    """A host under test, the cluster that it is for, and what it can be asked for."""

    host: Host
    cluster: str
    resource: Ask


@pytest.fixture(params=["fake", "process", "docker", "systemd"])
def subject(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Subject]:
    if request.param == "fake":
        yield Subject(FakeHost("contract"), "contract", process)
    elif request.param == "process":
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        process_host = ProcessHost("contract", workspace=tmp_path)
        yield Subject(process_host, "contract", process)
        process_host.clean(full=True)
    elif request.param == "systemd":
        remote: Remote = request.getfixturevalue("remote")
        with remote.cluster() as systemd_host:
            yield Subject(systemd_host, remote.name, remote_process)
    else:
        with containers(tmp_path, monkeypatch) as made:

            def container(
                name: str = "a-1", *, color: str = "red", needs: tuple[str, ...] = ()
            ) -> Resource:
                # Kept while the test runs, as the engine's books keep it.
                ports = {"main": asked_ports.setdefault(name, made.host.free_port("127.0.0.1"))}
                return made.resource(
                    name, needs=needs, env={"COLOR": color}, at={"main": 80}, picked=ports
                )

            asked_ports: dict[str, int] = {}
            yield Subject(made.host, made.name, container)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A machine for all tests here, each with a cluster of its own."""
    with remotes(tmp_path_factory.mktemp("remote"), "core-1") as (one,):
        yield one


@pytest.fixture
def host(subject: Subject) -> Host:
    return subject.host


@pytest.fixture
def cluster(subject: Subject) -> str:
    return subject.cluster


@pytest.fixture
def resource(subject: Subject) -> Ask:
    return subject.resource


def remote_process(
    name: str = "a-1", *, color: str = "red", needs: tuple[str, ...] = ()
) -> Resource:
    return process(name, color=color, needs=needs, python="/usr/bin/python3")


def process(
    name: str = "a-1",
    *,
    color: str = "red",
    needs: tuple[str, ...] = (),
    python: str = sys.executable,
) -> Resource:
    ports = {"main": Endpoint("127.0.0.1", 40_123)}
    spec = ProcessSpec(
        argv=(python, *SLEEP), env={"COLOR": color}, ports={n: str(e) for n, e in ports.items()}
    )
    return Resource(
        Kind.PROCESS,
        name,
        "local",
        "a",
        spec.to_json(),
        ports=ports,
        needs=tuple(map(Need, needs)),
    )


def seen(host: Host, name: str = "a-1") -> Observed | None:
    return next((o for o in host.observe() if o.name == name), None)


def await_state(host: Host, state: State, name: str = "a-1") -> Observed:
    def there() -> Observed | None:
        observed = seen(host, name)
        return observed if observed and observed.state is state else None

    observed = wait_until(there, within=15)
    assert observed is not None
    return observed


def test_where_nothing_is_nothing_is_seen(host: Host) -> None:
    assert list(host.observe()) == []
    assert list(host.journal()) == []


def test_what_was_ensured_is_seen_as_it_was_asked(host: Host, resource: Ask, cluster: str) -> None:
    asked = resource(needs=("b-1",))
    host.ensure(asked)
    there = await_state(host, State.RUNNING)
    assert (there.owner, there.service, there.needs) == (cluster, "a", ("b-1",))
    assert there.ports == asked.ports
    assert verdict(asked, there, cluster).action is Action.NONE


def test_ensuring_another_spec_changes_it_and_the_field_is_named_before(
    host: Host, resource: Ask, cluster: str
) -> None:
    host.ensure(resource())
    changed = resource(color="blue")
    change = Action.REPLACE if changed.kind is Kind.CONTAINER else Action.UPDATE
    before = verdict(changed, await_state(host, State.RUNNING), cluster)
    assert (before.action, [c.field for c in before.changes]) == (change, ["env.COLOR"])
    host.ensure(changed)
    after = verdict(changed, await_state(host, State.RUNNING), cluster)
    assert after.action is Action.NONE


def test_things_are_seen_in_the_order_of_their_names(host: Host, resource: Ask) -> None:
    for name in ("b-1", "a-2", "a-1"):
        host.ensure(resource(name))
    assert [o.name for o in host.observe()] == ["a-1", "a-2", "b-1"]


def test_what_is_stopped_is_held_until_it_is_started(
    host: Host, resource: Ask, cluster: str
) -> None:
    asked = resource()
    host.ensure(asked)
    host.stop("a-1")
    held = await_state(host, State.HELD)
    assert verdict(asked, held, cluster).action is Action.NONE
    host.start("a-1")
    assert verdict(asked, await_state(host, State.RUNNING), cluster).action is Action.NONE


@pytest.mark.parametrize("verb", ["stop", "start", "restart"])
def test_a_verb_on_what_is_not_there_says_so(host: Host, verb: str) -> None:
    with pytest.raises(NotFoundError, match="a-1"):
        getattr(host, verb)("a-1")


def test_removing_is_final_and_may_be_repeated(host: Host, resource: Ask) -> None:
    host.ensure(resource())
    host.remove("a-1")
    assert seen(host) is None
    host.remove("a-1")


def test_one_lock_a_cluster_and_the_holder_is_named(host: Host) -> None:
    with (
        host.lock("ann@laptop"),
        pytest.raises(LockedError, match="ann@laptop"),
        host.lock("bob@laptop"),
    ):
        pass
    with host.lock("bob@laptop"):
        pass


def test_the_lock_is_free_again_after_a_failure(host: Host) -> None:
    with pytest.raises(RuntimeError), host.lock("ann@laptop"):
        raise RuntimeError
    with host.lock("bob@laptop"):
        pass


def test_who_has_the_lock_is_told_and_it_can_be_taken_away(host: Host) -> None:
    assert host.holder() is None
    with host.lock("ann@laptop") as ann:
        held = host.holder()
        assert held is not None
        assert held.name == "ann@laptop"
        host.break_lock()
        assert ann.lost()
        with host.lock("bob@laptop") as bob:
            assert not bob.lost()
    assert host.holder() is None
    host.break_lock()


def test_the_newest_releases_are_kept_in_order(host: Host) -> None:
    assert list(host.releases()) == []
    for number in range(1, 13):
        host.keep_release({"id": number, "resources": []})
    kept = [release["id"] for release in host.releases()]
    assert kept == list(range(3, 13))


def test_the_notes_of_the_machines_are_those_that_were_kept_last(host: Host) -> None:
    assert host.machines() == {}
    host.keep_machines({"core-1": {"runtime": "systemd"}, "core-2": {"runtime": "docker"}})
    host.keep_machines({"core-1": {"runtime": "systemd"}})
    assert host.machines() == {"core-1": {"runtime": "systemd"}}


class Values:
    """Whom a host asks for secrets. What it says will go is remembered."""

    def __init__(self) -> None:
        self.gone: list[tuple[str, str, str]] = []

    def text(self, name: str, digest: str) -> str:
        if digest == "lost":
            raise DctlError(f"the secret {name} cannot be had")
        return f"pearl {name} {digest}\nof the sea"

    def remember(self, name: str, digest: str, text: str) -> None:
        self.gone.append((name, digest, text))


def with_secrets(resource: Resource, **digests: str) -> Resource:
    spec = {**resource.spec, "digests": digests}
    if resource.kind is Kind.CONTAINER:
        spec["secrets"] = {f"/run/here/{name}": f"secret://{name}" for name in digests}
    return dataclasses.replace(resource, spec=spec)


def test_secrets_are_delivered_and_what_goes_is_told_before(
    host: Host, resource: Ask, cluster: str
) -> None:
    host.secrets = values = Values()
    assert host.given("a-1") == {}
    first = with_secrets(resource(), db="1", key="1")
    host.ensure(first)
    assert host.given("a-1") == {n: f"pearl {n} 1\nof the sea" for n in ("db", "key")}
    assert verdict(first, await_state(host, State.RUNNING), cluster).action is Action.NONE

    second = with_secrets(resource(), db="2")
    changes = verdict(second, seen(host), cluster).changes
    assert {"secret db", "secret key"} <= {change.field for change in changes}
    host.ensure(second)
    assert host.given("a-1") == {"db": "pearl db 2\nof the sea"}
    assert sorted(values.gone) == [(n, "1", f"pearl {n} 1\nof the sea") for n in ("db", "key")]
    assert verdict(second, await_state(host, State.RUNNING), cluster).action is Action.NONE

    host.remove("a-1")
    assert host.given("a-1") == {}


def test_a_secret_that_cannot_be_had_leaves_all_as_it_was(
    host: Host, resource: Ask, cluster: str
) -> None:
    host.secrets = Values()
    first = with_secrets(resource(), db="1")
    host.ensure(first)
    with pytest.raises(DctlError, match="the secret db cannot be had"):
        host.ensure(with_secrets(resource(color="blue"), db="lost"))
    assert verdict(first, await_state(host, State.RUNNING), cluster).action is Action.NONE
    assert host.given("a-1") == {"db": "pearl db 1\nof the sea"}


def test_a_command_beside_a_thing_has_its_environment_and_its_exit_code_is_passed_on(
    host: Host, resource: Ask
) -> None:
    if isinstance(host, FakeHost):
        host.exits["a-1"] = 7
    host.ensure(resource(color="red"))
    await_state(host, State.RUNNING)
    assert host.execute("a-1", ["sh", "-c", 'test "$COLOR" = red && exit 7']) == 7


def test_a_command_beside_nothing_says_so(host: Host) -> None:
    with pytest.raises(NotFoundError, match="a-1"):
        host.execute("a-1", ["true"])


def test_the_journal_keeps_every_entry_in_order(host: Host) -> None:
    for number in range(3):
        host.record({"number": number})
    assert [entry["number"] for entry in host.journal()] == [0, 1, 2]


def test_a_probe_of_nothing_says_why_in_one_sentence(host: Host) -> None:
    target = f"127.0.0.1:{host.free_port('127.0.0.1')}"
    if isinstance(host, FakeHost):
        host.ill.add(target)
    probe = host.probe(Check("tcp", target, timeout=1))
    assert not probe.ok
    assert probe.reason
    assert "\n" not in probe.reason


def test_logs_are_the_last_lines(host: Host, resource: Ask) -> None:
    host.ensure(resource())
    lines = wait_until(lambda: list(host.logs("a-1", lines=1)), within=15)
    assert len(lines) == 1


def test_down_ends_everything_and_what_was_asked_stays(
    host: Host, resource: Ask, cluster: str
) -> None:
    asked = resource()
    host.ensure(asked)
    host.down()
    there = await_state(host, State.STOPPED)
    assert verdict(asked, there, cluster).action is Action.HEAL
    host.start("a-1")
    await_state(host, State.RUNNING)


def test_clean_leaves_nothing(host: Host, resource: Ask) -> None:
    host.ensure(resource())
    host.record({"number": 1})
    host.clean(full=True)
    assert list(host.observe()) == []
    assert list(host.journal()) == []


def test_verbs_from_several_threads_do_not_disturb_each_other(host: Host, resource: Ask) -> None:
    names = [f"a-{i}" for i in range(1, 5)]
    threads = [threading.Thread(target=host.ensure, args=(resource(n),)) for n in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [o.name for o in host.observe()] == names
    for name in names:
        await_state(host, State.RUNNING, name)
