"""Connections to the core services, and the one place where gRPC's errors become dctl's.

    with connect("Blueprint", Way("127.0.0.1:2221"), timeout=5.0) as blueprint:
        answer = blueprint.call(blueprint.stub(KeyValueServiceStub).Get, request)

`call` is one question and its answer; `follow` is a stream that outlives its connection.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dctl.errors import DctlError, NotFoundError, UnreachableError, WaitTimeoutError
from dctl.text import printable

if TYPE_CHECKING:
    import grpc

    from chassis.tls import Secure

S = TypeVar("S")
Q = TypeVar("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds before a lost stream is opened again


class Stream(Protocol[R_co]):
    """What gRPC returns for a call that answers with a stream."""

    def __iter__(self) -> Iterator[R_co]: ...
    def initial_metadata(self) -> Any: ...
    def is_active(self) -> bool: ...
    def cancel(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Way:
    """How a core service is reached: at host:port; with what proves to it who we are ("" where
    it does not ask, see `chassis.proof`); encrypted, unless `secure` is None."""

    address: str
    proof: str = ""
    secure: Secure | None = None


class Connection:
    """One channel to one core service. Every method raises DctlErrors only."""

    def __init__(self, part: str, way: Way, channel: grpc.Channel, *, timeout: float) -> None:
        self.part = part
        self.way = way
        self.timeout = timeout
        self._channel = channel

    @property
    def who(self) -> str:
        """The service as messages name it."""
        return f"{self.part} at {self.way.address}"

    def stub(self, kind: Callable[[grpc.Channel], S]) -> S:
        """A generated stub over this connection."""
        return kind(self._channel)

    def call(self, method: grpc.UnaryUnaryMultiCallable[Q, R], request: Q) -> R:
        """One request, one answer, within the connection's timeout."""
        return self.call_with_trailers(method, request)[0]

    def call_with_trailers(
        self, method: grpc.UnaryUnaryMultiCallable[Q, R], request: Q
    ) -> tuple[R, dict[str, str]]:
        """The answer, and the metadata that came after it."""
        with self.translated():
            answer, call = method.with_call(request, timeout=self.timeout)
        pairs = call.trailing_metadata() or ()
        return answer, {k: v for k, v in pairs if isinstance(v, str)}

    def follow(
        self,
        open_stream: Callable[[float | None], Stream[R]],
        *,
        seconds: float | None = None,
        on_open: Callable[[dict[str, str]], None],
        say: Callable[[str], None],
        too_old: Callable[[], bool] = lambda: False,
    ) -> Iterator[R]:
        """The messages of a stream that is opened anew whenever its connection is lost.

        `open_stream` gets the seconds left and asks for what follows the last message it saw.
        `on_open` gets the metadata that the service sent in front of a stream, if any.
        `too_old` is asked whether to begin elsewhere when the service does not keep anymore what
        was asked for. `say` gets what a person should know. Ends after `seconds`. A stream that
        was never accepted is an error and not tried again.
        """
        import grpc

        deadline = None if seconds is None else time.monotonic() + seconds
        accepted = lost = False
        pause = _FIRST_PAUSE

        def stands() -> None:
            nonlocal accepted, lost
            if lost:
                say(f"{self.who} is back")
            accepted, lost = True, False

        while (left := _left(deadline)) is None or left > 0:
            stream = open_stream(left)
            try:
                metadata = {k: v for k, v in stream.initial_metadata() or () if isinstance(v, str)}
                on_open(metadata)
                if metadata or stream.is_active():
                    stands()
                for message in stream:
                    stands()
                    pause = _FIRST_PAUSE
                    yield message
            except grpc.RpcError as error:
                if deadline is not None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    return
                if error.code() is grpc.StatusCode.OUT_OF_RANGE and too_old():
                    continue
                passing = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
                if not (accepted and passing):
                    raise self._translate(error) from error
            finally:
                stream.cancel()
            if not lost:
                say(f"{self.who} went away; trying again (Ctrl-C ends)")
                lost = True
            rest = _left(deadline)
            time.sleep(pause if rest is None else max(min(pause, rest), 0))
            pause = min(pause * 2, _LONGEST_PAUSE)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """For calls that neither `call` nor `follow` fits: their errors become DctlErrors."""
        import grpc

        try:
            yield
        except grpc.RpcError as error:
            raise self._translate(error) from error

    @contextmanager
    def translated_but(self, code: grpc.StatusCode) -> Iterator[None]:
        """The same; but for that status it is NotImplementedError, for who has another way."""
        import grpc

        try:
            yield
        except grpc.RpcError as error:
            if error.code() is code:
                raise NotImplementedError from error
            raise self._translate(error) from error

    def _translate(self, error: grpc.RpcError) -> DctlError:
        return translate(self.who, error.code(), error.details() or "", timeout=self.timeout)


@contextmanager
def connect(part: str, way: Way, *, timeout: float) -> Iterator[Connection]:
    """A connection that stands; UnreachableError when nobody listens at the address."""
    _reach(part, way.address, timeout)
    channel = _open(way)
    try:
        proven = _proving(channel, way.proof) if way.proof else channel
        yield Connection(part, way, proven, timeout=timeout)
    finally:
        channel.close()


def translate(who: str, code: grpc.StatusCode, details: str, *, timeout: float) -> DctlError:
    """The error of ours for a status of gRPC. `who` is the service and its address."""
    import grpc

    said = printable(details.replace("\n", " ")) or code.name
    service = who.partition(" ")[0].lower()
    match code:
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return UnreachableError(f"{who} is not available: {said}", hint="dctl infra status")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return WaitTimeoutError(
                f"{who} did not answer within {timeout:g}s", hint="dctl infra status"
            )
        case grpc.StatusCode.NOT_FOUND:
            return NotFoundError(said)
        case grpc.StatusCode.UNIMPLEMENTED:
            return DctlError(
                f"{who} does not know this call: {said}",
                hint="is it of another version, or does something else listen there?",
            )
        case grpc.StatusCode.UNKNOWN | grpc.StatusCode.INTERNAL | grpc.StatusCode.DATA_LOSS:
            return DctlError(f"{who} failed: {said}", hint=f"dctl infra logs {service}")
        case _:  # the service's own refusal says what is wrong with the request
            return DctlError(said)


def _open(way: Way) -> grpc.Channel:
    import grpc

    options = [
        ("grpc.max_receive_message_length", -1),  # a page of large values is no error
        ("grpc.max_reconnect_backoff_ms", 1_000),  # else a restart is noticed minutes later
        ("grpc.keepalive_time_ms", 20_000),  # a stream notices a peer that vanished
        ("grpc.keepalive_timeout_ms", 5_000),
    ]
    if way.secure is None:
        return grpc.insecure_channel(way.address, options)
    return grpc.secure_channel(way.address, way.secure.credentials, [*options, *way.secure.options])


def _proving(channel: grpc.Channel, proof: str) -> grpc.Channel:
    """The same, over which each call says who makes it."""
    import grpc

    from chassis.proof import HEADER

    class Proving(
        grpc.UnaryUnaryClientInterceptor,
        grpc.UnaryStreamClientInterceptor,
        grpc.StreamStreamClientInterceptor,
    ):
        def intercept_unary_unary(self, go_on: Any, details: Any, request: Any) -> Any:
            metadata = [*(details.metadata or ()), (HEADER, proof)]
            return go_on(details._replace(metadata=metadata), request)

        intercept_unary_stream = intercept_unary_unary  # type: ignore[assignment]
        intercept_stream_stream = intercept_unary_unary  # type: ignore[assignment]

    return grpc.intercept_channel(channel, Proving())


def _reach(part: str, address: str, timeout: float) -> None:
    """Whether anybody listens: a refusal by the network differs from one by the service, and
    gRPC tells both by the same code. (Watching the channel instead costs 0.2 s at its closing.)"""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout).close()
    except OSError as error:
        raise UnreachableError(
            f"{part} at {address} did not answer: {error.strerror or error}",
            hint="dctl infra status",
        ) from error


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else deadline - time.monotonic()
