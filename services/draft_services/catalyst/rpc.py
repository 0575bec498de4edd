"""Producer and Consumer on the wire: protobuf and gRPC in, Catalyst's own terms inside.

No other file of Catalyst sees either.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import grpc
from draft_api.core.message_broker.actors.v1 import (
    consumer_pb2,
    consumer_pb2_grpc,
    models_pb2,
    producer_pb2,
    producer_pb2_grpc,
)

from chassis.errors import said
from draft_services.catalyst.broker import All, AtSequence, AtTime, Broker, New, Start
from draft_services.catalyst.committer import Outcome
from draft_services.catalyst.errors import (
    CatalystError,
    DataLoss,
    EventTooLarge,
    InvalidArgument,
    LogFull,
    OutOfRange,
    StoresNothing,
    Unavailable,
    Unimplemented,
)
from draft_services.catalyst.events import Event
from draft_services.catalyst.template import Template
from draft_services.catalyst.window import StoredEvent

# How many requests of one producer may wait for their answer before it is read no further.
UNANSWERED = 1000
# One response: well below the 4 MiB that a gRPC client takes unless told otherwise.
RESPONSE_EVENTS = 1000
RESPONSE_BYTES = 1024 * 1024
NEXT_SEQUENCE = "draft-next-sequence"
_LAST_SECOND = 253402300799  # of the year 9999, where protobuf's Timestamp ends

_CODES: dict[type[CatalystError], grpc.StatusCode] = {
    CatalystError: grpc.StatusCode.INTERNAL,
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    EventTooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    LogFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    StoresNothing: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DataLoss: grpc.StatusCode.DATA_LOSS,
    OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
}

_ProduceContext = grpc.aio.ServicerContext[
    producer_pb2.ProduceRequest, producer_pb2.ProduceResponse
]
_ConsumeContext = grpc.aio.ServicerContext[
    consumer_pb2.ConsumeRequest, consumer_pb2.ConsumeResponse
]

_SubscribeContext = grpc.aio.ServicerContext[
    consumer_pb2.SubscribeRequest, consumer_pb2.SubscribeResponse
]


class _Promise(NamedTuple):
    """An event on its way into the log."""

    id: str
    outcome: asyncio.Future[Outcome]


class _Unanswered(NamedTuple):
    """One request's events."""

    message: _Promise | None
    batch: list[_Promise]


class Producer(producer_pb2_grpc.ProducerServicer):
    """The way of events into Catalyst."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def Produce(
        self,
        request_iterator: AsyncIterator[producer_pb2.ProduceRequest],
        context: _ProduceContext,
    ) -> AsyncIterator[producer_pb2.ProduceResponse]:
        """Acknowledges here and reads in a task, so that a producer need not wait for either.

        The queue between them holds what is unanswered, in order, then why the reading ended.
        """
        unanswered: asyncio.Queue[_Unanswered | Exception | None] = asyncio.Queue(UNANSWERED)
        reading = asyncio.create_task(self._read(request_iterator, unanswered))
        dismissal = asyncio.create_task(self._dismiss(reading, unanswered))
        try:
            while (request := await unanswered.get()) is not None:
                if isinstance(request, Exception):
                    raise request
                if request.message is not None:
                    yield _answer(request.message.id, await request.message.outcome)
                if request.batch:
                    outcomes = [(promise.id, await promise.outcome) for promise in request.batch]
                    for response in _answers(outcomes):
                        yield response
        except CatalystError as error:
            await _abort(context, error)
        finally:
            reading.cancel()
            dismissal.cancel()

    async def _read(
        self,
        requests: AsyncIterator[producer_pb2.ProduceRequest],
        unanswered: asyncio.Queue[_Unanswered | Exception | None],
    ) -> None:
        end: Exception | None = None
        try:
            async for request in requests:
                await unanswered.put(await self._submit(request))
        except Exception as error:  # noqa: BLE001  (the acknowledging side raises it)
            end = error
        await unanswered.put(end)

    async def _dismiss(
        self,
        reading: asyncio.Task[None],
        unanswered: asyncio.Queue[_Unanswered | Exception | None],
    ) -> None:
        await self._broker.closed()
        reading.cancel()
        # What was read before is still answered.
        await unanswered.put(Unavailable("this Catalyst is going down: call again"))

    async def _submit(self, request: producer_pb2.ProduceRequest) -> _Unanswered:
        message = None
        if request.HasField("message") or not request.batch.events:
            # A request without any event is answered like an event without any attribute.
            message = await self._promise(request.message)
        return _Unanswered(message, [await self._promise(each) for each in request.batch.events])

    async def _promise(self, event: models_pb2.CloudEvent) -> _Promise:
        outcome = await self._broker.publish(
            Event(event.id, event.source, event.spec_version, event.type, event.SerializeToString())
        )
        return _Promise(event.id, outcome)


def _answer(id: str, outcome: Outcome) -> producer_pb2.ProduceResponse:
    if isinstance(outcome, CatalystError):
        code: int = _CODES[type(outcome)].value[0]
        return producer_pb2.ProduceResponse(
            error=producer_pb2.ProduceError(code=code, message=str(outcome), id=id)
        )
    return producer_pb2.ProduceResponse(id=id, sequence=outcome)


def _answers(batch: Sequence[tuple[str, Outcome]]) -> Iterator[producer_pb2.ProduceResponse]:
    """One answer for all that are stored, and one for each that is not."""
    stored = [(id, outcome) for id, outcome in batch if not isinstance(outcome, CatalystError)]
    if stored:
        yield producer_pb2.ProduceResponse(ids=[id for id, _ in stored], sequence=stored[-1][1])
    for id, outcome in batch:
        if isinstance(outcome, CatalystError):
            yield _answer(id, outcome)


class Consumer(consumer_pb2_grpc.ConsumerServicer):
    """The way of events out of Catalyst."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def Consume(
        self, request: consumer_pb2.ConsumeRequest, context: _ConsumeContext
    ) -> AsyncIterator[consumer_pb2.ConsumeResponse]:
        """Broadcast: every consumer gets every matching event.

        The initial metadata is sent once the consumer's place in the log is fixed, and names it:
        what is stored after a client has seen it reaches this client, and one whose connection
        breaks before its first event can begin again from there.
        """
        try:
            if request.group:
                raise Unimplemented(
                    "group: groups are not served yet; leave it empty to get every event"
                )
            template = Template.parse(source=request.message.source, type=request.message.type)
            subscription = await self._broker.subscribe(template, _start(request.start))
            async with contextlib.aclosing(subscription):
                await context.send_initial_metadata(((NEXT_SEQUENCE, str(subscription.position)),))
                limit = min(max(request.max_batch, 1), RESPONSE_EVENTS)
                while True:
                    events = await subscription.next(limit, RESPONSE_BYTES)
                    yield _delivery(events, batched=request.max_batch > 1)
        except CatalystError as error:
            await _abort(context, error)

    async def Subscribe(
        self,
        request_iterator: AsyncIterator[consumer_pb2.SubscribeRequest],
        context: _SubscribeContext,
    ) -> AsyncIterator[consumer_pb2.SubscribeResponse]:
        """Not served yet; a generator that ends before its first answer."""
        await _abort(
            context,
            Unimplemented("Subscribe is not served yet: use Consume, and start it by sequence"),
        )
        yield consumer_pb2.SubscribeResponse()


def _start(start: consumer_pb2.StartPosition) -> Start:
    match start.WhichOneof("position"):
        case "all" if start.all:
            return All()
        case "sequence":
            if not start.sequence:
                raise InvalidArgument("start.sequence: sequences begin with 1; or start from all")
            return AtSequence(start.sequence)
        case "time":
            if not 0 <= start.time.seconds <= _LAST_SECOND:
                raise InvalidArgument("start.time: not between the years 1970 and 9999")
            return AtTime(start.time.ToNanoseconds())
        case _:
            return New()


def _delivery(events: Sequence[StoredEvent], *, batched: bool) -> consumer_pb2.ConsumeResponse:
    response = consumer_pb2.ConsumeResponse(sequence=events[-1].sequence)
    if batched:
        response.first_sequence = events[0].sequence
        for event in events:
            response.batch.events.add().MergeFromString(event.payload)
    else:
        response.message.MergeFromString(events[0].payload)
    return response


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: CatalystError) -> NoReturn:
    await context.abort(_CODES[type(error)], said(error))
