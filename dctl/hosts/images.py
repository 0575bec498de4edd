"""Images as a host of their own: those that a cluster's containers run from, on one engine.

Their names hash what they are made of, so one that is there is as asked, whoever built it; older
ones are left for a rollback.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dctl.hosts.base import Json, Kind, Observed, Resource, State
from dctl.hosts.passive import PassiveHost, PassiveReader
from dctl.images import Image, build, pull

IMAGES = "images"


class ImageReader(PassiveReader):
    """Which of `images` the engine has; `present` asks it for one. Each tag comes with what its
    image is made of, None for somebody else's."""

    name = IMAGES

    def __init__(
        self, cluster: str, images: Mapping[str, Image | None], present: Callable[[str], bool]
    ) -> None:
        self._cluster = cluster
        self._images = images
        self._present = present

    def observe(self) -> Sequence[Observed]:
        return [
            Observed(Kind.IMAGE, tag, self.name, State.PRESENT, self._cluster, spec=image_spec(tag))
            for tag in sorted(self._images)
            if self._present(tag)
        ]


class ImageHost(ImageReader, PassiveHost):
    """Builds or pulls what is missing; `say` hears how it goes."""

    def __init__(
        self,
        cluster: str,
        images: Mapping[str, Image | None],
        present: Callable[[str], bool],
        say: Callable[[str], None],
    ) -> None:
        super().__init__(cluster, images, present)
        self._say = say

    def ensure(self, resource: Resource) -> None:
        image = self._images[resource.name]
        if image is not None:
            build(image, self._say, present=self._present)
        elif not self._present(resource.name):
            self._say(f"pulling {resource.name}")
            pull(resource.name)


def image_spec(tag: str) -> dict[str, Json]:
    """What is asked of an image is all in its name."""
    return {"tag": tag}


def image_resource(tag: str, service: str) -> Resource:
    """The image that `service` runs from."""
    return Resource(Kind.IMAGE, tag, IMAGES, service, image_spec(tag))
