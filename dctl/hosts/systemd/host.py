"""The changing face of a machine under systemd.

Every verb may be repeated, and leaves what the next plan can go on from when it is cut off: the
manifest is written first, and what runs keeps the one that it was started with.
"""

from __future__ import annotations

import functools
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from dctl.errors import DctlError, ForeignError, NotFoundError
from dctl.hosts.attached import run_attached
from dctl.hosts.base import Holder, Json, Lease, Observed, Resource, Secrets, State
from dctl.hosts.order import waves
from dctl.hosts.passive import NoSecrets
from dctl.hosts.process.spec import ProcessSpec
from dctl.hosts.ssh.fleet import Step
from dctl.hosts.systemd.keeping import MachineKeeping
from dctl.hosts.systemd.observed import edited
from dctl.hosts.systemd.reader import SystemdReader
from dctl.hosts.systemd.unit import env_text, unit_text

_PATIENCE = 60.0  # seconds, beside what the thing itself may take to end


class SystemdHost(SystemdReader):
    """Run the processes of one cluster on one machine."""

    secrets: Secrets = NoSecrets()
    """Whom to ask for the values that are delivered."""

    @functools.cached_property
    def _keeping(self) -> MachineKeeping:
        return MachineKeeping(self._agent)

    @functools.cached_property
    def _preparing(self) -> threading.Lock:
        return threading.Lock()

    def ensure(self, resource: Resource) -> None:
        spec = ProcessSpec.from_json(resource.spec)
        program = spec.argv[0]
        if "/" in program and not program.startswith("/"):
            raise DctlError(
                f"{resource.name} cannot be run on {self.name}: {program} is a path from nowhere",
                hint="a command of a systemd unit is an absolute path there, or a name in its PATH",
            )
        before = self._found(resource.name)
        if before is not None and before.owner != self._cluster:
            raise ForeignError(
                f"{self._layout.unit(resource.name)} on {self.name} was not made by dctl",
                hint="dctl touches only what it made: remove it, or name the cluster differently",
            )
        values = self._values(resource.name, spec, before)
        self.prepare()
        self._fleet.operate(
            self.name,
            self._steps(resource, spec, values, edited(before)),
            what=f"{resource.name}: ensure",
            timeout=_PATIENCE + self._grace(before) + spec.stop_timeout,
        )

    def _values(self, name: str, spec: ProcessSpec, before: Observed | None) -> dict[str, str]:
        """What is to be delivered. What was is remembered: the one before may be put back."""
        had: Mapping[str, str] = (before.spec or {}).get("digests") or {} if before else {}
        for secret, text in (self.given(name) if had else {}).items():
            if secret in had:
                self.secrets.remember(secret, had[secret], text)
        return {secret: self.secrets.text(secret, d) for secret, d in spec.digests.items()}

    def prepare(self) -> None:
        """The cluster's user and folders; once for each host at hand."""
        with self._preparing:
            if "_prepared" not in self.__dict__:
                self._fleet.operate(self.name, self._ground(), what="preparing the host")
                self.__dict__["_prepared"] = True

    def start(self, name: str) -> None:
        seen = self._asked(name)
        if seen.state in (State.HELD, State.STOPPED, State.FAILED):
            self._hold(name, held=False)
            self._control(["enable", "--now"], [name], _PATIENCE)

    def stop(self, name: str) -> None:
        seen = self._asked(name)
        self._hold(name, held=True)
        self._end([name], self._grace(seen))

    def restart(self, name: str) -> None:
        seen = self._asked(name)
        self._hold(name, held=False)
        self._control(["enable"], [name], _PATIENCE)
        self._control(["restart"], [name], self._grace(seen) + _PATIENCE)

    def remove(self, name: str) -> None:
        seen = self._found(name)
        if seen is not None and seen.owner == self._cluster:
            self._remove([name], self._grace(seen))

    def keep_secret(self, name: str, text: str = "") -> None:
        self.prepare()
        self._keeping.keep_secret(name, text)

    def secret(self, name: str) -> str:
        return self._keeping.secret(name)

    def execute(self, name: str, argv: Sequence[str]) -> int:
        self._asked(name)
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        return run_attached(self._agent.beside(name, argv, terminal=terminal))

    def lock(self, holder: str) -> AbstractContextManager[Lease]:
        return self._keeping.lock(holder)

    def holder(self) -> Holder | None:
        return self._keeping.holder()

    def break_lock(self) -> None:
        self._keeping.break_lock()

    def record(self, entry: Mapping[str, Json]) -> None:
        self._keeping.record(entry)

    def journal(self) -> Sequence[Mapping[str, Json]]:
        return self._keeping.journal()

    def keep_release(self, release: Mapping[str, Json]) -> None:
        self._keeping.keep_release(release)

    def releases(self) -> Sequence[Mapping[str, Json]]:
        return self._keeping.releases()

    def keep_machines(self, notes: Mapping[str, Json]) -> None:
        self._keeping.keep_machines(notes)

    def machines(self) -> Mapping[str, Json]:
        return self._keeping.machines()

    def down(self) -> None:
        ours = self._ours()
        for wave in waves({one.name: one.needs for one in ours.values()}):
            longest = max(self._grace(ours[name]) for name in wave)
            self._end(wave, longest)

    def clean(self, *, full: bool) -> None:
        ours = self._ours()
        self.down()
        self._remove(list(ours), 0.0)
        if full:
            self._keeping.forget()
            self.__dict__.pop("_prepared", None)

    def _ours(self) -> dict[str, Observed]:
        return {one.name: one for one in self.observe() if one.owner == self._cluster}

    def _found(self, name: str) -> Observed | None:
        return next((one for one in self.observe() if one.name == name), None)

    def _asked(self, name: str) -> Observed:
        seen = self._found(name)
        if seen is None or seen.owner != self._cluster:
            raise NotFoundError(f"{name} is not on {self.name}", hint="dctl infra status")
        return seen

    def _hold(self, name: str, *, held: bool) -> None:
        if not self._agent.ask("hold", {"name": name, "held": held}):
            raise DctlError(
                f"what was asked of {name} on {self.name} is gone", hint="dctl infra apply"
            )

    def _control(self, verb: Sequence[str], names: Sequence[str], timeout: float) -> None:
        given = {"verb": list(verb), "names": list(names)}
        self._change("control", given, f"systemctl {' '.join(verb)}", timeout)

    def _end(self, names: Sequence[str], grace: float) -> None:
        self._change("end", {"names": list(names)}, "stop", grace + _PATIENCE)

    def _remove(self, names: Sequence[str], grace: float) -> None:
        if names:
            self._change("remove", {"names": list(names)}, "remove", grace + _PATIENCE)

    def _change(self, verb: str, given: Mapping[str, Any], what: str, timeout: float) -> None:
        names: list[str] = given["names"]
        told = f"{what} {' '.join(names)}"
        if problem := self._agent.ask(verb, given, timeout=timeout, what=told):
            raise DctlError(f"{told} on {self.name}: {problem}", hint=f"dctl infra logs {names[0]}")

    @staticmethod
    def _grace(seen: Observed | None) -> float:
        """How long a thing may take to end."""
        stop: Any = (seen.spec or {}).get("stop") if seen else None
        return float(stop["timeout"]) if stop else 0.0

    def _ground(self) -> list[Step]:
        at, user = self._layout, self._layout.user

        def folder(path: str, mode: str, owner: str = "root", group: str = "root") -> Step:
            arguments = {"path": path, "mode": mode, "user": owner, "group": group}
            return Step(path, "files.directory", arguments)

        account = {"user": user, "group": user, "system": True, "ensure_home": False}
        account |= {"home": at.var, "shell": "/usr/sbin/nologin"}
        return [
            Step("group", "server.group", {"group": user, "system": True}),
            Step("user", "server.user", account),
            folder("/etc/draft", "755"),
            folder(at.etc, "750", group=user),
            folder("/var/lib/draft", "755"),
            folder(at.var, "750", group=user),
            folder(at.run, "700"),
            folder(f"{at.var}/secrets", "750", group=user),
            folder(f"{at.var}/data", "755"),
        ]

    def _steps(
        self,
        resource: Resource,
        spec: ProcessSpec,
        values: Mapping[str, str],
        edits: Mapping[str, Json],
    ) -> list[Step]:
        at, name, user = self._layout, resource.name, self._layout.user
        manifest = {
            "name": name,
            "service": resource.service,
            "needs": [need.resource for need in resource.needs],
            "ports": {port: [e.host, e.port] for port, e in resource.ports.items()},
            "spec": spec.to_json(),
            "digest": resource.digest,
            "held": False,
        }
        files = [
            {"path": at.asked(name), "content": json.dumps(manifest, sort_keys=True)},
            {"path": at.env(name), "content": env_text(spec.env)},
            *(
                {"path": f"{at.secrets(name)}/{secret}", "content": text}
                for secret, text in values.items()
            ),
            *(
                {"path": f"{at.files(name)}/{path}", "content": text, "mode": "640", "group": user}
                for path, text in spec.files.items()
            ),
        ]
        unit = {
            "path": at.unit_file(name),
            "content": unit_text(at, name, manifest),
            "mode": "644",
        }
        data = {"path": at.data(name), "mode": "700", "user": user, "group": user}
        service = {"service": at.unit(name), "running": True, "restarted": True, "enabled": True}
        revert = Step("revert", "server.shell", {"commands": [f"systemctl revert {at.unit(name)}"]})
        reload = Step(
            "reload",
            "systemd.daemon_reload",
            after=() if "loaded" in edits else ("unit", "revert"),
        )
        return [
            Step("data", "files.directory", data),
            Step("files", "written", {"wanted": files}),
            Step("sweep", "swept", {"folder": at.files(name), "kept": sorted(spec.files)}),
            Step("sweep secrets", "swept", {"folder": at.secrets(name), "kept": sorted(values)}),
            Step("unit", "written", {"wanted": [unit]}),
            *([revert] if "drop-ins" in edits else []),
            reload,
            Step("service", "systemd.service", service),
        ]
