"""dctl's kv, ps and broker against the real services: what one command writes, others see."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from draft_api.core.registry.key_value.v1 import service_pb2 as pb
from draft_api.core.registry.service_discovery.v1 import models_pb2
from draft_api.core.registry.service_discovery.v1 import service_pb2 as registry_pb
from draft_services.blueprint.settings import Settings
from google.protobuf.any_pb2 import Any as AnyMessage

from dctl.__main__ import run
from dctl.clients import Way
from dctl.errors import ExitCode
from tests.support.blueprint import Node, blueprint_node, details, value
from tests.support.catalyst import event, produce, serving_catalyst
from tests.support.nats import Nats, running_nats
from tests.support.relay import Relay, relay_to
from tests.support.waiting import until


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Cli:
    """Runs command lines in threads, while the services live in the test's loop."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.addresses: dict[str, str] = {}
        self.out = self.err = ""

    async def __call__(self, *argv: str) -> Outcome:
        code = await asyncio.to_thread(run, argv)
        self.look()
        outcome, self.out, self.err = Outcome(int(code), self.out, self.err), "", ""
        return outcome

    def look(self) -> str:
        """What the command that runs has printed on stdout so far."""
        captured = self._capsys.readouterr()
        self.out += captured.out
        self.err += captured.err
        return self.out

    @asynccontextmanager
    async def running(self, *argv: str) -> AsyncIterator[Awaitable[Outcome]]:
        """A command beside the test; await what is given for its outcome."""
        task = asyncio.create_task(self(*argv))
        try:
            yield asyncio.wait_for(asyncio.shield(task), 30)
        finally:
            await asyncio.wait({task}, timeout=30)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    cli = Cli(capsys)
    monkeypatch.setattr("dctl.commands.core.way_to", lambda part, file: Way(cli.addresses[part]))
    return cli


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    with running_nats(tmp_path) as running:
        yield running


@pytest.fixture
async def blueprint(nats: Nats, cli: Cli) -> AsyncIterator[tuple[Node, Relay]]:
    async with (
        blueprint_node(Settings(nats=nats.url)) as node,
        relay_to(node.address) as relay,
    ):
        cli.addresses["blueprint"] = relay.address
        yield node, relay


@pytest.fixture
async def catalyst(nats: Nats, cli: Cli) -> AsyncIterator[Relay]:
    async with serving_catalyst(nats.url) as address, relay_to(address) as relay:
        cli.addresses["catalyst"] = relay.address
        yield relay


async def test_a_key_is_set_read_listed_and_deleted(cli: Cli, blueprint: object) -> None:
    assert (await cli("kv", "set", "greeting", "hello")).code == ExitCode.OK
    assert await cli("kv", "get", "greeting") == (0, "hello\n", "")
    listed = json.loads((await cli("kv", "list", "greet", "-o", "json")).out)
    assert [(item["key"], item["value"]) for item in listed["items"]] == [("greeting", "hello")]
    assert "deleted" in (await cli("kv", "delete", "greeting")).err
    assert "was not there" in (await cli("kv", "delete", "greeting")).err
    assert await cli("kv", "get", "greeting") == (
        1,
        "",
        'error: no key "greeting" of type value\n',
    )


async def test_a_write_can_ask_for_the_revision_it_knows(cli: Cli, blueprint: object) -> None:
    first = json.loads((await cli("kv", "set", "k", "1", "--if-revision", "0", "-o", "json")).out)
    refused = await cli("kv", "set", "k", "2", "--if-revision", "0")
    assert refused.code == ExitCode.ERROR
    assert str(first["revision"]) in refused.err
    assert (await cli("kv", "set", "k", "2", "--if-revision", str(first["revision"]))).code == 0


async def test_what_blueprint_refuses_is_one_line(cli: Cli, blueprint: object) -> None:
    large = await cli("kv", "set", "k", "x" * (1024 * 1024 + 1))
    assert large.code == ExitCode.ERROR
    assert "1" in large.err
    assert large.err.count("\n") == 1
    assert (await cli("kv", "set", "", "v")).err.count("\n") == 1


async def test_a_long_list_is_read_whole(cli: Cli, blueprint: tuple[Node, Relay]) -> None:
    for number in range(7):  # together over gRPC's usual 4 MiB
        await cli("kv", "set", f"big/{number}", "x" * 1_000_000)
    listed = (await cli("kv", "list", "big/", "-o", "ndjson")).out.splitlines()
    assert [len(json.loads(line)["value"]) for line in listed] == [1_000_000] * 7


async def test_watch_outlives_a_broken_connection(cli: Cli, blueprint: tuple[Node, Relay]) -> None:
    node, relay = blueprint
    await cli("kv", "set", "w/a", "1")
    command = ("kv", "watch", "w/", "--count", "4", "--timeout", "30s", "-o", "ndjson")
    async with cli.running(*command) as outcome:
        await until(lambda: "synced" in cli.look())
        await node.keys.Set(pb.SetRequest(key="w/a", value=value("2")))
        await until(lambda: '"2"' in cli.look())
        await relay.cut()
        await node.keys.Set(pb.SetRequest(key="w/b", value=value("3")))
        await node.keys.Delete(pb.DeleteRequest(key="w/a", value=value()))
        await relay.listen()
        code, out, err = await outcome
    assert code == ExitCode.OK
    told = [json.loads(line) for line in out.splitlines()]
    assert [(item["change"], item.get("key"), item.get("value")) for item in told] == [
        ("put", "w/a", "1"),
        ("synced", None, None),
        ("put", "w/a", "2"),
        ("put", "w/b", "3"),
        ("delete", "w/a", None),
    ]
    assert "went away" in err


async def test_a_key_with_a_ttl_goes_by_itself(cli: Cli, blueprint: object) -> None:
    await cli("kv", "set", "lease", "me", "--ttl", "1s")
    watched = await cli("kv", "watch", "lease", "--count", "2", "--timeout", "20s", "-o", "ndjson")
    changes = [json.loads(line)["change"] for line in watched.out.splitlines()]
    assert [change for change in changes if change != "synced"] == ["put", "delete"]


async def test_the_past_of_a_key_is_told_newest_first(cli: Cli, blueprint: object) -> None:
    for text in ("one", "two"):
        await cli("kv", "set", "greeting", text)
    await cli("kv", "delete", "greeting")
    await cli("kv", "set", "greeting", "three")
    told = json.loads((await cli("kv", "history", "greeting", "-o", "json")).out)["items"]
    assert [(one["change"], one.get("value")) for one in told] == [
        ("put", "three"),
        ("delete", None),
    ]
    assert "three" in (await cli("kv", "history", "greeting", "--limit", "1")).out
    never = await cli("kv", "history", "never")
    assert (never.code, never.err) == (1, 'error: no key "never" of type value, now or before\n')


ROUTE = "core.control_plane.networking.v1.Route"


async def test_what_is_exported_is_imported_as_it_was(
    cli: Cli, blueprint: tuple[Node, Relay], tmp_path: Path
) -> None:
    node, _ = blueprint
    unknown = AnyMessage(type_url="type.googleapis.com/shop.Unknown", value=b"\x00\xff")
    await cli("kv", "set", "shop/ü", "a\nb")
    await cli("kv", "set", "shop/r", '{"name": "r", "enableHttp2": true}', "--type", ROUTE)
    await node.keys.Set(pb.SetRequest(key="shop/x", value=unknown))
    await cli("kv", "set", "other", "stays")
    await cli("kv", "set", "fuse_address", "http://here")
    exported = (await cli("kv", "export", "shop/", "--type", "any")).out
    assert "fuse_address" not in (await cli("kv", "export")).out
    file = tmp_path / "keys.ndjson"
    file.write_text(exported)
    await cli("kv", "delete", "shop/ü")
    await cli("kv", "set", "shop/r", '{"name": "other"}', "--type", ROUTE)
    await node.keys.Delete(pb.DeleteRequest(key="shop/x", value=unknown))
    done = await cli("kv", "import", str(file))
    assert (done.code, done.err) == (0, "3 written\n")
    assert sorted((await cli("kv", "export", "shop/", "--type", "any")).out.splitlines()) == sorted(
        exported.splitlines()
    )
    assert (await node.keys.Get(pb.GetRequest(key="shop/x", value=unknown))).value == unknown


async def test_an_import_can_leave_what_is_there(
    cli: Cli, blueprint: object, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text('{"key": "a", "value": "new"}\n\n{"key": "b", "value": "new"}\n')
    await cli("kv", "set", "a", "old")
    done = await cli("kv", "import", str(tmp_path / "f"), "--keep")
    assert (done.code, done.err) == (0, "1 written, 1 were there\n")
    assert (await cli("kv", "get", "a")).out == "old\n"


async def test_a_file_with_a_wrong_line_is_not_imported_at_all(
    cli: Cli, blueprint: object, tmp_path: Path
) -> None:
    file = tmp_path / "keys.ndjson"
    file.write_text(
        '{"key": "a", "value": "1"}\n{"key": "b", "value": }\n{"key": " ", "value": "x"}\n'
        '{"key": "c", "type": "no.Such", "value": {}}\n{"key": "d", "value": 7}\n'
    )
    done = await cli("kv", "import", str(file))
    assert done.code == ExitCode.USAGE
    for place in (f"{file}:2:23:", f"{file}:3:", f"{file}:4:", f"{file}:5:"):
        assert place in done.err
    assert (await cli("kv", "get", "a")).code == ExitCode.ERROR


async def test_a_file_that_is_no_text_is_not_imported_and_an_export_that_cannot_be_whole_fails(
    cli: Cli, blueprint: tuple[Node, Relay], tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b'{"key": "a", "value": "\xff"}\n')
    done = await cli("kv", "import", str(tmp_path / "f"))
    assert done.code == ExitCode.USAGE
    assert "is not UTF-8 text" in done.err
    late = await cli("kv", "export", "--timeout", "1ms")
    assert late.code != ExitCode.OK
    assert late.err.startswith("error: Blueprint at ")
    assert "Traceback" not in late.err


async def test_what_blueprint_does_not_take_of_an_import_is_named_and_the_rest_is_written(
    cli: Cli, blueprint: object, tmp_path: Path
) -> None:
    large = json.dumps({"key": "large", "value": "x" * (1024 * 1024 + 1)})
    (tmp_path / "f").write_text(f'{{"key": "a", "value": "1"}}\n{large}\n')
    done = await cli("kv", "import", str(tmp_path / "f"))
    assert done.code == ExitCode.ERROR
    assert "1 of 2 keys were not written" in done.err
    assert "large: value: is 10485" in done.err
    assert (await cli("kv", "get", "a")).out == "1\n"


def editor(folder: Path, *lines: str) -> str:
    """An editor that a script is."""
    script = folder / "editor"
    script.write_text("\n".join(("#!/bin/sh", *lines)))
    script.chmod(0o755)
    return str(script)


def taken(path: str) -> str:
    """The text of a file, which is removed."""
    text = Path(path).read_text()
    Path(path).unlink()
    return text


async def test_a_value_is_changed_in_an_editor(
    cli: Cli, blueprint: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cli("kv", "set", "motd", "hello")
    monkeypatch.setenv("VISUAL", editor(tmp_path, 'cp "$1" seen', 'echo "bye" > "$1"'))
    monkeypatch.chdir(tmp_path)
    assert (await cli("kv", "edit", "motd")).code == 0
    assert (tmp_path / "seen").read_text() == "hello"
    assert (await cli("kv", "get", "motd")).out == "bye\n"
    monkeypatch.setenv("VISUAL", "true")
    assert (await cli("kv", "edit", "motd")).err == "not changed\n"


async def test_an_edit_never_overwrites_what_somebody_wrote_meanwhile(
    cli: Cli, blueprint: tuple[Node, Relay], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, _ = blueprint
    monkeypatch.setenv(
        "VISUAL", editor(tmp_path, 'echo mine > "$1"; : > begun', "while [ -e wait ]; do :; done")
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wait").touch()
    async with cli.running("kv", "edit", "motd") as outcome:
        await until((tmp_path / "begun").exists)
        await node.keys.Set(pb.SetRequest(key="motd", value=value("theirs")))
        (tmp_path / "wait").unlink()
        code, _, err = await outcome
    assert code == ExitCode.ERROR
    assert taken(err.split("your text is kept in ")[1].split()[0]) == "mine\n"
    assert (await cli("kv", "get", "motd")).out == "theirs\n"


async def test_ps_shows_who_registered(cli: Cli, blueprint: tuple[Node, Relay]) -> None:
    node, _ = blueprint
    answer = await node.registry.Initialize(
        registry_pb.InitializeRequest(name="cart", group="shop")
    )
    identity = answer.process_identity
    beats = node.registry.Synchronize()
    await beats.write(details(identity, advertise_address="127.0.0.1:9001"))
    await beats.read()
    shown = json.loads((await cli("ps", "--name", "cart", "-o", "json")).out)["items"]
    assert [(p["pid"], p["group"], p["address"], p["state"], p["health"]) for p in shown] == [
        (identity.pid, "shop", "127.0.0.1:9001", "running", "healthy")
    ]
    assert (await cli("ps", "--unhealthy", "--name", "cart")).out == ""
    assert "cart" in (await cli("ps", "--group", "shop")).out
    beats.cancel()


async def test_ps_follows_who_comes_changes_and_goes_past_a_broken_connection(
    cli: Cli, blueprint: tuple[Node, Relay]
) -> None:
    node, relay = blueprint

    async def come(name: str) -> tuple[Any, Any]:
        asked = registry_pb.InitializeRequest(name=name, group="shop")
        identity = (await node.registry.Initialize(asked)).process_identity
        beats = node.registry.Synchronize()
        await beats.write(details(identity, advertise_address="127.0.0.1:9001"))
        await beats.read()
        return identity, beats

    async def go(identity: Any, beats: Any) -> None:
        asked = registry_pb.FinalizeRequest(pid=identity.pid, token=identity.token.jwt)
        await node.registry.Finalize(asked)
        beats.cancel()

    first = await come("cart")
    command = ("ps", "--group", "shop", "--watch", "--count", "5", "-o", "ndjson")
    async with cli.running(*command) as outcome:
        await until(lambda: "synced" in cli.look())
        ill = details(first[0], health_state=models_pb2.PROCESS_UNHEALTHY)
        await first[1].write(ill)
        await until(lambda: '"changed"' in cli.look())
        await relay.cut()
        await go(*first)
        second = await come("stock")
        await relay.listen()
        await until(lambda: '"new"' in cli.look())
        await go(*second)
        code, out, err = await outcome
    assert code == ExitCode.OK
    told = [json.loads(line) for line in out.splitlines()]
    assert [(one["change"], one.get("name"), one.get("health")) for one in told] == [
        ("there", "cart", "healthy"),
        ("synced", None, None),
        ("changed", "cart", "unhealthy"),
        ("new", "stock", "healthy"),
        ("gone", "cart", "unhealthy"),
        ("gone", "stock", "healthy"),
    ]
    assert "went away" in err


async def test_a_process_is_shown_in_full_by_its_name_or_its_pid(
    cli: Cli, blueprint: tuple[Node, Relay]
) -> None:
    node, _ = blueprint
    asked = registry_pb.InitializeRequest(
        name="cart", metadata=[models_pb2.Metadata(key="zone", value="eu-1")]
    )
    pid = (await node.registry.Initialize(asked)).process_identity.pid
    by_name, by_pid = await cli("process", "show", "cart"), await cli("process", "show", pid)
    assert by_name.out.splitlines()[:2] == by_pid.out.splitlines()[:2]
    assert pid in by_name.out
    assert [line.split() for line in by_pid.out.splitlines()][-1] == ["zone", "eu-1"]
    told = json.loads((await cli("process", "show", pid, "-o", "json")).out)["items"]
    assert [one["metadata"] for one in told] == [{"zone": "eu-1"}]
    assert (await cli("process", "show", "nobody")).code == ExitCode.ERROR


async def test_the_engine_is_told_in_words_and_figures(
    cli: Cli, blueprint: tuple[Node, Relay]
) -> None:
    await cli("kv", "set", "a", "1")
    told = json.loads((await cli("cluster", "status", "-o", "json")).out)
    assert told["well"]
    assert "One copy" in told["summary"]
    assert [(one["node"], one["state"]) for one in told["nodes"]] == [("test", "online")]
    (keys,) = [one for one in told["streams"] if one["stream"] == "KV_keys"]
    assert keys["revision"] >= keys["messages"] >= 1
    assert (keys["copies"], keys["leader"]) == (1, "test")
    assert "KV_keys" in (await cli("cluster", "status")).out


async def test_what_is_produced_is_consumed(cli: Cli, catalyst: Relay) -> None:
    produced = await cli("broker", "produce", "--type", "demo.a", "--data", '{"a":1}', "-o", "json")
    (item,) = json.loads(produced.out)["items"]
    await cli("broker", "produce", "--type", "other", "--data", "x")
    consumed = await cli(
        "broker", "consume", "--type", "demo.*", "--from", "all", "--count", "1", "-o", "ndjson"
    )
    told = json.loads(consumed.out)
    assert told["id"] == item["id"]
    assert told["draftsequence"] == str(item["sequence"])
    assert told["data"] == {"a": 1}


async def test_a_repeated_event_is_stored_once(cli: Cli, catalyst: Relay) -> None:
    repeated = ("broker", "produce", "--type", "t", "--id", "one", "-o", "json")
    first = json.loads((await cli(*repeated)).out)["items"]
    assert json.loads((await cli(*repeated)).out)["items"] == first


async def test_an_event_that_catalyst_refuses_is_one_line(cli: Cli, catalyst: Relay) -> None:
    refused = await cli("broker", "produce", "--type", "t", "--data", "x" * (2 << 20))
    assert refused.code == ExitCode.ERROR
    assert "1 MiB" in refused.err
    assert refused.err.count("\n") == 1


@pytest.mark.parametrize("before", [0, 2], ids=["before-the-first-event", "amid-events"])
async def test_consume_outlives_a_broken_connection(cli: Cli, catalyst: Relay, before: int) -> None:
    sent = [event(f"e{number}") for number in range(4)]
    command = ("broker", "consume", "--count", "4", "--timeout", "30s", "-o", "ndjson")
    async with grpc.aio.insecure_channel(catalyst.target) as beside:
        await produce(beside, [event("too-early")])
        async with cli.running(*command) as outcome:
            await until(lambda: cli.look() or "from sequence" in cli.err)
            await produce(beside, sent[:before])
            await until(lambda: len(cli.look().splitlines()) == before)
            await catalyst.cut()
            await produce(beside, sent[before:])
            await catalyst.listen()
            code, out, _ = await outcome
    assert code == ExitCode.OK
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["e0", "e1", "e2", "e3"]


async def test_nobody_there_is_exit_6_and_says_who(
    cli: Cli, blueprint: tuple[Node, Relay], catalyst: Relay
) -> None:
    await blueprint[1].cut()
    await catalyst.cut()
    for part, argv in (
        ("Blueprint", ("kv", "get", "k")),
        ("Blueprint", ("ps",)),
        ("Catalyst", ("broker", "consume")),
        ("Catalyst", ("broker", "produce", "--type", "t")),
    ):
        code, out, err = await cli(*argv)
        assert code == ExitCode.UNREACHABLE
        assert out == ""
        assert f"{part} at {cli.addresses[part.lower()]} did not answer" in err
        assert "dctl infra status" in err
