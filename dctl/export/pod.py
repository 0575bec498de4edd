"""A container as a pod of Kubernetes: its template, and what it is told by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from dctl.export.secrets import file_secrets, looks_secret, named
from dctl.hosts.base import Check
from dctl.hosts.docker import ContainerSpec, PublishedPort
from dctl.images.core import NATS_SERVER
from dctl.spec.workload import Workload

_USER = 10001  # of the images that dctl builds
_KEY = "value"  # of each Secret that holds one thing


def metadata(cluster: str, part: str, *, name: str = "") -> dict[str, Any]:
    """Of whatever belongs to a part."""
    labels = {
        "app.kubernetes.io/name": part,
        "app.kubernetes.io/part-of": cluster,
        "app.kubernetes.io/managed-by": "dctl",
    }
    return {"name": name or part, "namespace": cluster, "labels": labels}


@dataclass(frozen=True)
class Pod:
    """What one replica of a `part` runs. The images in `ours` are dctl's, whose user is known."""

    cluster: str
    part: str
    spec: ContainerSpec
    check: Check | None
    ours: frozenset[str]

    @property
    def selector(self) -> dict[str, str]:
        return {"app.kubernetes.io/name": self.part}

    @property
    def ports(self) -> dict[str, PublishedPort]:
        """By their names, as Kubernetes allows them: 15 characters with a letter."""
        return {f"{name[:15].strip('-')}": port for name, port in self.spec.ports.items()}

    @property
    def volumes(self) -> Mapping[str, str]:
        return self.spec.volumes

    @cached_property
    def _files(self) -> tuple[dict[str, str], dict[str, str]]:
        return file_secrets(self.spec)

    @property
    def files(self) -> dict[str, str]:
        """Path -> text of what can be written down."""
        return self._files[0]

    @cached_property
    def secrets(self) -> dict[str, str]:
        """Path -> the name of the Secret that is there."""
        of_spec = {path: _name(named(source)) for path, source in self.spec.secrets.items()}
        return {**of_spec, **{path: _name(name) for path, name in self._files[1].items()}}

    @property
    def secret_names(self) -> set[str]:
        return {*self.secrets.values()}

    @property
    def environment(self) -> str:
        """The Secret with what looks like one in the environment."""
        return f"{self.part}-environment"

    @property
    def variables(self) -> list[str]:
        return [key for key, value in self.spec.env.items() if looks_secret(key, value)]

    def config_maps(self) -> Iterator[dict[str, Any]]:
        if self.files:
            yield {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": metadata(self.cluster, self.part),
                "data": {_key(path): text for path, text in self.files.items()},
            }

    def template(self, part: Workload) -> dict[str, Any]:
        """The pod template; it names a digest of its files, for a change of one is a change."""
        ours = self.spec.image in self.ours
        spec: dict[str, Any] = {
            # It would tell of every service as a variable: NATS_PORT=tcp://...
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": max(1, round(self.spec.stop_timeout)),
            "containers": [self._container()],
            "volumes": [*self._config_volumes(), *self._secret_volumes()],
        }
        if ours:
            spec["securityContext"] = {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
            }
        labels = metadata(self.cluster, self.part)["labels"]
        return {
            "metadata": {"labels": labels, "annotations": {"draft/files": self._digest()}},
            "spec": {key: value for key, value in spec.items() if value != []},
        }

    def _digest(self) -> str:
        import hashlib
        import json

        text = json.dumps(self.files, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _container(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "name": self.part,
            "image": self.spec.image,
            "args": [word.replace("$(", "$$(") for word in self.spec.command],
            "env": [*_POD, *(self._variable(key, value) for key, value in self.spec.env.items())],
            "ports": [
                {"name": name, "containerPort": port.container} for name, port in self.ports.items()
            ],
            "volumeMounts": [
                *({"name": name, "mountPath": path} for name, path in self.volumes.items()),
                *(
                    {"name": "files", "mountPath": path, "subPath": _key(path), "readOnly": True}
                    for path in self.files
                ),
                *(
                    {
                        "name": f"secret-{name}",
                        "mountPath": path,
                        "subPath": _KEY,
                        "readOnly": True,
                    }
                    for path, name in self.secrets.items()
                ),
            ],
            "resources": self._resources(),
            "readinessProbe": _probe(self.check) if self.check else None,
            "lifecycle": self._lifecycle(),
        }
        if self.spec.image in self.ours:
            made["securityContext"] = {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
        return {key: value for key, value in made.items() if value not in (None, [], {})}

    def _variable(self, key: str, value: str) -> dict[str, Any]:
        if key in self.variables:
            of = {"secretKeyRef": {"name": self.environment, "key": key}}
            return {"name": key, "valueFrom": of}
        return {"name": key, "value": value}

    def _resources(self) -> dict[str, Any]:
        limits = {}
        if self.spec.memory:
            limits["memory"] = str(self.spec.memory)
        if self.spec.cpus:
            limits["cpu"] = f"{round(self.spec.cpus * 1000)}m"
        return {"requests": limits, "limits": limits} if limits else {}

    def _lifecycle(self) -> dict[str, Any] | None:
        if self.spec.stop_signal == "TERM":
            return None
        # A node of several hands over what it leads before it goes, and ends by itself.
        command = [NATS_SERVER, "--signal", "ldm=1"]
        return {"preStop": {"exec": {"command": command}}}

    def _config_volumes(self) -> Iterator[dict[str, Any]]:
        if self.files:
            yield {"name": "files", "configMap": {"name": self.part}}

    def _secret_volumes(self) -> Iterator[dict[str, Any]]:
        for name in sorted(self.secret_names):
            # fsGroup owns it, and the program is of that group.
            secret = {"secretName": name, "defaultMode": 0o440}
            yield {"name": f"secret-{name}", "secret": secret}


_POD: tuple[dict[str, Any], ...] = (
    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
)


def _probe(check: Check) -> dict[str, Any]:
    """Readiness alone: health is no reason to restart, for a restart does not bring back what is
    away."""
    how: dict[str, Any]
    match check.type:
        case "exec":
            how = {"exec": {"command": list(check.argv)}}
        case "http":
            url = urlsplit(check.target)
            how = {"httpGet": {"path": url.path or "/", "port": url.port}}
        case "grpc":
            how = {"grpc": {"port": int(check.target.rpartition(":")[2])}}
        case "tcp":
            how = {"tcpSocket": {"port": int(check.target.rpartition(":")[2])}}
    return {
        **how,
        "periodSeconds": max(1, round(check.interval)),
        "timeoutSeconds": max(1, round(check.timeout)),
        "failureThreshold": check.retries,
    }


def _key(path: str) -> str:
    """The key of a file in its ConfigMap."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", path.lstrip("/"))


def _name(text: str) -> str:
    return re.sub(r"[^a-z0-9-]", "-", text.lower()).strip("-")[:50]
