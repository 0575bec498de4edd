"""chassis.testing: what its page and docs/service.md promise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from draft_api.examples.echo.v1 import service_pb2 as pb
from draft_api.examples.echo.v1 import service_pb2_grpc as rpc
from pydantic import BaseModel

from chassis import Chassis
from chassis import testing as page
from chassis.config import RESERVED, Platform
from chassis.errors import ChassisError
from chassis.keys import _leaves, variable
from chassis.testing import client, in_cluster, settings

DOCS = Path(__file__).parents[3] / "docs" / "service.md"


class Echo(rpc.EchoServiceServicer):
    async def Speak(self, request: pb.SpeakRequest, context: Any) -> pb.SpeakResponse:
        return pb.SpeakResponse(output=request.input)


class Shop(BaseModel):
    greeting: str = "hello"


async def run_example(source: str) -> None:
    """The example as it stands, as the body of a coroutine with what it takes for granted."""
    known: dict[str, Any] = {"Echo": Echo, "pb": pb, "rpc": rpc, "settings": settings}
    known |= {"Chassis": Chassis, "running": page.running}
    body = source if "async def test_" in source else f"async def test_example():\n{source}"
    exec(body, known)
    [test] = [value for name, value in known.items() if name.startswith("test_")]
    await test()


async def test_the_example_of_the_module_works() -> None:
    assert page.__doc__ is not None
    example = re.search(r"\n\n((?: {4}.*\n|\n)+)", page.__doc__)
    assert example is not None
    await run_example(example[1])


async def test_the_example_of_the_docs_works() -> None:
    [example] = [
        block
        for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
        if "async def test_" in block
    ]
    await run_example(example)


def test_settings_of_a_services_own_are_taken() -> None:
    app = Chassis(config=settings("shop", greeting="moin"), settings=Shop)
    assert app.settings.greeting == "moin"


def test_the_environment_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAFT_SERVICE_NAME", "other")
    monkeypatch.setenv("DRAFT_CONFIG", "/nowhere.yaml")
    assert Chassis(config=settings("shop")).name == "shop"


def test_every_variable_is_in_the_docs() -> None:
    names = [variable(path) for path, _ in _leaves(Platform)]
    names += [variable((name,)) for name in RESERVED]
    text = DOCS.read_text()
    assert [name for name in names if f"`{name}`" not in text] == []


async def test_a_client_of_the_cluster_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRAFT_TEST_BLUEPRINT", raising=False)
    assert not in_cluster()
    with pytest.raises(ChassisError, match="dctl test"):
        async with client(rpc.EchoServiceStub, "echo"):
            pass
