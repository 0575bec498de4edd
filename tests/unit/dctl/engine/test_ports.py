"""Who gets which port, and keeps it."""

from dctl.engine.ports import PortBook
from dctl.hosts.base import Endpoint, Kind, Observed, State

HOST = "local"


def local(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port)


def runs(name: str, wished: int, on: int) -> Observed:
    return Observed(
        Kind.PROCESS,
        name,
        "local",
        State.RUNNING,
        "shop",
        spec={"ports": {"grpc": str(local(wished))}},
        ports={"grpc": local(on)},
    )


def book(*seen: Observed, free: tuple[int, ...] = (), offset: int | None = None) -> PortBook:
    left = iter(free)
    return PortBook(seen, lambda host, address: next(left), offset=offset)


def test_a_wished_port_is_given_as_wished() -> None:
    assert book().take(HOST, "a-1", "grpc", local(2221)) == local(2221)


def test_zero_is_picked_once_and_then_kept() -> None:
    assert book(free=(5001,)).take(HOST, "a-1", "grpc", local(0)) == local(5001)
    assert book(runs("a-1", 0, 5001)).take(HOST, "a-1", "grpc", local(0)) == local(5001)


def test_a_picked_port_is_given_to_one_only_even_when_what_has_it_is_down() -> None:
    ports = book(runs("a-1", 0, 5001), free=(5001, 5002, 5002, 5003))
    assert ports.take(HOST, "b-1", "grpc", local(0)) == local(5002)
    assert ports.take(HOST, "c-1", "grpc", local(0)) == local(5003)


def test_an_offset_moves_wished_ports_and_they_stay_moved() -> None:
    assert book(offset=100).take(HOST, "a-1", "grpc", local(2221)) == local(2321)
    assert book(runs("a-1", 2221, 2321)).take(HOST, "a-1", "grpc", local(2221)) == local(2321)
    assert book(runs("a-1", 2221, 2321), offset=0).take(HOST, "a-1", "grpc", local(2221)) == local(
        2221
    )


def test_an_offset_leaves_picked_ports_where_they_are() -> None:
    assert book(runs("a-1", 0, 5001), offset=100).take(HOST, "a-1", "grpc", local(0)) == local(5001)


def test_a_changed_wish_is_followed() -> None:
    assert book(runs("a-1", 2221, 2321)).take(HOST, "a-1", "grpc", local(2300)) == local(2300)


def test_who_asks_twice_gets_the_same_port() -> None:
    ports = book(free=(5001, 5002))
    assert ports.take(HOST, "a-1", "grpc", local(0)) == ports.take(HOST, "a-1", "grpc", local(0))
