"""The changing face of an engine's containers.

Every verb may be repeated, and leaves what the next plan can go on from when it is cut off. What
was asked stands in the labels of the containers; nothing without a label of ours is touched.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress

from dctl.errors import DctlError, ForeignError
from dctl.hosts.base import Endpoint, Holder, Json, Lease, Resource, Secrets, State
from dctl.hosts.docker.attach import attach
from dctl.hosts.docker.body import body
from dctl.hosts.docker.deliver import deliver, deliver_secrets
from dctl.hosts.docker.naming import (
    CLUSTER,
    INSTANCE,
    Found,
    Listed,
    asked,
    container_name,
    instances,
    labels,
    needs,
    network_name,
    refuse_stranger,
    resource,
    volume_name,
)
from dctl.hosts.docker.observed import image_config
from dctl.hosts.docker.reader import DockerReader
from dctl.hosts.docker.replace import end, grace, make, settle, swap
from dctl.hosts.docker.spec import ContainerSpec
from dctl.hosts.order import waves
from dctl.hosts.passive import NoSecrets
from dctl.hosts.state.keeping import Keeping, Kept
from dctl.hosts.translated import translated
from dctl.secrets.references import is_reference, secret_name

_PARALLEL = 8  # containers that are ended at once: they mostly wait


class DockerHost(DockerReader):
    """Run the containers of one cluster on one engine."""

    secrets: Secrets = NoSecrets()
    """Whom to ask for the values that are delivered."""

    @functools.cached_property
    def _keeping(self) -> Kept:
        return Keeping(self._folder, self._owner)

    @functools.cached_property
    def _networking(self) -> threading.Lock:
        """Held from the look at the network to the container that keeps it, and by who removes
        it: verbs come from several threads."""
        return threading.Lock()

    @translated
    def ensure(self, resource: Resource) -> None:
        self._keeping.claim()
        name = container_name(self._cluster, resource.name)
        spec = ContainerSpec.from_json(resource.spec)
        # All that can be missing is looked for before anything is touched.
        image = self._engine.image(spec.image)
        if image is None:
            raise DctlError(
                f"the image {spec.image} of {resource.name} is not on {self.name}",
                hint=f"build it, or: docker pull {spec.image}",
            )
        listed = self._listed()
        refuse_stranger(listed, self._cluster, name)
        found = instances(listed, self._cluster).get(resource.name, Found())
        old = found.current if found.whole else None
        if old is not None:
            self._remember_secrets(old)
        given, kept = self._wanted(spec), self._kept(resource.name, spec)
        self._keep_volumes(resource.name, spec)
        if old is None and found.current:
            found.leftovers.append(found.current)
        settle(self._engine, found, name)
        config = body(
            self._cluster,
            resource.name,
            spec,
            self._endpoints(resource, spec),
            labels(self._cluster, resource, spec.to_json()),
        )
        user = spec.user or str(image_config(image).get("User") or "")

        def create(as_name: str) -> str:
            with self._networking:
                self._keep_network()
                return self._engine.create(as_name, config)

        def fill(container: str) -> None:
            deliver(self._engine, container, spec.files, user)
            deliver_secrets(self._engine, container, kept, user)
            deliver_secrets(self._engine, container, given, user, shared=True)

        new = make(self._engine, name, create, fill)
        swap(self._engine, old, new, name, starting=lambda: self._marks.clear(resource.name))

    @translated
    def start(self, name: str) -> None:
        current = self._settled(name)
        if current is None or not self._on_the_network(current):
            self._anew(name)
            return
        found = Found(current)
        inspected = self._inspected(found)
        seen = self._observed(found, inspected, self._engine.image, self._marks.all)
        self._marks.clear(name)
        if current.state == "paused":
            self._engine.unpause(current.id)
        elif seen and seen.state in (State.HELD, State.STOPPED, State.FAILED):
            self._engine.start(current.id)

    @translated
    def stop(self, name: str) -> None:
        current = self._current(name)
        self._keeping.claim()
        self._marks.set(name, "held")
        end(self._engine, current)

    @translated
    def restart(self, name: str) -> None:
        current = self._settled(name)
        if current is None or not self._on_the_network(current):
            self._anew(name)
            return
        self._marks.clear(name)
        self._engine.restart(current.id, grace(current))

    @translated
    def remove(self, name: str) -> None:
        self._owner.refuse_another_checkout()
        found = instances(self._listed(), self._cluster).get(name, Found())
        for container in found.all:
            end(self._engine, container)
            self._engine.remove(container.id)
        self._marks.clear(name)
        if found.all:
            self._drop_network()

    @translated
    def keep_secret(self, name: str, text: str = "") -> None:
        self._keeping.keep_secret(name, text)

    def secret(self, name: str) -> str:
        return self._keeping.secret(name)

    def execute(self, name: str, argv: Sequence[str]) -> int:
        current = self._current(name)
        if not current.alive:
            raise DctlError(
                f"the container of {name} on {self.name} does not run",
                hint=f"dctl infra start {name}",
            )
        return attach(current.id, argv)

    def lock(self, holder: str) -> AbstractContextManager[Lease]:
        return self._keeping.lock(holder)

    def holder(self) -> Holder | None:
        return self._keeping.holder()

    @translated
    def break_lock(self) -> None:
        self._keeping.break_lock()

    @translated
    def record(self, entry: Mapping[str, Json]) -> None:
        self._keeping.record(entry)

    def journal(self) -> Sequence[Mapping[str, Json]]:
        return self._keeping.journal()

    @translated
    def keep_release(self, release: Mapping[str, Json]) -> None:
        self._keeping.keep_release(release)

    def releases(self) -> Sequence[Mapping[str, Json]]:
        return self._keeping.releases()

    @translated
    def keep_machines(self, notes: Mapping[str, Json]) -> None:
        self._keeping.keep_machines(notes)

    def machines(self) -> Mapping[str, Json]:
        return self._keeping.machines()

    @translated
    def down(self) -> None:
        self._owner.refuse_another_checkout()
        ours, marked = self._ours(), self._marks.all()
        for container in ours:
            name = container.labels[INSTANCE]
            if container.alive and name not in marked:
                self._marks.set(name, "down")
        self._end_all(ours)

    @translated
    def clean(self, *, full: bool) -> None:
        """With `full` the cluster's state folder goes too, whichever runtime uses it: a process
        runtime of the same cluster is cleaned before."""
        self._owner.refuse_another_checkout()
        ours = self._ours()
        self._end_all(ours)
        for container in ours:
            self._engine.remove(container.id)
        self._drop_network()
        self._marks.forget()
        if full:
            for volume in self._engine.volumes(self._cluster):
                self._engine.remove_volume(volume)
            for image in self._engine.images(self._cluster):
                with suppress(DctlError):  # somebody else's container runs from it: it stays
                    self._engine.remove_image(image)
            self._keeping.forget()

    def _ours(self) -> list[Listed]:
        found = instances(self._listed(), self._cluster)
        return [container for place in found.values() for container in place.all]

    def _end_all(self, containers: Iterable[Listed]) -> None:
        """In waves: what needs others ends before them."""
        by_name: dict[str, list[Listed]] = {}
        for container in containers:
            by_name.setdefault(container.labels[INSTANCE], []).append(container)
        order = waves({name: needs(places[-1].labels) for name, places in by_name.items()})
        with ThreadPoolExecutor(_PARALLEL) as pool:
            for wave in order:
                ending = [container for name in wave for container in by_name[name]]
                list(pool.map(functools.partial(end, self._engine), ending))

    def _settled(self, name: str) -> Listed | None:
        """The one container of `name`, under its name; None when it has to be made anew.

        Raises NotFoundError when there is none."""
        self._keeping.claim()
        self._current(name)
        found = instances(self._listed(), self._cluster)[name]
        settle(self._engine, found, container_name(self._cluster, name))
        return found.current if found.whole else None

    def _anew(self, name: str) -> None:
        """Make the container again from what its labels tell."""
        self.ensure(resource(self._current(name).labels, self.name))

    def _wanted(self, spec: ContainerSpec) -> dict[str, str]:
        """The secrets of the spec, by the path in the container."""
        named = {path: secret_name(secret) for path, secret in spec.secrets.items()}
        return {
            path: self.secrets.text(name, spec.digests.get(name, ""))
            for path, name in named.items()
            if name
        }

    def _kept(self, name: str, spec: ContainerSpec) -> dict[str, str]:
        """Those that are dctl's own."""
        texts = {}
        for path, secret in spec.secrets.items():
            if is_reference(secret):
                continue
            texts[path] = self._keeping.secret(secret)
            if not texts[path]:
                raise DctlError(
                    f'{name} on {self.name} needs the secret "{secret}", which is not kept here',
                    hint="dctl infra apply makes the cluster's own secrets",
                )
        return texts

    def _remember_secrets(self, old: Listed) -> None:
        """What a container was given goes with it, and may be put back."""
        digests = (asked(old.labels) or {}).get("digests") or {}
        if digests:
            for name, text in self._given_to(old).items():
                self.secrets.remember(name, digests.get(name, ""), text)

    def _endpoints(self, resource: Resource, spec: ContainerSpec) -> dict[str, Endpoint]:
        """Where each port is published: as picked, else as wished."""
        chosen = {}
        for name, port in spec.ports.items():
            at = resource.ports.get(name, port.wish)
            chosen[name] = at if at.port else Endpoint(at.host, self.free_port(at.host))
        return chosen

    def _keep_volumes(self, instance: str, spec: ContainerSpec) -> None:
        for short in spec.volumes:
            name = volume_name(self._cluster, instance, short)
            there = self._engine.volume(name)
            if there is None:
                self._engine.create_volume(name, {CLUSTER: self._cluster, INSTANCE: instance})
            else:
                self._refuse_foreign("volume", name, there)

    def _keep_network(self) -> None:
        name = network_name(self._cluster)
        there = self._engine.network(name)
        if there is None:
            self._engine.create_network(name, {CLUSTER: self._cluster})
        else:
            self._refuse_foreign("network", name, there)

    def _drop_network(self) -> None:
        """Remove the cluster's network once no container of ours is left."""
        name = network_name(self._cluster)
        with self._networking:
            there = self._engine.network(name)
            ours = there is not None and (there["Labels"] or {}).get(CLUSTER) == self._cluster
            if ours and not self._ours():
                with suppress(DctlError):  # somebody else's container is on it: it stays
                    self._engine.remove_network(name)

    def _on_the_network(self, container: Listed) -> bool:
        """False when the network that the container knows is gone: it cannot start any more."""
        about = self._engine.inspect(container.id)
        here = self._engine.network(network_name(self._cluster))
        known = (about or {}).get("NetworkSettings", {}).get("Networks", {})
        mine = known.get(network_name(self._cluster))
        return here is not None and mine is not None and mine["NetworkID"] in ("", here["Id"])

    def _refuse_foreign(self, what: str, name: str, there: Mapping[str, Json]) -> None:
        if (there["Labels"] or {}).get(CLUSTER) != self._cluster:
            raise ForeignError(
                f"the {what} {name} on {self.name} was not made by dctl for this cluster",
                hint="dctl touches only what it made: remove it, or name the cluster differently",
            )
