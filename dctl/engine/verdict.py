"""The one compare function: what is asked against what is there.

Planner, status and tests all decide with `verdict`, so "converged" means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from dctl.engine.hiding import shown
from dctl.hosts.base import Endpoint, Json, Kind, Observed, Resource, State
from dctl.secrets.redaction import HIDDEN


class Action(StrEnum):
    """What has to happen to one resource."""

    NONE = "none"
    CREATE = "create"
    UPDATE = "update"  # in place: the same thing, restarted or changed
    REPLACE = "replace"  # another thing takes its place: a container cannot be changed
    HEAL = "heal"  # as asked, but not running
    DELETE = "delete"
    REFUSE = "refuse"  # the name is taken by something that is not ours


@dataclass(frozen=True, slots=True)
class Change:
    """One field that decided: its dotted path, and its value before and after (None = absent,
    secrets hidden)."""

    field: str
    before: Json
    after: Json


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, the fields that decided it, and why in a few words."""

    action: Action
    reason: str = ""
    changes: tuple[Change, ...] = ()


def verdict(asked: Resource | None, seen: Observed | None, cluster: str) -> Verdict:
    """Compare one resource. At least one side is given."""
    if seen is None:
        return Verdict(Action.CREATE)
    if seen.owner != cluster:
        if asked is None:
            return Verdict(Action.NONE, "not ours")
        whose = f'belongs to cluster "{seen.owner}"' if seen.owner else "was not made by dctl"
        return Verdict(Action.REFUSE, whose)
    if asked is None:
        return Verdict(Action.DELETE, "no longer in the spec")
    if seen.spec is None:
        return Verdict(_change(asked), "what it runs with cannot be told")
    changes = _with_ports(differences(seen.spec, asked.spec), seen.ports, asked.ports)
    if changes:
        return Verdict(_change(asked), changes=changes)
    if seen.state in (State.STOPPED, State.FAILED):
        why = f" ({seen.last_exit})" if seen.last_exit else ""
        return Verdict(Action.HEAL, f"{seen.state}{why} -> running")
    if seen.state is State.HELD:
        return Verdict(Action.NONE, "stopped on purpose")
    return Verdict(Action.NONE)


def _change(asked: Resource) -> Action:
    return Action.REPLACE if asked.kind is Kind.CONTAINER else Action.UPDATE


def _with_ports(
    changes: Iterable[Change], before: Mapping[str, Endpoint], after: Mapping[str, Endpoint]
) -> tuple[Change, ...]:
    """The changes with those of the ports themselves: a spec tells only what was wished for, so
    where a port moves, its wish is left out."""
    moved = {
        f"ports.{name}": (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
    wishes = {*moved, *(f"{field}.publish" for field in moved)}
    found = [change for change in changes if change.field not in wishes]
    found += [
        Change(field, old and str(old), new and str(new)) for field, (old, new) in moved.items()
    ]
    return tuple(sorted(found, key=lambda change: change.field.split(".")))


def differences(before: Mapping[str, Json], after: Mapping[str, Json]) -> Iterator[Change]:
    """The leaves that differ, in the order of their dotted paths; lists are compared whole. What
    looks like a secret is compared, and not told."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            if path[-2:-1] in (("digests",), ("shared",)):  # a digest tells nobody anything
                was, is_ = (HIDDEN if path in side else None for side in (old, new))
                yield Change(f"secret {path[-1]}", was, is_)
                continue
            before, after = (shown(path, side.get(path)) for side in (old, new))
            yield Change(".".join(path), before, after)


def _leaves(
    node: Mapping[str, Json], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Json]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        elif value is not None:
            yield (*path, key), value
