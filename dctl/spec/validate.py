"""Rules between values: what no single field can know.

They look at the tree, not at the model, so that they speak even where the model was refused, and
know where to point. Each rule yields its problems; `check` runs all.
"""

from __future__ import annotations

import graphlib
import os.path
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

from dctl import __version__
from dctl.spec.problems import Path, Problem, format_path, shorten
from dctl.spec.scalars import Interpolated
from dctl.spec.translate import did_you_mean, value_span
from dctl.spec.tree import Entry, Items, Node, Scalar, Table
from dctl.spec.view import Listener, View, entries, get, scalars, text

# By model: of these keys, exactly one is given.
ONE_OF = {
    "Service": ("run", "command", "image"),
    "Backing": ("from", "image"),
    "Secret": ("file", "env", "exec", "store"),
    "Health": ("grpc", "http", "tcp", "exec"),
}
_DELIVERED = ("env", "files")
_SECTIONS = {"services": "Service", "infra": "Backing", "secrets": "Secret"}
_WILDCARDS = ("0.0.0.0", "::")
_CORE_NEEDS = {"blueprint": "nats", "catalyst": "nats", "fuse": "blueprint", "envoy": "fuse"}


def check(
    tree: Table, workspace: pathlib.Path, inactive: Mapping[str, Sequence[str]]
) -> Iterator[Problem]:
    """Everything that is wrong between the values of a spec; `run` paths start at `workspace`.
    `inactive` are the workloads that profiles keep out of the tree."""
    view = View(tree)
    yield from _version(tree)
    yield from _names(view)
    yield from _one_of_each(view)
    yield from _core(view)
    yield from _dependencies(view, inactive)
    yield from _cycles(view)
    yield from _placement(view)
    yield from _jumps(view)
    yield from _folders(view, workspace)
    yield from _ports(view)
    yield from _routes(view)
    yield from _secrets(view)
    yield from _access(view)


def _version(tree: Table) -> Iterator[Problem]:
    wanted, ours = text(tree, "requires"), _release(__version__)
    if wanted is None:
        return
    span = tree.entries["requires"].node.span
    for part in wanted.split(","):
        match = re.fullmatch(r"\s*(>=|<=|==|>|<)\s*(\d{1,9}(?:\.\d{1,9}){0,3})\s*", part, re.ASCII)
        if match is None:
            yield Problem(span, "must be a version range such as >=0.1,<2", ("requires",))
            return
        operator, version = match[1], _release(match[2])
        fine = {
            ">=": ours >= version,
            "<=": ours <= version,
            "==": ours == version,
            ">": ours > version,
            "<": ours < version,
        }
        if not fine[operator]:
            yield Problem(span, f"asks for another dctl: this is {__version__}", ("requires",))


def _release(version: str) -> tuple[int, ...]:
    numbers = [int(n) for n in re.findall(r"\d+", version)[:4]]
    return (*numbers, *[0] * (4 - len(numbers)))


def _names(view: View) -> Iterator[Problem]:
    """One name, one thing: instances, registry entries and dependencies go by it."""
    first: dict[str, str] = {}
    for workload in view.workloads:
        if workload.name in first:
            taken = f"the name is taken by {first[workload.name]}.{workload.name}"
            yield workload.problem(workload.span, taken)
        first.setdefault(workload.name, workload.section)


def _one_of_each(view: View) -> Iterator[Problem]:
    for section, model in _SECTIONS.items():
        for name, entry in entries(view.tree, section).items():
            yield from _one_of(entry, ONE_OF[model], (section, name))
    for workload in view.workloads:
        if health := entries(workload.node).get("health"):
            yield from _one_of(health, ONE_OF["Health"], (*workload.path, "health"))


def _one_of(entry: Entry, keys: tuple[str, ...], path: Path) -> Iterator[Problem]:
    if not isinstance(entry.node, Table):
        return
    given = [key for key in keys if not _absent(get(entry.node, key))]
    wanted = f"{', '.join(keys[:-1])} or {keys[-1]}"
    if not given:
        yield Problem(entry.span, f"needs one of {wanted}", path)
    for extra in given[1:]:
        span = entry.node.entries[extra].span
        yield Problem(span, f'has "{given[0]}" already: give only one of {wanted}', (*path, extra))


def _absent(node: Node | None) -> bool:
    return node is None or (isinstance(node, Scalar) and node.value is False)


def _core(view: View) -> Iterator[Problem]:
    for name, need in _CORE_NEEDS.items():
        if need in view.left_out and name not in view.left_out:
            message = f"cannot be left out: core.{name} needs it"
            yield Problem(view.left_out[need], message, ("core", need))


def _dependencies(view: View, inactive: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    known = {workload.name for workload in view.workloads}
    for workload in view.workloads:
        for name, entry in entries(workload.node, "depends_on").items():
            if name == workload.name:
                message = "a service cannot wait for itself"
            elif name in view.left_out:
                message = f"core.{name} is left out of this spec"
            elif name in inactive and name not in known:
                message = f"{name} is there only with --profile {' or '.join(inactive[name])}"
            elif name not in known:
                message = f'there is no "{shorten(name)}"{did_you_mean(name, known)}'
            else:
                continue
            yield workload.problem(entry.span, message, "depends_on", name)


def _cycles(view: View) -> Iterator[Problem]:
    """Each circle of dependencies, at the entry that closes it."""
    workloads = {workload.name: workload for workload in view.workloads}
    graph = {
        name: [need for need in entries(workload.node, "depends_on") if need != name]
        for name, workload in workloads.items()
    }
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            circle = list(reversed(error.args[1]))[:-1]
        else:
            return
        first = min(range(len(circle)), key=lambda i: list(workloads).index(circle[i]))
        circle = circle[first:] + circle[:first]
        last = workloads[circle[-1]]
        entry = entries(last.node, "depends_on")[circle[0]]
        message = f"waits in a circle: {' -> '.join([*circle, circle[0]])}"
        yield last.problem(entry.span, message, "depends_on", circle[0])
        graph = {
            name: [need for need in needs if need not in circle]
            for name, needs in graph.items()
            if name not in circle
        }


def _placement(view: View) -> Iterator[Problem]:
    for workload in view.workloads:
        selector = workload.selector
        if selector is None or view.placed[workload]:
            continue
        entry = entries(workload.node)["on"]
        if selector.labels is None:
            message = _no_such("host", selector.host, view.hosts, entry.node)
        else:
            message = "no host has these labels"
        yield workload.problem(value_span(entry.span, entry.node), message, "on")


def _jumps(view: View) -> Iterator[Problem]:
    hosts = entries(view.tree, "hosts")
    for name, entry in hosts.items():
        via, passed = text(entry.node, "via"), [name]
        if via is None:
            continue
        node = entries(entry.node)["via"].node
        if via not in hosts:
            yield Problem(node.span, _no_such("host", via, hosts, node), ("hosts", name, "via"))
        while via is not None and via not in passed and via in hosts:
            passed.append(via)
            via = text(hosts[via].node, "via")
        if via == name and name == min(passed):  # once for each circle
            circle = " -> ".join([*passed, name])
            yield Problem(node.span, f"jumps in a circle: {circle}", ("hosts", name, "via"))


def _folders(view: View, workspace: pathlib.Path) -> Iterator[Problem]:
    for name, entry in entries(view.tree, "services").items():
        run = text(entry.node, "run")
        if run:
            fault = _outside(run) or (
                f"is no folder of the workspace {workspace.absolute()}"
                if not os.path.isdir(workspace / run)
                else "has no main.py"
                if not os.path.isfile(workspace / run / "main.py")
                else ""
            )
            if fault:
                span = entries(entry.node)["run"].node.span
                yield Problem(span, fault, ("services", name, "run"))
    for workload in view.workloads:
        for target, entry in entries(workload.node, "files").items():
            source = entry.node.value if isinstance(entry.node, Scalar) else None
            if isinstance(source, str) and source and not source.startswith("secret://"):
                fault = _outside(source) or (
                    "" if os.path.isfile(workspace / source)
                    else f"is no file of the workspace {workspace.absolute()}"
                )  # fmt: skip
                if fault:
                    yield workload.problem(entry.node.span, fault, "files", target)


def _outside(path: str) -> str:
    return (
        "must be a relative path that stays inside the workspace"
        if os.path.isabs(path) or ".." in pathlib.PurePath(path).parts
        else ""
    )


def _ports(view: View) -> Iterator[Problem]:
    """Two listeners on one port of one host. Who lands on which of several hosts is not decided
    here, so only what is certain counts."""
    taken: dict[int, list[Listener]] = {}
    for workload in view.workloads:
        for listener in workload.listeners():
            for other in taken.setdefault(listener.address.port, []):
                if _meet(view, listener, other):
                    here, there = (listener, other) if listener.span else (other, listener)
                    owner = format_path((*there.owner.path, *there.path))
                    message = f"port {here.address.port} is also that of {owner}"
                    yield here.owner.problem(here.span or here.owner.span, message, *here.path)
                    break
            taken[listener.address.port].append(listener)


def _meet(view: View, one: Listener, other: Listener) -> bool:
    addresses = {one.address.host, other.address.host}
    if len(addresses) == 2 and not addresses.intersection(_WILDCARDS):
        return False
    if one.owner is other.owner:
        return True
    hosts = view.placed[one.owner]
    return len(hosts) == 1 and hosts == view.placed[other.owner]


def _routes(view: View) -> Iterator[Problem]:
    first: dict[tuple[object, ...], str] = {}
    for name, service in entries(view.tree, "services").items():
        node = get(service.node, "routes")
        ports = entries(service.node, "ports")
        if (
            isinstance(node, Items)
            and node.nodes
            and (gone := {"fuse", "envoy"} & view.left_out.keys())
        ):
            span = entries(service.node)["routes"].span
            message = f"routes need core.{min(gone)}, which is left out of this spec"
            yield Problem(span, message, ("services", name, "routes"))
        for index, route in enumerate(node.nodes if isinstance(node, Items) else ()):
            path = ("services", name, "routes", index)
            yield from _port_name(route, ports, path)
            prefix = text(route, "prefix")
            if prefix is None:
                continue
            headers = tuple(sorted((p, str(s.value)) for p, s in scalars(get(route, "headers"))))
            match = (prefix, text(route, "host") or "", _absent(get(route, "grpc")), headers)
            if match in first:
                span = entries(route)["prefix"].node.span
                yield Problem(span, f"matches the same requests as {first[match]}", path)
            first.setdefault(match, f"services.{name}.routes[{index}]")
    for workload in view.workloads:
        ports = entries(workload.node, "ports")
        if workload.section == "services" and (health := get(workload.node, "health")):
            yield from _port_name(health, ports, (*workload.path, "health"))


def _port_name(node: Node, ports: object, path: Path) -> Iterator[Problem]:
    port = text(node, "port")
    known = list(ports) if isinstance(ports, dict) else []
    if port is not None and port not in known:
        scalar = entries(node)["port"].node
        yield Problem(scalar.span, _no_such("port", port, known, scalar), (*path, "port"))


def _secrets(view: View) -> Iterator[Problem]:
    known = entries(view.tree, "secrets")
    for path, scalar in _values(view.tree):
        if isinstance(scalar.value, str) and scalar.value.startswith("secret://"):
            name = scalar.value.removeprefix("secret://")
            if name not in known:
                yield Problem(scalar.span, _no_such("secret", name, known, scalar), path)
            elif not _may_be_secret(path):
                why = "a secret cannot stand here: make it a variable (env) or a file (files)"
                yield Problem(scalar.span, why, path)
    for workload in view.workloads:
        env = entries(workload.node, "env")
        for variable in env:
            value = text(workload.node, "env", variable)
            if value and value.startswith("secret://") and f"{variable}_FILE" in env:
                why = f"{variable}_FILE names the file of the secret {variable}: leave it out"
                yield workload.problem(env[f"{variable}_FILE"].span, why, "env", f"{variable}_FILE")


def _access(view: View) -> Iterator[Problem]:
    """Nobody can prove who it is where nobody is asked, or any nonce is as good as another."""
    proven = text(view.tree, "security", "calls") == "token"
    if proven and text(view.tree, "security", "nonce") == "any":
        path = ("security", "calls")
        span = entries(view.tree, "security")["calls"].node.span
        yield Problem(span, "with nonce any, everybody is whoever they say: leave it out", path)
    for workload in view.workloads:
        permissions = entries(workload.node).get("permissions")
        if permissions is not None and not proven:
            why = "need `security: {calls: token}`: else nobody is asked who they are"
            yield workload.problem(permissions.span, why, "permissions")


def _may_be_secret(path: Path) -> bool:
    """A variable or a file of a part, or the nonce: what is delivered apart from all else."""
    if path == ("security", "nonce"):
        return True
    return len(path) == 4 and path[0] in ("core", "infra", "services") and path[2] in _DELIVERED


def _values(tree: Table) -> Iterator[tuple[Path, Scalar]]:
    for key, entry in entries(tree).items():
        yield from scalars(entry.node, (key,))


def _no_such(kind: str, name: str, known: object, node: Node) -> str:
    """Names what is missing, unless it came from the environment."""
    if isinstance(node, Scalar) and isinstance(node.value, Interpolated):
        return f"there is no such {kind}"
    names = [str(one) for one in known] if isinstance(known, list | dict) else []
    return f'there is no {kind} "{shorten(name)}"{did_you_mean(name, names)}'
