"""What goes wrong on the way to machines is told in words, and the healthy ones go on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dctl.errors import DctlError, UnreachableError
from dctl.hosts.base import Endpoint
from dctl.hosts.ssh import Fleet, tunnel
from dctl.hosts.ssh.fleet import Step
from dctl.hosts.ssh.known import KnownHosts
from tests.support.machines import Machine, machines
from tests.support.waiting import wait_until

# The first test on a computer makes the machines' image.
pytestmark = pytest.mark.timeout(900)

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Machine]]:
    with machines(tmp_path_factory.mktemp("machines"), *NAMES) as made:
        yield made


@pytest.fixture
def known(three: list[Machine], tmp_path: Path) -> KnownHosts:
    hosts = KnownHosts(tmp_path / "known_hosts")
    for machine in three:
        machine.accept(hosts)
    return hosts


def everywhere(fleet: Fleet) -> dict[str, str | DctlError]:
    """What each machine answers, or why it does not."""

    def ask(name: str) -> str | DctlError:
        try:
            return fleet.run(name, "hostname", what="the look", timeout=3).out.strip()
        except DctlError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        return dict(zip(NAMES, pool.map(ask, NAMES), strict=True))


def written(path: str, content: str) -> list[Step]:
    return [Step("file", "written", {"wanted": [{"path": path, "content": content}]})]


def test_a_key_file_that_is_missing_for_one_of_three_keeps_the_others_going(
    three: list[Machine], known: KnownHosts, tmp_path: Path
) -> None:
    targets = [machine.target() for machine in three]
    targets[1] = replace(targets[1], key=tmp_path / "missing")
    with Fleet(targets, known=known) as fleet:
        said = everywhere(fleet)
    assert (said["a"], said["c"]) == ("a", "c")
    assert isinstance(said["b"], UnreachableError)
    assert str(tmp_path / "missing") in said["b"].message


def test_a_frozen_machine_is_named_with_what_was_waited_for_and_is_used_again_afterwards(
    three: list[Machine], known: KnownHosts
) -> None:
    with Fleet([machine.target() for machine in three], known=known, connect_timeout=2) as fleet:
        assert everywhere(fleet) == {name: name for name in NAMES}
        with three[1].frozen():
            said = everywhere(fleet)
            again = everywhere(fleet)
        assert (said["a"], said["c"]) == ("a", "c")
        assert isinstance(said["b"], UnreachableError)
        assert said["b"].message.startswith("b (deploy@")
        assert "did not answer in time: the look" in said["b"].message
        assert isinstance(again["b"], UnreachableError)
        assert everywhere(fleet) == {name: name for name in NAMES}


def test_a_connection_that_is_cut_in_the_middle_is_told_and_made_again(
    three: list[Machine], known: KnownHosts
) -> None:
    with (
        Fleet([machine.target() for machine in three], known=known) as fleet,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(
            fleet.run, "b", "echo begun > /tmp/begun; exec sleep 100", what="the long step",
            sudo=False,
        )  # fmt: skip
        wait_until(lambda: three[1].inside("cat", "/tmp/begun", check=False) == "begun", within=20)
        three[1].inside("pkill", "-9", "-u", "deploy", "sshd")
        with pytest.raises(UnreachableError, match=r"to b .* was cut"):
            waiting.result(30)
        assert everywhere(fleet) == {name: name for name in NAMES}


def test_a_tunnel_that_hangs_is_told_and_not_waited_for_without_end(
    three: list[Machine], known: KnownHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Fleet([machine.target() for machine in three], known=known) as fleet:
        fleet.tunnel("a").port(Endpoint("127.0.0.1", 22))
        master = fleet.tunnel("a")._master
        assert master is not None
        monkeypatch.setattr(tunnel, "_PATIENCE", 0.3)
        os.kill(master.pid, signal.SIGSTOP)
        try:
            with pytest.raises(UnreachableError, match=r"a \(deploy@.* did not answer in time"):
                fleet.tunnel("a").port(Endpoint("127.0.0.1", 23))
        finally:
            os.kill(master.pid, signal.SIGCONT)


def test_sudo_that_asks_for_a_password_is_told_before_anything_is_changed(
    three: list[Machine], known: KnownHosts
) -> None:
    with Fleet([machine.target("careful") for machine in three], known=known) as fleet:
        with pytest.raises(DctlError, match="sudo asks careful for a password") as error:
            fleet.run("a", "true", what="the look")
        assert "NOPASSWD" in error.value.hint
        with pytest.raises(DctlError, match="sudo asks careful for a password"):
            fleet.operate("a", written("/etc/draft-test", "x"), what="a file")
    assert three[0].inside("ls", "/etc/draft-test", check=False) == ""


def test_a_full_disk_is_told_in_a_sentence_and_leaves_the_old_file(
    three: list[Machine], known: KnownHosts
) -> None:
    three[0].inside("sh", "-c", "mkdir /small && mount -t tmpfs -o size=64k none /small")
    with Fleet([machine.target() for machine in three], known=known) as fleet:
        fleet.operate("a", written("/small/file", "old"), what="a file")
        with pytest.raises(DctlError, match="No space left on device") as error:
            fleet.operate("a", written("/small/file", "x" * 100_000), what="a file")
    assert "Traceback" not in error.value.message
    assert three[0].inside("cat", "/small/file") == "old"


def test_a_plan_tells_what_would_change_and_changes_nothing(
    three: list[Machine], known: KnownHosts
) -> None:
    steps = [
        Step("folder", "files.directory", {"path": "/opt/plan", "mode": "750"}),
        *written("/opt/plan/file", "content"),
        Step("reload", "systemd.daemon_reload", after=("file",)),
    ]
    with Fleet([machine.target() for machine in three], known=known) as fleet:
        for _ in range(2):
            planned = fleet.operate("a", steps, what="a plan", apply=False)
            assert [done.changed for done in planned] == [True, True, True]
            assert three[0].inside("ls", "/opt") == ""
        fleet.operate("a", steps, what="the steps")
        after = fleet.operate("a", steps, what="a plan", apply=False)
        assert [done.changed for done in after] == [False, False, False]
        three[0].inside("chmod", "600", "/opt/plan/file")
        three[0].inside("chown", "deploy", "/opt/plan/file")
        drifted = fleet.operate("a", steps, what="a plan", apply=False)
        assert [done.changed for done in drifted] == [False, True, True]


def test_a_secret_stands_on_no_command_line_and_in_no_answer(
    three: list[Machine], known: KnownHosts
) -> None:
    with Fleet([machine.target() for machine in three], known=known) as fleet:
        done = fleet.operate("a", written("/etc/draft-secret", "s3cr3t"), what="a secret")
    assert "s3cr3t" not in json.dumps([one.commands for one in done])
    assert "s3cr3t" not in three[0].inside("journalctl", "--no-pager", "-o", "cat")
    assert three[0].inside("stat", "-c", "%a %U", "/etc/draft-secret") == "600 root"


def test_nothing_is_left_running_when_a_fleet_is_closed(
    three: list[Machine], known: KnownHosts
) -> None:
    with Fleet([machine.target() for machine in three], known=known) as fleet:
        everywhere(fleet)
        fleet.tunnel("a").base_url()
        worker, master = fleet._worker, fleet.tunnel("a")._master
    assert worker is not None
    assert master is not None
    assert worker.poll() is not None
    assert master.poll() is not None
