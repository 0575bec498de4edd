"""Container images of the core and of users' services: a pure value first, built at the edge.

image.py         an image as a value: its Dockerfile, its files, and the tag that they hash to
base.py          what has to be known of a base image: its Python, its machine, its C library
requirements.py  pure: the versions that run here, as pins for another Python and machine
packages.py      those packages, downloaded and unpacked on this machine, kept for the next time
core.py          the image of the core, and the chassis under a service's
service.py       the image of a user's service
build.py         builds what the engine lacks
names.py         pure: how images are called where they are released
docker.py        the only module that speaks to an engine here, through the docker command
*.Dockerfile     one a layer; they need no network

An image stands on its parent (`draft/core` on `draft/core-packages` on ... on the base), so that a
change of code builds one small image and sends an engine no more than that code.
"""

from dctl.images.base import Base, read_base
from dctl.images.build import build, missing, pull, push
from dctl.images.core import chassis_image, core_image
from dctl.images.image import Image
from dctl.images.service import service_image

DEFAULT_BASE = "python:3.12-slim"

__all__ = [
    "DEFAULT_BASE",
    "Base",
    "Image",
    "build",
    "chassis_image",
    "core_image",
    "missing",
    "pull",
    "push",
    "read_base",
    "service_image",
]
