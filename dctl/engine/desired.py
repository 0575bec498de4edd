"""From the spec to the resources that it asks for, in a fixed order.

Pure but for what it has to read: templates, the folders of services, and free ports through the
`PortBook`.
"""

from __future__ import annotations

from dctl.engine.catalogue.backing import backing_resource
from dctl.engine.catalogue.core import core_resources
from dctl.engine.catalogue.ground import Ground
from dctl.engine.catalogue.service import service_resources
from dctl.hosts.base import Resource
from dctl.spec.workload import Backing, Service


def desired(ground: Ground) -> list[Resource]:
    """Every resource of a cluster, which `unsupported` had nothing to say against."""
    resources = list(core_resources(ground))
    for name, part in ground.parts.items():
        if isinstance(part, Backing):
            resources.append(backing_resource(ground, name, part))
        elif isinstance(part, Service):
            resources += service_resources(ground, name, part)
    return resources
