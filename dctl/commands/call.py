"""dctl call: any service of the cluster, by what it says of itself."""

from __future__ import annotations

import base64
import binascii
import difflib
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands import completing
from dctl.commands.options import Seconds, output_option, spec_option, variant
from dctl.errors import DctlError, ExitCode, NotFoundError, UnreachableError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem
    from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

    from dctl.calling import Call
    from dctl.clients import Connection, Way
    from dctl.engine.cluster import OpenCluster
    from dctl.reflection import Reflection
    from dctl.render.output import Format

_TIMEOUT = 5.0
_PATIENCE = 1.0  # seconds that completion may take
_CORE = ("blueprint", "catalyst", "fuse")  # they alone are told who calls
_KEY = re.compile(r"[0-9a-z_.-]+")
_COLUMNS = {name: name for name in ("service", "method", "request", "answer")}


def _services(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return completing.offered(incomplete, lambda: _able(completing.cluster(ctx), _PATIENCE))


def _methods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    def found() -> Iterator[str]:
        cluster = completing.cluster(ctx)
        with _reached(cluster, ctx.params["service"], _PATIENCE) as reached:
            yield from (method.name for method in reached.methods)

    return completing.offered(incomplete, found)


@click.command()
@click.argument("service", required=False, shell_complete=_services)
@click.argument("method", required=False, shell_complete=_methods)
@click.argument("data", required=False)
@click.option("--list", "list_", is_flag=True, help="What there is to call.")
@click.option("--describe", is_flag=True, help="The method's request and answer.")
@click.option("--ingress", is_flag=True, help="Through the ingress, as from outside.")
@click.option("--stream", is_flag=True, help="Requests are lines of JSON on stdin, until its end.")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar="KEY:VALUE",
    help="Metadata of the call; may be repeated.",
)
@click.option(
    "--timeout", type=Seconds(), help="How long the call may take [default: 5s; a stream: no end]."
)
@spec_option
@output_option("table", "json", "yaml", "ndjson")
def command(
    service: str | None,
    method: str | None,
    data: str | None,
    list_: bool,
    describe: bool,
    ingress: bool,
    stream: bool,
    headers: tuple[str, ...],
    timeout: float | None,
    file: Path | None,
    format: Format,
) -> int:
    """Call METHOD of SERVICE with DATA, a request in JSON ({} when it is left out; - for stdin).

    SERVICE is a name in the registry (dctl ps), or that of a gRPC service (OrdersService,
    shop.orders.v1.OrdersService). What there is to call, and of which messages, the service says
    itself (server reflection). The answer is JSON; of a stream it is a line for each message.

    \b
      dctl call orders Create '{"item":"book"}'
      dctl call orders Create '{"item":"book"}' --ingress -H tenant:acme
      dctl call orders Watch                          each answer when it comes; Ctrl-C ends
      dctl call chat Talk --stream < lines.ndjson     a stream of requests
      dctl call orders --list
      dctl call orders Create --describe
    """
    if service is None or (method is None and not describe):
        if service is None and not list_:
            raise UsageError(
                "which service?", hint="dctl call --list, or: dctl call SERVICE METHOD"
            )
        _list(_opened(file), service, timeout or _TIMEOUT, format)
        return ExitCode.OK
    metadata = [_header(text) for text in headers]
    with _reached(_opened(file), service, timeout or _TIMEOUT, ingress=ingress) as reached:
        from dctl.calling import Call, find_method
        from dctl.calling import describe as described

        if describe:
            chosen = [find_method(reached.methods, method)] if method else reached.methods
            click.echo("\n\n".join(described(one) for one in chosen))
            return ExitCode.OK
        assert method is not None
        meant = find_method(reached.methods, method)
        call = Call(reached.connection, meant, reached.reflection)
        if stream and not meant.client_streaming:
            raise UsageError(f"{meant.name} takes one request, not a stream of them")
        streams = meant.client_streaming or meant.server_streaming
        requests = _requests(call, data, stream)
        seconds = timeout if timeout is not None or streams else _TIMEOUT
        for answer in call.send(requests, metadata, seconds):
            _show(
                answer,
                call.path,
                reached.connection.way.address,
                format,
                many=meant.server_streaming,
            )
    return ExitCode.OK


@dataclass(frozen=True, slots=True)
class _Reached:
    """A service: the way to call it, its methods, and who tells more of it."""

    connection: Connection
    methods: list[MethodDescriptor]
    reflection: Reflection


def _opened(file: Path | None) -> OpenCluster:
    from dctl.engine.cluster import open_cluster

    return open_cluster(file, variant())


def _requests(call: Call, data: str | None, stream: bool) -> Iterator[Message]:
    if stream and data not in (None, "-"):
        raise UsageError("with --stream the requests are on stdin", hint="leave DATA out")
    if not stream:
        text = sys.stdin.read() if data == "-" else data or "{}"
        return iter([call.parse(text)])  # before the call is begun
    return (
        call.parse(line, f"line {number}")
        for number, line in enumerate(sys.stdin, 1)
        if line.strip()
    )


def _show(answer: dict[str, Any], path: str, address: str, format: Format, *, many: bool) -> None:
    import json

    from dctl.render.output import emit
    from dctl.secrets.redaction import redacted_document

    if format in ("json", "yaml"):
        if many and format == "yaml":
            click.echo("---")
        body = {"method": path.strip("/"), "address": address, "answer": answer}
        emit("Answer", body, format=format)
    else:
        indent = None if many or format == "ndjson" else 2
        click.echo(json.dumps(redacted_document(answer), indent=indent, ensure_ascii=False))
    sys.stdout.flush()


def _list(cluster: OpenCluster, service: str | None, timeout: float, format: Format) -> None:
    from dctl.reflection import signature
    from dctl.render.output import emit_list

    names = [service] if service else sorted(_able(cluster, timeout))
    items = []
    for name in names:
        try:
            with _reached(cluster, name, timeout) as reached:
                for method in reached.methods:
                    asks, answers = signature(method)
                    of = method.containing_service.full_name
                    what = {"method": f"{of}/{method.name}", "request": asks, "answer": answers}
                    items.append({"service": name, **what})
        except DctlError as error:
            if service:
                raise
            click.echo(f"{name}: {error.message}", err=True)
    emit_list("MethodList", items, columns=_COLUMNS, format=format, empty="there is none")


@contextmanager
def _reached(
    cluster: OpenCluster, service: str, timeout: float, *, ingress: bool = False
) -> Iterator[_Reached]:
    from dctl.clients import Way, connect
    from dctl.reflection import Reflection

    process, names = _meant(cluster, service, timeout)
    with ExitStack() as open_:
        own = _way(cluster, process)
        way = open_.enter_context(connect(process.name, own, timeout=timeout))
        reflection = Reflection(way)
        methods = reflection.methods(names or reflection.names())
        if ingress:
            there = Way(_ingress(cluster), own.proof)
            way = open_.enter_context(connect("the ingress", there, timeout=timeout))
        yield _Reached(way, methods, reflection)


def _meant(cluster: OpenCluster, service: str, timeout: float) -> tuple[models.Process, list[str]]:
    """The process to ask, and the gRPC services of it that are meant; none: all."""
    from dctl.clients import connect
    from dctl.reflection import Reflection

    able = _able(cluster, timeout)
    if service in able:
        return able[service], []
    known = list(able)
    for process in able.values():
        try:
            with connect(process.name, _way(cluster, process), timeout=timeout) as way:
                names = Reflection(way).names()
        except DctlError:
            continue
        found = [n for n in names if n == service or n.rpartition(".")[2] == service]
        if found:
            return process, found
        known += [*names, *(name.rpartition(".")[2] for name in names)]
    near = difflib.get_close_matches(service, known, n=1)
    raise NotFoundError(
        f'no service "{service}" can be called' + (f'; did you mean "{near[0]}"?' if near else ""),
        hint=f"there are: {', '.join(able)}" if able else "dctl ps",
    )


def _able(cluster: OpenCluster, timeout: float) -> dict[str, models.Process]:
    """Of each service in the registry one process that can be called, a healthy one if any."""
    from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
    from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb
    from draft_api.core.registry.service_discovery.v1 import service_pb2_grpc as rpc

    from dctl.clients import connect

    with connect("Blueprint", cluster.way("blueprint"), timeout=timeout) as blueprint:
        stub = blueprint.stub(rpc.ServiceDiscoveryServiceStub)
        answer = blueprint.call(stub.Query, pb.QueryRequest(filter=pb.Filter(all="all")))
    able: dict[str, models.Process] = {}
    for process in sorted(answer.data.values(), key=lambda process: (process.name, process.pid)):
        if process.running_state == models.PROCESS_RUNNING and process.ip_address:
            well = process.health_state == models.PROCESS_HEALTHY
            if well or process.name not in able:
                able[process.name] = process
    return able


def _way(cluster: OpenCluster, process: models.Process) -> Way:
    """How a process is called: a core service is told who calls, any other could pass that on."""
    from dctl.clients import Way

    proof = cluster.own.proof() if process.name in _CORE else ""
    identity = cluster.own.identity() if cluster.spec.security.tls else None
    secure = identity.to(process.name) if identity else None
    return Way(_address(cluster, process), proof, secure)


def _address(cluster: OpenCluster, process: models.Process) -> str:
    """Where it is reached from here: others of the cluster may reach it where we do not."""
    if cluster.spec.runtime == "process" and not cluster.spec.hosts:
        return process.ip_address
    instance = next((m.value for m in process.metadata if m.key == "draft.instance"), "")
    for seen in cluster.things():
        if seen.name == instance and seen.ports:
            own = seen.ports.get("grpc") or next(iter(seen.ports.values()))
            return str(cluster.readers[seen.host].reach(own))
    return process.ip_address


def _ingress(cluster: OpenCluster) -> str:
    from dctl.engine.hosts import UP

    for seen in cluster.things():
        if seen.service == "envoy" and seen.state in UP and "ingress" in seen.ports:
            return str(cluster.readers[seen.host].reach(seen.ports["ingress"]))
    raise UnreachableError(
        f"cluster {cluster.name} has no ingress that runs", hint="dctl infra status"
    )


def _header(text: str) -> tuple[str, Any]:
    key, colon, value = text.partition(":")
    key, value = key.strip().lower(), value.strip()
    if not colon or not _KEY.fullmatch(key) or key.startswith("grpc-"):
        raise UsageError(f'"{text}" is no metadata', hint="such as: -H tenant:acme")
    if not key.endswith("-bin"):
        if not (value.isascii() and value.isprintable()):
            raise UsageError(f"the value of {key} is not plain ASCII", hint="use a key with -bin")
        return key, value
    try:
        return key, base64.b64decode(value, validate=True)
    except binascii.Error:
        raise UsageError(
            f"the value of {key} is no base64", hint="keys with -bin hold bytes"
        ) from None
