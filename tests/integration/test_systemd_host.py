"""Processes under systemd on a real machine, beyond what every host promises."""

from __future__ import annotations

from typing import Any

import pytest

from dctl.engine.verdict import Action, verdict
from dctl.errors import DctlError, ForeignError
from dctl.hosts.base import Check, Endpoint, Kind, Observed, Resource, State
from dctl.hosts.process import ProcessSpec
from dctl.hosts.systemd import Layout, SystemdHost, SystemdReader
from tests.support.machines import Machine
from tests.support.remote import Remote
from tests.support.waiting import wait_until

# The first test on a computer makes the machines' image.
pytestmark = pytest.mark.timeout(900)

PYTHON = "/usr/bin/python3"
FOREVER = (PYTHON, "-c", "import signal; print('up', flush=True); signal.pause()")
# Ends with success when told to, as good servers do.
POLITE = ("/bin/sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 1000 & wait $!; done")


@pytest.fixture
def at(remote: Remote, host: SystemdHost) -> Layout:
    return Layout(remote.name)


def asked(name: str = "a-1", argv: tuple[str, ...] = FOREVER, **spec: Any) -> Resource:
    ports = {"main": Endpoint("127.0.0.1", 40_123)}
    made = ProcessSpec(argv=argv, ports={n: str(e) for n, e in ports.items()}, **spec)
    return Resource(Kind.PROCESS, name, "core-1", "a", made.to_json(), ports=ports)


def seen(host: SystemdReader, name: str = "a-1") -> Observed:
    return next(one for one in host.observe() if one.name == name)


def await_state(host: SystemdReader, state: State, name: str = "a-1") -> Observed:
    wait_until(lambda: seen(host, name).state is state, within=20)
    return seen(host, name)


def changes(resource: Resource, host: SystemdHost, cluster: str) -> list[str]:
    return [change.field for change in verdict(resource, seen(host), cluster).changes]


def test_a_program_runs_as_a_user_of_its_own_in_its_own_folder(
    host: SystemdHost, machine: Machine, at: Layout
) -> None:
    host.ensure(asked(argv=("/bin/sh", "-c", "id -un; pwd; touch here; sleep 1000")))
    wait_until(lambda: list(host.logs("a-1", lines=5)) == [at.user, at.data("a-1")], within=20)
    assert machine.inside("ls", at.data("a-1")) == "here"
    assert machine.inside("sh", "-c", f"stat -c %U {at.data('a-1')}") == at.user


def test_a_value_reaches_the_program_as_it_was_written(host: SystemdHost) -> None:
    value = 'a "quoted" $HOME `x` \\ %n # ; é\nand a second line'
    host.ensure(
        asked(argv=("/bin/sh", "-c", 'echo "$V"; echo "$0"; sleep 1000', value), env={"V": value})
    )
    wait_until(lambda: list(host.logs("a-1", lines=9)) == value.splitlines() * 2, within=20)


def test_what_is_secret_is_read_by_root_and_the_service_alone(
    host: SystemdHost, machine: Machine, at: Layout
) -> None:
    host.ensure(asked(env={"TOKEN": "s3cr3t"}, files={"inner/config.yaml": "token: s3cr3t"}))
    host.keep_secret("nonce")
    search = f"! su deploy -c 'grep -rs s3cr3t {at.etc} /etc/systemd {at.var}'"
    machine.inside("sh", "-c", search)
    nonce = machine.inside("cat", at.secret("nonce"))
    assert len(nonce) > 30
    machine.inside("sh", "-c", f"! su deploy -c 'cat {at.secret('nonce')}' 2>/dev/null")
    assert "s3cr3t" not in machine.inside("systemctl", "show", at.unit("a-1"))
    assert "s3cr3t" not in machine.inside("journalctl", "--no-pager", "-o", "cat")


class Values:
    """Who is asked for secrets: the digest is a part of the value. What goes is remembered."""

    def __init__(self) -> None:
        self.gone: list[str] = []

    def text(self, name: str, digest: str) -> str:
        return f"pearl-{digest}"

    def remember(self, name: str, digest: str, text: str) -> None:
        assert text == f"pearl-{digest}"
        self.gone.append(text)


def test_a_secret_is_a_credential_that_the_service_reads_from_memory(
    host: SystemdHost, machine: Machine, at: Layout
) -> None:
    host.secrets = values = Values()
    credential = at.credential("a-1", "db")
    program = ("/bin/sh", "-c", 'cat "$DB_FILE"; stat -f -c %T "$DB_FILE"; exec sleep 1000')
    resource = asked(argv=program, env={"DB_FILE": credential}, digests={"db": "1"})
    host.ensure(resource)
    wait_until(lambda: len(list(host.logs("a-1", lines=9))) == 2, within=20)
    value, kind = host.logs("a-1", lines=9)
    assert (value, kind) in {("pearl-1", "tmpfs"), ("pearl-1", "ramfs")}
    assert host.given("a-1") == {"db": "pearl-1"}
    assert changes(resource, host, at.cluster) == []

    machine.inside("sh", "-c", f"! su deploy -c 'cat {credential} {at.secrets('a-1')}/db'")
    own = f"{at.secrets('a-1')}/db"
    assert machine.inside("stat", "-c", "%a %U", own) == "600 root"
    held = machine.inside("sh", "-c", "grep -rls pearl- /etc /var/lib/draft /tmp; true")
    assert held.splitlines() == [own]
    for look in ("systemctl show", "systemctl cat"):
        assert "pearl-" not in machine.inside(*look.split(), at.unit("a-1"))
    assert "pearl-" not in machine.inside(
        "sh", "-c", "journalctl --no-pager -o json | grep -v _TRANSPORT.:.stdout; true"
    )

    other = asked(argv=program, env={"DB_FILE": credential}, digests={"db": "2"})
    assert changes(other, host, at.cluster) == ["secret db"]
    host.ensure(other)
    wait_until(lambda: "pearl-2" in host.logs("a-1", lines=9), within=20)
    assert values.gone == ["pearl-1"]

    host.ensure(asked())
    assert machine.inside("sh", "-c", f"ls {at.secrets('a-1')}") == ""
    assert host.given("a-1") == {}


@pytest.mark.parametrize(
    ("edit", "fields"),
    [
        ("sed -i s/PrivateTmp=yes/PrivateTmp=no/ {unit}; systemctl daemon-reload",
         ["unit.Service.PrivateTmp"]),
        ("sed -i s/PrivateTmp=yes/PrivateTmp=no/ {unit}",
         ["unit.Service.PrivateTmp", "unit.loaded"]),
        ("echo 'b: 2' > {files}/config.yaml", ["files.config.yaml"]),
        ("rm {files}/config.yaml", ["files.config.yaml"]),
        ("touch {unit}", ["unit.loaded"]),
        ("echo COLOR=blue > {env}", ["env.COLOR"]),
        ("rm {unit}; systemctl daemon-reload", ["unit.file"]),
    ],
)  # fmt: skip
def test_what_somebody_edits_is_drift_by_field_and_ensure_puts_it_right(
    host: SystemdHost, machine: Machine, at: Layout, edit: str, fields: list[str]
) -> None:
    resource = asked(env={"COLOR": "red"}, files={"config.yaml": "a: 1\n"})
    host.ensure(resource)
    assert changes(resource, host, at.cluster) == []
    files, env, unit = at.files("a-1"), at.env("a-1"), at.unit_file("a-1")
    machine.inside("sh", "-c", edit.format(unit=unit, files=files, env=env))
    assert changes(resource, host, at.cluster) == fields
    host.ensure(resource)
    after = verdict(resource, await_state(host, State.RUNNING), at.cluster)
    assert after.action is Action.NONE


def limits(machine: Machine, at: Layout) -> list[str]:
    """The memory and the CPU time that systemd allows. (Not the kernel: a machine of the tests may
    not have its control groups.)"""
    shown = ("-p", "MemoryMax", "-p", "CPUQuotaPerSecUSec", "--value")
    return sorted(machine.inside("systemctl", "show", *shown, at.unit("a-1")).split())


@pytest.mark.parametrize(
    ("edit", "fields"),
    [
        ("systemctl set-property --runtime {unit} MemoryMax=64M CPUQuota=20%",
         ["cpus", "memory", "unit.drop-ins"]),
        ("systemctl set-property {unit} MemoryMax=infinity", ["memory", "unit.drop-ins"]),
        ("mkdir /etc/systemd/system/{unit}.d;"
         "printf '[Service]\\nNice=5\\n' > /etc/systemd/system/{unit}.d/override.conf;"
         "systemctl daemon-reload", ["unit.drop-ins"]),
    ],
)  # fmt: skip
def test_limits_hold_and_what_somebody_lays_over_a_unit_is_drift_that_ensure_takes_away(
    host: SystemdHost, machine: Machine, at: Layout, edit: str, fields: list[str]
) -> None:
    resource = asked(memory=128 << 20, cpus=1.5)
    host.ensure(resource)
    allowed = ["1.500000s", str(128 << 20)]
    assert limits(machine, at) == allowed
    assert changes(resource, host, at.cluster) == []
    machine.inside("sh", "-c", edit.format(unit=at.unit("a-1")))
    assert changes(resource, host, at.cluster) == fields
    host.ensure(resource)
    assert changes(resource, host, at.cluster) == []
    assert limits(machine, at) == allowed


def test_a_limit_that_is_no_longer_asked_for_goes(
    host: SystemdHost, machine: Machine, at: Layout
) -> None:
    host.ensure(asked(memory=128 << 20, cpus=0.25))
    assert changes(asked(), host, at.cluster) == ["cpus", "memory"]
    host.ensure(asked())
    assert limits(machine, at) == ["infinity", "infinity"]
    assert changes(asked(), host, at.cluster) == []


def test_a_new_spec_that_was_written_but_never_started_is_still_to_be_carried_out(
    host: SystemdHost, machine: Machine, at: Layout
) -> None:
    old, new = asked(env={"COLOR": "red"}), asked(env={"COLOR": "blue"})
    host.ensure(new)
    written = machine.inside("cat", at.asked("a-1")), machine.inside("cat", at.env("a-1"))
    host.ensure(old)
    for path, text in zip((at.asked("a-1"), at.env("a-1")), written, strict=True):
        machine.inside("sh", "-c", f"cat > {path}", text=text + "\n")
    assert changes(new, host, at.cluster) == ["env.COLOR"]


def test_a_file_that_is_no_longer_asked_for_goes(
    host: SystemdHost, machine: Machine, at: Layout
) -> None:
    host.ensure(asked(files={"a.yaml": "1", "in/b.yaml": "2"}))
    host.ensure(asked(files={"a.yaml": "1"}))
    assert machine.inside("find", at.files("a-1"), "-type", "f") == f"{at.files('a-1')}/a.yaml"


def test_systemd_is_told_of_units_only_when_one_has_changed(
    host: SystemdHost, machine: Machine
) -> None:
    def reloads() -> int:
        return machine.inside("journalctl", "-o", "cat", "_PID=1", "--no-pager").count("Reloading.")

    host.ensure(asked())
    before = reloads()
    host.ensure(asked())
    assert reloads() == before
    host.ensure(asked(stop_timeout=7.0))
    assert reloads() == before + 1


def test_a_unit_that_dctl_did_not_make_is_never_touched(
    host: SystemdHost, machine: Machine, at: Layout
) -> None:
    text = "[Service]\nExecStart=/usr/bin/sleep 1000\n"
    machine.inside("sh", "-c", f"cat > {at.unit_file('a-1')}", text=text)
    try:
        assert verdict(asked(), seen(host), at.cluster).action is Action.REFUSE
        with pytest.raises(ForeignError, match="not made by dctl"):
            host.ensure(asked())
        host.remove("a-1")
        host.clean(full=True)
        assert machine.inside("cat", at.unit_file("a-1")) + "\n" == text
    finally:
        machine.inside("rm", "-f", at.unit_file("a-1"))


def test_units_of_a_cluster_whose_name_begins_like_ours_are_not_ours(
    host: SystemdHost, remote: Remote
) -> None:
    mine = remote.name
    other = SystemdHost(f"{mine}-b", fleet=remote.fleet, host="core-1")
    try:
        other.ensure(asked("c-1"))
        assert list(host.observe()) == []
        host.clean(full=True)
        assert seen(other, "c-1").state is State.RUNNING
    finally:
        other.clean(full=True)


def test_a_job_that_is_done_is_told_from_what_somebody_stopped(
    host: SystemdHost, machine: Machine, at: Layout
) -> None:
    host.ensure(asked("job-1", ("/bin/true",)))
    done = await_state(host, State.COMPLETED, "job-1")
    assert done.last_exit == "exit status 0"
    host.ensure(asked("a-1", POLITE))
    wait_until(lambda: list(host.logs("a-1", lines=1)) == ["up"], within=20)
    machine.inside("systemctl", "stop", at.unit("a-1"))
    stopped = await_state(host, State.STOPPED)
    assert verdict(asked("a-1", POLITE), stopped, at.cluster).action is Action.HEAL


def test_a_process_that_is_killed_comes_back_and_its_restarts_are_counted(
    host: SystemdHost, machine: Machine
) -> None:
    host.ensure(asked(backoff=(0.1, 1.0)))
    before = await_state(host, State.RUNNING)
    machine.inside("kill", "-9", str(before.pid))
    wait_until(lambda: seen(host).pid not in (0, before.pid), within=20)
    after = await_state(host, State.RUNNING)
    assert after.restarts == 1
    assert after.last_exit == "killed by SIGKILL"


def test_a_program_that_cannot_be_run_is_an_error_with_a_way_on(host: SystemdHost) -> None:
    with pytest.raises(DctlError, match="a-1") as error:
        host.ensure(asked(argv=("/no/such/program",)))
    assert "Traceback" not in error.value.message


def test_what_is_held_stays_so_when_the_machine_starts_again(
    host: SystemdHost, machine: Machine, at: Layout
) -> None:
    host.ensure(asked())
    assert machine.inside("systemctl", "is-enabled", at.unit("a-1")) == "enabled"
    host.stop("a-1")
    assert machine.inside("systemctl", "is-enabled", at.unit("a-1"), check=False) == "disabled"


def test_probes_are_asked_where_the_port_is(host: SystemdHost) -> None:
    serving = (PYTHON, "-m", "http.server", "--bind", "127.0.0.1", "8081")
    host.ensure(asked(argv=serving))
    good = Check("http", "http://127.0.0.1:8081/", timeout=5)
    wait_until(lambda: host.probe(good).ok, within=20)
    assert host.probe(Check("tcp", "127.0.0.1:8081")).ok
    owner = host.port_owner(Endpoint("127.0.0.1", 8081))
    assert owner is not None
    assert owner.pid == seen(host).pid
    assert host.port_owner(Endpoint("127.0.0.1", 8082)) is None
    for check in (
        Check("http", "http://127.0.0.1:8082/", timeout=5),
        Check("grpc", "127.0.0.1:8082", timeout=5),
        Check("tcp", "127.0.0.1:8082", timeout=5),
    ):
        assert host.probe(check).reason == "127.0.0.1:8082 refused the connection"
    assert host.probe(Check("exec", argv=("test", "-r", "/etc/hostname"))).ok
    assert (
        "exit status 3: no"
        in host.probe(Check("exec", argv=("sh", "-c", "echo no; exit 3"))).reason
    )


def test_a_log_is_followed_across_a_restart(host: SystemdHost) -> None:
    host.ensure(asked(argv=("/bin/sh", "-c", "echo run $$; exec sleep 1000")))
    wait_until(lambda: list(host.logs("a-1", lines=1)), within=20)
    following = host.logs("a-1", lines=1, follow=True)
    first = next(following)
    host.restart("a-1")
    assert next(following) != first
    following.close()  # type: ignore[attr-defined]


def test_nothing_of_the_last_cluster_is_left(
    host: SystemdHost, machine: Machine, at: Layout
) -> None:
    host.ensure(asked(env={"A": "1"}, files={"a": "1"}))
    host.keep_secret("nonce")
    host.record({"event": "apply"})
    host.clean(full=True)
    look = f"ls -d /etc/draft /var/lib/draft {at.unit_file('a-1')}; getent passwd {at.user}; true"
    assert machine.inside("sh", "-c", f"({look}) 2>/dev/null") == ""


def test_the_lock_goes_with_the_dctl_that_held_it(host: SystemdHost, remote: Remote) -> None:
    with host.lock("ann@laptop"):
        held = host.holder()
        assert held is not None
        assert held.name == "ann@laptop"
        remote.fleet.tunnel("core-1").close()  # as if this machine had gone
        wait_until(lambda: host.holder() is None, within=20)
