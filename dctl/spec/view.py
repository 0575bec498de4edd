"""A look at a tree that may be wrong: whatever is not of the expected shape is not there.

So the rules between values can run, and report, although the model has refused some of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dctl.spec.core import Core
from dctl.spec.problems import Path, Problem, Span
from dctl.spec.tree import Entry, Items, Node, Scalar, Table, to_data
from dctl.spec.types import (
    LOCAL,
    Address,
    Selector,
    parse_address,
    parse_selector,
    parse_written,
)


def get(node: Node | None, *keys: str) -> Node | None:
    """The node at `keys`; an empty value counts as absent."""
    for key in keys:
        entry = node.entries.get(key) if isinstance(node, Table) else None
        node = entry.node if entry else None
    return None if isinstance(node, Scalar) and node.value is None else node


def entries(node: Node | None, *keys: str) -> Mapping[str, Entry]:
    """The keys of the mapping at `keys`, `x-...` left out."""
    found = get(node, *keys)
    if not isinstance(found, Table):
        return {}
    return {key: entry for key, entry in found.entries.items() if not key.startswith("x-")}


def text(node: Node | None, *keys: str) -> str | None:
    """The text at `keys`."""
    found = get(node, *keys)
    return found.value if isinstance(found, Scalar) and isinstance(found.value, str) else None


def place_span(tree: Table, path: Path) -> Span:
    """Where the value at `path` stands, or the nearest thing around it that was written."""
    span = tree.span
    found: Node = tree
    for key in path:
        if isinstance(found, Table) and isinstance(key, str) and key in found.entries:
            entry = found.entries[key]
            span, found = entry.span, entry.node
        elif isinstance(found, Items) and isinstance(key, int) and key < len(found.nodes):
            found = found.nodes[key]
            span = found.span
        else:
            break
    return span


def texts(node: Node | None, *keys: str) -> list[str]:
    """The texts of the list at `keys`; one text counts as a list of one."""
    found = get(node, *keys)
    nodes = found.nodes if isinstance(found, Items) else [found]
    return [
        item.value for item in nodes if isinstance(item, Scalar) and isinstance(item.value, str)
    ]


def scalars(node: Node | None, path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    """Every scalar below `node`, and where it is."""
    if isinstance(node, Scalar):
        yield path, node
    elif isinstance(node, Items):
        for index, item in enumerate(node.nodes):
            yield from scalars(item, (*path, index))
    elif isinstance(node, Table):
        for key, entry in node.entries.items():
            yield from scalars(entry.node, (*path, key))


@dataclass(frozen=True, slots=True)
class Listener:
    """A port of a workload; `span` is None where nobody wrote it."""

    owner: Workload
    path: Path  # below the owner's
    address: Address
    span: Span | None


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """A core part, a backing service or a service, as far as it can be told."""

    section: str
    name: str
    span: Span
    node: Node | None

    @property
    def path(self) -> Path:
        return (self.section, self.name)

    def problem(self, span: Span, message: str, *below: str | int) -> Problem:
        return Problem(span, message, (*self.path, *below))

    @property
    def selector(self) -> Selector | None:
        node = get(self.node, "on")
        try:
            return parse_selector(to_data(node)) if node else None
        except ValueError:
            return None  # the model says so

    def listeners(self) -> Iterator[Listener]:
        """Fixed ports, the defaults of a core part included."""
        if self.section == "core":
            for name, default in _core_ports(self.name).items():
                yield from self._listener((name,), get(self.node, name), default)
        for name, entry in entries(self.node, "ports").items():
            yield from self._listener(("ports", name), entry.node)
        ports = get(self.node, "ports")
        for index, item in enumerate(ports.nodes if isinstance(ports, Items) else ()):
            yield from self._listener(("ports", index), item)

    def _listener(
        self, path: Path, node: Node | None, default: Address | None = None
    ) -> Iterator[Listener]:
        address = default
        if isinstance(node, Scalar):
            try:
                address = parse_address(node.value)
            except ValueError:
                return  # the model says so
        if address and address.port:
            yield Listener(self, path, address, node.span if node else None)


class View:
    """The whole spec: its hosts with their labels, everything that is to run in the order of
    the file (core parts first), and on which hosts each may be `placed`."""

    def __init__(self, tree: Table) -> None:
        self.tree = tree
        self.hosts = {
            name: _labels(entry.node) for name, entry in entries(tree, "hosts").items()
        } or {LOCAL: {}}
        core = entries(tree, "core")
        self.left_out = {
            name: entry.node.span
            for name, entry in core.items()
            if isinstance(entry.node, Scalar) and entry.node.value is False
        }
        self.workloads = []
        for name in Core.model_fields:
            if name not in self.left_out:
                span = core[name].span if name in core else tree.span
                self.workloads.append(Workload("core", name, span, get(tree, "core", name)))
        for section in ("infra", "services"):
            for name, entry in entries(tree, section).items():
                self.workloads.append(Workload(section, name, entry.span, entry.node))

        everywhere = frozenset(self.hosts)
        self.placed = {
            workload: everywhere if selector is None else self._selected(selector)
            for workload in self.workloads
            for selector in [workload.selector]
        }

    def _selected(self, selector: Selector) -> frozenset[str]:
        return frozenset(n for n, labels in self.hosts.items() if selector.matches(n, labels))


def _labels(host: Node) -> dict[str, str]:
    found = get(host, "labels")
    return {
        key: parse_written(entry.node.value)
        for key, entry in (found.entries.items() if isinstance(found, Table) else ())
        if isinstance(entry.node, Scalar) and entry.node.value is not None
    }


def _core_ports(name: str) -> dict[str, Address]:
    part = Core.model_fields[name].default
    return {key: value for key, value in part if isinstance(value, Address)}
