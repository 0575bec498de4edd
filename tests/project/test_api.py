"""The wire contract: its numbers are fixed, and the generated package is what the protos give."""

import importlib
import pkgutil
from pathlib import Path

import draft_api
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from dctl.protos import check
from dctl.protos.build import build
from dctl.workspace import read_workspace

ROOT = Path(__file__).parents[2]
API = ROOT / "api"

# What clients out there are built against, written down by hand and not derived from the protos:
# a change here is a change of the contract. A field is `name=number type`, `type*` is repeated,
# `type?` has presence of its own; types are told by their last name.
KEY_VALUE = """
SetRequest: key=1 string, value=2 Any, expected_revision=3 uint64?, ttl=4 Duration
SetResponse: key=1 string, revision=2 uint64
GetRequest: key=1 string, value=2 Any
GetResponse: value=1 Any, revision=2 uint64
DeleteRequest: key=1 string, value=2 Any, expected_revision=3 uint64?
DeleteResponse: key=1 string, revision=2 uint64
ListRequest: value=1 Any, prefix=2 string, page_size=3 uint32, page_token=4 string
ListResponse: values=2 <string,Any>, next_page_token=3 string, revision=4 uint64
WatchRequest: value=1 Any, prefix=2 string, from_revision=3 uint64
WatchResponse: events=1 WatchEvent*, revision=2 uint64
WatchEvent: kind=1 Kind, key=2 string, value=3 Any, revision=4 uint64
WatchEvent.Kind: KIND_UNSPECIFIED=0, KIND_PUT=1, KIND_DELETE=2, KIND_SYNCED=3
BatchRequest: operations=1 BatchOperation*
BatchOperation: set=1 SetRequest, delete=2 DeleteRequest, get=3 GetRequest
BatchResponse: results=1 BatchResult*
BatchResult: set=1 SetResponse, delete=2 DeleteResponse, get=3 GetResponse, error=4 BatchError
BatchError: code=1 int32, message=2 string
QueryRequest: statement=1 Statement
QueryResponse: values=1 <string,Any>, revision=2 uint64
Value: data=1 string
Lock: holder=1 string, host=2 string, acquired=3 Timestamp, renewed=4 Timestamp, ttl=5 Duration
Lock: token=6 uint64, attempt=7 string
LockWaiter: holder=1 string, host=2 string, since=3 Timestamp, place=4 uint64, attempt=5 string
ID: uuid=1 string
Statement: kind=1 Any, operation=2 Operation, is_all=3 bool?, id=4 ID, key_val=5 Equal
Operation: NONE=0, SELECT=1, DELETE=2, UPDATE=3, INSERT=4
Equal: match=1 <string,string>
"""
SERVICE_DISCOVERY = """
InitializeRequest: name=1 string, nonce=2 string, group=3 string, metadata=4 Metadata*
InitializeResponse: process_identity=1 ProcessIdentity, configuration=2 StartupConfiguration
FinalizeRequest: pid=1 string, token=2 string
FinalizeResponse: pid=1 string
ReportHealthRequest: reporter=1 string, reports=2 HealthReport*
HealthReport: pid=1 string, health_state=2 ProcessHealthState, observed=3 Timestamp
HealthReport: message=4 string
ReportHealthResponse: accepted=1 uint32
QueryRequest: filter=1 Filter
QueryResponse: data=1 <string,Process>
WatchRequest: filter=1 Filter
WatchResponse: kind=1 Kind, process=2 Process
WatchResponse.Kind: KIND_UNSPECIFIED=0, KIND_PUT=1, KIND_DELETE=2, KIND_SYNCED=3
ClientDetails: pid=1 string, running_state=2 ProcessRunningState, health_state=3 ProcessHealthState
ClientDetails: process_kind=4 ProcessKind, token=5 string, location=7 GeoPoint
ClientDetails: metadata=8 Metadata*, advertise_address=9 string
ClusterDetails: nodes=1 Node*
Node: id=1 string, address=2 string, leadership_status=3 LeadershipStatus
LeadershipStatus: LEADERSHIP_STATUS_UNSPECIFIED=0, LEADERSHIP_STATUS_LEADER=1
LeadershipStatus: LEADERSHIP_STATUS_FOLLOWER=2
Filter: id=1 string?, group=2 string?, all=3 string?, name=4 string, metadata=5 <string,string>
Filter: health_state=6 ProcessHealthState
ProcessIdentity: pid=1 string, registry_address=2 string, token=3 Token
StartupConfiguration: assigned_port=1 uint32
Token: id=1 string, jwt=3 string
Process: pid=1 string, name=2 string, group=3 string, local=4 string, ip_address=5 string
Process: process_kind=6 ProcessKind, metadata=7 Metadata*, location=8 GeoPoint
Process: joined_time=9 Timestamp, left_time=10 Timestamp, last_status_time=11 Timestamp
Process: running_state=12 ProcessRunningState, health_state=13 ProcessHealthState, token=14 Token
Metadata: pid=1 string, key=2 string, value=3 string
GeoPoint: lat=1 float, lng=2 float
Zone:
ProcessKind: INVALID_PROCESS_KIND=0, SERVER_PROCESS=1, JOB_PROCESS=2
ProcessRunningState: INVALID_PROCESS_RUNNING_STATE=0, PROCESS_STARTING=1, PROCESS_TESTING=2
ProcessRunningState: PROCESS_RUNNING=3, PROCESS_DICONNECTED=4
ProcessHealthState: INVALID_PROCESS_HEALTH_STATE=0, PROCESS_HEALTHY=1, PROCESS_UNHEALTHY=2
"""
RAFT = """
JoinRequest: node_id=1 string, raft_address=2 string
JoinResponse: node_id=1 string, raft_address=2 string
RemoveRequest: node_id=1 string
RemoveResponse: node_id=1 string
StatsRequest: node_id=1 string
StatsResponse: node_id=1 string, stats=2 Stats
Stats: stats=1 <string,string>
"""
FSM = """
CommandPayload: operation=1 Operation, key=2 string, value=3 Any
Operation: NULL_OPERATION=0, SET=1, DELETE=2
"""
ACTORS = """
CloudEvent: id=1 string, source=2 string, spec_version=3 string, type=4 string
CloudEvent: attributes=5 <string,CloudEventAttributeValue>
CloudEvent: binary_data=6 bytes?, text_data=7 string?, proto_data=8 Any
CloudEvent.CloudEventAttributeValue: ce_boolean=1 bool?, ce_integer=2 int32?, ce_string=3 string?
CloudEvent.CloudEventAttributeValue: ce_bytes=4 bytes?, ce_uri=5 string?, ce_uri_ref=6 string?
CloudEvent.CloudEventAttributeValue: ce_timestamp=7 Timestamp
CloudEventBatch: events=1 CloudEvent*
ProduceRequest: message=1 CloudEvent, batch=2 CloudEventBatch
ProduceResponse: id=1 string, ids=2 string*, sequence=3 uint64, error=4 ProduceError
ProduceError: code=1 int32, message=2 string, id=3 string
ConsumeRequest: message=1 CloudEvent, group=2 string, start=3 StartPosition, max_batch=4 uint32
StartPosition: new=1 bool?, all=2 bool?, sequence=3 uint64?, time=4 Timestamp
ConsumeResponse: message=1 CloudEvent, sequence=2 uint64, batch=3 CloudEventBatch
ConsumeResponse: delivery=4 uint32, first_sequence=5 uint64
SubscribeRequest: open=1 ConsumeRequest, ack=2 Ack, nak=3 Nak, term=4 Term
Ack: sequences=1 uint64*
Nak: sequence=1 uint64, delay=2 Duration
Term: sequence=1 uint64
SubscribeResponse: message=1 CloudEvent, sequence=2 uint64, batch=3 CloudEventBatch
SubscribeResponse: delivery=4 uint32, first_sequence=5 uint64
"""
NETWORKING = """
AddRouteRequest: route=1 Route
AddRouteResponse: code=1 AddRouteResponseCode
AddRouteResponseCode: INVALID_ADD_ROUTE_RESPONSE_CODE=0, OK=1, ERROR=2, INVALID_REQUEST=3
ListRoutesRequest:
ListRoutesResponse: routes=1 Route*
DeleteRouteRequest: name=1 string
DeleteRouteResponse: code=1 DeleteRouteCode
DeleteRouteCode: INVALID_DELETE_ROUTE_RESPONSE_CODE=0, DELETE_ROUTE_OK=1, DELETE_ROUTE_ERROR=2
Route: name=1 string, match=2 RouteMatch, endpoint=3 Endpoint, enable_http2=4 bool
Route: endpoints=5 WeightedEndpoint*, service=6 string, timeout=7 Duration, retries=8 uint32
Route: rewrite_prefix=9 string
WeightedEndpoint: endpoint=1 Endpoint, weight=2 uint32
Endpoint: host=1 string, port=2 uint32
RouteMatch: prefix=1 string, headers=2 HeaderMatchOptions, grpc_match_options=3 GrpcMatchOptions
RouteMatch: dynamic_metadata=4 DynamicMetadata, host=5 string, header_matches=6 HeaderMatchOptions*
HeaderMatchOptions: key=1 string, value=2 string
GrpcMatchOptions:
DynamicMetadata:
"""
AUTHENTICATION = """
Entity: id=1 string, username=2 string, password=3 string, email=4 string
Entity: created_at=5 Timestamp, updated_at=6 Timestamp
LookupEntityKeys: LOOKUP_ENTITY_KEY_UNSPECIFIED=0, LOOKUP_ENTITY_KEY_ID=1
LookupEntityKeys: LOOKUP_ENTITY_KEY_USERNAME=2, LOOKUP_ENTITY_KEY_EMAIL=3
Session: id=1 string, user_id=2 string, token=3 string, refresh_token=4 string
Session: created_at=5 Timestamp, expires_at=6 Timestamp
"""
ECHO = """
SpeakRequest: input=1 string
SpeakResponse: output=2 string
"""
CRUD = """
Name: id=1 string, first_name=2 string, last_name=3 string
CreateRequest: name=1 Name
CreateResponse: id=1 string
ReadRequest: id=1 string
ReadResponse: name=1 Name
UpdateRequest: name=1 Name
UpdateResponse: id=1 string
DeleteRequest: id=1 string
DeleteResponse: id=1 string
"""
CONTRACT = {
    "core.registry.key_value.v1": KEY_VALUE,
    "core.registry.service_discovery.v1": SERVICE_DISCOVERY,
    "core.consensus.raft.v1": RAFT,
    "core.consensus.fsm.v1": FSM,
    "core.message_broker.actors.v1": ACTORS,
    "core.control_plane.networking.v1": NETWORKING,
    "core.authentication.basic.v1": AUTHENTICATION,
    "examples.echo.v1": ECHO,
    "examples.crud.v1": CRUD,
}

# Paths on the wire; `>` marks a stream.
RPCS = """
core.registry.key_value.v1.KeyValueService/Set: SetRequest -> SetResponse
core.registry.key_value.v1.KeyValueService/Get: GetRequest -> GetResponse
core.registry.key_value.v1.KeyValueService/Delete: DeleteRequest -> DeleteResponse
core.registry.key_value.v1.KeyValueService/List: ListRequest -> ListResponse
core.registry.key_value.v1.KeyValueService/Watch: WatchRequest -> >WatchResponse
core.registry.key_value.v1.KeyValueService/Batch: BatchRequest -> BatchResponse
core.registry.key_value.v1.KeyValueService/Query: QueryRequest -> QueryResponse
core.registry.service_discovery.v1.ServiceDiscoveryService/Initialize: \
InitializeRequest -> InitializeResponse
core.registry.service_discovery.v1.ServiceDiscoveryService/Synchronize: \
>ClientDetails -> >ClusterDetails
core.registry.service_discovery.v1.ServiceDiscoveryService/Finalize: \
FinalizeRequest -> FinalizeResponse
core.registry.service_discovery.v1.ServiceDiscoveryService/ReportHealth: \
ReportHealthRequest -> ReportHealthResponse
core.registry.service_discovery.v1.ServiceDiscoveryService/Query: QueryRequest -> QueryResponse
core.registry.service_discovery.v1.ServiceDiscoveryService/Watch: WatchRequest -> >WatchResponse
core.consensus.raft.v1.RaftService/Join: JoinRequest -> JoinResponse
core.consensus.raft.v1.RaftService/Remove: RemoveRequest -> RemoveResponse
core.consensus.raft.v1.RaftService/Stats: StatsRequest -> StatsResponse
core.message_broker.actors.v1.Producer/Produce: >ProduceRequest -> >ProduceResponse
core.message_broker.actors.v1.Consumer/Consume: ConsumeRequest -> >ConsumeResponse
core.message_broker.actors.v1.Consumer/Subscribe: >SubscribeRequest -> >SubscribeResponse
core.control_plane.networking.v1.NetworkingService/AddRoute: AddRouteRequest -> AddRouteResponse
core.control_plane.networking.v1.NetworkingService/ListRoutes: \
ListRoutesRequest -> ListRoutesResponse
core.control_plane.networking.v1.NetworkingService/DeleteRoute: \
DeleteRouteRequest -> DeleteRouteResponse
examples.echo.v1.EchoService/Speak: SpeakRequest -> SpeakResponse
examples.crud.v1.CrudService/Create: CreateRequest -> CreateResponse
examples.crud.v1.CrudService/Read: ReadRequest -> ReadResponse
examples.crud.v1.CrudService/Update: UpdateRequest -> UpdateResponse
examples.crud.v1.CrudService/Delete: DeleteRequest -> DeleteResponse
"""

_SCALARS = {
    getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name
    for name in ("string", "bytes", "bool", "int32", "uint32", "uint64", "float")
}


@pytest.fixture(scope="module", autouse=True)
def pool() -> descriptor_pool.DescriptorPool:
    """protobuf's pool with every module of the generated package in it."""
    for module in pkgutil.walk_packages(draft_api.__path__, "draft_api."):
        if module.name.endswith("_pb2"):
            importlib.import_module(module.name)
    return descriptor_pool.Default()


def type_of(field: FieldDescriptor) -> str:
    kind = field.message_type or field.enum_type
    if kind is not None and field.message_type and kind.GetOptions().map_entry:
        key, value = (kind.fields_by_name[name] for name in ("key", "value"))
        return f"<{type_of(key)},{type_of(value)}>"
    name = kind.name if kind else _SCALARS[field.type]
    present = field.has_presence and not field.message_type
    return name + ("*" if field.is_repeated else "?" if present else "")


def members(pool: descriptor_pool.DescriptorPool, name: str) -> set[str]:
    """The fields of a message, or the values of an enum, as the table writes them."""
    try:
        kind: Descriptor | EnumDescriptor = pool.FindMessageTypeByName(name)
    except KeyError:
        kind = pool.FindEnumTypeByName(name)
    if isinstance(kind, EnumDescriptor):
        return {f"{value.name}={value.number}" for value in kind.values}
    return {f"{field.name}={field.number} {type_of(field)}" for field in kind.fields}


@pytest.mark.parametrize("package", CONTRACT)
def test_names_numbers_and_types_are_those_of_the_contract(
    package: str, pool: descriptor_pool.DescriptorPool
) -> None:
    for row in CONTRACT[package].strip().splitlines():
        name, _, listed = row.partition(":")
        fixed = {part.strip() for part in listed.split(", ")}
        missing = fixed - {""} - members(pool, f"{package}.{name}")
        assert not missing, f"{package}.{name} lacks {sorted(missing)}"


def test_paths_and_streams_are_those_of_the_contract(pool: descriptor_pool.DescriptorPool) -> None:
    for row in RPCS.strip().splitlines():
        path, _, signature = row.partition(": ")
        service, _, name = path.partition("/")
        method = pool.FindServiceByName(service).methods_by_name[name]
        asked = ">" * method.client_streaming + method.input_type.name
        answered = ">" * method.server_streaming + method.output_type.name
        assert f"{asked} -> {answered}" == signature, path


@pytest.mark.parametrize(
    ("message", "oneof", "fields"),
    [
        ("core.registry.key_value.v1.Statement", "where", "is_all id key_val"),
        ("core.registry.key_value.v1.BatchOperation", "operation", "set delete get"),
        ("core.registry.key_value.v1.BatchResult", "result", "set delete get error"),
        ("core.registry.service_discovery.v1.Filter", "attribute", "id group all"),
        ("core.message_broker.actors.v1.CloudEvent", "data", "binary_data text_data proto_data"),
        ("core.message_broker.actors.v1.StartPosition", "position", "new all sequence time"),
        ("core.message_broker.actors.v1.SubscribeRequest", "request", "open ack nak term"),
    ],
)
def test_alternatives_exclude_each_other(
    pool: descriptor_pool.DescriptorPool, message: str, oneof: str, fields: str
) -> None:
    found = pool.FindMessageTypeByName(message).oneofs_by_name[oneof]
    assert [field.name for field in found.fields] == fields.split()


def test_the_generated_package_is_fresh() -> None:
    """Without a stamp: against a build that really ran."""
    api = read_workspace(ROOT).api
    assert api is not None
    result = build(api.folder, api.out, api.package, check=True)
    assert (result.written, result.removed) == ((), ()), "run: dctl api build"


def test_the_protos_keep_every_rule_of_buf() -> None:
    check.lint(API)


def test_the_protos_are_formatted() -> None:
    assert check.format(API, check=True) == (), "run: dctl api format"


def test_nothing_breaks_a_client_of_the_baseline() -> None:
    check.breaking(API)
