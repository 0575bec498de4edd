"""dctl call: any service of a cluster by what it says of itself, on real gRPC."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dctl.errors import ExitCode
from tests.support.clusters import Cluster

# Clusters are raised here, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)

PROTO = """\
syntax = "proto3";
package shop.chat.v1;
import "google/protobuf/any.proto";
import "core/registry/key_value/v1/models.proto";
service ChatService {
  rpc Say(Line) returns (Line);
  rpc Count(Line) returns (stream Line);
  rpc Sum(stream Line) returns (Line);
  rpc Talk(stream Line) returns (stream Line);
}
message Line {
  string text = 1;
  int64 number = 2;
  google.protobuf.Any any = 3;
  map<string, core.registry.key_value.v1.Value> values = 4;
}
"""
MAIN = """\
import asyncio

from chassis import Chassis
from chassis.errors import NotFound
from shop_api.shop.chat.v1 import chat_pb2 as pb
from shop_api.shop.chat.v1 import chat_pb2_grpc as rpc


class Chat(rpc.ChatServiceServicer):
    async def Say(self, request, context):
        if request.text == "who":
            return pb.Line(text=dict(context.invocation_metadata()).get("tenant", "nobody"))
        if request.text == "late":
            await asyncio.sleep(60)
        if request.text == "nothing":
            raise NotFound("there is no such line")
        return request

    async def Count(self, request, context):
        for number in range(request.number):
            yield pb.Line(number=number)

    async def Sum(self, requests, context):
        return pb.Line(number=sum([line.number async for line in requests]))

    async def Talk(self, requests, context):
        async for line in requests:
            yield pb.Line(text=line.text.upper())


app = Chassis()
app.add_servicer(Chat())
app.route(prefix="/shop.chat.v1.ChatService/")
app.run()
"""
SERVICE = """\
  chat:
    run: services/chat
    depends_on: {blueprint: healthy, fuse: healthy}
"""


class Chat(Cluster):
    """A cluster with a service that has every kind of call."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "draft.yaml").write_text(
            "name: test\ncluster: cluster.yaml\napi: {package: shop_api}\n"
        )
        for path, text in (
            ("api/shop/chat/v1/chat.proto", PROTO),
            ("services/chat/main.py", MAIN),
        ):
            (folder / path).parent.mkdir(parents=True)
            (folder / path).write_text(text)
        self.write(extra=SERVICE)

    def call(
        self, *arguments: str, stdin: str = "", code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "dctl", "call", *arguments],
            cwd=self.folder,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    cluster = Chat(tmp_path_factory.mktemp("chat"))
    try:
        cluster.dctl("api", "build", "--unchecked")
        cluster.dctl("infra", "apply", "-y")
        yield cluster
    finally:
        cluster.close()


@pytest.mark.parametrize("service", ["chat", "ChatService", "shop.chat.v1.ChatService"])
def test_a_service_is_found_by_its_name_in_the_registry_or_that_of_its_proto(
    chat: Chat, service: str
) -> None:
    assert json.loads(chat.call(service, "Say", '{"text": "hi"}').stdout) == {"text": "hi"}


def test_a_call_goes_through_the_ingress_with_metadata(chat: Chat) -> None:
    done = chat.call("chat", "Say", '{"text":"who"}', "--ingress", "-H", "Tenant: a", "-o", "json")
    told = json.loads(done.stdout)
    assert told["answer"] == {"text": "a"}
    assert told["method"] == "shop.chat.v1.ChatService/Say"
    assert told["address"] in chat.status()["envoy-1"]["address"]


def test_each_answer_of_a_stream_is_a_line(chat: Chat) -> None:
    lines = chat.call("chat", "Count", '{"number": 3}').stdout.splitlines()
    assert [json.loads(line) for line in lines] == [{}, {"number": "1"}, {"number": "2"}]


def test_a_stream_of_requests_is_read_from_stdin(chat: Chat) -> None:
    lines = '{"number": 1, "text": "a"}\n\n{"number": "2", "text": "b"}\n'
    done = chat.call("chat", "Sum", "--stream", stdin=lines)
    assert json.loads(done.stdout) == {"number": "3"}
    done = chat.call("chat", "Talk", "--stream", "--ingress", stdin=lines)
    assert done.stdout == '{"text": "A"}\n{"text": "B"}\n'
    assert json.loads(chat.call("chat", "Sum", '{"number": 5}').stdout) == {"number": "5"}
    wrong = chat.call("chat", "Sum", "--stream", stdin='{"number": 1}\n{', code=ExitCode.USAGE)
    assert "line 2 is no JSON" in wrong.stderr
    assert chat.call("chat", "Say", "--stream", code=ExitCode.USAGE).stdout == ""


def test_messages_inside_an_any_and_of_the_framework_are_understood(chat: Chat) -> None:
    value = {"@type": "type.googleapis.com/core.registry.key_value.v1.Value", "data": "x"}
    request = {"any": value, "values": {"a": {"data": "y"}}}
    assert json.loads(chat.call("chat", "Say", json.dumps(request)).stdout) == request


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ("chat", "Say", '{"text": "nothing"}'),
            ExitCode.ERROR,
            "NOT_FOUND: there is no such line",
        ),
        (("chat", "Say", '{"text": "late"}', "--timeout", "200ms"), ExitCode.TIMEOUT, "0.2s"),
        (("chat", "Sya"), ExitCode.ERROR, 'did you mean "Say"?'),
        (("chta", "Say"), ExitCode.ERROR, 'did you mean "chat"?'),
        (("chat", "Say", '{"txt": 1}'), ExitCode.USAGE, 'no field named "txt"'),
        (("chat", "Say", "{"), ExitCode.USAGE, "is no JSON"),
        (("chat", "Say", "-H", "nonsense"), ExitCode.USAGE, "is no metadata"),
        ((), ExitCode.USAGE, "dctl call --list"),
    ],
)
def test_what_goes_wrong_is_told_in_words(
    chat: Chat, arguments: tuple[str, ...], code: ExitCode, words: str
) -> None:
    assert words in chat.call(*arguments, code=code).stderr


def test_what_there_is_to_call_is_listed_and_described(chat: Chat) -> None:
    items = json.loads(chat.call("chat", "--list", "-o", "json").stdout)["items"]
    assert [(item["request"], item["answer"]) for item in items] == [
        ("Line", "Line"),
        ("Line", "stream Line"),
        ("stream Line", "Line"),
        ("stream Line", "stream Line"),
    ]
    every = chat.call("--list").stdout
    assert "core.registry.key_value.v1.KeyValueService/Get" in every
    said = chat.call("chat", "Say", "--describe").stdout
    assert said.startswith("rpc Say(Line) returns (Line);\n")
    assert "  map<string, Value> values = 4;\n" in said
    assert "message Value {" in said


def test_services_and_methods_are_completed_live(chat: Chat) -> None:
    for words, wanted in (("dctl call c", "chat"), ("dctl call chat T", "Talk")):
        env = {
            **chat.env,
            "_DCTL_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        done = subprocess.run(
            [os.path.join(os.path.dirname(sys.executable), "dctl")],
            cwd=chat.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert f"plain,{wanted}" in done.stdout.splitlines()
