"""What Tekton is given for a workspace: tasks, a pipeline of them, and what they may do. Pure.

What somebody gives to a run reaches a script as a variable, never as a part of its text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

API = "tekton.dev/v1"
ACCOUNT = "draft-pipelines"
LABEL = "app.kubernetes.io/part-of"
_DIND = "docker:28-dind"
_SOURCE = {"name": "source", "mountPath": "/workspace/source"}
_HOME = "/tekton/home"

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A workspace, as its pipelines see it: its cluster's name, where it is kept, its main branch,
    where its images go, and the image with the tools that steps run."""

    cluster: str
    repo: str
    trunk: str
    registry: str
    tools: str

    @property
    def namespace(self) -> str:
        return f"{self.cluster}-pipelines"

    @property
    def url(self) -> str:
        """Whence git gets it: `github.com/acme/shop` is for people."""
        plain = "://" in self.repo or "@" in self.repo or self.repo.startswith("/")
        return self.repo if plain else f"https://{self.repo}"


def access(wanted: Wanted) -> list[Manifest]:
    """Namespaces, and the account of the runs: it may change what an export has, and no more."""
    name, space = ACCOUNT, wanted.namespace
    subject = {"kind": "ServiceAccount", "name": name, "namespace": space}
    role = {"apiGroup": "rbac.authorization.k8s.io"}
    change = ["get", "list", "watch", "create", "update", "patch", "delete"]
    rules = [
        {"apiGroups": [group], "resources": resources, "verbs": change}
        for group, resources in (
            ("", ["configmaps", "services", "persistentvolumeclaims"]),
            ("apps", ["deployments", "statefulsets"]),
            ("batch", ["jobs"]),
            ("networking.k8s.io", ["ingresses"]),
            ("policy", ["poddisruptionbudgets"]),
        )
    ]
    own = {
        "apiGroups": [""],
        "resources": ["namespaces"],
        "resourceNames": [wanted.cluster],
        "verbs": ["get", "patch"],
    }
    everywhere = f"{name}-{wanted.cluster}"
    return [
        _object("v1", "Namespace", wanted.cluster, wanted),
        _object("v1", "Namespace", space, wanted),
        _object("v1", "ServiceAccount", name, wanted, space),
        _object(_RBAC, "Role", name, wanted, wanted.cluster) | {"rules": rules},
        _object(_RBAC, "RoleBinding", name, wanted, wanted.cluster)
        | {"subjects": [subject], "roleRef": role | {"kind": "Role", "name": name}},
        _object(_RBAC, "ClusterRole", everywhere, wanted) | {"rules": [own]},
        _object(_RBAC, "ClusterRoleBinding", everywhere, wanted)
        | {"subjects": [subject], "roleRef": role | {"kind": "ClusterRole", "name": everywhere}},
    ]


_RBAC = "rbac.authorization.k8s.io/v1"


def tasks(wanted: Wanted) -> list[Manifest]:
    """Fetch, test, images, deploy."""
    fetch = """\
git config --global --add safe.directory '*'
git clone --quiet "$REPO" .
git -c advice.detachedHead=false checkout --quiet "$REVISION"
git rev-parse HEAD | tr -d '\\n' > "$COMMIT"
"""
    test = """\
dctl api build
dctl test
"""
    images = """\
until docker version >/dev/null 2>&1; do sleep 1; done
dctl release image --registry "$REGISTRY" --version "$VERSION"
"""
    deploy = """\
dctl export kubernetes --registry "$REGISTRY" --tag "$VERSION" --out "$HOME/manifests.yaml"
kubectl apply --filename "$HOME/manifests.yaml"
kubectl --namespace "$CLUSTER" rollout status deployment --timeout 10m
"""
    docker = {"name": "docker", "optional": True, "mountPath": f"{_HOME}/.docker"}
    engine = {
        "name": "engine",
        "image": _DIND,
        # An engine in a container needs to be one that may do all; the steps are not.
        "securityContext": {"privileged": True},
        "env": [{"name": "DOCKER_TLS_CERTDIR", "value": ""}],
        "args": ["--host=tcp://127.0.0.1:2375"],
    }
    return [
        _task(
            "fetch",
            wanted,
            ("repo", "revision"),
            fetch,
            env={"COMMIT": "$(results.commit.path)"},
        ),
        _task("test", wanted, (), test),
        _task(
            "images",
            wanted,
            ("registry", "version"),
            images,
            env={"DOCKER_HOST": "tcp://127.0.0.1:2375"},
            workspaces=[docker],
            sidecars=[engine],
        ),
        _task("deploy", wanted, ("registry", "version"), deploy, env={"CLUSTER": wanted.cluster}),
    ]


def pipeline(wanted: Wanted) -> Manifest:
    """All of them, one after the other; deployed only where a run asks for it."""
    steps = []
    before = ""
    for name, params in _PARAMS.items():
        step: dict[str, Any] = {
            "name": name,
            "taskRef": {"name": _name(name)},
            "params": [{"name": each, "value": f"$(params.{each})"} for each in params],
            "workspaces": [{"name": "source", "workspace": "source"}],
        }
        if before:
            step["runAfter"] = [before]
        if name == "images":
            step["workspaces"].append({"name": "docker", "workspace": "docker"})
        if name == "deploy":
            step["when"] = [{"input": "$(params.deploy)", "operator": "in", "values": ["yes"]}]
        steps.append({key: value for key, value in step.items() if value})
        before = name
    defaults = {
        "repo": wanted.url,
        "revision": wanted.trunk,
        "registry": wanted.registry,
        "version": None,
        "deploy": "no",
    }
    declared = [
        {"name": name, "type": "string"} | ({"default": value} if value is not None else {})
        for name, value in defaults.items()
    ]
    return _object(API, "Pipeline", wanted.cluster, wanted, wanted.namespace) | {
        "spec": {
            "params": declared,
            "workspaces": [{"name": "source"}, {"name": "docker", "optional": True}],
            "tasks": steps,
        }
    }


def run(
    wanted: Wanted,
    *,
    version: str,
    revision: str = "",
    deploy: bool = False,
    docker_secret: str = "",
    storage: str = "2Gi",
) -> Manifest:
    """One run of the pipeline. `docker_secret` names the Secret with the logins of registries."""
    params = {"version": version, "deploy": "yes" if deploy else "no", "revision": revision}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}
    workspaces: list[dict[str, Any]] = [
        {"name": "source", "volumeClaimTemplate": {"spec": claim}},
    ]
    if docker_secret:
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        secret = {"secretName": docker_secret, "items": items}
        workspaces.append({"name": "docker", "secret": secret})
    made = _object(API, "PipelineRun", "", wanted, wanted.namespace)
    del made["metadata"]["name"]
    made["metadata"]["generateName"] = f"{wanted.cluster}-"
    return made | {
        "spec": {
            "pipelineRef": {"name": wanted.cluster},
            "params": [{"name": name, "value": value} for name, value in params.items() if value],
            "workspaces": workspaces,
            "taskRunTemplate": {
                "serviceAccountName": ACCOUNT,
                "podTemplate": {"securityContext": {"fsGroup": 65532}},
            },
        }
    }


def dockerfile(version: str) -> str:
    """What the image with the tools is made of."""
    return f"""\
# The tools that the steps of the pipelines run. Build and push it once for each version of Draft:
#   docker build -f pipelines/tools.Dockerfile -t REGISTRY/draft-tools:{version} pipelines
FROM python:3.12-slim
RUN apt-get update \\
 && apt-get install -y --no-install-recommends docker.io git kubernetes-client \\
 && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir "draft[all]=={version}" pytest pytest-asyncio
"""


_PARAMS = {
    "fetch": ("repo", "revision"),
    "test": (),
    "images": ("registry", "version"),
    "deploy": ("registry", "version"),
}


def _task(
    name: str,
    wanted: Wanted,
    params: tuple[str, ...],
    script: str,
    *,
    env: Mapping[str, str] | None = None,
    workspaces: list[dict[str, Any]] | None = None,
    sidecars: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    given = {each.upper(): f"$(params.{each})" for each in params} | {"HOME": _HOME}
    step = {
        "name": name,
        "image": wanted.tools,
        "workingDir": "$(workspaces.source.path)",
        "env": [{"name": key, "value": value} for key, value in {**given, **(env or {})}.items()],
        "script": f"#!/bin/sh\nset -eu\n{script}",
    }
    spec: dict[str, Any] = {
        "params": [{"name": each, "type": "string"} for each in params],
        "workspaces": [_SOURCE, *(workspaces or [])],
        "results": [{"name": "commit", "type": "string"}] if name == "fetch" else [],
        "steps": [step],
        "sidecars": sidecars or [],
    }
    return _object(API, "Task", _name(name), wanted, wanted.namespace) | {
        "spec": {key: value for key, value in spec.items() if value}
    }


def _name(task: str) -> str:
    return f"draft-{task}"


def _object(api: str, kind: str, name: str, wanted: Wanted, namespace: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    labels = {LABEL: wanted.namespace, "app.kubernetes.io/managed-by": "dctl"}
    if not (kind == "Namespace" and name == wanted.cluster):
        metadata["labels"] = labels  # `clean` goes by them, and never takes the cluster itself
    return {"apiVersion": api, "kind": kind, "metadata": metadata}
