"""What is damaged is not served; what cannot be counted now holds nobody up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from draft_services.blueprint import scrub as scrub_module
from draft_services.blueprint.errors import Damaged
from draft_services.blueprint.scrub import Scrub
from draft_services.engine.connection import Connection
from draft_services.engine.errors import Unavailable
from draft_services.engine.nodes import Nodes

STREAM = "KV_keys"
Told = Mapping[str, list[int]] | Exception


class OneNode:
    """An engine of one node, with one stream."""

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}

    def on_reconnect(self, call: Callable[[], None]) -> Callable[[], None]:
        return lambda: None

    async def api(self, verb: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if verb.startswith("STREAM.UPDATE"):
            assert body is not None
            self.metadata = dict(body["metadata"])
        if verb == "STREAM.NAMES":
            return {"streams": [STREAM] if not (body or {}).get("offset") else [], "total": 1}
        config = {"name": STREAM, "storage": "file", "metadata": self.metadata}
        return {"config": config, "state": {"messages": 3}}


def scrub_of(engine: OneNode, told: Told, monkeypatch: pytest.MonkeyPatch) -> Scrub:
    async def damaged(*_: object) -> Mapping[str, list[int]]:
        if isinstance(told, Exception):
            raise told
        return told

    monkeypatch.setattr(scrub_module.survey, "damaged", damaged)
    connection, nodes = cast(Connection, engine), cast(Nodes, None)
    return Scrub(connection, nodes, every=60, needed=[STREAM], live=[])


async def test_what_is_damaged_is_said_and_stays_so_for_whoever_looks_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = OneNode()
    scrub = scrub_of(engine, {"nats-1": [7]}, monkeypatch)
    await scrub.look()
    with pytest.raises(Damaged, match=r"1 of its messages cannot be read \(7\)"):
        scrub.check()
    later = scrub_of(engine, {}, monkeypatch)
    await later.look()
    assert STREAM in later.damaged


async def test_a_stream_that_changes_too_fast_to_be_counted_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scrub = scrub_of(OneNode(), Unavailable("it changes too fast"), monkeypatch)
    await scrub.look()
    scrub.check()
