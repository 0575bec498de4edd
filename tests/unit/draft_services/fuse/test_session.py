"""The conversation with one proxy follows the protocol, and Envoy's ways."""

from __future__ import annotations

from typing import Any

from draft_services.fuse.xds.messages import message
from draft_services.fuse.xds.resources import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    Resource,
    Snapshot,
    snapshot,
)
from draft_services.fuse.xds.session import REQUEST, WARMING_PATIENCE, Refusal, Session


def resource(type_url: str, name: str, version: str = "1") -> Resource:
    return Resource(type_url, name, version.encode(), version)


def world(version: str = "1", *clusters: str) -> Snapshot:
    """One listener and one route configuration; the clusters, all in this version."""
    found = [resource(LISTENER, "ingress"), resource(ROUTES, "ingress", version)]
    for name in clusters:
        found += [resource(CLUSTER, name, version), resource(ENDPOINTS, name, version)]
    return snapshot(found)


class Proxy:
    """Plays Envoy: says what it is told to, and remembers what it got."""

    def __init__(self) -> None:
        self.now = 0.0
        self.session = Session(clock=lambda: self.now)
        self.unanswered: list[Any] = []
        self.got: list[tuple[str, list[str], list[str]]] = []

    def subscribe(self, type_url: str, *names: str, **initial: str) -> None:
        self.session.receive(
            message(REQUEST)(
                node={"id": "envoy-1"},
                type_url=type_url,
                resource_names_subscribe=names,
                initial_resource_versions=initial,
            )
        )

    def take(self, to: Snapshot) -> list[tuple[str, list[str], list[str]]]:
        """What is sent now, as (type, resources, removed)."""
        sent = []
        for response in self.session.outgoing(to):
            self.unanswered.append(response)
            names = [r.name for r in response.resources]
            sent.append((response.type_url, names, list(response.removed_resources)))
        return sent

    def answer(self, words: str = "") -> list[Refusal]:
        """Accept the oldest response without an answer, or refuse it in these words."""
        response = self.unanswered.pop(0)
        error = {"error_detail": {"code": 13, "message": words}} if words else {}
        return self.session.receive(
            message(REQUEST)(type_url=response.type_url, response_nonce=response.nonce, **error)
        )

    def settle(self, to: Snapshot) -> None:
        """Accept until nothing more comes."""
        while self.take(to) or self.unanswered:
            while self.unanswered:
                self.answer()


def settled_proxy(to: Snapshot, *endpoints: str) -> Proxy:
    proxy = Proxy()
    proxy.subscribe(CLUSTER)
    proxy.settle(to)
    proxy.subscribe(ENDPOINTS, *endpoints)
    proxy.subscribe(LISTENER)
    proxy.subscribe(ROUTES, "ingress")
    proxy.settle(to)
    assert proxy.session.settled(to)
    return proxy


def test_clusters_come_first_and_endpoints_do_not_wait_for_them() -> None:
    proxy, to = Proxy(), world("1", "a")
    for type_url, *names in ((ROUTES, "ingress"), (LISTENER,), (ENDPOINTS, "a"), (CLUSTER,)):
        proxy.subscribe(type_url, *names)
    assert proxy.take(to) == [(CLUSTER, ["a"], []), (ENDPOINTS, ["a"], [])]
    proxy.answer()
    assert proxy.take(to) == [(LISTENER, ["ingress"], []), (ROUTES, ["ingress"], [])]


def test_routes_do_not_wait_for_ever_for_a_cluster_that_never_warms() -> None:
    proxy, to = Proxy(), world("1", "a")
    proxy.subscribe(CLUSTER)
    proxy.subscribe(LISTENER)
    proxy.take(to)
    assert 0 < proxy.session.warming_left() <= WARMING_PATIENCE
    proxy.now += WARMING_PATIENCE
    assert proxy.take(to) == [(LISTENER, ["ingress"], [])]


def test_the_first_request_for_everything_is_answered_even_with_nothing() -> None:
    proxy = Proxy()
    proxy.subscribe(CLUSTER)
    assert proxy.take(world()) == [(CLUSTER, [], [])]
    proxy.answer()
    assert proxy.take(world()) == []


def test_only_what_changed_is_sent() -> None:
    proxy = settled_proxy(world("1", "a"), "a")
    changed = world("1", "a", "b")
    assert proxy.take(changed) == [(CLUSTER, ["b"], [])]


def test_a_changed_cluster_is_followed_by_its_endpoints() -> None:
    """Envoy warms it anew without asking for them again."""
    to = snapshot([*world("1", "a")[ENDPOINTS].values(), resource(CLUSTER, "a", "2")])
    proxy = settled_proxy(world("1", "a"), "a")
    sent = proxy.take(to)
    assert sent[:2] == [(CLUSTER, ["a"], []), (ENDPOINTS, ["a"], [])]


def test_a_changed_cluster_is_followed_by_its_endpoints_after_a_reconnect_too() -> None:
    """Even when the proxy says only afterwards which endpoints it has."""
    proxy, to = Proxy(), world("2", "a")
    proxy.subscribe(CLUSTER, a="1")
    assert proxy.take(to) == [(CLUSTER, ["a"], [])]
    proxy.subscribe(ENDPOINTS, "a", a="2")
    assert proxy.take(to) == [(ENDPOINTS, ["a"], [])]


def test_removals_go_the_other_way_once_nothing_else_is_under_way() -> None:
    proxy = settled_proxy(world("1", "a", "b"), "a", "b")
    without = world("2", "a")
    assert proxy.take(without) == [(CLUSTER, ["a"], []), (ENDPOINTS, ["a"], [])]
    proxy.answer()
    proxy.answer()
    assert proxy.take(without) == [(ROUTES, ["ingress"], [])]
    assert not proxy.session.settled(without)
    proxy.answer()
    assert proxy.take(without) == [(CLUSTER, [], ["b"])]
    proxy.answer()
    assert proxy.session.settled(without)


def test_after_a_reconnect_only_differences_are_sent() -> None:
    proxy, to = Proxy(), world("1", "a", "b")
    proxy.subscribe(CLUSTER, a="1", b="0", gone="1")
    assert proxy.take(to) == [(CLUSTER, ["b"], [])]
    proxy.answer()
    assert proxy.take(to) == [(CLUSTER, [], ["gone"])]


def test_what_is_asked_for_anew_is_sent_anew() -> None:
    proxy, to = settled_proxy(world("1", "a"), "a"), world("1", "a")
    proxy.subscribe(ENDPOINTS, "a")
    assert proxy.take(to) == [(ENDPOINTS, ["a"], [])]


def test_a_refused_resource_is_named_with_the_words_and_not_sent_again() -> None:
    proxy = settled_proxy(world("1"))
    to = world("2")
    proxy.take(to)
    (refusal,) = proxy.answer("no such thing")
    assert refusal == Refusal("envoy-1", ROUTES, "ingress", "2", "no such thing")
    assert proxy.take(to) == []
    assert proxy.session.refusals(to) == [refusal]
    assert not proxy.session.settled(to)


def test_going_back_to_what_is_served_sends_nothing() -> None:
    proxy = settled_proxy(world("1"))
    proxy.take(world("2"))
    proxy.answer("no")
    assert proxy.take(world("1")) == []
    assert proxy.session.settled(world("1"))
    assert proxy.session.refusals(world("1")) == []


def test_of_a_refused_response_each_resource_is_sent_alone() -> None:
    """One bad cluster voids the response; the good ones still have to arrive."""
    proxy = settled_proxy(world("1"))
    to = world("1", "good", "bad")
    assert proxy.take(to) == [(CLUSTER, ["good", "bad"], [])]
    assert proxy.answer("bad is bad") == []
    assert proxy.take(to) == [(CLUSTER, ["good"], []), (CLUSTER, ["bad"], [])]
    assert proxy.answer() == []
    (refusal,) = proxy.answer("bad is bad")
    assert refusal.name == "bad"
    assert proxy.take(to) == []


def test_clusters_stay_while_a_proxy_serves_older_routes_that_need_them() -> None:
    proxy = settled_proxy(world("1", "a"), "a")
    without = world("2")
    assert proxy.take(without) == [(ROUTES, ["ingress"], [])]
    proxy.answer("no")
    assert proxy.take(without) == []


def test_a_proxy_whose_listener_is_refused_has_said_all_it_can() -> None:
    """Its port is taken, so it never asks for routes: nobody should wait for that."""
    proxy, to = Proxy(), world("1")
    assert proxy.session.pending(to)  # it has only just connected
    proxy.subscribe(CLUSTER)
    proxy.settle(to)
    proxy.subscribe(LISTENER)
    proxy.take(to)
    assert proxy.session.pending(to)
    proxy.answer("address already in use")
    assert not proxy.session.pending(to)
    assert not proxy.session.settled(to)


def test_a_late_answer_to_an_older_version_changes_nothing() -> None:
    proxy = settled_proxy(world("1"))
    proxy.take(world("2"))
    proxy.take(world("3"))
    proxy.answer("2 is wrong")
    assert proxy.take(world("3")) == []  # 3 is on its way
    proxy.answer()
    assert proxy.session.settled(world("3"))


def test_types_that_are_never_served_are_ignored() -> None:
    proxy = Proxy()
    proxy.subscribe("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "x")
    assert proxy.take(world()) == []
