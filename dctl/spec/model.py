"""The cluster spec, typed: what the engine and everything after it work with.

The model decides types and single values; rules between values are in validate.py, where the
positions are. A field that this version cannot carry out is accepted here and refused there where
it would be carried out.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dctl.spec.core import Core
from dctl.spec.types import (
    Argv,
    EnvName,
    Flag,
    Image,
    Name,
    Named,
    Nonce,
    PackageName,
    Rate,
    Runtime,
    Some,
    Ssh,
    Text,
    Texts,
    Written,
)
from dctl.spec.workload import Backing, Part, Service

API_VERSION = "draft/v1"


class Group(Part):
    """What several hosts have in common. A host's own word wins; where a host is in two groups,
    they must agree. Labels and variables are merged one by one."""

    hosts: Texts = Field((), description="the names of its hosts")
    via: Name | None = Field(None, description="the host through which they are reached")
    key: Some | None = Field(None, description="file of the private key")
    labels: dict[Some, Written] = Field({}, description="what `on` selects by")
    variables: dict[EnvName, Written] = Field(
        {}, description="environment variables of what is placed there; a workload's `env` wins"
    )
    runtime: Runtime | None = None


class Host(Part):
    """A machine. Without `ssh` it is this one."""

    ssh: Ssh | None = None
    via: Name | None = Field(None, description="the host through which it is reached")
    key: Some | None = Field(None, description="file of the private key")
    address: Text = Field("", description="the address that the other hosts use")
    labels: dict[Some, Written] = Field({}, description="what `on` selects by")
    variables: dict[EnvName, Written] = Field(
        {}, description="environment variables of what is placed there; a workload's `env` wins"
    )
    runtime: Runtime | None = None


class Secret(Part):
    """Where a secret comes from: exactly one of file, env, exec and store."""

    file: Some | None = Field(None, description="a file that holds it and nothing else")
    env: Some | None = Field(None, description="environment variable of dctl's own")
    exec: Argv = Field((), description="a command that prints it")
    store: Some | None = Field(None, description="key in the workspace's encrypted store")


class Security(Part):
    """`nonce`: a secret's reference, `any` to accept every one; without it dctl makes one."""

    tls: Flag = Field(
        False, description="all that parts say to each other is encrypted, between proven ends"
    )
    nonce: Nonce | None = None
    calls: Literal["any", "token"] = Field(
        "any", description="token: calls to the core services prove who makes them"
    )
    rate: Rate = Field(0, description="calls a second that one caller may make; 0: any number")
    audit: Flag = Field(False, description="Blueprint's log tells who wrote which key, from where")


class Observability(Part):
    """What can be seen of the services that are built on the chassis, the core ones too."""

    metrics: Flag = Field(
        False, description="each gets a port for Prometheus, which dctl picks and keeps"
    )


class Images(Part):
    """How images are built for the container runtime."""

    base: Image = Field("python:3.12-slim", description="glibc and Python 3.11 or newer")


class Cluster(Part):
    """The whole spec."""

    api_version: Literal["draft/v1"] = Field(alias="apiVersion")
    kind: Literal["Cluster"]
    name: Name
    requires: Text = Field("", description="of dctl, such as >=0.1")
    inventory: Texts = Field((), description="files with hosts, relative to the spec")
    include: Texts = Field((), description="further specs, relative to this one")
    groups: Named[Group] = Field({}, description="what hosts have in common")
    hosts: Named[Host] = Field({}, description='none at all: this machine, named "local"')
    runtime: Runtime = "process"
    images: Images = Images()
    core: Core = Core()
    security: Security = Security()
    observability: Observability = Observability()
    secrets: Named[Secret] = Field({})
    infra: Named[Backing] = Field({})
    services: Named[Service] = Field({})


class Inventory(Part):
    """A file of hosts, shared by specs."""

    groups: Named[Group] = Field({})
    hosts: Named[Host] = Field({})


class ApiFolders(Part):
    """The workspace's protobufs: where they are, and into which package they are generated."""

    folder: Some = "api"
    package: PackageName
    out: Some = "api/gen"
    languages: tuple[Literal["go", "typescript"], ...] = Field(
        (), description="besides Python; each needs its plugin of protoc"
    )


class WorkspaceFile(Part):
    """`draft.yaml`, at the root of a workspace; paths start there."""

    name: Name
    repo: Some | None = Field(None, description="where it is kept, such as github.com/acme/shop")
    trunk_branch: Some = Field("main", description="the branch that releases are made of")
    environments: tuple[Name, ...] = Field(
        (), description="the overlays cluster.<name>.yaml that it has, for -e"
    )
    cluster: Some | None = Field(None, description="the cluster spec that is meant by default")
    api: ApiFolders | None = None
