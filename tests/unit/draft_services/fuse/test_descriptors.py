"""Descriptors are checked on arrival, and each route gets those of its services."""

from __future__ import annotations

import pytest
from draft_services.fuse.descriptors import checked, transcoding
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

TIMESTAMP = "google/protobuf/timestamp.proto"


def file(name: str, package: str, service: str = "S", *imports: str) -> FileDescriptorProto:
    made = FileDescriptorProto(name=name, package=package, dependency=imports, syntax="proto3")
    made.message_type.add(name="M")
    method = made.service.add(name=service).method.add(name="Do")
    method.input_type = method.output_type = f".{package}.M"
    return made


def raw(*files: FileDescriptorProto) -> bytes:
    return FileDescriptorSet(file=files).SerializeToString()


def test_what_a_set_lacks_of_the_well_known_types_is_added_before_what_needs_it() -> None:
    found = FileDescriptorSet.FromString(checked("p.S", raw(file("a", "p", "S", TIMESTAMP))))
    assert [each.name for each in found.file] == [TIMESTAMP, "a"]


def test_the_order_of_files_does_not_matter() -> None:
    files = [file("a", "p", "S", "b"), file("b", "q")]
    assert checked("p.S", raw(*files)) == checked("p.S", raw(*files[::-1]))


@pytest.mark.parametrize(
    ("service", "content"),
    [
        ("p.S", b"\xff"),
        ("p.S", b""),
        ("p.Other", raw(file("a", "p"))),
        ("p.S", raw(file("a", "p", "S", "missing.proto"))),
        ("p.S", raw(file("a", "p", "S", "b"), file("b", "q", "S", "a"))),
    ],
    ids=["garbage", "empty", "no such service", "import missing", "imports in a circle"],
)
def test_a_set_that_does_not_hold_together_is_refused(service: str, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        checked(service, content)


def test_a_prefix_gets_the_services_that_it_covers() -> None:
    known = {
        "p.S": checked("p.S", raw(file("a", "p"))),
        "p.T": checked("p.T", raw(file("b", "p2", "X"), file("c", "p", "T"))),
        "q.S": checked("q.S", raw(file("d", "q"))),
    }

    def services(prefix: str) -> tuple[str, ...]:
        found = transcoding(prefix, known)
        return found.services if found else ()

    assert services("/p.S/") == ("p.S",)
    assert services("/p.S/Do") == ("p.S",)
    assert services("/p.S") == ("p.S",)
    assert services("/q.") == ("q.S",)
    assert services("/other/") == ()
    assert services("/p") == ()


def test_services_whose_files_disagree_are_not_mixed() -> None:
    one = checked("p.S", raw(file("common", "c"), file("a", "p")))
    two = checked("q.S", raw(file("common", "c", "Changed"), file("b", "q")))
    found = transcoding("/", {"p.S": one, "q.S": two})
    assert found is not None
    assert found.services == ("p.S",)
