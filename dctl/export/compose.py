"""The parts of a cluster as services of docker compose, each instance one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dctl.engine.desired import desired
from dctl.export.cluster import Exported, Note, prepared, section_of
from dctl.export.routes import routes_job
from dctl.export.secrets import file_secrets, how_to_make, looks_secret, named
from dctl.export.site import ComposeSite, ground
from dctl.hosts.base import Check, Condition, Kind, Resource
from dctl.hosts.docker import ContainerSpec
from dctl.images.core import PYTHON
from dctl.spec import Loaded
from dctl.spec.units import duration_text, size_text
from dctl.spec.workload import Workload

FOLDER = "secrets"
"""Where the files of secrets are expected, beside the compose file."""

_CONDITIONS = {
    Condition.STARTED: "service_started",
    Condition.HEALTHY: "service_healthy",
    Condition.COMPLETED: "service_completed_successfully",
}
_RESTARTS = {"always": "always", "on-failure": "on-failure", "never": "no"}


def compose(loaded: Loaded, images: Mapping[str, str]) -> Exported:
    """The compose file of a spec. `images` are those of `images_of`."""
    cluster, notes = prepared(loaded.cluster)
    base = ground(loaded, cluster, images, ComposeSite)
    resources = desired(base)
    found = [r for r in resources if r.kind is Kind.CONTAINER]
    found += routes_job(base, [r for r in resources if r.kind is Kind.ROUTE])
    writer = _Writer(images, base.parts, found)
    services = {resource.name: writer.service(resource) for resource in found}
    document: dict[str, Any] = {"name": cluster.name, "services": services}
    for key, value in (
        ("configs", writer.configs),
        ("secrets", {name: {"file": f"./{FOLDER}/{name}"} for name in writer.secrets}),
        ("volumes", {name: {} for name in writer.volumes}),
    ):
        if value:
            document[key] = dict(sorted(value.items()))
    declared = {name: _source(secret) for name, secret in cluster.secrets.items()}
    return Exported(
        (document,),
        (*notes, *writer.notes),
        {
            **{name: how_to_make(name, declared) for name in sorted(writer.secrets)},
            **{f"${name}": "in the environment of compose" for name in sorted(writer.variables)},
        },
    )


def _source(secret: Any) -> str:
    given = secret.model_dump(exclude_defaults=True)
    return ", ".join(given)


class _Writer:
    """What services have in common is collected while they are written."""

    def __init__(
        self,
        images: Mapping[str, str],
        parts: Mapping[str, Workload],
        resources: list[Resource],
    ) -> None:
        self._parts = parts
        self._ours = set(images.values())
        self._by_name = {resource.name: resource for resource in resources}
        self.configs: dict[str, Any] = {}
        self.secrets: set[str] = set()
        self.variables: set[str] = set()
        self.volumes: set[str] = set()
        self.notes: list[Note] = []

    def service(self, resource: Resource) -> dict[str, Any]:
        spec = ContainerSpec.from_json(resource.spec)
        name = resource.name
        files, more = file_secrets(spec)
        made: dict[str, Any] = {
            "image": spec.image,
            "command": [_plain(word) for word in spec.command],
            "environment": {key: self._value(key, value) for key, value in spec.env.items()},
            "configs": [self._config(name, path, text) for path, text in files.items()],
            "secrets": [
                self._secret(path, named(source))
                for path, source in {**spec.secrets, **more}.items()
            ],
            "volumes": [self._volume(name, key, path) for key, path in spec.volumes.items()],
            "ports": [
                {
                    "target": port.container,
                    "host_ip": port.wish.host,
                    "published": str(port.wish.port),
                }
                for port in spec.ports.values()
                if port.wish.port
            ],
            "networks": {"default": {"aliases": list(spec.aliases)}},
            "healthcheck": self._health(resource, spec),
            "depends_on": dict(self._needs(resource)),
            "mem_limit": size_text(spec.memory).lower() if spec.memory else None,
            "cpus": spec.cpus,
            "restart": _RESTARTS[spec.restart],
            "stop_signal": f"SIG{spec.stop_signal}",
            "stop_grace_period": duration_text(spec.stop_timeout),
        }
        return {key: value for key, value in made.items() if value not in (None, [], {})}

    def _value(self, key: str, value: str) -> str:
        if looks_secret(key, value):
            self.variables.add(key)
            return f"${{{key}:?a secret, which is not written down}}"
        return _plain(value)

    def _config(self, instance: str, path: str, text: str) -> dict[str, Any]:
        name = _slug(f"{instance}-{path.rpartition('/')[2]}")
        while self.configs.get(name, {"content": _plain(text)}) != {"content": _plain(text)}:
            name += "_"
        self.configs[name] = {"content": _plain(text)}
        return {"source": name, "target": path}

    def _secret(self, path: str, name: str) -> dict[str, Any]:
        self.secrets.add(name)
        return {"source": name, "target": path}

    def _volume(self, instance: str, key: str, path: str) -> dict[str, Any]:
        self.volumes.add(f"{instance}-{key}")
        return {"type": "volume", "source": f"{instance}-{key}", "target": path}

    def _health(self, resource: Resource, spec: ContainerSpec) -> dict[str, Any] | None:
        check = resource.check
        test = self._test(check, spec) if check else None
        if check is None:
            return None
        if test is None:
            self.notes.append(
                Note(
                    (section_of(self._parts[resource.service]), resource.service, "health"),
                    f"not exported: compose asks by commands, and what is in {spec.image} is not"
                    " known; `exec` names one",
                )
            )
            return None
        # A Python has to start for each question, which takes a third of a second of a core.
        ours = test[0] == PYTHON
        timeout = max(check.timeout, 5.0) if ours else check.timeout
        interval = max(check.interval, 5.0) if ours else check.interval
        return {
            "test": ["CMD", *map(_plain, test)],
            "interval": duration_text(interval),
            "timeout": duration_text(timeout),
            "retries": check.retries,
            "start_period": duration_text(check.start),
        }

    def _test(self, check: Check, spec: ContainerSpec) -> tuple[str, ...] | None:
        if check.type == "exec":
            return check.argv
        if spec.image not in self._ours:
            return None
        return (PYTHON, "-P", "-m", "chassis.probe", check.type, check.target)

    def _needs(self, resource: Resource) -> Iterator[tuple[str, Any]]:
        for need in resource.needs:
            other = self._by_name.get(need.resource)
            if other is None:
                continue
            condition = need.condition
            spec = ContainerSpec.from_json(other.spec)
            asked = other.check and self._test(other.check, spec)
            if condition is Condition.HEALTHY and not asked:
                condition = Condition.STARTED
            yield need.resource, {"condition": _CONDITIONS[condition]}


def _plain(text: str) -> str:
    """Text in which compose replaces nothing."""
    return text.replace("$", "$$")


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)
