"""Changes are admitted in groups; what a proxy refuses is found, left out and told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from draft_services.fuse.publisher import Change, Kind, Outcome, Publisher
from draft_services.fuse.routes import Endpoint, Route, Upstream
from draft_services.fuse.translate.clusters import Instance
from draft_services.fuse.xds.fleet import Fleet, Settlement
from draft_services.fuse.xds.messages import message
from draft_services.fuse.xds.resources import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Snapshot
from draft_services.fuse.xds.session import Refusal

from tests.support.waiting import until

Decides = Callable[[Refusal], bool]
CONFIGURATION = "envoy.config.route.v3.RouteConfiguration"


class Proxies(Fleet):
    """In the place of a fleet: refuses snapshots by the names of their routes."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[Snapshot] = []
        self.bad: Callable[[set[str]], bool] = lambda routes: False
        self.behind: tuple[str, ...] = ()
        self.accepted = 1
        self.serving: set[str] = set()

    @property
    def routes(self) -> set[str]:
        body = self.published[-1][ROUTES]["ingress"].body
        hosts = message(CONFIGURATION).FromString(body).virtual_hosts
        return {route.name for host in hosts for route in host.routes}

    def publish(self, snapshot: Snapshot) -> None:
        self.published.append(snapshot)

    async def settle(self, patience: float, decides: Decides) -> Settlement:
        await asyncio.sleep(0)
        if self.bad(self.routes):
            version = self.published[-1][ROUTES]["ingress"].version
            refusal = Refusal("envoy-1", ROUTES, "ingress", version, "no good")
            assert decides(refusal)
            return Settlement((refusal,))
        self.serving = self.routes
        return Settlement(behind=self.behind, accepted=self.accepted)


def change(name: str, revision: int, *, gone: bool = False) -> Change:
    upstream = Upstream("svc", (), True)
    route = Route(name, "*", f"/{name}", (), False, upstream, None, 0, "")
    return Change(Kind.ROUTE, name, None if gone else route, revision)


@contextlib.asynccontextmanager
async def running(proxies: Proxies, *changes: Change) -> AsyncIterator[Publisher]:
    publisher = Publisher(proxies, Endpoint("127.0.0.1", 10000))
    publisher.change(changes)
    task = asyncio.create_task(publisher.run())
    await until(lambda: proxies.published)
    try:
        yield publisher
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def outcome(publisher: Publisher, of: Change, *with_it: Change) -> Outcome:
    with publisher.following(of.name) as follower:
        publisher.change([of, *with_it])
        async with asyncio.timeout(5):
            return await follower.outcome(of.revision)


async def test_a_change_is_served_when_its_outcome_is_there() -> None:
    proxies = Proxies()
    async with running(proxies, change("a", 1)) as publisher:
        assert await outcome(publisher, change("b", 2)) == Outcome()
        assert proxies.serving == {"a", "b"}
        assert await outcome(publisher, change("a", 3, gone=True)) == Outcome()
        assert proxies.serving == {"b"}


async def test_the_outcome_of_a_replaced_change_is_that_of_the_later_one() -> None:
    async with running(Proxies()) as publisher:
        with publisher.following("a") as follower:
            publisher.change([change("a", 1)])
            publisher.change([change("a", 2)])
            async with asyncio.timeout(5):
                assert await follower.outcome(1) == Outcome()


async def test_one_wrong_change_of_a_group_is_found_and_the_others_serve() -> None:
    proxies = Proxies()
    async with running(proxies, change("old", 1)) as publisher:
        proxies.bad = lambda routes: "wrong" in routes
        group = [change(name, i) for i, name in enumerate("abcdefgh", start=10)]
        assert await outcome(publisher, change("wrong", 13), *group) == Outcome(refused="no good")
        await until(lambda: proxies.routes == {"old", *"abcdefgh"})
        assert proxies.serving == {"old", *"abcdefgh"}


async def test_after_a_refusal_what_served_is_published_again() -> None:
    proxies = Proxies()
    async with running(proxies, change("old", 1)) as publisher:
        proxies.bad = lambda routes: "wrong" in routes
        await outcome(publisher, change("wrong", 2))
        assert proxies.routes == {"old"}


async def test_the_search_at_a_start_takes_away_no_more_than_the_newest() -> None:
    """The newest route is wrong; what is older is never left out of what is published."""
    proxies = Proxies()
    proxies.bad = lambda routes: "wrong" in routes
    older = [change(f"r{i}", i) for i in range(1, 33)]
    names = {each.name for each in older}
    async with running(proxies, *older, change("wrong", 99)):
        await until(lambda: proxies.serving == names)
        for snapshot in proxies.published:
            proxies.published.append(snapshot)
            assert proxies.routes >= names
            proxies.published.pop()


async def test_a_frozen_proxy_is_named() -> None:
    proxies = Proxies()
    proxies.behind = ("envoy-2",)
    async with running(proxies) as publisher:
        assert await outcome(publisher, change("a", 1)) == Outcome(behind=("envoy-2",))


async def test_what_nobody_had_confirmed_is_searched_when_a_late_proxy_refuses_it() -> None:
    """Added with no proxy connected: the wrong one must not spoil what comes after."""
    proxies = Proxies()
    proxies.accepted = 0
    async with running(proxies, change("a", 1), change("wrong", 2)) as publisher:
        assert await outcome(publisher, change("b", 3)) == Outcome()
        proxies.accepted = 1
        proxies.bad = lambda routes: "wrong" in routes
        assert proxies.on_refusal is not None
        proxies.on_refusal(Refusal("envoy-1", ROUTES, "ingress", "?", "no good"))
        await until(lambda: proxies.routes == {"a", "b"})
        assert await outcome(publisher, change("c", 4)) == Outcome()
        assert proxies.serving == {"a", "b", "c"}


async def test_endpoints_are_published_while_a_group_waits_for_its_proxies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxies = Proxies()
    async with running(proxies, change("a", 1)) as publisher:
        held = asyncio.Event()

        async def settle(patience: float, decides: Decides) -> Settlement:
            await held.wait()
            return Settlement(accepted=1)

        monkeypatch.setattr(proxies, "settle", settle)
        publisher.change([change("b", 2)])
        await until(lambda: proxies.routes == {"a", "b"})
        publisher.set_services({"svc": [Instance(Endpoint("10.0.0.1", 1), True)]})
        assert b"10.0.0.1" in proxies.published[-1][ENDPOINTS]["service/svc/h2"].body
        held.set()


async def test_only_what_a_change_can_have_caused_is_blamed_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A taken port is the operator's to mend, and another route's cluster is another's."""
    proxies = Proxies()
    async with running(proxies) as publisher:
        asked: list[Decides] = []

        async def settle(patience: float, decides: Decides) -> Settlement:
            asked.append(decides)
            return Settlement(accepted=1)

        monkeypatch.setattr(proxies, "settle", settle)
        await outcome(publisher, change("a", 1))
        (decides,) = asked
        blamed = {
            (type_url, name)
            for type_url in (LISTENER, CLUSTER, ENDPOINTS, ROUTES)
            for name in ("ingress", "service/svc/h2", "service/other/h2")
            if decides(Refusal("envoy-1", type_url, name, "1", "no"))
        }
        assert {name for type_url, name in blamed if type_url == CLUSTER} == {"service/svc/h2"}
        assert {type_url for type_url, _ in blamed} == {CLUSTER, ROUTES}
