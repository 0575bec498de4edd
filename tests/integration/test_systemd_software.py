"""What programs run from on a machine under systemd: brought once, whole, and let go when old."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dctl.errors import DctlError
from dctl.hosts.base import Kind, Resource, State
from dctl.hosts.process import ProcessSpec
from dctl.hosts.systemd import SystemdHost
from dctl.hosts.systemd.bring import install, prune
from dctl.hosts.systemd.layout import OPT
from dctl.hosts.systemd.software import Software, run_software
from tests.support.machines import Machine
from tests.support.remote import Remote
from tests.support.waiting import wait_until

# The first test on a computer makes the machines' image.
pytestmark = pytest.mark.timeout(900)

MAIN = """\
import chassis, helper, sortedcontainers, sys
print(helper.GREETING, sortedcontainers.__name__, chassis.__name__, flush=True)
import signal; signal.pause()
"""


@pytest.fixture
def greeter(tmp_path: Path) -> Path:
    folder = tmp_path / "greeter"
    folder.mkdir()
    (folder / "main.py").write_text(MAIN)
    (folder / "helper.py").write_text("GREETING = 'hello'\n")
    (folder / "requirements.txt").write_text("draft\nsortedcontainers\n")
    return folder


def software_of(host: SystemdHost, folder: Path) -> Software:
    return run_software(host.facts(), folder, cluster="shop", service="greeter")


def unit(software: Software) -> Resource:
    spec = ProcessSpec(argv=software.argv, cwd=software.cwd)
    return Resource(Kind.PROCESS, "greeter-1", "core-1", "greeter", spec.to_json())


def version(number: int) -> Software:
    """A small one, of which there are many."""
    return Software(None, "3.11", {"version": str(number).encode()}, "test/versions")


def standing(machine: Machine, *those: Software) -> list[bool]:
    there = machine.inside("ls", OPT, check=False).split()
    return [one.digest in there for one in those]


def old(machine: Machine, *those: Software) -> None:
    """As if they had been brought long ago, the first of them first."""
    for days, one in enumerate(reversed(those), 2):
        machine.inside("touch", "-d", f"{days} days ago", one.folder)


def test_a_folder_runs_as_a_unit_with_its_requirements_and_the_chassis(
    remote: Remote, host: SystemdHost, greeter: Path
) -> None:
    software = software_of(host, greeter)
    assert install(remote.fleet, "core-1", software)
    host.ensure(unit(software))
    wait_until(lambda: list(host.logs("greeter-1", lines=9)), within=20)
    assert list(host.logs("greeter-1", lines=9)) == ["hello sortedcontainers chassis"]


def test_a_change_of_code_brings_that_code_alone_and_nothing_when_it_is_there(
    remote: Remote, host: SystemdHost, machine: Machine, greeter: Path
) -> None:
    first = software_of(host, greeter)
    install(remote.fleet, "core-1", first)
    assert not install(remote.fleet, "core-1", first)
    before = set(machine.inside("ls", OPT).split())
    (greeter / "helper.py").write_text("GREETING = 'good morning'\n")
    second = software_of(host, greeter)
    assert install(remote.fleet, "core-1", second)
    assert set(machine.inside("ls", OPT).split()) - before == {second.digest}
    size = int(machine.inside("du", "-sk", second.folder).split()[0])
    assert size < 100


def test_what_it_stands_on_is_brought_again_when_it_is_gone(
    remote: Remote, machine: Machine
) -> None:
    below = Software(None, "3.11", {"lib/greet.py": b"HELLO = 'hello'\n"}, "test/below")
    top = Software(None, "3.11", {"app/main.py": b"import greet; print(greet.HELLO)"}, "t", below)
    install(remote.fleet, "core-1", top)
    machine.inside("rm", "-r", below.folder)
    assert install(remote.fleet, "core-1", top)
    assert machine.inside(*top.argv) == "hello"


def test_code_that_cannot_be_compiled_is_told_and_is_not_there(
    remote: Remote, machine: Machine
) -> None:
    broken = Software(None, "3.11", {"app/main.py": b"def :\n"}, "test/broken")
    with pytest.raises(DctlError, match="SyntaxError: invalid syntax") as error:
        install(remote.fleet, "core-1", broken)
    assert error.value.message.startswith("bringing test/broken to core-1 failed: ")
    assert standing(machine, broken) == [False]


def test_old_versions_go_but_for_the_last_ones(remote: Remote, machine: Machine) -> None:
    versions = [version(number) for number in range(5)]
    for one in versions:
        install(remote.fleet, "core-1", one)
    assert standing(machine, *versions) == [True] * 5, "young ones may be about to be started"
    old(machine, *versions)
    gone = prune(remote.fleet, "core-1", kept=2)
    assert set(gone) >= {one.folder for one in versions[:3]}
    assert standing(machine, *versions) == [False, False, False, True, True]
    assert prune(remote.fleet, "core-1", kept=2) == ()


def test_what_a_unit_or_a_release_names_stays_with_what_it_stands_on(
    remote: Remote, host: SystemdHost, machine: Machine
) -> None:
    below = version(10)
    runs = Software(None, "3.11", {"app/main.py": b"import time; time.sleep(1000)"}, "t/a", below)
    released, useless = version(11), version(12)
    for one in (runs, released, useless):
        install(remote.fleet, "core-1", one)
    host.ensure(unit(runs))
    host.keep_release({"id": 1, "resources": [{"spec": {"folder": released.folder}}]})
    old(machine, below, runs, released, useless)
    prune(remote.fleet, "core-1", kept=0)
    assert standing(machine, below, runs, released, useless) == [True, True, True, False]
    assert host.observe()[0].state is State.RUNNING


def test_what_was_left_in_half_goes_when_it_is_old(remote: Remote, machine: Machine) -> None:
    machine.inside("mkdir", "-p", f"{OPT}/0123456789ab.new", f"{OPT}/ba9876543210.new")
    machine.inside("touch", "-d", "2 days ago", f"{OPT}/0123456789ab.new")
    prune(remote.fleet, "core-1")
    there = machine.inside("ls", OPT).split()
    assert "0123456789ab.new" not in there
    assert "ba9876543210.new" in there


def test_what_stands_there_is_compiled_for_those_who_may_not_write(
    remote: Remote, machine: Machine
) -> None:
    software = Software(None, "3.11", {"lib/greet/__init__.py": b"HELLO = 'hello'\n"})
    install(remote.fleet, "core-1", software)
    say = "import greet, json, sys; print(json.dumps([sys.prefix, greet.__cached__]))"
    prefix, cached = json.loads(machine.inside(software.interpreter, "-B", "-c", say))
    assert prefix == software.folder
    assert machine.inside("ls", cached) == cached


def test_a_command_is_found_by_its_name_and_refused_by_a_relative_path(host: SystemdHost) -> None:
    def command(*argv: str) -> Resource:
        spec = ProcessSpec(argv=argv)
        return Resource(Kind.PROCESS, "job-1", "core-1", "job", spec.to_json())

    host.ensure(command("sleep", "1000"))
    assert host.observe()[0].state is State.RUNNING
    with pytest.raises(DctlError, match=r"\./sleep") as error:
        host.ensure(command("./sleep", "1000"))
    assert "absolute path" in error.value.hint
    assert host.observe()[0].spec == command("sleep", "1000").spec
