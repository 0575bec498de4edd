"""Parts as supervised processes of this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dctl import bundled
from dctl.engine.catalogue.site import (
    ENGINE,
    NONCE_VARIABLE,
    OBJECTS,
    Instance,
    Port,
    Program,
    Site,
    digests_of,
    own_identity,
    own_nonce,
)
from dctl.hosts.base import Endpoint, Json, Kind
from dctl.hosts.process import ProcessSpec
from dctl.sources import source_digest
from dctl.spec.workload import Service, Workload


@dataclass(frozen=True, kw_only=True)
class ProcessSite(Site):
    """`files_of(name)` and `data_of(name)` are the folders of an instance, in the file of
    `secret_of(name, secret)` it reads a secret.
    `nonce_file` that of the cluster's own, which is the secret `nonce_name` of the spec, if it is
    not dctl's, and `secret_file(name)` that of another one of the cluster's own. `api` is the
    package that the workspace generates of its protobufs: its services import it from there."""

    kind = Kind.PROCESS

    files_of: Callable[[str], Path]
    data_of: Callable[[str], Path]
    secret_of: Callable[[str, str], Path]
    secret_file: Callable[[str], Path]
    nonce_file: Path | None = None
    nonce_name: str = ""
    api: Path | None = None

    @property
    def nonce(self) -> str:
        return str(self.nonce_file or "")

    def nonce_of(self, service: str) -> str:
        own = service in self.own_nonces
        return str(self.secret_file(own_nonce(service))) if own else self.nonce

    def identity_of(self, service: str) -> str:
        return str(self.secret_file(own_identity(service)))

    @property
    def engine_secret(self) -> str:
        return str(self.secret_file(ENGINE))

    @property
    def objects_secret(self) -> str:
        return str(self.secret_file(OBJECTS))

    def secret(self, instance: str, name: str) -> str:
        return str(self.secret_of(instance, name))

    def files(self, instance: str) -> str:
        return str(self.files_of(instance))

    def data(self, instance: str) -> str:
        return str(self.data_of(instance))

    def port(self, instance: str, name: str, wish: Endpoint, target: int = 0) -> Port:
        got = self.ports.take(self.host, instance, name, wish)
        return Port(wish, bind=got, call=self.called(got), here=got)

    def binary(self, name: str) -> str:
        return str({"nats-server": bundled.nats_server, "envoy": bundled.envoy}[name]())

    def module(self, name: str) -> tuple[str, ...]:
        # -P keeps the working folder out of the import path.
        return (sys.executable, "-P", "-m", name)

    def main(self, service: str, folder: Path) -> tuple[str, ...]:
        own = folder / ".venv" / "bin" / "python"
        return (str(own) if own.exists() else sys.executable, str(folder / "main.py"))

    def spec(self, one: Instance) -> Mapping[str, Json]:
        part, program = one.part, one.program
        return ProcessSpec(
            argv=tuple(program.argv),
            env=self._imports(part) | self.env(part, one.name, program),
            files=program.files,
            cwd=str(program.cwd or self.data(one.name)),
            source=self._source(part, program),
            restart=part.restart.when,
            backoff=(part.restart.backoff.low, part.restart.backoff.high),
            stop_signal=program.stop_signal,
            stop_timeout=part.grace,
            ports={name: str(port.wish) for name, port in program.ports.items()},
            memory=part.resources.memory,
            cpus=part.resources.cpus,
            digests=digests_of(part),
            shared={self.nonce_name: ""}
            if self.nonce_name and NONCE_VARIABLE in program.env
            else {},
        ).to_json()

    def _source(self, part: Workload, program: Program) -> str:
        """The digest of all code that it runs; "" where what it runs from is named by that."""
        if program.source and program.cwd and _runs_code(part):
            return code_digest(program.cwd, self.api)
        return program.source

    def _imports(self, part: Workload) -> dict[str, str]:
        """Where a service finds what is generated: its folder is not installed anywhere."""
        return {"PYTHONPATH": str(self.api.parent)} if self.api and _runs_code(part) else {}


def code_digest(folder: Path, api: Path | None) -> str:
    """Of all that a service runs: its folder, and the package of the workspace's protobufs."""
    own = source_digest(folder)
    return f"{own}-{source_digest(api)}" if api and api.is_dir() else own


def _runs_code(part: Workload) -> bool:
    return isinstance(part, Service) and part.run is not None
