"""Locks and leaders on a real engine and Blueprint, which come and go, as their holders do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from draft_api.core.registry.key_value.v1 import models_pb2 as models
from draft_api.core.registry.key_value.v1 import service_pb2 as pb
from draft_services.blueprint.settings import Settings

from chassis import Chassis
from chassis.clients import connect
from chassis.errors import ChassisError, LockError, LockLostError, LockTakenError
from chassis.locks import Held, Kept, Locks
from chassis.testing import running, settings
from tests.support.blueprint import Node, blueprint_node, packed
from tests.support.locks import read, working
from tests.support.nats import running_nats
from tests.support.relay import Relay, relay_to
from tests.support.waiting import until, until_answered

TTL = 2.0  # the shortest


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    with running_nats(tmp_path / "nats") as nats:
        async with blueprint_node(Settings(nats=nats.url)) as node:
            yield node


@pytest.fixture
async def link(node: Node) -> AsyncIterator[Relay]:
    """An address of Blueprint's that can go away."""
    async with relay_to(node.address) as relay:
        yield relay


@contextlib.asynccontextmanager
async def locks_of(holder: str, address: str) -> AsyncIterator[Locks]:
    async with connect(address) as channel:
        yield Locks(lambda: channel, holder)


@pytest.fixture
async def ann(node: Node) -> AsyncIterator[Locks]:
    async with locks_of("ann", node.address) as locks:
        yield locks


@pytest.fixture
async def bob(node: Node) -> AsyncIterator[Locks]:
    async with locks_of("bob", node.address) as locks:
        yield locks


async def entries(node: Node) -> dict[str, list[str]]:
    """The keys of locks and of those who wait for them."""
    lists = {
        kind: await node.keys.List(pb.ListRequest(value=packed(value)))
        for kind, value in (("locks", models.Lock()), ("waiters", models.LockWaiter()))
    }
    return {kind: sorted(answer.values) for kind, answer in lists.items()}


async def waiting(node: Node, count: int) -> bool:
    return len((await entries(node))["waiters"]) == count


async def revision(node: Node, name: str) -> int:
    answer = await node.keys.Get(pb.GetRequest(key=name, value=packed(models.Lock())))
    return int(answer.revision)


async def test_a_lock_has_one_holder_and_the_token_of_the_next_is_larger(
    node: Node, ann: Locks, bob: Locks
) -> None:
    async with ann.hold("deploy", ttl=TTL) as first:
        with pytest.raises(LockTakenError, match=r"held by ann on .* since"):
            async with bob.hold("deploy", wait=0):
                pass
        with pytest.raises(LockTakenError, match="held by ann"):
            async with bob.hold("deploy", wait=0.2):
                pass
        async with bob.hold("another", wait=0):
            pass
    async with bob.hold("deploy", wait=0) as second:
        assert second.token > first.token
    assert await entries(node) == {"locks": [], "waiters": []}


async def test_a_renewed_lock_lasts_and_keeps_its_token(node: Node, ann: Locks) -> None:
    async with ann.hold("deploy", ttl=TTL) as held:
        began, token = time.monotonic(), held.token
        assert await revision(node, "deploy") == token
        await until(lambda: time.monotonic() > began + 1.5 * TTL)
        assert held.token == token
        assert not held.lost.is_set()
        answer = await node.keys.Get(pb.GetRequest(key="deploy", value=packed(models.Lock())))
        assert answer.revision > token
        assert models.Lock.FromString(answer.value.value).token == token


async def test_a_release_lets_the_next_one_in_at_once(node: Node, ann: Locks, bob: Locks) -> None:
    async with ann.hold("deploy"):  # a TTL that this test does not last
        waiter = asyncio.create_task(taken_at(bob, "deploy"))
        await until_answered(lambda: waiting(node, 1))
        released = time.monotonic()
    assert (await waiter) - released < 1


async def taken_at(locks: Locks, name: str) -> float:
    async with locks.hold(name):
        return time.monotonic()


async def test_a_lost_lock_is_told_before_the_next_one_has_it(
    node: Node, link: Relay, bob: Locks
) -> None:
    async with locks_of("ann", link.address) as ann:
        ended: list[float] = []

        async def body() -> None:
            async with ann.hold("deploy", ttl=4) as held:
                entered.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    assert held.lost.is_set()
                    ended.append(time.monotonic())

        entered = asyncio.Event()
        holder = asyncio.create_task(body())
        await entered.wait()
        written = time.monotonic()
        waiter = asyncio.create_task(taken_at(bob, "deploy"))
        await link.cut()
        with pytest.raises(LockLostError, match="could not be renewed"):
            await holder
        assert ended[0] < written + 3.5  # of 4, whatever the engine's clock says
        assert (await waiter) > ended[0]


async def test_a_short_absence_of_blueprint_costs_no_lock(link: Relay) -> None:
    async with (
        locks_of("ann", link.address) as ann,
        ann.hold("deploy", ttl=4) as held,
    ):
        began = time.monotonic()
        await link.cut()
        await until(lambda: time.monotonic() > began + 1.5)
        await link.listen()
        await until(lambda: time.monotonic() > began + 5, within=15)
        assert not held.lost.is_set()


async def test_a_lock_that_is_taken_away_is_told(node: Node, ann: Locks) -> None:
    async def body() -> None:
        async with ann.hold("deploy", ttl=TTL):
            await node.keys.Delete(pb.DeleteRequest(key="deploy", value=packed(models.Lock())))
            await asyncio.Event().wait()

    with pytest.raises(LockLostError, match="taken away"):
        await body()


async def test_a_body_that_is_cancelled_by_others_is_cancelled_and_releases(
    node: Node, ann: Locks
) -> None:
    entered = asyncio.Event()

    async def body() -> None:
        async with ann.hold("deploy"):
            entered.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(body())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await entries(node) == {"locks": [], "waiters": []}


async def test_a_holder_that_stood_still_hears_it_and_has_the_smaller_token(
    node: Node, bob: Locks, tmp_path: Path
) -> None:
    with working(node.address, tmp_path / "log", TTL, "3") as worker:
        first = (await until(lambda: read(tmp_path / "log")))[0]
        os.kill(worker.pid, signal.SIGSTOP)
        async with bob.hold("lock") as held:
            assert held.token > first.token
            os.kill(worker.pid, signal.SIGCONT)
            last = await until(lambda: read(tmp_path / "log")[1:])
            assert [(line.what, line.token) for line in last] == [("lost", first.token)]


async def test_a_crash_of_the_holder_frees_the_lock_after_its_ttl(
    node: Node, bob: Locks, tmp_path: Path
) -> None:
    with working(node.address, tmp_path / "log", TTL, "1") as worker:
        await until(lambda: read(tmp_path / "log"))
        os.kill(worker.pid, signal.SIGKILL)
    killed = time.monotonic()
    async with bob.hold("lock"):
        assert time.monotonic() - killed < TTL + 1.5


async def test_waiters_get_it_in_the_order_in_which_they_came(node: Node, ann: Locks) -> None:
    order: list[int] = []

    async def wait(number: int, locks: Locks) -> None:
        async with locks.hold("deploy"):
            order.append(number)

    async with contextlib.AsyncExitStack() as stack:
        tasks = []
        async with ann.hold("deploy"):
            for number in range(5):
                locks = await stack.enter_async_context(locks_of(f"w{number}", node.address))
                tasks.append(asyncio.create_task(wait(number, locks)))
                await until_answered(lambda count=number + 1: waiting(node, count))  # type: ignore[misc]
        await asyncio.gather(*tasks)
    assert order == sorted(order)
    assert await entries(node) == {"locks": [], "waiters": []}


async def test_a_holder_that_takes_it_again_and_again_lets_a_waiter_in(
    node: Node, ann: Locks, bob: Locks
) -> None:
    done = asyncio.Event()
    turns = 0

    async def greedy() -> None:
        nonlocal turns
        while not done.is_set():
            async with ann.hold("deploy"):
                turns += 1
                await until_answered(lambda: waiting(node, 0 if done.is_set() else 1))

    task = asyncio.create_task(greedy())
    await until(lambda: turns)
    async with bob.hold("deploy"):
        done.set()
    await task
    assert turns <= 2


async def test_a_waiter_that_died_holds_nobody_up_for_long(
    node: Node, ann: Locks, bob: Locks
) -> None:
    async with ann.hold("deploy"):
        dead = models.LockWaiter(holder="dead", attempt="dead")
        await node.keys.Set(pb.SetRequest(key="deploy/dead", value=packed(dead)))
        waiter = asyncio.create_task(taken_at(bob, "deploy"))
        await until_answered(lambda: waiting(node, 2))
        released = time.monotonic()
    assert 0.1 < (await waiter) - released < 1.5


async def test_who_comes_when_it_is_free_lets_those_who_wait_go_first(
    node: Node, ann: Locks
) -> None:
    queued = models.LockWaiter(holder="queued", attempt="queued")
    await node.keys.Set(pb.SetRequest(key="deploy/queued", value=packed(queued)))
    began = time.monotonic()
    assert (await taken_at(ann, "deploy")) > began + 0.2
    async with ann.hold("deploy", wait=0):
        pass  # who does not wait does not wait for them either


async def test_who_gives_up_leaves_nothing_behind(node: Node, ann: Locks, bob: Locks) -> None:
    async with ann.hold("deploy"):
        waiter = asyncio.create_task(taken_at(bob, "deploy"))
        await until_answered(lambda: waiting(node, 1))
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert await entries(node) == {"locks": ["deploy"], "waiters": []}


async def test_a_waiter_waits_on_while_blueprint_is_away(
    node: Node, link: Relay, ann: Locks
) -> None:
    async with locks_of("bob", link.address) as bob:
        async with ann.hold("deploy"):
            waiter = asyncio.create_task(taken_at(bob, "deploy"))
            await until_answered(lambda: waiting(node, 1))
            await link.cut()
        await link.listen()
        await asyncio.wait_for(waiter, 10)


async def test_who_does_not_wait_hears_that_blueprint_is_away(
    link: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.locks._LOOK", 0.3)
    await link.cut()
    async with locks_of("ann", link.address) as ann:
        with pytest.raises(LockError, match="Blueprint") as told:
            async with ann.hold("deploy", wait=0):
                pass
    assert not isinstance(told.value, LockTakenError)


class Unanswered(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg, misc]
    """Lets a call happen and loses its answer, for so many calls of a method."""

    def __init__(self) -> None:
        self.lose: dict[str, int] = {}

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        call = await continuation(details, request)
        answer = await call
        method = details.method.decode().rpartition("/")[2]
        if self.lose.get(method, 0):
            self.lose[method] -= 1
            nothing = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, "lost")
        return answer


@contextlib.asynccontextmanager
async def forgetful(node: Node) -> AsyncIterator[tuple[Locks, Unanswered]]:
    answers = Unanswered()
    async with grpc.aio.insecure_channel(node.address, interceptors=[answers]) as channel:
        yield Locks(lambda: channel, "ann"), answers


async def test_a_take_that_was_not_answered_is_found_by_reading(node: Node) -> None:
    async with forgetful(node) as (ann, answers):
        answers.lose["Set"] = 1
        async with ann.hold("deploy", wait=0) as held:
            answer = await node.keys.Get(pb.GetRequest(key="deploy", value=packed(models.Lock())))
            lock = models.Lock.FromString(answer.value.value)
            assert held.token == lock.token  # as of the first write, not the second
            assert held.token < answer.revision


async def test_a_renewal_that_was_not_answered_costs_no_lock(node: Node) -> None:
    async with forgetful(node) as (ann, answers), ann.hold("deploy", ttl=TTL) as held:
        assert isinstance(held, Kept)
        for _ in range(3):
            sent, answers.lose["Set"] = held._sent, 1
            await until(lambda before=sent: held._sent != before or held.lost.is_set())  # type: ignore[misc]
        assert not held.lost.is_set()


async def test_a_release_that_was_not_answered_or_not_up_to_date_still_releases(node: Node) -> None:
    async with forgetful(node) as (ann, answers):
        async with ann.hold("deploy", ttl=TTL) as held:
            assert isinstance(held, Kept)
            held.stop()
            answers.lose["Set"] = 1
            assert not await held._renew()  # happened, but we do not know
            answers.lose["Delete"] = 1
        assert (await entries(node))["locks"] == []


async def test_who_gives_up_gives_back_what_it_took_without_knowing(node: Node) -> None:
    async with forgetful(node) as (ann, answers):
        answers.lose["Set"] = 1000
        with pytest.raises(LockError):
            async with ann.hold("deploy", wait=0.5):
                pass
        assert await entries(node) == {"locks": [], "waiters": []}


@pytest.mark.parametrize(
    ("name", "ttl"), [("", 30), (" deploy", 30), ("x" * 901, 30), ("deploy", 1.9)]
)
async def test_a_wrong_name_or_ttl_is_said_at_once(ann: Locks, name: str, ttl: float) -> None:
    with pytest.raises(ValueError, match="lock"):
        async with ann.hold(name, ttl=ttl):
            pass


# Leaders


class Office:
    """What the leaders of a test did, in order."""

    def __init__(self) -> None:
        self.leads: list[str] = []
        self.events: list[str] = []

    def candidate(self, name: str, address: str, ttl: float = 30) -> Chassis[Any]:
        app = Chassis(config=settings(name, blueprint=address))

        @app.leader("billing", ttl=ttl)
        async def bill(held: Held) -> None:
            self.leads.append(name)
            self.events.append(f"{name} leads")
            try:
                await asyncio.Event().wait()
            finally:
                self.leads.remove(name)
                self.events.append(f"{name} ends")

        return app


async def test_one_instance_leads_and_the_next_one_does_when_it_ends(node: Node) -> None:
    office = Office()
    async with contextlib.AsyncExitStack() as first:
        await first.enter_async_context(running(office.candidate("a", node.address)))
        await until(lambda: office.leads == ["a"])
        async with running(office.candidate("b", node.address)):
            await until_answered(lambda: waiting(node, 1))
            await first.aclose()
            await until(lambda: office.leads == ["b"], within=3)
    assert office.events == ["a leads", "a ends", "b leads", "b ends"]
    assert await entries(node) == {"locks": [], "waiters": []}


async def test_a_leader_that_loses_it_ends_before_the_next_and_stands_again(
    node: Node, link: Relay
) -> None:
    office = Office()
    async with running(office.candidate("a", link.address, TTL)):
        await until(lambda: office.leads == ["a"])
        async with running(office.candidate("b", node.address, TTL)):
            await until_answered(lambda: waiting(node, 1))
            await link.cut()
            await until(lambda: office.leads == ["b"])
            await link.listen()
            await until_answered(lambda: waiting(node, 1))
        await until(lambda: office.leads == ["a"])
    assert office.events == [
        *("a leads", "a ends", "b leads", "b ends", "a leads", "a ends"),
    ]


async def test_work_that_fails_ends_the_process_and_work_that_returns_is_done(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    app = Chassis(config=settings("a", blueprint=node.address))
    done = asyncio.Event()

    @app.leader("short")
    async def short(held: Held) -> None:
        done.set()

    @app.leader("wrong")
    async def wrong(held: Held) -> None:
        await done.wait()
        raise RuntimeError("no")

    async def serve() -> None:
        async with running(app):
            await until(lambda: "failed" in caplog.text)

    with pytest.raises(ChassisError, match=r"wrong.* failed: no"):
        await serve()
    assert await entries(node) == {"locks": [], "waiters": []}


async def test_work_that_loses_another_lock_fails(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    app = Chassis(config=settings("a", blueprint=node.address))

    @app.leader("outer")
    async def work(held: Held) -> None:
        async with app.lock("inner", ttl=TTL):
            await node.keys.Delete(pb.DeleteRequest(key="inner", value=packed(models.Lock())))
            await asyncio.Event().wait()

    async def serve() -> None:
        async with running(app):
            await until(lambda: "failed" in caplog.text)

    with pytest.raises(ChassisError, match="lock inner was lost"):
        await serve()


async def test_a_service_that_runs_by_itself_has_the_locks_to_itself() -> None:
    app = Chassis(config=settings("alone"))
    leads = asyncio.Event()

    @app.leader("billing")
    async def bill(held: Held) -> None:
        leads.set()
        await asyncio.Event().wait()

    async with running(app):
        await asyncio.wait_for(leads.wait(), 5)
        async with app.lock("deploy") as first:
            for wait in (0, 0.05):
                with pytest.raises(LockTakenError):
                    async with app.lock("deploy", wait=wait):
                        pass
        async with app.lock("deploy", wait=0) as second:
            assert second.token > first.token
