"""What Prometheus scrapes: the calls of this server, the service's own figures, and whatever the
service keeps with prometheus_client itself. Imported only where metrics are asked for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from chassis.clients import Address
from chassis.errors import BindError
from chassis.figures import Figure, Figures, Sizes

log = logging.getLogger(__name__)

PATH = "/metrics"
_METHOD = ("grpc_type", "grpc_service", "grpc_method")
# Seconds: a read from memory takes less than one of these, a write that is synced a few.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONGEST = 16 * 1024  # bytes of a request's head
_PATIENCE = 10.0  # seconds for a request to come, and for its answer to go


class Meter:
    """Counts the calls of one method, with plain numbers: the library's own counters take ten times
    as long, and calls are many more than scrapes."""

    def __init__(self, kind: str, method: str) -> None:
        service, _, name = method.lstrip("/").rpartition("/")
        self.labels = (kind, service, name)
        self.started = 0
        self.handled: dict[str, int] = {}
        self.seconds = Sizes(_SECONDS) if kind == "unary" else None
        self._lock = threading.Lock()  # a plain function is served in a thread

    def begin(self) -> None:
        """A call has come."""
        with self._lock:
            self.started += 1

    def end(self, code: str, seconds: float) -> None:
        """It has ended. A stream's time says how long somebody listened, so it is not counted."""
        with self._lock:
            self.handled[code] = self.handled.get(code, 0) + 1
            if self.seconds is not None:
                self.seconds.note(seconds)


class _Calls(Collector):
    """The calls of a server, under the names that dashboards know."""

    def __init__(self) -> None:
        self.meters: list[Meter] = []

    def describe(self) -> Iterator[Metric]:
        return iter(())  # their names are known when they are told

    def collect(self) -> Iterator[Metric]:
        started = CounterMetricFamily("grpc_server_started", "Calls that came.", labels=_METHOD)
        handled = CounterMetricFamily(
            "grpc_server_handled", "Calls that ended.", labels=(*_METHOD, "grpc_code")
        )
        running = GaugeMetricFamily(
            "grpc_server_in_flight", "Calls that have not ended.", labels=_METHOD
        )
        seconds = HistogramMetricFamily(
            "grpc_server_handling_seconds",
            "Time until the answer of a call with one answer.",
            labels=_METHOD,
        )
        for meter in self.meters:
            ended = dict(meter.handled)
            started.add_metric(meter.labels, meter.started)
            running.add_metric(meter.labels, meter.started - sum(ended.values()))
            for code, count in ended.items():
                handled.add_metric((*meter.labels, code), count)
            if meter.seconds is not None:
                seconds.add_metric(meter.labels, meter.seconds.buckets, meter.seconds.total)
        yield from (started, handled, running, seconds)


class Metrics:
    """All of one server."""

    def __init__(self, sources: Sequence[Figures] = ()) -> None:
        self._calls = _Calls()
        self._registry = CollectorRegistry()
        for collector in (self._calls, _Told(sources), _Everything()):
            self._registry.register(collector)
        self._server: asyncio.Server | None = None

    def meter(self, kind: str, method: str) -> Meter:
        """For one method, by its full name; `kind` as in `grpc_type`."""
        meter = Meter(kind, method)
        self._calls.meters.append(meter)
        return meter

    async def serve(self, address: Address) -> Address:
        """Answer scrapes there; returns where that is. Raises BindError."""
        try:
            self._server = await asyncio.start_server(
                self._answer, address.host, address.port, limit=_LONGEST
            )
        except OSError as error:
            raise BindError(
                f"cannot listen on {address} for metrics: {error.strerror}; set draft.metrics.port"
            ) from None
        return Address(address.host, self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Take no more scrapes."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Nobody waits for who asks slowly or leaves half-way.
        with contextlib.suppress(
            OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError
        ):
            try:
                async with asyncio.timeout(_PATIENCE):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    writer.write(self._response(head))
                    await writer.drain()
            finally:
                writer.close()

    def _response(self, head: str) -> bytes:
        request, *lines = head.split("\r\n")
        verb, path, *_ = [*request.split(" "), "", ""]
        if path.partition("?")[0] != PATH:
            return _http("404 Not Found", "text/plain", f"see {PATH}\n".encode(), verb)
        if verb not in ("GET", "HEAD"):
            return _http("405 Method Not Allowed", "text/plain", b"only GET\n", verb)
        fields = (line.partition(":") for line in lines)
        accept = next((value for name, _, value in fields if name.lower() == "accept"), "")
        encode, kind = choose_encoder(accept)
        try:
            body = encode(self._registry)
        except Exception:
            log.exception("a figure cannot be told")
            return _http("500 Internal Server Error", "text/plain", b"see the log\n", verb)
        return _http("200 OK", kind, body, verb)


class _Told(Collector):
    """The service's own figures."""

    def __init__(self, sources: Sequence[Figures]) -> None:
        self._sources = sources

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        for source in self._sources:
            yield from map(_family, source())


class _Everything(Collector):
    """What is kept in the library's own registry: the process (memory, time), and a service's
    counters."""

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        return iter(REGISTRY.collect())


def _family(figure: Figure) -> Metric:
    name, text, value = figure.name, figure.help, figure.value
    if isinstance(value, Sizes):
        return HistogramMetricFamily(name, text, buckets=value.buckets, sum_value=value.total)
    kind = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
    if isinstance(value, (int, float)):
        return kind(name, text, value=value)
    family = kind(name, text, labels=[figure.label])
    for key, number in value.items():
        family.add_metric([key], number)
    return family


def _http(status: str, kind: str, body: bytes, verb: str) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if verb == "HEAD" else body)
