"""What a host does not do when its things are no processes: routes, images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from dctl.errors import NotFoundError
from dctl.hosts.base import Check, Endpoint, Holder, Json, Lease, PortOwner, Probe


class NoSecrets:
    """For a host that delivers none."""

    def text(self, name: str, digest: str) -> str:
        raise NotFoundError(f"there is nobody to ask for the secret {name}")

    def remember(self, name: str, digest: str, text: str) -> None: ...


class PassiveReader:
    """They hold no port, print nothing, and are well when they are there."""

    def port_owner(self, endpoint: Endpoint) -> PortOwner | None:
        return None

    def free_port(self, address: str) -> int:
        raise NotFoundError("this needs no port")

    def reach(self, endpoint: Endpoint) -> Endpoint:
        return endpoint

    def probe(self, check: Check) -> Probe:
        return Probe(True)

    def given(self, name: str) -> Mapping[str, str]:
        return {}

    def logs(self, name: str, *, lines: int, follow: bool = False) -> Iterator[str]:
        return iter(())


class PassiveHost(PassiveReader):
    """Nothing to start or stop; the cluster's lock and journal are with its first host."""

    def start(self, name: str) -> None: ...

    def stop(self, name: str) -> None: ...

    def restart(self, name: str) -> None: ...

    def remove(self, name: str) -> None: ...

    def keep_secret(self, name: str, text: str = "") -> None: ...

    def secret(self, name: str) -> str:
        return ""

    def execute(self, name: str, argv: Sequence[str]) -> int:
        raise NotFoundError(f"{name} runs nothing")

    @contextmanager
    def lock(self, holder: str) -> Iterator[Lease]:
        yield _Nothing()

    def holder(self) -> Holder | None:
        return None

    def break_lock(self) -> None: ...

    def record(self, entry: Mapping[str, Json]) -> None: ...

    def journal(self) -> Sequence[Mapping[str, Json]]:
        return ()

    def keep_release(self, release: Mapping[str, Json]) -> None: ...

    def releases(self) -> Sequence[Mapping[str, Json]]:
        return ()

    def keep_machines(self, notes: Mapping[str, Json]) -> None: ...

    def machines(self) -> Mapping[str, Json]:
        return {}

    def down(self) -> None: ...

    def clean(self, *, full: bool) -> None: ...


class _Nothing:
    def lost(self) -> str:
        return ""
