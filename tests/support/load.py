"""Requests without a pause, to see whether one fails."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager


def speak(address: str, text: str = "hi", *, timeout: float = 10) -> str:
    """What the echo example answers at the ingress, on a connection of its own. Raises OSError when
    it does not."""
    request = urllib.request.Request(
        f"http://{address}/examples.echo.v1.EchoService/Speak",
        data=json.dumps({"input": text}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return str(json.load(answer)["output"])


class Load:
    """Callers that ask the echo at `address`; each answer has to be one of `expected`."""

    def __init__(self, address: str, expected: tuple[str, ...] = ("hi",)) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._address = address
        self._expected = expected
        self._stop = threading.Event()

    @contextmanager
    def on(self, callers: int = 3) -> Iterator[Load]:
        threads = [threading.Thread(target=self._call) for _ in range(callers)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _call(self) -> None:
        while not self._stop.is_set():
            try:
                answer = speak(self._address)
            except urllib.error.HTTPError as error:
                self.failures.append(f"{error}: {error.read().decode(errors='replace')}")
                continue
            except OSError as error:
                self.failures.append(repr(error))
                continue
            if answer not in self._expected:
                self.failures.append(answer)
            self.answered += 1
