"""A look that finds nothing to do on machines over SSH: dctl, ansible-core and pyinfra's own way,
one after the other, on the same machines, for the same ten things on each.

Those are what dctl has made there for one service: a group and a user, three folders, three files
and a unit with their contents, modes and owners, and that the unit is enabled and runs. Each is
timed as a whole process, from its start to its end. ansible-core comes from the package index into
a virtual environment of its own; it has pipelining, gathers no facts, forks once for each machine,
and keeps its connections from one run to the next, which the others do not.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _pytest.outcomes import Skipped

from benchmarks.figures import Figure, in_turn, median, wall
from dctl.engine.sight import look
from dctl.hosts.ssh import Fleet
from dctl.hosts.ssh.known import KnownHosts
from dctl.hosts.systemd import Layout, SystemdReader
from tests.support.clusters import Cluster
from tests.support.machines import Machine, machines

_GOALS = {1: 1.0, 10: 1.5}
_ANSIBLE = "ansible-core==2.19.*"
_NAME = "bench-ssh"
_OURS = "dctl infra plan"


def on_machines(runs: int) -> list[Figure]:
    """For one machine and for ten; nothing where there can be none, which one line says."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="draft-bench-") as name:
        folder = Path(name)
        try:
            with machines(folder, *(f"h{number}" for number in range(max(_GOALS)))) as made:
                ansible = _ansible(folder / "ansible")
                for count, goal in _GOALS.items():
                    figures += _compare(folder / str(count), made[:count], ansible, goal, runs)
        except Skipped as error:
            print(f"left out: {error}", file=sys.stderr)
    return figures


def _compare(
    folder: Path, made: Sequence[Machine], ansible: Path, goal: float, runs: int
) -> Iterator[Figure]:
    with _cluster(folder, made) as cluster:
        cluster.dctl("infra", "apply", "-y", timeout=600)
        assert not cluster.json("infra", "plan")["changes"]
        known = folder / "config" / "draft" / "known_hosts"
        asked = [_asked(machine, number) for number, machine in enumerate(made, 1)]
        playbook = _playbook(folder, made, known, asked)
        stock = folder / "stock.json"
        hosts = [dataclasses.asdict(machine) for machine in made]
        stock.write_text(
            json.dumps({"known": str(known), "hosts": hosts, "asked": asked}, default=str)
        )

        def run_ansible() -> None:
            _quietly([str(ansible), "-i", "inventory.json", playbook.name], folder)

        def run_stock() -> None:
            _quietly([sys.executable, "-m", "benchmarks.stock_pyinfra", str(stock)])

        def new_look() -> None:
            with _fleet(made, known) as fleet:
                _look(fleet, made)

        def run_ssh() -> None:
            way = ["-i", str(made[0].key), "-o", f"UserKnownHostsFile={known}"]
            started = [
                subprocess.Popen(["ssh", *way, f"deploy@{machine.address}", "true"])
                for machine in made
            ]
            assert not any(child.wait() for child in started)

        tools: dict[str, Callable[[], object]] = {
            _OURS: lambda: cluster.dctl("infra", "plan"),
            "pyinfra's add_op and run_ops": run_stock,
            _ANSIBLE: run_ansible,
            "ssh, nothing but a connection": run_ssh,
            "dctl's look alone": new_look,
        }
        took = in_turn(runs, tools)
        with _fleet(made, known) as fleet:
            took["dctl's look alone, connected"] = median(
                runs, lambda: wall(lambda: _look(fleet, made))
            )
    what = f"10 things on each of {len(made)} machines over SSH, no changes"
    for tool, seconds in took.items():
        yield Figure(f"{what}: {tool}, wall", seconds, "s", goal if "dctl" in tool else None)
    for tool in ("pyinfra's add_op and run_ops", _ANSIBLE):
        yield Figure(f"{what}: dctl over {tool}", took[_OURS] / took[tool], "x", 1.0)


def _fleet(made: Sequence[Machine], known: Path) -> Fleet:
    return Fleet([machine.target() for machine in made], known=KnownHosts(known))


def _look(fleet: Fleet, made: Sequence[Machine]) -> None:
    sight = look(
        {machine.name: [SystemdReader(_NAME, fleet=fleet, host=machine.name)] for machine in made}
    )
    assert len(sight.things) == len(made)


@contextmanager
def _cluster(folder: Path, made: Sequence[Machine]) -> Iterator[Cluster]:
    """A service on each machine, and nothing else."""
    folder.mkdir()
    cluster = Cluster(folder, name=_NAME)
    known = KnownHosts(folder / "config" / "draft" / "known_hosts")
    hosts = ""
    for machine in made:
        machine.accept(known)
        hosts += f"  {machine.name}: {{ssh: deploy@{machine.address}, key: {machine.key}}}\n"
    (folder / "cluster.yaml").write_text(
        f"apiVersion: draft/v1\nkind: Cluster\nname: {_NAME}\nruntime: systemd\nhosts:\n{hosts}"
        "core: {nats: false, blueprint: false, catalyst: false, fuse: false, envoy: false}\n"
        f"services:\n  job: {{command: [sleep, infinity], replicas: {len(made)}}}\n"
    )
    try:
        yield cluster
    finally:
        cluster.close()


def _asked(machine: Machine, number: int) -> dict[str, Any]:
    """What stands on a machine, as the others ask for it."""
    at, name = Layout(_NAME), f"job-{number}"
    files = [
        (at.asked(name), "600", "root"),
        (at.env(name), "600", "root"),
        (f"{at.files(name)}/config.yaml", "640", at.user),
        (at.unit_file(name), "644", "root"),
    ]
    return {
        "user": at.user,
        "home": at.var,
        "folders": [
            (at.etc, "750", "root", at.user),
            (at.var, "750", "root", at.user),
            (at.data(name), "700", at.user, at.user),
        ],
        "files": [
            (path, _content(machine, path), mode, "root", group) for path, mode, group in files
        ],
        "unit": at.unit(name),
    }


def _content(machine: Machine, path: str) -> str:
    done = subprocess.run(
        ["docker", "exec", machine.container, "cat", path], capture_output=True, check=True
    )
    return done.stdout.decode()


def _playbook(
    folder: Path, made: Sequence[Machine], known: Path, asked: Sequence[dict[str, Any]]
) -> Path:
    shared = f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes"
    # What differs from machine to machine is a variable of each.
    inventory = {
        machine.name: {
            "its": its,
            "ansible_host": machine.address,
            "ansible_user": "deploy",
            "ansible_ssh_private_key_file": str(machine.key),
            "ansible_ssh_extra_args": shared,
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        for machine, its in zip(made, asked, strict=True)
    }
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": inventory}}))
    (folder / "ansible.cfg").write_text(f"[defaults]\nforks = {len(made)}\n[ssh_connection]\n"
                                        "pipelining = true\n")  # fmt: skip
    plays = [
        {"hosts": "all", "gather_facts": False, "become": True, "strategy": "free", "tasks": []}
    ]
    tasks: Any = plays[0]["tasks"]
    first = asked[0]
    tasks.append({"group": {"name": first["user"], "system": True}})
    user = {"name": first["user"], "group": first["user"], "system": True, "create_home": False}
    tasks.append({"user": {**user, "home": first["home"], "shell": "/usr/sbin/nologin"}})
    for number in range(len(first["folders"])):
        it = f"its.folders[{number}]"
        tasks.append({"file": {"state": "directory", **_owned(it, 1)}})
    for number in range(len(first["files"])):
        it = f"its.files[{number}]"
        content = f"{{{{ {it}[1] | string }}}}"
        owned = _owned(it, 2)
        tasks.append({"copy": {"dest": owned.pop("path"), "content": content, **owned}})
    tasks.append({"systemd": {"name": "{{ its.unit }}", "state": "started", "enabled": True}})
    playbook = folder / "playbook.json"
    playbook.write_text(json.dumps(plays))
    return playbook


def _owned(it: str, mode: int) -> dict[str, str]:
    names = {"path": 0, "mode": mode, "owner": mode + 1, "group": mode + 2}
    return {name: f"{{{{ {it}[{place}] }}}}" for name, place in names.items()}


def _ansible(folder: Path) -> Path:
    """ansible-playbook, installed for this."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, _ANSIBLE], check=True)
    return folder / "bin" / "ansible-playbook"


def _quietly(command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert not done.returncode, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "changed=0" in done.stdout or folder is None, done.stdout
