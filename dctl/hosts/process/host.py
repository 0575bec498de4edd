"""The changing face of this machine's processes.

Every verb may be repeated, and leaves what the next plan can go on from when it is cut off: what
runs says itself (in its run record) with what it was started.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from dctl.errors import DctlError, NotFoundError
from dctl.hosts.attached import run_attached
from dctl.hosts.base import Holder, Json, Lease, Resource, Secrets
from dctl.hosts.order import waves
from dctl.hosts.passive import NoSecrets
from dctl.hosts.process import delivered, survivors
from dctl.hosts.process.launch import environment
from dctl.hosts.process.reader import ProcessReader
from dctl.hosts.process.records import Manifest, completed
from dctl.hosts.process.spec import ProcessSpec
from dctl.hosts.process.supervisor import BACKOFF, RUNNING, STARTING
from dctl.hosts.state.files import private_folder, read_json, remove_tree, write_json, write_whole
from dctl.hosts.state.keeping import Keeping
from dctl.hosts.translated import translated

_LOOK = 0.01  # seconds between two looks
_BEGIN = 15.0  # seconds until a started program's shim has spoken; 0.05 on an idle machine


class ProcessHost(ProcessReader):
    """Run the processes of one cluster on this machine."""

    secrets: Secrets = NoSecrets()
    """Whom to ask for the values that are delivered."""
    say: Callable[[str], None] = staticmethod(lambda _: None)
    """Who hears what a person should know."""

    @functools.cached_property
    def _keeping(self) -> Keeping:
        return Keeping(self._layout, self._owner)

    @translated
    def ensure(self, resource: Resource) -> None:
        self._replace(_manifest(resource, held=False))

    @translated
    def prepare(self, resource: Resource) -> None:
        """Make all be there that it needs to run, and hold it: whoever asked runs it."""
        self._replace(_manifest(resource, held=True))

    def environment(self, resource: Resource) -> Mapping[str, str]:
        """What it runs with, whoever runs it. It is marked as a run of this one, which is ended
        when the supervisor is to run it."""
        mark = {survivors.MARK: survivors.mark(self._layout, resource.name)}
        return {**environment(os.environ), **mark, **resource.spec["env"]}

    @translated
    def start(self, name: str) -> None:
        asked = self._asked(name)
        done = completed(
            asked, read_json(self._layout.running(name)), read_json(self._layout.ended(name))
        )
        if not done and (asked["held"] or not self._runs(name)):
            self._replace({**asked, "held": False})

    @translated
    def stop(self, name: str) -> None:
        asked = self._asked(name)
        with self._supervisor.writing():
            write_json(self._layout.manifest(name), {**asked, "held": True})
            self._supervisor.configure()
        self._end(asked)

    @translated
    def restart(self, name: str) -> None:
        self._replace({**self._asked(name), "held": False})

    @translated
    def remove(self, name: str) -> None:
        asked: Manifest | None = read_json(self._layout.manifest(_instance(name)))
        if not self._layout.state.exists():
            return
        with self._supervisor.writing():
            self._layout.manifest(name).unlink(missing_ok=True)
            self._supervisor.configure()
        self._supervisor.stop([name], asked["spec"]["stop"]["timeout"] if asked else 0.0)
        self._supervisor.end_survivors(name)
        with self._supervisor.writing():
            self._supervisor.drop(name)
        self._forget_run(name)
        delivered.forget_one(self._layout, name)
        remove_tree(self._layout.files(name))

    @translated
    def keep_secret(self, name: str, text: str = "") -> None:
        self._keeping.keep_secret(name, text)

    def secret(self, name: str) -> str:
        return self._keeping.secret(name)

    def execute(self, name: str, argv: Sequence[str]) -> int:
        seen = next((o for o in self.observe() if o.name == name), None)
        if seen is None or seen.spec is None:
            raise NotFoundError(f"{name} is not on {self.name}", hint="dctl infra status")
        env = {**environment(os.environ), **seen.spec["env"]}
        if terminal := os.environ.get("TERM"):
            env.setdefault("TERM", terminal)
        return run_attached(argv, env=env, cwd=seen.spec["cwd"] or str(self._layout.data(name)))

    def lock(self, holder: str) -> AbstractContextManager[Lease]:
        return self._keeping.lock(holder)

    def holder(self) -> Holder | None:
        return self._keeping.holder()

    @translated
    def break_lock(self) -> None:
        self._keeping.break_lock()

    @translated
    def record(self, entry: Mapping[str, Json]) -> None:
        self._keeping.record(entry)

    def journal(self) -> Sequence[Mapping[str, Json]]:
        return self._keeping.journal()

    @translated
    def keep_release(self, release: Mapping[str, Json]) -> None:
        self._keeping.keep_release(release)

    def releases(self) -> Sequence[Mapping[str, Json]]:
        return self._keeping.releases()

    @translated
    def keep_machines(self, notes: Mapping[str, Json]) -> None:
        self._keeping.keep_machines(notes)

    def machines(self) -> Mapping[str, Json]:
        return self._keeping.machines()

    @translated
    def down(self) -> None:
        self._owner.refuse_another_checkout()
        if not self._layout.state.exists():
            return
        asked = self._supervisor.manifests()
        longest = max((m["spec"]["stop"]["timeout"] for m in asked.values()), default=0.0)
        with self._supervisor.writing():
            needs = {name: manifest["needs"] for name, manifest in asked.items()}
            self._supervisor.shut_down(waves(needs), longest)
        for name, manifest in asked.items():
            # A new start is no restart; only of a finished job has to be known that it was done.
            run, ended = read_json(self._layout.running(name)), read_json(self._layout.ended(name))
            if not completed(manifest, run, ended):
                self._forget_run(name)

    @translated
    def clean(self, *, full: bool) -> None:
        self.down()
        if not self._layout.state.exists():
            return
        self._supervisor.remove_socket()
        delivered.forget(self._layout)
        if full:
            self._keeping.forget()
            return
        for folder in (self._layout.manifests, self._layout.run, self._layout.files("_").parent):
            remove_tree(folder)
        self._layout.config.unlink(missing_ok=True)

    def _replace(self, asked: Manifest) -> None:
        """End what runs under this name and start it as `asked`, unless it is held."""
        name = asked["name"]
        self._claim()
        before: Manifest | None = read_json(self._layout.manifest(name))
        values = self._values(name, asked, before)  # all that can be missing, before anything ends
        self._end(before or asked)
        with self._supervisor.writing():
            self._forget_run(name)
            self._write_files(name, asked["spec"]["files"])
            if not delivered.deliver(self._layout, name, values):
                self.say(
                    f"no folder in memory was found: the secrets of {name} are files on the disk,"
                    f" for you alone to read: {self._layout.delivered / name}"
                )
            write_json(self._layout.manifest(name), asked)
            self._supervisor.configure()
            if not asked["held"]:
                self._supervisor.put(name)
        if not asked["held"]:
            self._await_begin(name)

    def _values(self, name: str, asked: Manifest, before: Manifest | None) -> dict[str, str]:
        """What is to be delivered. What is there stays when it is the same, and is remembered when
        it is not: the one before may be put back."""
        had = before["spec"].get("digests") or {} if before else {}
        for secret, text in (self.given(name) if had else {}).items():
            if secret in had:
                self.secrets.remember(secret, had[secret], text)
        wanted = asked["spec"].get("digests") or {}
        return {secret: self.secrets.text(secret, digest) for secret, digest in wanted.items()}

    def _end(self, asked: Manifest) -> None:
        self._supervisor.stop([asked["name"]], asked["spec"]["stop"]["timeout"])
        self._supervisor.end_survivors(asked["name"])

    def _await_begin(self, name: str) -> None:
        deadline = time.monotonic() + _BEGIN
        while not self._layout.running(name).exists():
            if time.monotonic() > deadline:
                raise DctlError(
                    f"{name} on {self.name} was not begun within {_BEGIN:g}s",
                    hint=f"see {self._layout.log(name)} and {self._layout.supervisor_log}",
                )
            time.sleep(_LOOK)

    def _claim(self) -> None:
        self._keeping.claim()
        for folder in (self._layout.manifests, self._layout.run, self._layout.logs):
            private_folder(folder)

    def _write_files(self, name: str, files: Mapping[str, str]) -> None:
        root = self._layout.files(name)
        remove_tree(root)
        private_folder(root)
        private_folder(self._layout.data(name))
        for path, text in files.items():
            private_folder((root / path).parent)
            write_whole(root / path, text)

    def _forget_run(self, name: str) -> None:
        self._layout.running(name).unlink(missing_ok=True)
        self._layout.ended(name).unlink(missing_ok=True)

    def _asked(self, name: str) -> Manifest:
        self._owner.refuse_another_checkout()
        asked: Manifest | None = read_json(self._layout.manifest(_instance(name)))
        if asked is None:
            raise NotFoundError(f"{name} is not on {self.name}", hint="dctl infra status")
        return asked

    def _runs(self, name: str) -> bool:
        info = (self._supervisor.processes() or {}).get(name)
        return info is not None and info["state"] in (STARTING, RUNNING, BACKOFF)


def _manifest(resource: Resource, *, held: bool) -> Manifest:
    return Manifest(
        name=_instance(resource.name),
        service=resource.service,
        needs=[need.resource for need in resource.needs],
        ports={name: (e.host, e.port) for name, e in resource.ports.items()},
        spec=ProcessSpec.from_json(resource.spec).to_json(),
        digest=resource.digest,
        held=held,
    )


def _instance(name: str) -> str:
    if not name or name[0] == "." or any(c in "/:\\" or c.isspace() for c in name):
        raise DctlError(f'"{name}" cannot be the name of a process')
    return name
