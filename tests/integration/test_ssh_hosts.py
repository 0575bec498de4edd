"""dctl host, against real SSH servers: first contact is explicit, and strict from then on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dctl.__main__ import run
from dctl.errors import ExitCode, UnreachableError
from dctl.hosts.ssh import Fleet
from dctl.hosts.ssh.config import ways
from dctl.hosts.ssh.known import KnownHosts
from dctl.hosts.ssh.target import Target
from dctl.spec.types import SshTarget
from tests.support.machines import Machine, machines

# The first test on a computer makes the machines' image.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Machine]]:
    with machines(tmp_path_factory.mktemp("machines"), "edge-1", "core-1") as made:
        yield made


@pytest.fixture
def edge(pair: list[Machine]) -> Machine:
    return pair[0]


@pytest.fixture
def core(pair: list[Machine]) -> Machine:
    return pair[1]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("DCTL_YES", raising=False)
    return tmp_path


def fingerprint(machine: Machine) -> str:
    """As its own ssh-keygen shows it."""
    return machine.inside("ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub").split()[1]


def add(machine: Machine, *more: str, user: str = "deploy") -> int:
    key = [] if "--key" in more else ["--key", str(machine.key)]
    return run(["host", "add", machine.name, f"{user}@{machine.address}", *key, *more])


def test_the_fingerprint_that_is_shown_is_the_one_of_the_machine_itself(
    edge: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(edge, "-y") == ExitCode.OK
    said = capsys.readouterr()
    assert fingerprint(edge) in said.err
    assert fingerprint(edge) in said.out


def test_without_a_yes_nothing_is_stored(edge: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(edge) == ExitCode.USAGE
    assert "--accept-fingerprint" in capsys.readouterr().err
    assert KnownHosts().all() == []


def test_another_fingerprint_than_the_expected_one_is_refused(
    edge: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(edge, "--accept-fingerprint", "SHA256:another") == ExitCode.UNREACHABLE
    assert "not the key that you expect" in capsys.readouterr().err
    assert KnownHosts().all() == []
    assert add(edge, "--accept-fingerprint", fingerprint(edge)) == ExitCode.OK


def test_hosts_are_listed_until_they_are_removed(
    edge: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    add(edge, "-y")
    capsys.readouterr()
    assert run(["host", "list", "-o", "json"]) == ExitCode.OK
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert item == {
        "name": "edge-1",
        "address": f"deploy@{edge.address}",
        "type": "ED25519",
        "fingerprint": fingerprint(edge),
    }
    assert run(["host", "remove", "edge-1"]) == ExitCode.OK
    assert KnownHosts().all() == []
    assert run(["host", "remove", "edge-1"]) == ExitCode.ERROR


def test_a_machine_that_was_never_met_is_refused_and_the_command_to_meet_it_is_named(
    edge: Machine,
) -> None:
    with Fleet([edge.target()]) as fleet:
        with pytest.raises(UnreachableError, match="never met") as refused:
            fleet.run("edge-1", "true", what="a look")
        with pytest.raises(UnreachableError, match="never met"):
            fleet.tunnel("edge-1").base_url()
    assert refused.value.hint == f"dctl host add edge-1 deploy@{edge.address}"


def test_a_changed_key_is_refused_with_both_fingerprints_until_it_is_removed_and_added(
    core: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    add(core, "-y")
    before = fingerprint(core)
    core.new_host_key()
    after = fingerprint(core)
    with Fleet([core.target()]) as fleet:
        with pytest.raises(UnreachableError) as refused:
            fleet.run("core-1", "true", what="a look")
        with pytest.raises(UnreachableError) as by_ssh:
            fleet.tunnel("core-1").base_url()
    for error in (refused.value, by_ssh.value):
        assert before in error.message
        assert after in error.message
        assert "dctl host remove core-1" in error.hint
    capsys.readouterr()
    assert add(core, "-y") == ExitCode.UNREACHABLE, "adding again is no way around it"
    said = capsys.readouterr().err
    assert before in said
    assert after in said
    run(["host", "remove", "core-1"])
    assert add(core, "-y") == ExitCode.OK


def test_what_a_machine_lacks_is_told_when_it_is_added(
    edge: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(edge, "-y", user="careful") == ExitCode.OK
    assert "sudo asks careful for a password" in capsys.readouterr().err


def test_a_key_that_is_not_accepted_there_is_named(
    edge: Machine, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = home / "wrong"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(wrong)], check=True)
    assert add(edge, "-y", "--key", str(wrong)) == ExitCode.UNREACHABLE
    said = capsys.readouterr().err
    assert "does not let us in" in said
    assert str(wrong) in said


def test_a_machine_behind_another_is_met_and_reached_through_it(
    edge: Machine, core: Machine
) -> None:
    assert add(edge, "-y") == ExitCode.OK
    assert add(core, "-y", "--via", "edge-1") == ExitCode.OK
    with Fleet([edge.target(), core.target(via="edge-1")]) as fleet:
        said = fleet.run("core-1", "echo $SSH_CLIENT", what="a look", sudo=False).out
        assert said.split()[0] == edge.address
        (line,) = fleet.tunnel("core-1").lines("echo $SSH_CLIENT")
        assert line.split()[0] == edge.address


def test_an_alias_of_the_users_own_configuration_is_honoured(edge: Machine, home: Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text(
        f"Host front\n  HostName {edge.address}\n  User deploy\n  IdentityFile {edge.key}\n"
    )
    front = Target("edge-1", SshTarget("front"))
    assert ways([front])[0].address == f"deploy@{edge.address}"
    assert run(["host", "add", "edge-1", "front", "-y"]) == ExitCode.OK
    with Fleet([front]) as fleet:
        assert fleet.run("edge-1", "id -un", what="a look", sudo=False).out == "deploy\n"
        assert list(fleet.tunnel("edge-1").lines("id -un")) == ["deploy"]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("deploy@127.0.0.1:1", "does its SSH server run"),
        ("deploy@no-such-host.invalid", "cannot be resolved"),
    ],
)
def test_a_machine_that_is_not_reached_is_named_with_the_reason(
    address: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["host", "add", "edge-1", address, "-y"]) == ExitCode.UNREACHABLE
    said = capsys.readouterr().err
    assert "edge-1" in said
    assert why in said
    assert "Traceback" not in said
