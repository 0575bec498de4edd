"""Supervised processes of this machine."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from dctl import __version__
from dctl.engine.catalogue.parts import CORE_PARTS
from dctl.engine.catalogue.processes import ProcessSite, code_digest
from dctl.engine.catalogue.site import NONCE, Site, own_nonces
from dctl.engine.ports import PortBook
from dctl.engine.runtimes.base import Restored, Say, Settled
from dctl.hosts.base import Host, Kind, Reader, Resource
from dctl.secrets.references import secret_name
from dctl.workspace import generated


class Processes:
    """One host: this machine."""

    def __init__(self, settled: Settled, say: Say) -> None:
        self._settled, self._say = settled, say
        self._name = settled.cluster.name

    def readers(self) -> Mapping[str, Reader]:
        from dctl.hosts.process import ProcessReader

        host = self._settled.host
        return {
            host: ProcessReader(
                self._name, workspace=self._settled.root, host=host, own=self._settled.own
            )
        }

    def hosts(self) -> Mapping[str, Host]:
        from dctl.hosts.process import ProcessHost

        host = self._settled.host
        own = ProcessHost(
            self._name, workspace=self._settled.root, host=host, own=self._settled.own
        )
        own.secrets, own.say = self._settled.secrets, self._say
        return {host: own}

    def site(self, ports: PortBook) -> Site:
        from dctl.hosts.process import data_dir, delivered_file, instance_dir, secret_file

        return ProcessSite(
            host=self._settled.host,
            ports=ports,
            address=self._settled.address,
            variables=self._settled.variables,
            files_of=functools.partial(instance_dir, self._name),
            data_of=functools.partial(data_dir, self._name),
            secret_of=functools.partial(delivered_file, self._name),
            own_nonces=own_nonces(self._settled.cluster),
            secret_file=functools.partial(secret_file, self._name),
            nonce_file=secret_file(self._name, NONCE) if self._settled.nonce_from else None,
            nonce_name=secret_name(self._settled.nonce_from),
            api=self._api,
        )

    @functools.cached_property
    def _api(self) -> Path | None:
        return generated(self._settled.root)

    def resources(self) -> list[Resource]:
        return []

    def let_go(self, needed: Sequence[Resource]) -> None:
        """A process runs from the workspace, which is the user's."""

    def restored(self, resources: Sequence[Resource]) -> Restored:
        """Configuration comes back, code does not: a process runs what stands on the disk today."""
        found: list[Resource] = []
        changed: dict[str, None] = {}
        lacking: list[str] = []
        for resource in resources:
            then = resource.spec.get("source") if resource.kind is Kind.PROCESS else None
            if not then:
                found.append(resource)
                continue
            now = self._code(resource)
            if now is None:
                folder = resource.spec["cwd"]
                lacking.append(f"{resource.name} ran from {folder}, which is no longer there")
            elif now != then:
                code = (
                    "dctl's own" if resource.service in CORE_PARTS else f"in {resource.spec['cwd']}"
                )
                changed[f"{resource.service} runs today's code ({code}), not that of then"] = None
            found.append(_with_source(resource, now))
        return Restored(tuple(found), tuple(changed), tuple(lacking))

    def _code(self, resource: Resource) -> str | None:
        """The digest of the code that a process would run now."""
        if resource.service in CORE_PARTS:
            return __version__
        folder = Path(resource.spec["cwd"])
        return code_digest(folder, self._api) if folder.is_dir() else None


def _with_source(resource: Resource, source: str | None) -> Resource:
    """The same with another digest of its code, and so for what stands in for it."""
    rollout = resource.rollout
    if rollout and rollout.stand_in:
        stand_in = _with_source(rollout.stand_in, source)
        rollout = dataclasses.replace(rollout, stand_in=stand_in)
    spec = {**resource.spec, "source": source or ""}
    return dataclasses.replace(resource, spec=spec, rollout=rollout)
