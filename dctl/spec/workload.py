"""What a workload may say: how it runs, stays well, starts in order and is reached."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from dctl.spec.types import (
    AbsolutePath,
    Argv,
    Backoff,
    Condition,
    Count,
    Cpus,
    Duration,
    EnvName,
    Flag,
    Image,
    Interval,
    Listen,
    Name,
    Named,
    On,
    Positive,
    Profiles,
    Range,
    Runtime,
    Settings,
    Size,
    Some,
    Text,
    Texts,
    UrlPath,
    Written,
)


class Part(BaseModel):
    """Root of the spec's models: values that never change. `x-...` keys are left out, a key with
    an empty value counts as absent, any other unknown key is an error.

    Given a dict as validation context, it notes which model read which mapping (by identity):
    so an error can name the keys that were possible."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_extensions(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        if info.context is not None:
            info.context[id(data)] = cls
        fields = {field.alias or name for name, field in cls.model_fields.items()}
        return {
            key: value
            for key, value in data.items()
            if not str(key).startswith("x-") and not (value is None and key in fields)
        }


class Health(Part):
    """How health is asked for: exactly one of grpc, http, tcp and exec. Unhealthy after `retries`
    failures in a row; failures in the first `start` do not count."""

    grpc: Flag = False
    http: UrlPath | None = None
    tcp: Flag = False
    exec: Argv = ()
    port: Name | None = Field(None, description="which port; default: the only or first one")
    interval: Interval = 1.0
    timeout: Interval = 2.0
    retries: Positive = 3
    start: Duration = 30.0


class Restart(Part):
    """When a process that ended is started again, and how long to wait before."""

    when: Literal["always", "on-failure", "never"] = "always"
    backoff: Backoff = Range(1.0, 30.0)


class Update(Part):
    """How replicas are exchanged."""

    order: Literal["start-first", "stop-first"] = "start-first"
    parallel: Positive = 1
    monitor: Duration = Field(
        0.0, description="how long all have to stay well after the last exchange"
    )
    auto_rollback: Flag = Field(True, description="all go back when one does not get or stay well")


class Resources(Part):
    """The most that one replica may use."""

    memory: Size | None = None
    cpus: Cpus | None = None


class Route(Part):
    """A route at the ingress to the replicas of the service that declares it."""

    prefix: UrlPath
    host: Text = ""
    headers: dict[Some, Written] = Field({}, description="headers that must have these values")
    grpc: Flag = Field(False, description="match gRPC requests only")
    http2: Flag = Field(True, description="gRPC; false for plain HTTP, passed through untouched")
    port: Name | None = Field(None, description="which port; default: the only or first one")
    timeout: Interval | None = None
    retries: Count = 0
    rewrite_prefix: UrlPath | None = None


class Workload(Part):
    """What core parts, backing services and the user's services have in common."""

    on: On | None = Field(None, description="a host's name, or labels; default: any host")
    runtime: Runtime | None = Field(None, description="default: the host's, then the cluster's")
    env: dict[EnvName, Written] = Field(
        {}, description="of a value that is secret://name it gets the file, as <NAME>_FILE"
    )
    config: Settings = Field({}, description="merged into the service's config.yaml")
    health: Health | None = None
    depends_on: Named[Condition] = {}
    restart: Restart = Restart()
    update: Update = Update()
    resources: Resources = Resources()
    grace: Duration = Field(10.0, description="from the polite request to stop to the kill")


class Permissions(Part):
    """Prefixes of the keys in Blueprint that a service may read and write; not given: all. Who may
    write reads too where that is given."""

    read: Texts | None = None
    write: Texts | None = None


class Service(Workload):
    """One of the user's services: exactly one of run, command and image."""

    run: Some | None = Field(None, description="a Python service folder of the workspace")
    command: Argv = Field((), description="a program and its arguments")
    image: Image | None = None
    replicas: Count = 1
    profiles: Profiles = Field((), description="there only with one of these; default: always")
    group: Text = Field("", description="the group under which it registers")
    permissions: Permissions | None = Field(None, description="for `security: {calls: token}`")
    ports: Named[Listen] = {}
    routes: tuple[Route, ...] = ()
    volumes: Named[AbsolutePath] = {}
    files: dict[AbsolutePath, Some] = Field({}, description="target: file of the workspace")
    objects: Flag = Field(False, description="it keeps large objects in the engine, in its bucket")


class Backing(Workload):
    """A backing service: exactly one of from (the catalogue) and image."""

    source: Name | None = Field(None, alias="from", description="an entry of the catalogue")
    profiles: Profiles = Field((), description="there only with one of these; default: always")
    version: Written = ""
    image: Image | None = None
    command: Argv = ()
    ports: tuple[Listen, ...] = ()
    volumes: Named[AbsolutePath] = {}
    files: dict[AbsolutePath, Some] = {}
