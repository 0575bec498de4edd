"""Clients that write keys without a pause, each trying again until its write is acknowledged."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise

import grpc
from draft_api.core.registry.key_value.v1.service_pb2 import GetRequest, SetRequest
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub

from tests.support.blueprint import value
from tests.support.clients import EAGER, LOST

_PATIENCE = 10.0
_PAUSE = 0.02


@dataclass
class Writer:
    """Writes `<name>/0`, `<name>/1` and so on through one Blueprint."""

    name: str
    address: str
    acknowledged: list[float] = field(default_factory=list)
    """When each was."""
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    """What trying again does not help."""

    def run(self, stop: threading.Event) -> None:
        with grpc.insecure_channel(self.address, options=EAGER) as channel:
            stub = KeyValueServiceStub(channel)
            for number in count():
                request = SetRequest(key=f"{self.name}/{number}", value=value(str(number)))
                while not self._write(stub, request):
                    if stop.wait(_PAUSE):
                        return
                if stop.is_set() or self.failures:
                    return

    def _write(self, stub: KeyValueServiceStub, request: SetRequest) -> bool:
        try:
            stub.Set(request, timeout=_PATIENCE)
        except grpc.RpcError as error:
            self.refused += 1
            if error.code() not in LOST:
                self.failures.append(f"{request.key}: {error.code().name}: {error.details()}")
                return True
            return False
        self.acknowledged.append(time.monotonic())
        return True

    @property
    def gap(self) -> float:
        """The longest time between two acknowledgements."""
        return max((b - a for a, b in pairwise(self.acknowledged)), default=0.0)

    def lost(self, address: str) -> list[str]:
        """The acknowledged keys that are not there, as the Blueprint at `address` tells."""
        with grpc.insecure_channel(address) as channel:
            stub = KeyValueServiceStub(channel)
            keys = [f"{self.name}/{number}" for number in range(len(self.acknowledged))]
            return [key for key in keys if not _is_there(stub, key)]


def gap(writers: Sequence[Writer]) -> float:
    """The longest time without an acknowledgement of any: some may wait for their own Blueprint."""
    every = sorted(at for writer in writers for at in writer.acknowledged)
    return max((b - a for a, b in pairwise(every)), default=0.0)


def _is_there(stub: KeyValueServiceStub, key: str) -> bool:
    try:
        stub.Get(GetRequest(key=key, value=value()), timeout=_PATIENCE)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return False
        raise
    return True


@contextmanager
def writing(addresses: Sequence[str]) -> Iterator[list[Writer]]:
    """A writer for each address, at work; they have ended afterwards."""
    stop = threading.Event()
    writers = [Writer(f"writer-{number}", address) for number, address in enumerate(addresses)]
    threads = [threading.Thread(target=writer.run, args=(stop,)) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        yield writers
    finally:
        stop.set()
        for thread in threads:
            thread.join()
