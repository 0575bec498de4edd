"""Which operations of a batch may go together."""

from __future__ import annotations

from draft_api.core.registry.key_value.v1.service_pb2 import (
    BatchOperation,
    DeleteRequest,
    GetRequest,
    SetRequest,
)
from draft_services.blueprint.rpc.keyvalue import independent
from google.protobuf.any_pb2 import Any

KIND, OTHER = Any(type_url="t/a"), Any(type_url="t/b")


def test_operations_of_one_key_are_never_in_one_part_and_nothing_changes_places() -> None:
    operations = [
        BatchOperation(set=SetRequest(key="a", value=KIND)),
        BatchOperation(set=SetRequest(key="a", value=OTHER)),
        BatchOperation(get=GetRequest(key="b", value=KIND)),
        BatchOperation(delete=DeleteRequest(key=" a ", value=KIND)),
        BatchOperation(get=GetRequest(key="a", value=KIND)),
        BatchOperation(),
    ]
    parts = list(independent(operations))
    assert [len(part) for part in parts] == [3, 1, 2]
    assert [operation for part in parts for operation in part] == operations
