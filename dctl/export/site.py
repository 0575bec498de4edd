"""The places that parts are exported to: containers whose engine is somebody else's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from dctl.engine.catalogue.containers import CORE, ContainerSite
from dctl.engine.catalogue.ground import Ground
from dctl.engine.catalogue.site import NONCE, Port, own_nonces
from dctl.engine.ports import PortBook
from dctl.hosts.base import Endpoint, Json
from dctl.hosts.docker import ContainerSpec
from dctl.images.names import released, released_core
from dctl.spec import Cluster, Loaded
from dctl.spec.types import LOCAL, LOOPBACK

_NO_EPOCH = 0  # data begins in the first folder: nothing is moved to a cluster that is exported


class Wishes(PortBook):
    """Ports as they are wished for: which is free is not known here."""

    def __init__(self) -> None:
        super().__init__((), lambda host, address: 0)

    def take(self, host: str, resource: str, port: str, wish: Endpoint) -> Endpoint:
        return wish


@dataclass(frozen=True, kw_only=True)
class ComposeSite(ContainerSite):
    """One network, on which an instance is called by its name; health is asked for inside."""

    def port(self, instance: str, name: str, wish: Endpoint, target: int = 0) -> Port:
        port = super().port(instance, name, wish, target)
        return dataclasses.replace(port, here=Endpoint(LOOPBACK, port.bind.port))


@dataclass(frozen=True, kw_only=True)
class KubernetesSite(ComposeSite):
    """A namespace, in which a part is called by the name of its service. Which pod it is, a program
    is told by two variables of its environment. The nodes of the engine are called one by one."""

    stateful: frozenset[str] = frozenset({"nats"})

    def named(self, instance: str) -> str:
        return "$POD_NAME"

    def port(self, instance: str, name: str, wish: Endpoint, target: int = 0) -> Port:
        port = super().port(instance, name, wish, target)
        part, _, number = instance.rpartition("-")
        host = f"{part}-{int(number) - 1}.{part}" if part in self.stateful else part
        return dataclasses.replace(port, call=Endpoint(host, port.bind.port))

    def told(self, spec: Mapping[str, Json]) -> ContainerSpec:
        """What is asked of a container, with what only the pod knows about itself."""
        own = ContainerSpec.from_json(spec)
        env = {key: value.replace("$(", "$$(") for key, value in own.env.items()}
        for key, value in {
            "DRAFT_INSTANCE": "$(POD_NAME)",
            "DRAFT_SERVICE_NETWORK_INTERNAL_HOST": "$(POD_IP)",
        }.items():
            if key in env:
                env[key] = value
        metrics = "DRAFT_DRAFT_METRICS_ADDRESS"
        if metrics in env:
            env[metrics] = f"$(POD_IP):{env[metrics].rpartition(':')[2]}"
        return dataclasses.replace(own, env=env)


def ground(
    loaded: Loaded, cluster: Cluster, images: Mapping[str, str], kind: type[ComposeSite]
) -> Ground:
    """All of a `prepared` cluster in one place. `images` names the image of the core (as "core")
    and of each service that is run from a folder."""
    nonce = cluster.security.nonce
    site = kind(
        host=LOCAL,
        ports=Wishes(),
        images=images,
        nonce_from="" if nonce == "any" else nonce or NONCE,
        own_nonces=own_nonces(cluster),
    )
    return Ground(cluster, loaded.root, {LOCAL: site}, _NO_EPOCH)


def images_of(cluster: Cluster, registry: str, tag: str, core: str) -> dict[str, str]:
    """The names under which images were released, the core's with a tag of its own."""
    own = {
        name: released(registry, cluster.name, name, tag)
        for name, service in cluster.services.items()
        if service.run
    }
    return {CORE: released_core(registry, core), **own}
