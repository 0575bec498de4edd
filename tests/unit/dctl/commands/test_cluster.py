"""What Blueprint's figures say of the engine, in words."""

from __future__ import annotations

import pytest

from dctl.commands.cluster import judged, read


def stats(copies: int, leader: str = "nats-1", **nodes: str) -> dict[str, str]:
    told = {"messages": "3", "bytes": "40", "last_revision": "9", "replicas": str(copies)}
    told |= {"leader": leader, "first_revision": "1", "lag": "0"}
    told |= {f"node.{name.replace('_', '-')}": how for name, how in nodes.items()}
    return {"server": "nats-1", "engine": "nats://x"} | {f"KV_keys.{k}": v for k, v in told.items()}


def test_figures_become_nodes_and_streams() -> None:
    nodes, streams = read(stats(3, nats_1="leads", nats_2="online, 7 behind", nats_3="offline"))
    assert nodes == [
        {"node": "nats-1", "state": "online", "leads": ["KV_keys"], "behind": 0},
        {"node": "nats-2", "state": "online", "leads": [], "behind": 7},
        {"node": "nats-3", "state": "offline", "leads": [], "behind": 0},
    ]
    assert streams == [
        {
            "stream": "KV_keys",
            "messages": 3,
            "bytes": 40,
            "revision": 9,
            "copies": 3,
            "nodes": 3,
            "leader": "nats-1",
            "damage": None,
            "repaired": None,
        }
    ]


@pytest.mark.parametrize(
    ("told", "well", "words"),
    [
        (stats(1, nats_1="leads"), True, "One copy of everything"),
        (stats(3, nats_1="leads", nats_2="online", nats_3="online"), True, "1 of 3 nodes may fail"),
        (stats(3, nats_1="leads", nats_2="online, 7 behind", nats_3="online"), True, "nats-2 is c"),
        (stats(3, nats_1="leads", nats_2="online", nats_3="offline"), False, "no other may fail"),
        (
            stats(5, nats_1="leads", nats_2="online", nats_3="offline", nats_4="online"),
            False,
            "1 more may fail",
        ),
        (stats(3, nats_1="leads", nats_2="online"), False, "2 of 3 copies are there"),
        (stats(3, leader="", nats_1="online"), False, "KV_keys: no leader"),
        (
            stats(1, nats_1="leads") | {"KV_keys.damage": "2 of its messages cannot be read"},
            False,
            "KV_keys: 2 of its messages cannot be read",
        ),
    ],
)
def test_what_may_still_fail_is_told_in_words(told: dict[str, str], well: bool, words: str) -> None:
    assert judged(*read(told))[0] is well
    assert words in judged(*read(told))[1]
