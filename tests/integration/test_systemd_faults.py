"""What goes wrong on machines under systemd: told in a sentence, nothing left in half, and the same
again goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from dctl.engine.verdict import Action, verdict
from dctl.errors import DctlError, UnreachableError
from dctl.hosts.base import Kind, Resource, State
from dctl.hosts.process import ProcessSpec
from dctl.hosts.ssh import Fleet
from dctl.hosts.ssh.fleet import Step
from dctl.hosts.ssh.known import KnownHosts
from dctl.hosts.systemd import SystemdHost
from dctl.hosts.systemd.bring import install
from dctl.hosts.systemd.layout import OPT
from dctl.hosts.systemd.software import Software
from tests.support.machines import Machine
from tests.support.remote import Remote
from tests.support.waiting import wait_until

# The first test on a computer makes the machines' image.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def hasty(machine: Machine, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet that does not wait long for signs of life."""
    known = KnownHosts(tmp_path / "known_hosts")
    machine.accept(known)
    with Fleet([machine.target()], known=known, connect_timeout=1) as fleet:
        yield fleet


def big(megabytes: int, title: str) -> Software:
    """Nothing that packing makes smaller."""
    return Software(None, "3.11", {"data": os.urandom(megabytes << 20)}, title)


def begun(machine: Machine) -> bool:
    return ".new" in machine.inside("ls", OPT, check=False)


def left(machine: Machine) -> list[str]:
    return [name for name in machine.inside("ls", OPT).split() if ".new" in name]


def sleeper(color: str = "red") -> Resource:
    spec = ProcessSpec(argv=("sleep", "1000"), env={"COLOR": color})
    return Resource(Kind.PROCESS, "a-1", "core-1", "a", spec.to_json())


@contextmanager
def a_clock_ahead(machine: Machine, seconds: int) -> Iterator[None]:
    """Python there is told a wrong time."""
    shifted = f"import time; real = time.time; time.time = lambda: real() + {seconds}\n"
    wrapper = '#!/bin/sh\nPYTHONPATH=/skew exec /usr/bin/python3 "$@"\n'
    machine.inside("mkdir", "-p", "/skew")
    machine.inside("sh", "-c", "cat > /skew/sitecustomize.py", text=shifted)
    machine.inside("sh", "-c", "cat > /usr/local/bin/python3", text=wrapper)
    machine.inside("chmod", "755", "/usr/local/bin/python3")
    try:
        yield
    finally:
        machine.inside("rm", "-r", "/skew", "/usr/local/bin/python3")


def test_a_disk_that_gets_full_in_the_middle_is_told_and_nothing_is_left_there(
    remote: Remote, machine: Machine
) -> None:
    software = big(8, "test/full")
    machine.inside("sh", "-c", f"mkdir -p {OPT} && mount -t tmpfs -o size=4m,mode=755 none {OPT}")
    try:
        with pytest.raises(
            DctlError, match="bringing test/full to core-1 failed: no space is left"
        ):
            install(remote.fleet, "core-1", software)
        assert machine.inside("ls", OPT) == ""
        machine.inside("mount", "-o", "remount,size=64m", OPT)
        assert install(remote.fleet, "core-1", software)
        assert machine.inside("stat", "-c", "%s", f"{software.folder}/data") == str(8 << 20)
    finally:
        machine.inside("umount", OPT)


def test_a_connection_that_is_cut_while_software_comes_leaves_nothing_in_half(
    remote: Remote, machine: Machine
) -> None:
    software = big(48, "test/cut")
    with ThreadPoolExecutor(1) as pool:
        bringing = pool.submit(install, remote.fleet, "core-1", software)
        wait_until(lambda: begun(machine), within=30)
        machine.inside("pkill", "-9", "-u", "deploy", "sshd")
        with pytest.raises(UnreachableError, match=r"to core-1 .* was cut") as error:
            bringing.result(60)
    assert "bringing test/cut" in error.value.message
    wait_until(lambda: left(machine) == [], within=20)
    assert install(remote.fleet, "core-1", software)


def test_a_machine_that_freezes_while_software_comes_is_not_waited_for_until_the_end(
    hasty: Fleet, machine: Machine
) -> None:
    software = big(48, "test/frozen")
    with ThreadPoolExecutor(1) as pool:
        bringing = pool.submit(install, hasty, "core-1", software)
        wait_until(lambda: begun(machine), within=30)
        with machine.frozen(), pytest.raises(UnreachableError) as error:
            bringing.result(60)
    assert error.value.message.startswith("core-1 (deploy@")
    assert "no sign of life for 3s while it was waited for: bringing test/frozen" in (
        error.value.message
    )
    assert install(hasty, "core-1", software)


def test_an_ssh_server_that_is_stopped_is_told_long_before_a_step_is_late(
    hasty: Fleet, machine: Machine
) -> None:
    with ThreadPoolExecutor(1) as pool:
        step = Step("long", "server.shell", {"commands": ["touch /tmp/step; sleep 300"]})
        waiting = pool.submit(hasty.operate, "core-1", [step], what="a-1: ensure", timeout=300)
        wait_until(lambda: machine.inside("ls", "/tmp/step", check=False) != "", within=20)
        machine.inside("pkill", "-STOP", "-u", "deploy", "sshd")
        try:
            with pytest.raises(UnreachableError, match=r"core-1 .* waited for: a-1: ensure"):
                waiting.result(60)
        finally:
            machine.inside("pkill", "-9", "-u", "deploy", "sshd")
    assert hasty.run("core-1", "hostname", what="the look").out.strip() == "core-1"


def test_a_step_that_takes_long_on_a_machine_that_lives_is_waited_for(hasty: Fleet) -> None:
    answer = hasty.run("core-1", "sleep 5; echo done", what="a long step", timeout=60)
    assert answer.out.strip() == "done"


def test_a_connection_that_is_cut_in_the_middle_of_steps_is_told_and_the_same_again_goes_on(
    remote: Remote, host: SystemdHost, machine: Machine
) -> None:
    host.ensure(sleeper())
    # systemctl start waits for this one.
    before = Step("wait", "server.shell", {"commands": ["touch /tmp/here; sleep 300"]})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            remote.fleet.operate, "core-1", [before], what="a-1: ensure", timeout=300
        )
        wait_until(lambda: machine.inside("ls", "/tmp/here", check=False) != "", within=20)
        machine.inside("pkill", "-9", "-u", "deploy", "sshd")
        with pytest.raises(UnreachableError, match=r"to core-1 .* was cut: during a-1: ensure"):
            waiting.result(60)
    host.ensure(sleeper("blue"))
    assert verdict(sleeper("blue"), host.observe()[0], remote.name).action is Action.NONE


def test_a_clock_that_is_ahead_changes_nothing_of_what_is_told_of_times(
    host: SystemdHost, machine: Machine
) -> None:
    host.ensure(sleeper())
    with a_clock_ahead(machine, 3600):
        seen = host.observe()[0]
        assert seen.state is State.RUNNING
        assert 0 <= time.time() - seen.started < 300
        with host.lock("ann@laptop"):
            holder = host.holder()
            assert holder is not None
            assert abs(time.time() - holder.since) < 300
            assert holder.silent < 300
