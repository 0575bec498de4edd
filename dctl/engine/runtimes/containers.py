"""Containers on an engine, here or on another machine, from images that are built on it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from dctl.engine.catalogue.containers import CORE, ContainerSite
from dctl.engine.catalogue.site import Site, own_nonces
from dctl.engine.ports import PortBook
from dctl.engine.runtimes.base import Restored, Say, Settled
from dctl.errors import DctlError
from dctl.hosts.base import Host, Kind, Reader, Resource
from dctl.hosts.docker.client import Engine
from dctl.hosts.images import image_resource, images_of
from dctl.spec.core import CorePart
from dctl.spec.workload import Backing, Service

if TYPE_CHECKING:
    from dctl.hosts.ssh import Fleet
    from dctl.images import Image


class Containers:
    """One engine: this machine's, or with a `fleet` that of another one."""

    def __init__(self, settled: Settled, say: Say, fleet: Fleet | None) -> None:
        self._settled, self._say, self._fleet = settled, say, fleet
        self._name, self._host = settled.cluster.name, settled.host
        self._engine = Engine(self._host, self._base_url if fleet else None)
        self._images_host = images_of(self._host, remote=fleet is not None)

    def readers(self) -> Mapping[str, Reader]:
        from dctl.hosts.docker import DockerReader
        from dctl.hosts.images import ImageReader

        root = self._settled.root
        images = ImageReader(self._images_host, self._name, self._by_tag(), self._present)
        if self._fleet is None:
            own: Reader = DockerReader(
                self._name,
                workspace=root,
                host=self._host,
                engine=self._engine,
                own=self._settled.own,
            )
        else:
            from dctl.hosts.docker.remote import RemoteDockerReader

            own = RemoteDockerReader(
                self._name,
                workspace=root,
                fleet=self._fleet,
                host=self._host,
                engine=self._engine,
                own=self._settled.own,
            )
        return {self._host: own, images.name: images}

    def hosts(self) -> Mapping[str, Host]:
        from dctl.hosts.docker import DockerHost
        from dctl.hosts.images import ImageHost

        root = self._settled.root
        images = ImageHost(
            self._images_host,
            self._name,
            self._by_tag(),
            self._present,
            self._say,
            self._base_url if self._fleet else lambda: "",
        )
        if self._fleet is None:
            own = DockerHost(
                self._name,
                workspace=root,
                host=self._host,
                engine=self._engine,
                own=self._settled.own,
            )
        else:
            from dctl.hosts.docker.remote import RemoteDockerHost

            own = RemoteDockerHost(
                self._name,
                workspace=root,
                fleet=self._fleet,
                host=self._host,
                engine=self._engine,
                own=self._settled.own,
            )
        own.secrets = self._settled.secrets
        return {self._host: own, images.name: images}

    def site(self, ports: PortBook) -> Site:
        return ContainerSite(
            host=self._host,
            ports=ports,
            address=self._settled.address,
            variables=self._settled.variables,
            images={part: image.tag for part, image in self._images.items()},
            nonce_from=self._settled.nonce_from,
            own_nonces=own_nonces(self._settled.cluster),
            images_host=self._images_host,
        )

    def resources(self) -> list[Resource]:
        tags = {image.tag: part for part, image in self._images.items()}
        tags.update(self._foreign)
        return [image_resource(self._images_host, tag, part) for tag, part in tags.items()]

    def restored(self, resources: Sequence[Resource]) -> Restored:
        """All of it is in the images, if those are still there; today's are no part of it."""
        known = self._by_tag()
        old = {r.spec["tag"]: r for r in resources if r.kind is Kind.IMAGE}
        old = {tag: resource for tag, resource in old.items() if tag not in known}
        return Restored(
            tuple(r for r in resources if r not in old.values()),
            lacking=tuple(
                f"the image {tag} is no longer on the engine"
                for tag in sorted(old)
                if not self._present(tag)
            ),
        )

    def let_go(self, needed: Sequence[Resource]) -> None:
        kept = {r.spec["tag"] for r in needed if r.kind is Kind.IMAGE}
        kept |= {one.tag for image in self._images.values() for one in image.chain()}
        with suppress(DctlError):
            for tag in self._engine.images(self._name):
                if tag not in kept:
                    with suppress(DctlError):  # somebody runs from it
                        self._engine.remove_image(tag)

    @functools.cached_property
    def _foreign(self) -> Mapping[str, str]:
        """The images that are pulled, and (one of) the parts that run from each."""
        return {
            part.image: name
            for name, part in self._settled.parts.items()
            if isinstance(part, Backing | Service) and part.image
        }

    @functools.cached_property
    def _images(self) -> Mapping[str, Image]:
        """The image of the core, and of each of the user's service folders."""
        from dctl.images import core_image, read_base, service_image
        from dctl.workspace import generated

        core = any(isinstance(part, CorePart) for part in self._settled.parts.values())
        runs = {
            name: part.run
            for name, part in self._settled.parts.items()
            if isinstance(part, Service) and part.run
        }
        if not core and not runs:
            return {}
        root = self._settled.root
        base = read_base(
            self._settled.cluster.images.base,
            self._say,
            host=self._base_url() if self._fleet else "",
            image_id=self._image_id,
        )
        api = generated(root)
        images = {CORE: core_image(base)} if core else {}
        for name, run in runs.items():
            images[name] = service_image(
                base,
                cluster=self._name,
                service=name,
                folder=root / run,
                api=api,
            )
        return images

    def _by_tag(self) -> Mapping[str, Image | None]:
        """What each image is made of; None for one that is pulled."""
        made = {image.tag: image for image in self._images.values()}
        return dict.fromkeys(self._foreign) | made

    def _base_url(self) -> str:
        assert self._fleet is not None
        return self._fleet.tunnel(self._host).base_url()

    def _image_id(self, reference: str) -> str:
        image = self._engine.image(reference)
        return str(image["Id"]) if image else ""

    def _present(self, tag: str) -> bool:
        return self._engine.image(tag) is not None
