"""ServiceDiscoveryService."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb
from draft_api.core.registry.service_discovery.v1.service_pb2_grpc import (
    ServiceDiscoveryServiceServicer,
)
from google.protobuf.timestamp_pb2 import Timestamp

from draft_services.blueprint.errors import InvalidArgument
from draft_services.blueprint.leadership import Leadership
from draft_services.blueprint.process import Details, Filter, Process
from draft_services.blueprint.registry import Registry
from draft_services.blueprint.rpc import ingress
from draft_services.blueprint.rpc.gate import Gate
from draft_services.blueprint.rpc.status import answering

Context = grpc.aio.ServicerContext[Any, Any]

_HEALTH = (models.PROCESS_HEALTHY, models.PROCESS_UNHEALTHY)
_BROKEN = 0.25
"""Seconds within which a stream whose messages have ended is known to be broken."""


class RegistryRpc(ServiceDiscoveryServiceServicer):
    """Translates calls to `Registry`."""

    def __init__(self, registry: Registry, leadership: Leadership, gate: Gate) -> None:
        self._gate = gate
        self._registry = registry
        self._leadership = leadership

    def about(self, request: Any) -> Mapping[str, str]:
        """What a request is about, for the log of slow ones."""
        named = getattr(request, "filter", request)
        told = {"service": getattr(named, "name", ""), "pid": getattr(named, "pid", "")}
        return {field: text for field, text in told.items() if text}

    async def Initialize(
        self, request: pb.InitializeRequest, context: Context
    ) -> pb.InitializeResponse:
        async with answering(context):
            process, token = await self._registry.initialize(
                request.name,
                request.nonce,
                request.group,
                {label.key: label.value for label in request.metadata},
            )
            return pb.InitializeResponse(
                process_identity=models.ProcessIdentity(
                    pid=process.pid,
                    registry_address=ingress.through(context) or self._leadership.address,
                    token=models.Token(id=token.id, jwt=token.jwt),
                ),
                configuration=models.StartupConfiguration(),
            )

    async def Synchronize(
        self, request_iterator: AsyncIterator[pb.ClientDetails], context: Context
    ) -> AsyncIterator[pb.ClusterDetails]:
        pid = ""
        url = ingress.through(context)
        async with answering(context):
            async for details in request_iterator:
                if not pid:
                    await self._registry.prove(details.pid, details.token)
                    pid = details.pid
                elif details.pid != pid:
                    raise InvalidArgument(f"pid: this stream is of {pid}, not of {details.pid}")
                await self._registry.report(pid, _details(details))
                cluster = self._cluster(url)
                if token := await self._registry.renewed(pid, details.token):
                    cluster.token.CopyFrom(models.Token(id=token.id, jwt=token.jwt))
                yield cluster
            # A client that has closed its side says farewell. One that is gone, or whose stream we
            # end ourselves, cancels this call: it may come back, or silence tells. gRPC tells the
            # end of a broken stream's messages first and that it is broken a moment later.
            if pid:
                await asyncio.sleep(_BROKEN)
                await self._registry.finalize(pid)

    async def Finalize(self, request: pb.FinalizeRequest, context: Context) -> pb.FinalizeResponse:
        async with answering(context):
            await self._registry.prove(request.pid, request.token)
            await self._registry.finalize(request.pid)
            return pb.FinalizeResponse(pid=request.pid)

    async def ReportHealth(
        self, request: pb.ReportHealthRequest, context: Context
    ) -> pb.ReportHealthResponse:
        async with self._gate.entered(context) as caller:
            caller.check_full("report the health of others")
            accepted = 0
            for report in request.reports:
                if report.health_state not in _HEALTH:
                    raise InvalidArgument("reports.health_state: must be healthy or unhealthy")
                accepted += await self._registry.report_health(
                    report.pid, report.health_state, _observed(report)
                )
            return pb.ReportHealthResponse(accepted=accepted)

    async def Query(self, request: pb.QueryRequest, context: Context) -> pb.QueryResponse:
        async with self._gate.entered(context):
            found = await self._registry.query(_filter(request.filter))
            return pb.QueryResponse(data={each.pid: self._process(each) for each in found})

    async def Watch(
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.WatchResponse]:
        kinds = pb.WatchResponse.Kind
        async with self._gate.watching(context):
            async for events in self._registry.watch(_filter(request.filter)):
                if events is None:
                    yield pb.WatchResponse(kind=kinds.KIND_SYNCED)
                    continue
                for alive, process in events:
                    kind = kinds.KIND_PUT if alive else kinds.KIND_DELETE
                    yield pb.WatchResponse(kind=kind, process=self._process(process))

    async def Identify(self, request: pb.IdentifyRequest, context: Context) -> pb.IdentifyResponse:
        async with self._gate.entered(context):
            caller = await self._gate.identify(request.proof)
            return pb.IdentifyResponse(name=caller.name, pid=caller.pid)

    def _cluster(self, url: str | None) -> pb.ClusterDetails:
        return pb.ClusterDetails(
            nodes=[
                pb.Node(
                    id=node.id,
                    address=url or node.address,
                    leadership_status=pb.LEADERSHIP_STATUS_LEADER
                    if node.leads
                    else pb.LEADERSHIP_STATUS_FOLLOWER,
                )
                for node in self._leadership.nodes()
            ]
        )

    def _process(self, process: Process) -> models.Process:
        """The process as others may see it: never with a token."""
        location = process.location
        return models.Process(
            pid=process.pid,
            name=process.name,
            group=process.group,
            ip_address=process.address,
            process_kind=models.ProcessKind.ValueType(process.process_kind),
            metadata=[
                models.Metadata(pid=process.pid, key=key, value=value)
                for key, value in sorted(process.metadata.items())
            ],
            location=models.GeoPoint(lat=location[0], lng=location[1]) if location else None,
            joined_time=_timestamp(process.joined_ns),
            last_status_time=_timestamp(self._registry.heard_ns(process)),
            running_state=models.ProcessRunningState.ValueType(process.running_state),
            health_state=models.ProcessHealthState.ValueType(process.health),
        )


def _observed(report: pb.HealthReport) -> int:
    """When, in nanoseconds since 1970: now at the latest, for what is yet to come would outdo all
    that is true."""
    if not report.HasField("observed"):
        return time.time_ns()
    try:
        return min(time.time_ns(), report.observed.ToNanoseconds())
    except ValueError as error:
        raise InvalidArgument(f"reports.observed: {error}") from None


def _details(details: pb.ClientDetails) -> Details:
    location = details.location
    return Details(
        running_state=details.running_state,
        health_state=details.health_state,
        process_kind=details.process_kind,
        address=details.advertise_address,
        metadata={label.key: label.value for label in details.metadata},
        location=(location.lat, location.lng) if details.HasField("location") else None,
    )


def _filter(wanted: pb.Filter) -> Filter:
    attribute = wanted.WhichOneof("attribute")
    return Filter(
        pid=wanted.id if attribute == "id" else None,
        group=wanted.group if attribute == "group" else None,
        name=wanted.name,
        metadata=dict(wanted.metadata),
        health_state=wanted.health_state,
    )


def _timestamp(nanoseconds: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromNanoseconds(nanoseconds)
    return stamp
