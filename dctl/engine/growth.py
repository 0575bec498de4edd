"""An engine of one node that becomes one of several, or one again.

The data folder of a node by itself means nothing to one of several, nor the other way round. So the
engine begins empty in another folder, that of another epoch, and its data are moved there by a
backup. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dctl.errors import DctlError
from dctl.hosts.base import Json, Observed, Resource

ENGINE = "nats"
EPOCH = "DRAFT_ENGINE_EPOCH"
"""The variable in the environment of a node that tells its epoch; absent in the first."""
_ROUTES = "cluster"  # the port of a node that is one of several

Spec = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Move:
    """The engine's data are moved from so many nodes to so many. With `begun` they are in a backup
    already, and in no engine."""

    before: int
    after: int
    begun: bool = False

    def __str__(self) -> str:
        nodes = f"from {self.before} to {self.after} node{'s' if self.after > 1 else ''}"
        if self.begun:
            return "a move of the engine's data goes on: they are in a backup, to be restored"
        return f"the engine goes {nodes}: a backup of its data is taken and restored there"

    def to_json(self) -> dict[str, Any]:
        return {
            "from": self.before,
            "to": self.after,
            "how": "backup and restore",
            "begun": self.begun,
            "writes": "wait",
        }


def crossing(asked: Sequence[Resource], things: Iterable[Observed | Resource]) -> Move | None:
    """What has to be moved for the nodes that are asked for to have what those that are there
    have."""
    there, wanted = engine_of(things), engine_of(asked)
    if not there or not wanted:
        return None
    strange = [spec for spec in there if is_single(spec) != is_single(wanted[0])]
    return Move(len(there), len(wanted)) if strange else None


def to_move(asked: Sequence[Resource], things: Iterable[Observed], *, begun: bool) -> Move | None:
    """The same; one that was `begun` has to be ended even where the nodes are as asked."""
    if found := crossing(asked, things):
        return Move(found.before, found.after, begun)
    nodes = len(engine_of(asked))
    return Move(nodes, nodes, begun) if begun else None


def engine_of(things: Iterable[Observed | Resource]) -> list[Spec]:
    """What the nodes among these are asked for."""
    return [thing.spec for thing in things if thing.service == ENGINE and thing.spec]


def epoch_for(replicas: int, nodes: Sequence[Spec], new: Callable[[], int]) -> int:
    """The epoch of an engine of so many nodes, given those that are (or were last) there: theirs,
    or a `new` one where they are of the other sort."""
    same = [spec for spec in nodes if is_single(spec) == (replicas == 1)]
    if nodes and not same:
        return new()
    return max(map(_epoch, same), default=0)


def is_single(spec: Spec) -> bool:
    """Whether a node is by itself."""
    return _ROUTES not in spec.get("ports", {})


def refuse(move: Move) -> DctlError:
    """Why that cannot be done in this way."""
    return DctlError(
        f"the engine has the data of {move.before} node{'s' if move.before > 1 else ''}, and is to"
        f" have {move.after}: they are moved by an apply of the whole cluster alone, so nothing was"
        " changed",
        hint="dctl infra apply, without --service and --host",
    )


def refuse_absent(asked: Sequence[Resource], last: Iterable[Resource]) -> None:
    """Raise DctlError when what was asked for `last` has data that would have to be moved, and
    nothing of it is there: nobody could take the backup."""
    if move := crossing(asked, last):
        raise DctlError(
            f"the engine's data are those of {move.before} node{'s' if move.before > 1 else ''},"
            " none of which is there: nothing was changed",
            hint=f"set core.nats.replicas to {move.before} and apply, then to {move.after}",
        )


def _epoch(spec: Spec) -> int:
    return int((spec.get("env") or {}).get(EPOCH, 0))
