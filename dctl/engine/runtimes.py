"""What a runtime brings: the hosts that look and change, and the site that parts are built for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dctl import __version__
from dctl.engine.catalogue.core import PARTS, core_parts
from dctl.engine.catalogue.site import Site
from dctl.engine.desired import instances
from dctl.engine.ports import PortBook
from dctl.hosts.base import Host, Kind, Reader, Resource
from dctl.sources import source_digest
from dctl.spec import Loaded

if TYPE_CHECKING:
    from dctl.images import Image

LOCAL = "local"
NONCE = "nonce"
Say = Callable[[str], None]


class Runtime(Protocol):
    """One way to run a cluster on this machine."""

    def readers(self) -> Mapping[str, Reader]:
        """The looking faces, by the name of the host."""

    def hosts(self) -> Mapping[str, Host]:
        """The same, with the verbs that change something."""

    def site(self, ports: PortBook) -> Site:
        """The place that parts are built for."""

    def resources(self) -> list[Resource]:
        """What it needs besides the parts."""

    def restored(self, resources: Sequence[Resource]) -> Restored:
        """What can be had again of what was asked for once."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Resources of an earlier time as they can be carried out today. `otherwise` names what will
    not be as it was then, `lacking` what it cannot do without."""

    resources: tuple[Resource, ...]
    otherwise: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


def runtime_of(loaded: Loaded, say: Say) -> Runtime:
    """The runtime that the spec asks for; `say` hears of long work."""
    return DockerRuntime(loaded, say) if loaded.cluster.runtime == "docker" else Processes(loaded)


class Processes:
    """Supervised processes of this machine."""

    def __init__(self, loaded: Loaded) -> None:
        self._spec, self._root = loaded.cluster, loaded.root

    def readers(self) -> Mapping[str, Reader]:
        from dctl.hosts.process import ProcessReader

        return {LOCAL: ProcessReader(self._spec.name, workspace=self._root, host=LOCAL)}

    def hosts(self) -> Mapping[str, Host]:
        from dctl.hosts.process import ProcessHost

        return {LOCAL: ProcessHost(self._spec.name, workspace=self._root, host=LOCAL)}

    def site(self, ports: PortBook) -> Site:
        from dctl.engine.catalogue.processes import ProcessSite
        from dctl.hosts.process import data_dir, instance_dir, secret_file

        name = self._spec.name
        return ProcessSite(
            cluster=self._spec,
            root=self._root,
            host=LOCAL,
            ports=ports,
            instances=instances(self._spec),
            files_of=functools.partial(instance_dir, name),
            data_of=functools.partial(data_dir, name),
            nonce_file=secret_file(name, NONCE) if self._spec.security.nonce is None else None,
        )

    def resources(self) -> list[Resource]:
        return []

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
                code = "dctl's own" if resource.service in PARTS else f"in {resource.spec['cwd']}"
                changed[f"{resource.service} runs today's code ({code}), not that of then"] = None
            found.append(_with_source(resource, now))
        return Restored(tuple(found), tuple(changed), tuple(lacking))

    def _code(self, resource: Resource) -> str | None:
        """The digest of the code that a process would run now."""
        if resource.service in PARTS:
            return __version__
        folder = Path(resource.spec["cwd"])
        return source_digest(folder) if folder.is_dir() else None


class DockerRuntime:
    """Containers on the local engine, from images that are built on it."""

    def __init__(self, loaded: Loaded, say: Say) -> None:
        from dctl.hosts.docker.client import Engine

        self._spec, self._root, self._say = loaded.cluster, loaded.root, say
        self._engine = Engine(LOCAL)

    def readers(self) -> Mapping[str, Reader]:
        from dctl.hosts.docker import DockerReader
        from dctl.hosts.images import IMAGES, ImageReader

        name, images = self._spec.name, self._by_tag()
        return {
            LOCAL: DockerReader(name, workspace=self._root, host=LOCAL),
            IMAGES: ImageReader(name, images, self._present),
        }

    def hosts(self) -> Mapping[str, Host]:
        from dctl.hosts.docker import DockerHost
        from dctl.hosts.images import IMAGES, ImageHost

        name, images = self._spec.name, self._by_tag()
        return {
            LOCAL: DockerHost(name, workspace=self._root, host=LOCAL),
            IMAGES: ImageHost(name, images, self._present, self._say),
        }

    def site(self, ports: PortBook) -> Site:
        from dctl.engine.catalogue.containers import ContainerSite

        return ContainerSite(
            cluster=self._spec,
            root=self._root,
            host=LOCAL,
            ports=ports,
            instances=instances(self._spec),
            images={part: image.tag for part, image in self._images.items()},
            with_nonce=self._spec.security.nonce is None,
        )

    def resources(self) -> list[Resource]:
        from dctl.hosts.images import image_resource

        own = [image_resource(image.tag, part) for part, image in self._images.items()]
        return [*own, *(image_resource(tag, part) for tag, part in self._foreign.items())]

    def restored(self, resources: Sequence[Resource]) -> Restored:
        """All of it is in the images, if those are still there; today's are no part of it."""
        known = self._by_tag()
        old = {r.name for r in resources if r.kind is Kind.IMAGE and r.name not in known}
        return Restored(
            tuple(r for r in resources if r.name not in old),
            lacking=tuple(
                f"the image {tag} is no longer on the engine"
                for tag in sorted(old)
                if not self._present(tag)
            ),
        )

    @functools.cached_property
    def _foreign(self) -> Mapping[str, str]:
        """The images that are pulled, and (one of) the parts that run from each."""
        from dctl.engine.catalogue.backing import completed

        parts = {name: completed(part).image for name, part in self._spec.infra.items()}
        parts |= {name: service.image for name, service in self._spec.services.items()}
        return {tag: name for name, tag in parts.items() if tag}

    @functools.cached_property
    def _images(self) -> Mapping[str, Image]:
        """The image of the core, and of each of the user's service folders."""
        from dctl.engine.catalogue.containers import CORE
        from dctl.images import core_image, read_base, service_image
        from dctl.workspace import FILE, read_workspace

        core = core_parts(self._spec.core)
        if not core and not any(service.run for service in self._spec.services.values()):
            return {}
        base = read_base(self._spec.images.base, self._say, image_id=self._image_id)
        api = read_workspace(self._root).api if (self._root / FILE).is_file() else None
        images = {CORE: core_image(base)} if core else {}
        for name, service in self._spec.services.items():
            if service.run:
                images[name] = service_image(
                    base,
                    cluster=self._spec.name,
                    service=name,
                    folder=self._root / service.run,
                    api=api.out / api.package if api else None,
                )
        return images

    def _by_tag(self) -> Mapping[str, Image | None]:
        """What each image is made of; None for one that is pulled."""
        made = {image.tag: image for image in self._images.values()}
        return dict.fromkeys(self._foreign) | made

    def _image_id(self, reference: str) -> str:
        image = self._engine.image(reference)
        return str(image["Id"]) if image else ""

    def _present(self, tag: str) -> bool:
        return self._engine.image(tag) is not None


def _with_source(resource: Resource, source: str | None) -> Resource:
    """The same with another digest of its code, and so for what stands in for it."""
    rollout = resource.rollout
    if rollout and rollout.stand_in:
        stand_in = _with_source(rollout.stand_in, source)
        rollout = dataclasses.replace(rollout, stand_in=stand_in)
    spec = {**resource.spec, "source": source or ""}
    return dataclasses.replace(resource, spec=spec, rollout=rollout)
