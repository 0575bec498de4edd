"""An engine of one node that becomes one of several: what has to be moved, and where to."""

from __future__ import annotations

from typing import Any

import pytest

from dctl.engine.growth import EPOCH, epoch_for, refuse_absent, to_move
from dctl.engine.plan import make_plan
from dctl.engine.scope import Scope
from dctl.engine.sight import Sight
from dctl.errors import DctlError
from dctl.hosts.base import Kind, Observed, Resource, State

SINGLE: dict[str, Any] = {"ports": {"client": "127.0.0.1:0"}}
ONE_OF_SEVERAL: dict[str, Any] = {"ports": {"client": "127.0.0.1:0", "cluster": "127.0.0.1:0"}}


def in_epoch(epoch: int, spec: dict[str, Any]) -> dict[str, Any]:
    return {**spec, "env": {EPOCH: str(epoch)}}


def asked(*specs: dict[str, Any]) -> list[Resource]:
    return [
        Resource(Kind.PROCESS, f"nats-{number}", "local", "nats", spec)
        for number, spec in enumerate(specs, 1)
    ]


def there(*specs: dict[str, Any]) -> list[Observed]:
    return [
        Observed(Kind.PROCESS, r.name, r.host, State.RUNNING, "shop", "nats", spec=r.spec)
        for r in asked(*specs)
    ]


def new() -> int:
    return 7


@pytest.mark.parametrize(
    ("replicas", "nodes", "epoch"),
    [
        (1, [], 0),
        (3, [], 0),
        (1, [SINGLE], 0),
        (3, [ONE_OF_SEVERAL] * 3, 0),
        (5, [in_epoch(4, ONE_OF_SEVERAL)] * 3, 4),
        (3, [SINGLE], 7),
        (1, [in_epoch(4, ONE_OF_SEVERAL)] * 3, 7),
        # Cut off in the middle: those that are as asked say where the data go, or still are.
        (3, [in_epoch(2, SINGLE), in_epoch(4, ONE_OF_SEVERAL)], 4),
        (1, [in_epoch(2, SINGLE), in_epoch(4, ONE_OF_SEVERAL)], 2),
    ],
)
def test_nodes_of_the_other_sort_begin_in_a_new_epoch_and_all_others_stay_in_theirs(
    replicas: int, nodes: list[dict[str, Any]], epoch: int
) -> None:
    assert epoch_for(replicas, nodes, new) == epoch


def test_nothing_is_moved_between_nodes_of_one_sort() -> None:
    assert to_move(asked(SINGLE), there(SINGLE), begun=False) is None
    assert to_move(asked(SINGLE), there(), begun=False) is None
    five, three = [ONE_OF_SEVERAL] * 5, [ONE_OF_SEVERAL] * 3
    assert to_move(asked(*five), there(*three), begun=False) is None


def test_a_move_tells_from_how_many_nodes_to_how_many() -> None:
    move = to_move(asked(*[ONE_OF_SEVERAL] * 3), there(SINGLE), begun=False)
    assert move is not None
    assert str(move).startswith("the engine goes from 1 to 3 nodes: a backup of its data is taken")


def test_one_that_was_begun_has_to_be_ended_where_the_nodes_are_as_asked() -> None:
    move = to_move(asked(SINGLE), there(SINGLE), begun=True)
    assert move is not None
    assert "in a backup, to be restored" in str(move)


def test_data_of_nodes_that_are_not_there_are_not_left_behind() -> None:
    with pytest.raises(DctlError, match="those of 1 node, none of which is there") as refused:
        refuse_absent(asked(*[ONE_OF_SEVERAL] * 3), asked(SINGLE))
    assert refused.value.hint == "set core.nats.replicas to 1 and apply, then to 3"
    refuse_absent(asked(SINGLE), asked(SINGLE))


def test_a_plan_that_may_move_nothing_is_refused_and_so_is_one_of_a_part() -> None:
    wanted, sight = asked(*[ONE_OF_SEVERAL] * 3), Sight(there(SINGLE))
    move = to_move(wanted, sight.things, begun=False)
    assert make_plan("shop", wanted, sight, move=move).move is move
    with pytest.raises(DctlError, match="the data of 1 node, and is to have 3"):
        make_plan("shop", wanted, sight)
    with pytest.raises(DctlError, match="the whole cluster alone"):
        make_plan("shop", wanted, sight, Scope(services=("nats",)))
