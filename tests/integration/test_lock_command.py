"""dctl lock against a real Blueprint: a command that runs under a lock, and ends with it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from draft_api.core.registry.key_value.v1 import models_pb2 as models
from draft_api.core.registry.key_value.v1 import service_pb2 as pb
from draft_services.blueprint.settings import Settings

from chassis.clients import connect
from chassis.locks import Locks
from dctl.errors import ExitCode
from tests.support.blueprint import Node, blueprint_node, packed
from tests.support.nats import running_nats
from tests.support.relay import Relay, relay_to
from tests.support.services import ROOT
from tests.support.waiting import until, until_answered

# dctl of a process of its own, for it handles signals; only where Blueprint is, is said.
PROGRAM = """
import sys
import dctl.commands.core
from dctl.clients import Way
from dctl.__main__ import main
dctl.commands.core.way_to = lambda part, file: Way(sys.argv[1])
main(sys.argv[2:])
"""
FOREVER = "echo up > {up}; while :; do sleep 0.1; done"


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Dctl:
    """Runs command lines against one Blueprint."""

    def __init__(self, address: str) -> None:
        self._address = address

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, self._address, *argv],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def __call__(self, *argv: str) -> Outcome:
        return await self.ended(self.start(*argv))

    async def ended(self, process: subprocess.Popen[str]) -> Outcome:
        try:
            out, err = await asyncio.to_thread(process.communicate, timeout=20)
        finally:
            process.kill()
        return Outcome(process.returncode, out, err)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    with running_nats(tmp_path / "nats") as nats:
        async with blueprint_node(Settings(nats=nats.url)) as node:
            yield node


@pytest.fixture
async def link(node: Node) -> AsyncIterator[Relay]:
    async with relay_to(node.address) as relay:
        yield relay


@pytest.fixture
def dctl(link: Relay) -> Dctl:
    return Dctl(link.address)


@pytest.fixture
async def other(node: Node) -> AsyncIterator[Locks]:
    """Somebody else."""
    async with connect(node.address) as channel:
        yield Locks(lambda: channel, "other")


async def held(node: Node) -> list[str]:
    return sorted((await node.keys.List(pb.ListRequest(value=packed(models.Lock())))).values)


def runs(process: psutil.Process) -> bool:
    try:  # an orphan that nobody has buried yet does not run
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def waiters(node: Node) -> int:
    answer = await node.keys.List(pb.ListRequest(value=packed(models.LockWaiter())))
    return len(answer.values)


async def test_a_command_runs_under_the_lock_and_its_exit_code_is_handed_on(
    node: Node, dctl: Dctl, other: Locks
) -> None:
    outcomes = [
        await dctl("lock", "acquire", "deploy", "--", "sh", "-c", "echo $DRAFT_LOCK_TOKEN; exit 7")
        for _ in range(2)
    ]
    assert [outcome.code for outcome in outcomes] == [7, 7]
    assert int(outcomes[1].out) > int(outcomes[0].out) > 0
    async with other.hold("deploy", wait=0) as lock:
        assert lock.token > int(outcomes[1].out)
    killed = await dctl("lock", "acquire", "deploy", "--", "sh", "-c", "kill -KILL $$")
    assert killed.code == 128 + signal.SIGKILL


async def test_who_does_not_get_it_runs_nothing_and_hears_who_holds_it(
    node: Node, dctl: Dctl, other: Locks, tmp_path: Path
) -> None:
    touch = ("--", "touch", str(tmp_path / "ran"))
    async with other.hold("deploy"):
        for wait in ("0s", "200ms"):
            outcome = await dctl("lock", "acquire", "deploy", "--wait", wait, *touch)
            assert outcome.code == ExitCode.LOCKED
            assert "held by other on" in outcome.err
        process = dctl.start("lock", "acquire", "deploy", *touch)
        await until_answered(lambda: waiters(node))
        listed = json.loads((await dctl("lock", "list", "-o", "json")).out)
        (item,) = listed["items"]
        assert (item["name"], item["holder"], item["waiting"]) == ("deploy", "other", 1)
        assert item["since"] < item["until"]
        assert item["token"] > 0
        assert not (tmp_path / "ran").exists()
    outcome = await dctl.ended(process)
    assert outcome.code == ExitCode.OK
    assert "waiting for lock deploy: held by other" in outcome.err
    assert (tmp_path / "ran").exists()
    assert (await dctl("lock", "list")).err == "no lock is held\n"


async def test_a_command_ends_with_the_lock_even_one_that_does_not_want_to(
    node: Node, link: Relay, dctl: Dctl, other: Locks, tmp_path: Path
) -> None:
    up = tmp_path / "up"
    script = "trap '' TERM; " + FOREVER.format(up=up)
    acquire = ("lock", "acquire", "deploy", "--ttl", "2s")
    process = dctl.start(*acquire, "--", "sh", "-c", f"sh -c {json.dumps(script)} & wait")
    await until(up.exists)
    family = psutil.Process(process.pid).children(recursive=True)
    await link.cut()
    async with other.hold("deploy"):
        assert not [each for each in family if runs(each)]
    outcome = await dctl.ended(process)
    assert outcome.code == ExitCode.LOCKED
    assert "lock deploy was lost: it could not be renewed for 1.5 s; sh was ended" in outcome.err


async def test_a_command_may_end_in_order_when_the_lock_is_lost(
    node: Node, dctl: Dctl, tmp_path: Path
) -> None:
    up, cleaned = tmp_path / "up", tmp_path / "cleaned"
    script = f"trap 'touch {cleaned}; exit 0' TERM; {FOREVER.format(up=up)}"
    process = dctl.start("lock", "acquire", "deploy", "--ttl", "2s", "--", "sh", "-c", script)
    await until(up.exists)
    assert (await dctl("lock", "release", "deploy")).code == ExitCode.USAGE  # nobody to ask
    assert (await dctl("lock", "release", "deploy", "-y")).code == ExitCode.OK
    outcome = await dctl.ended(process)
    assert outcome.code == ExitCode.LOCKED
    assert "taken away" in outcome.err
    assert cleaned.exists()
    assert (await dctl("lock", "release", "deploy", "-y")).err == "nobody holds lock deploy\n"


async def test_a_signal_is_passed_on_and_the_lock_given_back(
    node: Node, dctl: Dctl, tmp_path: Path
) -> None:
    up = tmp_path / "up"
    for number in (signal.SIGTERM, signal.SIGINT):
        up.unlink(missing_ok=True)
        script = f"trap 'exit 9' {number.name[3:]}; {FOREVER.format(up=up)}"
        process = dctl.start("lock", "acquire", "deploy", "--", "sh", "-c", script)
        await until(up.exists)
        process.send_signal(number)
        assert (await dctl.ended(process)).code == 9
        assert await held(node) == []


async def test_a_signal_ends_the_wait_and_leaves_nothing(
    node: Node, dctl: Dctl, other: Locks
) -> None:
    async with other.hold("deploy"):
        for number in (signal.SIGTERM, signal.SIGINT):
            process = dctl.start("lock", "acquire", "deploy", "--", "true")
            await until_answered(lambda: waiters(node))
            process.send_signal(number)
            assert (await dctl.ended(process)).code == 128 + number
            assert await waiters(node) == 0


async def test_a_command_does_not_outlive_a_dctl_that_is_killed(
    node: Node, dctl: Dctl, tmp_path: Path
) -> None:
    up = tmp_path / "up"
    process = dctl.start("lock", "acquire", "deploy", "--", "sh", "-c", FOREVER.format(up=up))
    await until(up.exists)
    (child,) = psutil.Process(process.pid).children()
    process.kill()
    await until(lambda: not runs(child))
    await dctl.ended(process)


async def test_what_cannot_work_is_said_before_the_lock_is_taken(node: Node, dctl: Dctl) -> None:
    missing = await dctl("lock", "acquire", "deploy", "--", "no-such-command")
    assert missing.code == ExitCode.USAGE
    short = await dctl("lock", "acquire", "deploy", "--ttl", "1s", "--", "true")
    assert short.code == ExitCode.USAGE
    assert "2 seconds" in short.err
    assert await held(node) == []


async def test_a_blueprint_that_is_not_there_is_said(link: Relay, dctl: Dctl) -> None:
    await link.cut()
    assert (await dctl("lock", "acquire", "deploy", "--", "true")).code == ExitCode.UNREACHABLE
