"""What the tests of the core services' commands share."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from dctl.__main__ import run
from tests.support.core_stub import CoreStub, running_core


class Outcome(NamedTuple):
    """What a command line came to."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def ndjson(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Dctl = Callable[..., Outcome]


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Iterator[CoreStub]:
    with running_core(monkeypatch) as core:
        yield core


@pytest.fixture
def dctl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Dctl:
    """Run one command line in this process."""

    def call(*argv: str, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(argv)
        return Outcome(int(code), *capsys.readouterr())

    return call
