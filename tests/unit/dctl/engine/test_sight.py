"""Looking at many hosts at once."""

import threading
from collections.abc import Callable, Sequence

import pytest

from dctl.engine.sight import Sight, look
from dctl.errors import DctlError, ForeignError, UnreachableError
from dctl.hosts.base import Kind, Observed, State
from dctl.hosts.fake import FakeHost


def thing(name: str, host: str) -> Observed:
    return Observed(Kind.PROCESS, name, host, State.RUNNING, "shop")


class Host(FakeHost):
    """Its look does what the test says."""

    def __init__(self, name: str, do: Callable[[], Sequence[Observed]]) -> None:
        super().__init__("shop", name)
        self._do = do

    def observe(self) -> Sequence[Observed]:
        return self._do()


def raising(error: DctlError) -> Callable[[], Sequence[Observed]]:
    def do() -> Sequence[Observed]:
        raise error

    return do


def test_what_is_seen_comes_in_the_order_of_the_hosts() -> None:
    hosts = {name: [Host(name, lambda name=name: [thing("a-1", name)])] for name in ("b", "a")}
    assert [seen.host for seen in look(hosts).things] == ["b", "a"]
    assert look({}) == Sight()


def test_all_hosts_are_looked_at_at_once() -> None:
    together = threading.Barrier(8, timeout=10)

    def meet() -> Sequence[Observed]:
        together.wait()
        return []

    assert look({f"h-{n}": [Host(f"h-{n}", meet)] for n in range(8)}).things == ()


def test_a_host_that_does_not_answer_hides_what_is_on_it_and_nothing_else() -> None:
    error = UnreachableError("b does not answer")
    later = Host("b/images", raising(AssertionError()))  # type: ignore[arg-type]
    sight = look(
        {
            "a": [Host("a", lambda: [thing("x-1", "a")])],
            "b": [Host("b", raising(error)), later],
        }
    )
    assert [seen.name for seen in sight.things] == ["x-1"]
    assert sight.silent == {"b": error}
    assert sight.unseen == {"b", "b/images"}


def test_what_is_wrong_with_an_answer_is_not_silence() -> None:
    with pytest.raises(ForeignError):
        look({"a": [Host("a", raising(ForeignError("another checkout's")))], "b": []})
