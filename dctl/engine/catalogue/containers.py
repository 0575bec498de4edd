"""Parts as containers of one engine: a network of their own, in which names are addresses."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dctl.engine.catalogue.site import (
    ENGINE,
    NONCE_VARIABLE,
    OBJECTS,
    TLS_VARIABLE,
    Instance,
    Port,
    Site,
    digests_of,
    own_identity,
    own_nonce,
)
from dctl.hosts.base import Check, Condition, Endpoint, Json, Kind, Need
from dctl.hosts.docker import SECRETS, ContainerSpec, PublishedPort
from dctl.hosts.images import image_name
from dctl.images import core as image
from dctl.secrets.references import SCHEME, is_reference, secret_name

FILES = "/etc/draft"
NONCE_FILE = "/run/draft/nonce"
ENGINE_FILE = "/run/draft/engine"
OBJECTS_FILE = "/run/draft/objects"
IDENTITY_FILE = "/run/draft/tls"
CORE = "core"


@dataclass(frozen=True, kw_only=True)
class ContainerSite(Site):
    """`images` tells the tag for each of the user's service folders, and for the core as "core".
    `nonce_from` is the cluster's own secret, which each container that is told of it gets as a
    file; "" where it has none. `images_host` is the host that is the images of its engine."""

    kind = Kind.CONTAINER

    images: Mapping[str, str]
    nonce_from: str
    images_host: str = "images"

    @property
    def nonce(self) -> str:
        return NONCE_FILE if self.nonce_from else ""

    def nonce_of(self, service: str) -> str:
        return self.nonce  # each container has its own file

    def identity_of(self, service: str) -> str:
        return IDENTITY_FILE

    @property
    def engine_secret(self) -> str:
        return ENGINE_FILE

    @property
    def objects_secret(self) -> str:
        return OBJECTS_FILE

    def secret(self, instance: str, name: str) -> str:
        return f"{SECRETS}/{name}"

    def files(self, instance: str) -> str:
        return FILES

    def data(self, instance: str) -> str:
        return image.DATA

    def port(self, instance: str, name: str, wish: Endpoint, target: int = 0) -> Port:
        # Each container has all ports to itself, so any fixed number will do; one that depends on
        # the name alone keeps several ports of one container apart.
        inside = target or 50_000 + zlib.crc32(name.encode()) % 1000
        published = self.ports.take(self.host, instance, name, wish)
        return Port(
            wish,
            bind=Endpoint("0.0.0.0", inside),
            # Names of containers are known on their own engine only.
            call=self.called(published) if self.address else Endpoint(instance, inside),
            here=published,
        )

    def binary(self, name: str) -> str:
        return {"nats-server": image.NATS_SERVER, "envoy": image.ENVOY}[name]

    def module(self, name: str) -> tuple[str, ...]:
        return (image.PYTHON, "-P", "-m", name)

    def main(self, service: str, folder: Path) -> tuple[str, ...]:
        return ()  # its image knows

    def spec(self, one: Instance) -> Mapping[str, Json]:
        part, program = one.part, one.program
        mounts: dict[str, str] = {}
        secrets: dict[str, str] = {}
        for path, content in program.mounts.items():
            (secrets if is_reference(content) else mounts)[path] = content
        secrets |= {self.secret(one.name, name): SCHEME + name for name in digests_of(part)}
        if NONCE_VARIABLE in program.env:
            own = one.service in self.own_nonces
            secrets[NONCE_FILE] = own_nonce(one.service) if own else self.nonce_from
        if program.engine:
            secrets[ENGINE_FILE] = ENGINE
        if program.objects:
            secrets[OBJECTS_FILE] = OBJECTS
        if TLS_VARIABLE in program.env:
            secrets[IDENTITY_FILE] = own_identity(one.service)
        # A nonce of its own is made from the cluster's.
        of = [*secrets.values(), *([self.nonce_from] if NONCE_FILE in secrets else [])]
        return ContainerSpec(
            image=self._image(one),
            command=tuple(program.argv),
            env=self.env(part, one.name, program),
            files={f"{FILES}/{n}": text for n, text in program.files.items()} | mounts,
            aliases=(one.service,),
            secrets=secrets,
            digests=dict.fromkeys(sorted(filter(None, map(secret_name, of))), ""),
            volumes=program.volumes,
            ports={
                name: PublishedPort(port.bind.port, str(port.wish))
                for name, port in program.ports.items()
            },
            restart=part.restart.when,
            stop_signal=program.stop_signal,
            stop_timeout=part.grace,
            memory=part.resources.memory,
            cpus=part.resources.cpus,
            source=program.source,
        ).to_json()

    def stands_on(self, one: Instance) -> tuple[Need, ...]:
        return (Need(image_name(self.images_host, self._image(one)), Condition.HEALTHY),)

    def check(self, one: Instance) -> Check | None:
        check = one.program.check
        if check is not None and check.type == "exec":
            return dataclasses.replace(check, target=one.name)
        return check

    def _image(self, one: Instance) -> str:
        return one.program.image or self.images.get(one.service) or self.images[CORE]
