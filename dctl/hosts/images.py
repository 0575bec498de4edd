"""Images as a host of their own, one for each engine.

Their names hash what they are made of, so one that is there is as asked, whoever built it; older
ones are left for a rollback.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dctl.hosts.base import Json, Kind, Observed, Resource, State, machine_of
from dctl.hosts.passive import PassiveHost, PassiveReader
from dctl.images import Image, build, pull

_LOCAL = "images"


def images_of(host: str, *, remote: bool) -> str:
    """The name of the host that is the images of an engine."""
    return f"{host}/{_LOCAL}" if remote else _LOCAL


class ImageReader(PassiveReader):
    """Which of `images` the engine has; `present` asks it for one. Each tag comes with what its
    image is made of, None for somebody else's."""

    def __init__(
        self,
        name: str,
        cluster: str,
        images: Mapping[str, Image | None],
        present: Callable[[str], bool],
    ) -> None:
        self.name = name
        self._cluster = cluster
        self._images = images
        self._present = present

    def observe(self) -> Sequence[Observed]:
        return [self._seen(tag) for tag in sorted(self._images) if self._present(tag)]

    def _seen(self, tag: str) -> Observed:
        asked = image_resource(self.name, tag, "")
        return Observed(
            Kind.IMAGE, asked.name, self.name, State.PRESENT, self._cluster, spec=asked.spec
        )


class ImageHost(ImageReader, PassiveHost):
    """Builds or pulls what is missing; `say` hears how it goes, `engine` tells the DOCKER_HOST to
    do it on ("": as the docker command has it)."""

    def __init__(
        self,
        name: str,
        cluster: str,
        images: Mapping[str, Image | None],
        present: Callable[[str], bool],
        say: Callable[[str], None],
        engine: Callable[[], str],
    ) -> None:
        super().__init__(name, cluster, images, present)
        self._say, self._engine = say, engine

    def ensure(self, resource: Resource) -> None:
        tag = resource.spec["tag"]
        image = self._images[tag]
        if image is not None:
            build(image, self._say, host=self._engine(), present=self._present)
        elif not self._present(tag):
            self._say(f"pulling {tag}")
            pull(tag, host=self._engine())


def image_resource(host: str, tag: str, service: str) -> Resource:
    """The image that `service` runs from. What is asked of an image is all in its tag."""
    spec: dict[str, Json] = {"tag": tag}
    return Resource(Kind.IMAGE, image_name(host, tag), host, service, spec)


def image_name(host: str, tag: str) -> str:
    """How an image is called in a plan, where another engine may need the same one."""
    return tag if host == _LOCAL else f"{tag} on {machine_of(host)}"
