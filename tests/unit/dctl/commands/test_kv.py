"""dctl kv says to Blueprint what the command line says, and tells its answers."""

import threading

import grpc
import pytest
from draft_api.core.registry.key_value.v1 import models_pb2 as models
from draft_api.core.registry.key_value.v1 import service_pb2 as pb
from draft_api.examples.crud.v1.models_pb2 import Name
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from dctl.errors import ExitCode
from tests.support.core_stub import CoreStub, refuse
from tests.unit.dctl.commands.conftest import Dctl

PUT, DELETE, SYNCED = (
    pb.WatchEvent.KIND_PUT,
    pb.WatchEvent.KIND_DELETE,
    pb.WatchEvent.KIND_SYNCED,
)


def packed(message: Message) -> Any:
    it = Any()
    it.Pack(message)
    return it


def text(data: str) -> Any:
    return packed(models.Value(data=data))


def test_set_packs_plain_text_as_a_value(core: CoreStub, dctl: Dctl) -> None:
    core.answers["Set"] = lambda request, _: pb.SetResponse(key=request.key, revision=7)
    outcome = dctl("kv", "set", "greeting", "hello")
    assert outcome.code == ExitCode.OK
    assert outcome.out == ""  # prose goes to stderr
    assert "greeting" in outcome.err
    assert "7" in outcome.err
    assert core.requests["Set"] == [pb.SetRequest(key="greeting", value=text("hello"))]


def test_set_sends_revision_and_ttl_only_when_asked_to(core: CoreStub, dctl: Dctl) -> None:
    core.answers["Set"] = lambda request, _: pb.SetResponse(key=request.key, revision=8)
    outcome = dctl("kv", "set", "k", "v", "--if-revision", "0", "--ttl", "1m30s", "-o", "json")
    (request,) = core.requests["Set"]
    assert request.HasField("expected_revision")
    assert request.expected_revision == 0
    assert request.ttl.seconds == 90
    assert outcome.json() == {
        "apiVersion": "draft/v1",
        "kind": "KeyRevision",
        "key": "k",
        "revision": 8,
    }


def test_set_reads_stdin_as_it_is(core: CoreStub, dctl: Dctl) -> None:
    core.answers["Set"] = lambda request, _: pb.SetResponse(key=request.key, revision=1)
    assert dctl("kv", "set", "k", "-", stdin="å\n".encode()).code == ExitCode.OK
    assert core.requests["Set"][0].value == text("å\n")
    assert dctl("kv", "set", "k", "-", stdin=b"\xff").code == ExitCode.USAGE


def test_a_typed_value_is_the_json_of_its_message(core: CoreStub, dctl: Dctl) -> None:
    core.answers["Set"] = lambda request, _: pb.SetResponse(key=request.key, revision=1)
    core.answers["Get"] = lambda request, _: pb.GetResponse(
        value=packed(Name(first_name="Ann")), revision=3
    )
    type_ = ("--type", "examples.crud.v1.Name")
    assert dctl("kv", "set", "ann", '{"firstName": "Ann"}', *type_).code == ExitCode.OK
    assert core.requests["Set"][0].value == packed(Name(first_name="Ann"))
    assert dctl("kv", "get", "ann", *type_).json() == {"firstName": "Ann"}
    assert dctl("kv", "get", "ann", *type_, "-o", "json").json() == {
        "apiVersion": "draft/v1",
        "kind": "KeyValue",
        "key": "ann",
        "type": "examples.crud.v1.Name",
        "revision": 3,
        "value": {"firstName": "Ann"},
    }


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("{}", "--type", "examples.crud.v1.Nmae"), 'did you mean "examples.crud.v1.Name"?'),
        (('{"nope": 1}', "--type", "examples.crud.v1.Name"), "nope"),
        (("v", "--ttl", "30"), "needs a unit"),
    ],
)
def test_what_cannot_be_sent_is_a_usage_error(
    core: CoreStub, dctl: Dctl, argv: tuple[str, ...], said: str
) -> None:
    outcome = dctl("kv", "set", "k", *argv)
    assert outcome.code == ExitCode.USAGE
    assert said in outcome.err
    assert not core.requests


def test_get_prints_the_value_alone(core: CoreStub, dctl: Dctl) -> None:
    core.answers["Get"] = lambda request, _: pb.GetResponse(value=text("hello"), revision=3)
    assert dctl("kv", "get", "greeting") == (0, "hello\n", "")


def test_get_of_an_absent_key_exits_1_with_one_line(core: CoreStub, dctl: Dctl) -> None:
    core.answers["Get"] = refuse(grpc.StatusCode.NOT_FOUND, "whatever the service says")
    assert dctl("kv", "get", "nope") == (1, "", 'error: no key "nope" of type value\n')


def test_values_cannot_steer_a_terminal(
    core: CoreStub, dctl: Dctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "a\x1b]0;owned\x07\rb\nc"
    core.answers["Get"] = lambda request, _: pb.GetResponse(value=text(evil), revision=3)
    core.answers["List"] = lambda request, _: pb.ListResponse(values={"k\x1b[2J": text(evil)})
    piped = dctl("kv", "get", "k").out
    listed = dctl("kv", "list").out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    shown = dctl("kv", "get", "k").out
    assert piped == evil + "\n"  # programs get what was stored
    assert not set("\x1b\x07\r") & set(shown + listed)
    assert "b\nc" in shown


def test_delete_says_whether_there_was_something(core: CoreStub, dctl: Dctl) -> None:
    core.answers["Delete"] = lambda request, _: pb.DeleteResponse(key=request.key, revision=9)
    assert "deleted k" in dctl("kv", "delete", "k", "--if-revision", "4").err
    assert core.requests["Delete"][0].expected_revision == 4
    core.answers["Delete"] = lambda request, _: pb.DeleteResponse(key=request.key)
    outcome = dctl("kv", "delete", "k")
    assert outcome.code == ExitCode.OK
    assert "was not there" in outcome.err


def test_list_reads_every_page_in_order(core: CoreStub, dctl: Dctl) -> None:
    pages = {
        "": pb.ListResponse(values={"b": text("2"), "a": text("1")}, next_page_token="more"),
        "more": pb.ListResponse(values={"c": text("x" * 500)}),
    }
    core.answers["List"] = lambda request, _: pages[request.page_token]
    outcome = dctl("kv", "list", "pre")
    rows = outcome.out.splitlines()
    assert [row.split() for row in rows[:3]] == [["KEY", "VALUE"], ["a", "1"], ["b", "2"]]
    assert len(rows[3]) < 200  # a table shows the beginning of a long value ...
    assert dctl("kv", "list", "-o", "ndjson").ndjson()[2]["value"] == "x" * 500  # ... not JSON
    assert {request.prefix for request in core.requests["List"]} == {"pre", ""}
    assert all(request.page_size for request in core.requests["List"])


def test_an_empty_list_is_no_error(core: CoreStub, dctl: Dctl) -> None:
    core.answers["List"] = lambda request, _: pb.ListResponse()
    assert dctl("kv", "list", "zz") == (0, "", 'no keys of type value that begin with "zz"\n')
    assert dctl("kv", "list", "-o", "json").json()["items"] == []


def test_watch_prints_entries_then_changes(core: CoreStub, dctl: Dctl) -> None:
    def changes(request: pb.WatchRequest, context: grpc.ServicerContext):
        yield pb.WatchResponse(
            events=[
                pb.WatchEvent(kind=PUT, key="a", value=text("1"), revision=4),
                pb.WatchEvent(kind=SYNCED, revision=5),
            ],
            revision=5,
        )
        gone = Any(type_url=text("").type_url)
        yield pb.WatchResponse(
            events=[pb.WatchEvent(kind=DELETE, key="a", value=gone, revision=6)], revision=6
        )
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "enough")

    core.answers["Watch"] = changes
    outcome = dctl("kv", "watch", "a", "-o", "ndjson")
    type_ = "core.registry.key_value.v1.Value"
    assert outcome.ndjson() == [
        {"change": "put", "key": "a", "type": type_, "revision": 4, "value": "1"},
        {"change": "synced", "revision": 5},
        {"change": "delete", "key": "a", "type": type_, "revision": 6},
    ]
    assert "enough" in outcome.err
    table = dctl("kv", "watch", "a").out.splitlines()
    assert [line.split() for line in table] == [
        ["REVISION", "CHANGE", "KEY", "VALUE"],
        ["4", "put", "a", "1"],
        ["6", "delete", "a"],
    ]


def test_watch_of_any_type_names_no_type_and_shows_unknown_ones_by_their_bytes(
    core: CoreStub, dctl: Dctl
) -> None:
    strange = Any(type_url="type.googleapis.com/somebody.Else", value=b"\x08\x01")

    def changes(request: pb.WatchRequest, context: grpc.ServicerContext):
        yield pb.WatchResponse(
            events=[pb.WatchEvent(kind=PUT, key="a", value=strange, revision=4)], revision=4
        )
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "enough")

    core.answers["Watch"] = changes
    outcome = dctl("kv", "watch", "--type", "any", "--from-revision", "3", "-o", "ndjson")
    assert outcome.ndjson()[0]["value"] == {"@type": strange.type_url, "base64": "CAE="}
    (request,) = core.requests["Watch"]
    assert not request.HasField("value")
    assert request.from_revision == 3


def test_watch_goes_on_where_it_was_when_blueprint_comes_back(core: CoreStub, dctl: Dctl) -> None:
    def changes(request: pb.WatchRequest, context: grpc.ServicerContext):
        if len(core.requests["Watch"]) == 1:
            yield pb.WatchResponse(events=[pb.WatchEvent(kind=SYNCED, revision=5)], revision=5)
            yield pb.WatchResponse(
                events=[pb.WatchEvent(kind=PUT, key="a", value=text("1"), revision=6)], revision=6
            )
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        yield pb.WatchResponse(
            events=[pb.WatchEvent(kind=PUT, key="a", value=text("2"), revision=7)], revision=7
        )
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "enough")

    core.answers["Watch"] = changes
    outcome = dctl("kv", "watch", "-o", "ndjson")
    assert [item["revision"] for item in outcome.ndjson()] == [5, 6, 7]
    assert [request.from_revision for request in core.requests["Watch"]] == [0, 6]
    assert "went away" in outcome.err
    assert "is back" in outcome.err


def test_watch_ends_after_its_timeout(core: CoreStub, dctl: Dctl) -> None:
    def changes(request: pb.WatchRequest, context: grpc.ServicerContext):
        yield pb.WatchResponse(events=[pb.WatchEvent(kind=SYNCED, revision=5)], revision=5)
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(10)

    core.answers["Watch"] = changes
    assert dctl("kv", "watch", "--timeout", "200ms").code == ExitCode.OK
    outcome = dctl("kv", "watch", "--count", "1", "--timeout", "200ms")
    assert outcome.code == ExitCode.TIMEOUT
    assert "0 of 1 changes came within 0.2s" in outcome.err


def test_watch_from_a_revision_that_is_not_kept_says_so(core: CoreStub, dctl: Dctl) -> None:
    core.answers["Watch"] = refuse(grpc.StatusCode.OUT_OF_RANGE, "kept since revision 90")
    outcome = dctl("kv", "watch", "--from-revision", "5")
    assert outcome.code == ExitCode.ERROR
    assert "kept since revision 90" in outcome.err
