"""What the engine says of a container, read back as what was asked. Pure.

Every field that the engine tells is compared with what was asked of it; what differs is shown as
it is now. Only files, secrets and `source` are believed as the labels tell them.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dctl.hosts.base import Endpoint, Json, Kind, Observed, State
from dctl.hosts.docker import naming
from dctl.hosts.docker.body import POLICIES, nano, seconds
from dctl.hosts.docker.spec import OUR_NETWORK, SECRETS, ContainerSpec

Inspected = Mapping[str, Any]
"""The engine's answer about one container or image."""


def observed(
    container: Inspected,
    spec: Mapping[str, Json] | None,
    *,
    host: str,
    mark: str = "",
    told_to_stop: bool = False,
    ahead: float = 0.0,
) -> Observed:
    """One container as it is. `spec` is what it runs with; `mark` is why dctl itself stopped it;
    `told_to_stop` when somebody else did; `ahead` the seconds that the engine's clock is before
    ours."""
    labels, state = container["Config"]["Labels"], container["State"]
    ports = published(container)
    judged = _state(container, mark, told_to_stop=told_to_stop or bool(ports))
    alive = judged in (State.RUNNING, State.STARTING)
    return Observed(
        kind=Kind.CONTAINER,
        name=labels[naming.INSTANCE],
        host=host,
        state=judged,
        owner=labels[naming.CLUSTER],
        service=labels.get(naming.SERVICE, ""),
        spec=spec,
        ports=ports,
        pid=state["Pid"] if alive else 0,
        started=epoch(state["StartedAt"]) - ahead if alive else 0.0,
        restarts=container["RestartCount"],
        last_exit=_last_exit(container),
        needs=naming.needs(labels),
    )


def ended_well(container: Inspected) -> bool:
    """It may be a job that is done, or a program that was told to stop: the engine does not say
    in its state."""
    state, policy = container["State"], container["HostConfig"]["RestartPolicy"]["Name"]
    return (
        state["Status"] == "exited"
        and state["ExitCode"] == 0
        and not state["OOMKilled"]
        and policy in ("no", "on-failure", "")
    )


def _state(container: Inspected, mark: str, *, told_to_stop: bool) -> State:
    state, policy = container["State"], container["HostConfig"]["RestartPolicy"]
    match state["Status"]:
        case "running":
            return State.RUNNING
        case "restarting":
            return State.STARTING
        case "paused":
            return State.STOPPED
    if mark:
        return State.HELD if mark == "held" else State.STOPPED
    if ended_well(container):
        return State.STOPPED if told_to_stop else State.COMPLETED
    if state["Status"] != "exited":
        return State.STOPPED  # created and not started yet, or on its way out
    given_up = policy["Name"] == "on-failure" and (
        0 < policy["MaximumRetryCount"] <= container["RestartCount"]
    )
    return State.FAILED if given_up or policy["Name"] in ("no", "") else State.STOPPED


def _last_exit(container: Inspected) -> str:
    state = container["State"]
    if state["Status"] == "running":
        return ""
    if state["Status"] == "paused":
        return "paused"
    if state["OOMKilled"]:
        limit = container["HostConfig"]["Memory"]
        return "killed for lack of memory" + (f" (limit {limit >> 20}M)" if limit else "")
    if state["Error"]:
        return str(state["Error"]).strip().splitlines()[0]
    if state["Status"] == "created":
        return ""
    return exit_text(state["ExitCode"])


def exit_text(code: int) -> str:
    """An exit code in words: over 128 it is a signal's, by the custom of shells and engines."""
    if code > 128:
        try:
            return f"killed by {signal.Signals(code - 128).name}"
        except ValueError:
            pass
    return f"exit status {code}"


def epoch(stamp: str) -> float:
    """Seconds since the epoch of one of the engine's time stamps."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    return max(moment.timestamp() + float(f"0.{fraction or 0}"), 0.0) if moment.year > 1 else 0.0


def published(container: Inspected) -> dict[str, Endpoint]:
    """Where the container's ports are offered, by the names that they were asked under."""
    labels = container["Config"]["Labels"]
    asked, meant = naming.asked(labels) or {}, naming.ports(labels)
    left = _bindings(container)
    found = {}
    for name, port in (asked.get("ports") or {}).items():
        places = left.get(f"{port['container']}/tcp", [])
        if places:
            # Two names may share a port of the container: each keeps its own place.
            place = meant[name] if meant.get(name) in places else places[0]
            places.remove(place)
            found[name] = place
    return found


def read_back(
    container: Inspected, running: Inspected | None, tagged: Inspected | None, cluster: str
) -> dict[str, Json] | None:
    """The spec that the container runs with: equal to the one that was asked, unless something
    changed behind dctl's back. `running` is the image that it was made of, `tagged` the one that
    the asked name means now; None for either that is no longer there."""
    config, limits = container["Config"], container["HostConfig"]
    stored = naming.asked(config["Labels"])
    if stored is None:
        return None
    asked = ContainerSpec.from_json(stored)
    built = None if running is None else image_config(running)
    networks = container["NetworkSettings"]["Networks"] or {}
    moved = tagged is not None and tagged["Id"] != container["Image"]
    cpus, user = limits["NanoCpus"], config["User"]
    return {
        **asked.to_json(),
        "image": f"{asked.image}@{container['Image'][:19]}" if moved else asked.image,
        "command": _command(asked, config, built),
        "env": _env(asked, config, built),
        "volumes": _volumes(container, built or {}, cluster),
        "ports": _ports(asked, container),
        "network": _network(networks, cluster),
        "aliases": _aliases(asked, container, networks, cluster),
        "restart": _restart(asked, limits["RestartPolicy"]),
        "stop": _stop(asked, config),
        "memory": limits["Memory"] or None,
        "cpus": asked.cpus if nano(asked.cpus) == cpus else cpus / 1e9 or None,
        "user": "" if not asked.user and user == (built or {}).get("User", "") else user,
    }


def image_config(image: Inspected) -> Inspected:
    """What an image brings along; one that was imported may bring nothing."""
    return image["Config"] or {}


def _command(asked: ContainerSpec, config: Inspected, image: Inspected | None) -> list[str]:
    command, entry = config["Cmd"] or [], config["Entrypoint"] or []
    if image is not None and entry != (image.get("Entrypoint") or []):
        return [*entry, *command]
    if not asked.command and (image is None or command == (image.get("Cmd") or [])):
        return []
    return list(command)


def _env(asked: ContainerSpec, config: Inspected, image: Inspected | None) -> dict[str, str]:
    given = dict(line.partition("=")[::2] for line in config["Env"] or ())
    built_in = dict(line.partition("=")[::2] for line in (image or {}).get("Env") or ())
    # What the image brings along was not asked for; without the image nobody can tell.
    return {
        name: value
        for name, value in given.items()
        if name in asked.env or (image is not None and built_in.get(name) != value)
    }


def _volumes(container: Inspected, image: Inspected, cluster: str) -> dict[str, str]:
    instance = container["Config"]["Labels"][naming.INSTANCE]
    prefix = naming.volume_name(cluster, instance, "")
    found = {}
    for mount in container["Mounts"] or ():
        if mount["Destination"] == SECRETS:
            continue
        name = mount.get("Name") or mount["Source"]
        if name.startswith(prefix):
            found[name.removeprefix(prefix)] = mount["Destination"]
        elif mount["Destination"] not in (image.get("Volumes") or {}):
            found[name] = mount["Destination"]
    return found


def _ports(asked: ContainerSpec, container: Inspected) -> dict[str, Json]:
    labels = container["Config"]["Labels"]
    meant, left = naming.ports(labels), _bindings(container)
    found: dict[str, Json] = {}
    for name, at in published(container).items():
        port = asked.ports[name]
        as_asked = meant.get(name, at) == at
        found[name] = {
            "container": port.container,
            "publish": port.publish if as_asked else str(at),
        }
        left[f"{port.container}/tcp"].remove(at)
    for port_name, places in left.items():
        for place in places:
            found[f"{place}->{port_name}"] = {
                "container": int(port_name.partition("/")[0]),
                "publish": str(place),
            }
    return found


def _bindings(container: Inspected) -> dict[str, list[Endpoint]]:
    return {
        port: [Endpoint(b["HostIp"] or "0.0.0.0", int(b["HostPort"] or 0)) for b in places or ()]
        for port, places in (container["HostConfig"]["PortBindings"] or {}).items()
    }


def _network(networks: Mapping[str, Any], cluster: str) -> str:
    ours = naming.network_name(cluster)
    return ", ".join(sorted(OUR_NETWORK if name == ours else name for name in networks)) or "none"


def _aliases(
    asked: ContainerSpec, container: Inspected, networks: Mapping[str, Any], cluster: str
) -> list[str]:
    here = networks.get(naming.network_name(cluster))
    if here is None:
        return sorted(asked.aliases)  # that it is not on the network is told by that field
    # The instance's own name is asked of every container; the engine adds the short id.
    own = {container["Config"]["Labels"][naming.INSTANCE], container["Id"][:12]}
    found = set(here.get("Aliases") or ())
    return sorted((found - own) | (found & set(asked.aliases)))


def _restart(asked: ContainerSpec, policy: Inspected) -> dict[str, Json]:
    words = {name: when for when, name in POLICIES.items()}
    name = policy["Name"] or "no"
    retries = policy["MaximumRetryCount"] if name == "on-failure" else asked.retries
    return {"when": words.get(name, name), "max": retries}


def _stop(asked: ContainerSpec, config: Inspected) -> dict[str, Json]:
    word = str(config.get("StopSignal") or "SIGTERM").removeprefix("SIG")
    timeout = config.get("StopTimeout")
    as_asked = timeout == seconds(asked.stop_timeout)
    return {
        "signal": word,
        "timeout": float(asked.stop_timeout if as_asked or timeout is None else timeout),
    }
