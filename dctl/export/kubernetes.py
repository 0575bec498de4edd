"""The parts of a cluster as manifests of Kubernetes, in a namespace of its name.

A part is a Deployment, and a StatefulSet where it keeps something: the engine, and services with
volumes. What Kubernetes does itself is left to it: where pods run, in which order they start.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from dctl.engine.catalogue.ground import Ground
from dctl.engine.desired import desired
from dctl.export.cluster import Exported, Note, prepared, section_of
from dctl.export.pod import Pod, metadata
from dctl.export.routes import JOB, routes_job
from dctl.export.secrets import how_to_make
from dctl.export.site import KubernetesSite, ground
from dctl.hosts.base import Kind, Resource
from dctl.spec import Loaded
from dctl.spec.core import Nats
from dctl.spec.problems import Path
from dctl.spec.types import LOOPBACK
from dctl.spec.workload import Workload

_ROOM = 1 << 30  # bytes of a volume about whose size the spec says nothing

Manifest = Mapping[str, Any]


def kubernetes(
    loaded: Loaded,
    images: Mapping[str, str],
    *,
    ingress: str = "",
    storage_class: str = "",
) -> Exported:
    """The manifests of a spec. `images` are those of `images_of`; `ingress` is the name under which
    the outside calls."""
    cluster, notes = prepared(loaded.cluster)
    base = ground(loaded, cluster, images, KubernetesSite)
    writer = _Writer(base, storage_class)
    resources = desired(base)
    containers = [r for r in resources if r.kind is Kind.CONTAINER]
    parts = [next(group) for _, group in itertools.groupby(containers, lambda r: r.service)]
    documents: list[Manifest] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": cluster.name}}
    ]
    for resource in parts:
        documents += writer.part(resource)
    for job in routes_job(base, [r for r in resources if r.kind is Kind.ROUTE]):
        documents += writer.job(job)
    if ingress and cluster.core.envoy is not False:
        documents.append(writer.ingress(ingress))
    declared = {
        name: ", ".join(secret.model_dump(exclude_defaults=True))
        for name, secret in cluster.secrets.items()
    }
    made = {name: how_to_make(name, declared) for name in sorted(writer.secrets)}
    variables = {
        secret: f"{', '.join(names)} of the environment, a key each"
        for secret, names in sorted(writer.variables.items())
    }
    return Exported(tuple(documents), (*notes, *writer.notes), {**made, **variables})


class _Writer:
    """The manifests of a cluster's parts; secrets and notes are collected on the way."""

    def __init__(self, base: Ground, storage_class: str) -> None:
        self._base = base
        self._class = storage_class
        self.secrets: set[str] = set()
        self.variables: dict[str, list[str]] = {}
        self.notes: list[Note] = []

    def part(self, resource: Resource) -> Iterator[Manifest]:
        name = resource.service
        part = self._base.parts[name]
        pod = self._pod(resource)
        at: Path = (section_of(part), name)
        yield from pod.config_maps()
        if pod.ports:
            yield self._service(pod, part, at)
        replicas = len(self._base.instances[name])
        if isinstance(part, Nats) and replicas > 1:
            yield self._disruptions(name)
        self._note(part, at)
        if part.restart.when == "never":
            yield self._once(pod, part, name)
        elif pod.volumes:
            yield self._stateful(pod, part, replicas)
        else:
            yield self._deployment(pod, part, replicas)

    def job(self, resource: Resource) -> Iterator[Manifest]:
        """A job is another one when what it does is another thing: it cannot be changed."""
        pod = self._pod(resource)
        yield from pod.config_maps()
        text = json.dumps(pod.files, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        yield self._once(pod, Workload(), f"{JOB}-{digest}", on_failure=True)

    def ingress(self, host: str) -> Manifest:
        backend = {"service": {"name": "envoy", "port": {"name": "ingress"}}}
        path = {"path": "/", "pathType": "Prefix", "backend": backend}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": metadata(self._base.cluster.name, "envoy"),
            "spec": {"rules": [{"host": host, "http": {"paths": [path]}}]},
        }

    def _pod(self, resource: Resource) -> Pod:
        site = self._base.sites[resource.host]
        assert isinstance(site, KubernetesSite)
        pod = Pod(
            self._base.cluster.name,
            resource.service,
            site.told(resource.spec),
            resource.check,
            ours=frozenset(site.images.values()),
        )
        self.secrets |= pod.secret_names
        if pod.variables:
            self.variables[pod.environment] = pod.variables
        return pod

    def _service(self, pod: Pod, part: Workload, at: Path) -> Manifest:
        ports = [
            {"name": name, "port": port.container, "targetPort": name}
            for name, port in pod.ports.items()
        ]
        spec: dict[str, Any] = {"selector": pod.selector, "ports": ports}
        if pod.volumes:
            # Each pod has a name of its own, also before it is ready: nodes find each other by it.
            spec |= {"clusterIP": "None", "publishNotReadyAddresses": isinstance(part, Nats)}
        elif pod.part == "envoy":
            spec["ports"] = [port for port in ports if port["name"] == "ingress"]
            outside = pod.ports["ingress"].wish.host != LOOPBACK
            spec["type"] = "LoadBalancer" if outside else "ClusterIP"
            if not outside:
                self.notes.append(
                    Note(
                        (*at, "listen"),
                        "is on loopback, so nothing outside reaches it: kubectl port-forward"
                        " svc/envoy, --ingress HOST, or an address in `listen` for a LoadBalancer",
                    )
                )
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(pod.cluster, pod.part),
            "spec": spec,
        }

    def _deployment(self, pod: Pod, part: Workload, replicas: int) -> Manifest:
        first = part.update.order == "start-first"
        rolling: dict[str, Any] = {
            "maxSurge": part.update.parallel if first else 0,
            "maxUnavailable": 0 if first else part.update.parallel,
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata(pod.cluster, pod.part),
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": pod.selector},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
                **_watched(part),
                "template": pod.template(part),
            },
        }

    def _stateful(self, pod: Pod, part: Workload, replicas: int) -> Manifest:
        size = part.max_store * 5 // 4 if isinstance(part, Nats) else _ROOM
        if not isinstance(part, Nats):
            self.notes.append(
                Note(
                    (section_of(part), pod.part, "volumes"),
                    f"a spec does not say how large they are: {size >> 30} GiB each",
                )
            )
        claims = [
            {
                "metadata": {"name": name},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    **({"storageClassName": self._class} if self._class else {}),
                    "resources": {"requests": {"storage": str(size)}},
                },
            }
            for name in pod.volumes
        ]
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": metadata(pod.cluster, pod.part),
            "spec": {
                "replicas": replicas,
                "serviceName": pod.part,
                # They are well only when most are there: one after the other none would be.
                "podManagementPolicy": "Parallel" if isinstance(part, Nats) else "OrderedReady",
                "selector": {"matchLabels": pod.selector},
                **_watched(part),
                "template": pod.template(part),
                "volumeClaimTemplates": claims,
            },
        }

    def _once(self, pod: Pod, part: Workload, name: str, *, on_failure: bool = False) -> Manifest:
        template = pod.template(part)
        template["spec"]["restartPolicy"] = "OnFailure" if on_failure else "Never"
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata(pod.cluster, pod.part, name=name),
            "spec": {"backoffLimit": 10 if on_failure else 0, "template": template},
        }

    def _disruptions(self, name: str) -> Manifest:
        return {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata(self._base.cluster.name, name),
            "spec": {
                "maxUnavailable": 1,
                "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            },
        }

    def _note(self, part: Workload, at: Path) -> None:
        for other, condition in part.depends_on.items():
            if condition == "completed":
                words = "not exported: Kubernetes starts all at once, and nothing waits for a job"
                self.notes.append(Note((*at, "depends_on", other), words))
        if part.restart.when == "on-failure":
            words = "not exported: what runs for ever is started again whenever it ends"
            self.notes.append(Note((*at, "restart", "when"), words))


def _watched(part: Workload) -> dict[str, Any]:
    return {"minReadySeconds": round(part.update.monitor)} if part.update.monitor else {}
