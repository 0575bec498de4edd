"""The cluster's copy of a service steps aside for one that runs from its code, and comes back."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dctl.dev.debts import Book, Debts
from dctl.engine.cluster import OpenCluster
from dctl.engine.hosts import UP
from dctl.engine.records import resource_from, resource_json
from dctl.errors import DctlError, LockedError, UsageError
from dctl.hosts.base import Kind, Observed, Resource
from dctl.hosts.process import ProcessHost
from dctl.hosts.routes import INGRESS
from dctl.spec import Loaded, load
from dctl.spec.variant import Variant

Say = Callable[[str], None]
T = TypeVar("T")

_PATIENCE = 120.0  # seconds for who is changing the cluster right now
_LOOK = 0.2


@dataclass(frozen=True, slots=True)
class Lent:
    """One instance of a service as we run it. `needs` are the parts that have to be well before."""

    service: str
    resource: Resource
    env: Mapping[str, str]
    folder: Path
    needs: tuple[str, ...] = ()


def snapshot(loaded: Loaded, profiles: Sequence[str]) -> dict[str, Any]:
    """The spec as it is now, for who puts things back later: its files may be changed, or wrong,
    by then."""
    return taken(loaded, loaded.data, profiles)


def taken(loaded: Loaded, data: Mapping[str, Any], profiles: Sequence[str]) -> dict[str, Any]:
    """The same, with other data of this spec."""
    source, root = str(loaded.path), str(loaded.root)
    return {"data": data, "source": source, "root": root, "profiles": list(profiles)}


def reopen(spec: Mapping[str, Any], folder: Path, say: Say) -> OpenCluster:
    """The cluster of a snapshot; `folder` is for the file that it is read from."""
    from ruamel.yaml import YAML

    path = folder / ".spec.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(_escaped(spec["data"]), file)
    path.chmod(0o600)
    try:
        profiles = tuple(spec["profiles"])
        loaded = load(path, Variant((), profiles), env={}, root=Path(spec["root"]))
    finally:
        path.unlink(missing_ok=True)
    return OpenCluster(dataclasses.replace(loaded, path=Path(spec["source"])), say)


def _escaped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(inner) for inner in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def asked_for(cluster: OpenCluster, service: str) -> tuple[Resource, list[Resource]]:
    """The first instance of a service as the spec has it now, and its routes. UsageError for one
    that is no process of this machine."""
    resources = cluster.resources(cluster.look())
    own = [r for r in resources if r.service == service]
    first = next((r for r in own if r.name == f"{service}-1"), None)
    if first is None or first.kind is not Kind.PROCESS:
        how = "has no replica" if first is None else f"is a {first.kind} on {first.host}"
        raise UsageError(
            f"{service} {how}: only what the spec runs as a process of this machine is run from"
            " its code",
            hint="give it `runtime: process`, for instance in an overlay: -e dev",
        )
    return first, [r for r in own if r.kind is Kind.ROUTE]


def lend(cluster: OpenCluster, service: str, book: Book) -> Lent:
    """Let the cluster's copy step aside. What that owes is in the book before it is done."""
    resource, routes = asked_for(cluster, service)
    seen = cluster.look().things
    own = [o for o in seen if o.kind is Kind.PROCESS and o.service == service]
    before = next((o for o in own if o.name == resource.name), None)
    known = {o.name for o in seen if o.kind is Kind.ROUTE}
    owed = {
        "instance": resource.name,
        "host": resource.host,
        "ran": [o.name for o in own if o.state in UP],
        "before": _as_it_was(before, resource) if before else None,
        "routes": [r.name for r in routes if r.name not in known],
    }
    book.change(lambda debts: debts.lent.update({service: owed}))
    with cluster.alone() as hosts:
        for other in own:
            if other.name != resource.name and other.state in UP:
                hosts[other.host].stop(other.name)
        for route in routes:
            hosts[route.host].ensure(route)
        return _prepared(cluster, hosts, service, resource)


def again(cluster: OpenCluster, service: str) -> Callable[[], Lent]:
    """The same with what the spec, and the service's configuration, say now. All that can be wrong
    with that is raised at once; what is returned carries it out."""
    resource, _ = asked_for(cluster, service)

    def carry_out() -> Lent:
        with cluster.alone() as hosts:
            return _prepared(cluster, hosts, service, resource)

    return lambda: patiently(carry_out)


def patiently(do: Callable[[], T]) -> T:
    """Do it once nobody else changes the cluster."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return do()
        except LockedError:
            if time.monotonic() > until:
                raise
            time.sleep(_LOOK)


def _prepared(
    cluster: OpenCluster, hosts: Mapping[str, Any], service: str, resource: Resource
) -> Lent:
    host = hosts[resource.host]
    assert isinstance(host, ProcessHost)
    host.prepare(resource)
    needs = tuple(cluster.spec.services[service].depends_on)
    env = host.environment(resource)
    return Lent(service, resource, env, Path(resource.spec["cwd"]), needs)


def _as_it_was(seen: Observed, asked: Resource) -> dict[str, Any] | None:
    if seen.spec is None:
        return None
    return resource_json(
        Resource(
            kind=seen.kind,
            name=seen.name,
            host=seen.host,
            service=seen.service,
            spec=seen.spec,
            ports=seen.ports or asked.ports,
            needs=asked.needs,
            check=asked.check,
        )
    )


def give_back(cluster: OpenCluster, debts: Debts, say: Say) -> None:
    """The cluster's copies run again, as they did; what was there for the run alone goes."""
    with cluster.alone() as hosts:
        for service, owed in debts.lent.items():
            _trying(say, _back, hosts, service, owed)


def _back(hosts: Mapping[str, Any], service: str, owed: Mapping[str, Any]) -> None:
    host, instance = hosts[owed["host"]], owed["instance"]
    if owed["before"] is None:
        host.remove(instance)
    elif instance in owed["ran"]:
        host.ensure(resource_from(owed["before"]))
    else:
        host.prepare(resource_from(owed["before"]))  # as it was: held, and nobody runs it
    for other in owed["ran"]:
        if other != instance:
            host.start(other)
    for route in owed["routes"]:
        hosts[INGRESS].remove(route)


def take_down(cluster: OpenCluster, debts: Debts, say: Say) -> None:
    """What was raised for the run goes again: all of the cluster, if nothing of it ran before;
    else what was not there. What somebody else has started meanwhile stays, and what that needs."""
    if not debts.raised:
        return
    things = cluster.things()
    if debts.up:
        made = [o for o in things if o.service in debts.raised and o.name not in debts.there]
        with cluster.alone() as hosts:
            for seen in reversed(_in_order(made)):
                _trying(say, hosts[seen.host].remove, seen.name)
        return
    ours = {*debts.raised, *debts.lent}
    foreign = sorted(o.name for o in things if o.state in UP and o.service not in ours)
    if foreign:
        say(f"{cluster.name} stays up: {', '.join(foreign)} was started meanwhile")
        return
    cluster.end("down")
    say(f"{cluster.name} is down again; its data is kept")


def _in_order(things: Sequence[Observed]) -> list[Observed]:
    """What is needed before what needs it."""
    left, done = list(things), []
    while left:
        names = {o.name for o in left}
        ready = [o for o in left if not names & {*o.needs} - {o.name}] or left[:1]
        done += ready
        left = [o for o in left if o not in ready]
    return done


def _trying(say: Say, do: Callable[..., object], *arguments: object) -> None:
    """One thing that cannot be put back does not keep the others."""
    try:
        do(*arguments)
    except DctlError as error:
        with contextlib.suppress(OSError):
            say(f"could not put back: {error.message}")
