"""Inventories: hosts and groups from files, and what groups give to their hosts."""

from __future__ import annotations

from collections.abc import Mapping

from dctl.spec.files import Files
from dctl.spec.include import listed, named_by
from dctl.spec.interpolate import interpolate
from dctl.spec.layers import merge, position, unite
from dctl.spec.model import Inventory
from dctl.spec.problems import Problem, shorten
from dctl.spec.scalars import Interpolated
from dctl.spec.translate import did_you_mean, validated
from dctl.spec.tree import Entry, Scalar, Table
from dctl.spec.view import entries


def add_inventories(
    tree: Table, files: Files, env: Mapping[str, str], problems: list[Problem]
) -> None:
    """Put what the inventory files hold into the tree, where it meets the spec's own."""
    for place, scalar in listed(tree, "inventory", problems=problems):
        inventory = files.read(named_by(scalar), named=Problem(scalar.span, "", place))
        if inventory is None:
            continue
        interpolate(inventory, env, problems)
        validated(inventory, Inventory, problems)
        for section in ("hosts", "groups"):
            if further := entries(inventory, section):
                own = Table(tree.span, dict(entries(tree, section)))
                for name, entry in further.items():
                    first = own.entries.setdefault(name, entry)
                    if first is not entry:
                        message = f"is already declared at {position(first.span)}"
                        problems.append(Problem(entry.span, message, (section, name)))
                tree.entries[section] = Entry(own.span, own)


def apply_groups(tree: Table, problems: list[Problem]) -> None:
    """Give each host what its groups say; its own word wins, and groups must agree."""
    hosts = dict(entries(tree, "hosts"))
    given: dict[str, Table] = {}
    for name, group in entries(tree, "groups").items():
        if not isinstance(group.node, Table):
            continue  # the model says so
        words = Table(group.span, {k: e for k, e in entries(group.node).items() if k != "hosts"})
        for place, scalar in listed(group.node, "hosts", ("groups", name), problems=problems):
            host = str(scalar.value)
            if host in hosts:
                others = given.get(host, Table(group.span))
                given[host] = unite(others, words, problems, ("hosts", host))
            else:
                problems.append(Problem(scalar.span, _no_host(scalar, hosts), place))
    for host, words in given.items():
        span, own = hosts[host]
        if isinstance(own, Table):
            hosts[host] = Entry(span, Table(own.span, merge(words, own, problems).entries))
    if given:
        tree.entries["hosts"] = Entry(tree.entries["hosts"].span, Table(tree.span, hosts))


def _no_host(scalar: Scalar, hosts: Mapping[str, Entry]) -> str:
    """Names what is missing, unless it came from the environment."""
    if isinstance(scalar.value, Interpolated):
        return "there is no such host"
    name = str(scalar.value)
    return f'there is no host "{shorten(name)}"{did_you_mean(name, hosts)}'
