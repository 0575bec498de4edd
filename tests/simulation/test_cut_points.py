"""An apply that is killed at any moment is gone on with by the next one.

A fake cluster of two hosts counts every moment at which something changes: before and after each
verb, and around each entry of the books. The same change is begun over and over, killed at the
first, the second, ... moment, and then repeated. A kill is a BaseException after which no call of
that process has an effect any more, except that its lock is gone with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from dctl.engine.apply import Result
from dctl.engine.change import Intent, change
from dctl.engine.history import Release, history, target
from dctl.engine.plan import Plan, make_plan
from dctl.engine.sight import look
from dctl.errors import ExitCode, LockedError
from dctl.hosts.base import Check, Json, Kind, Lease, Need, Resource, Rollout, State
from dctl.hosts.fake import FakeHost

HOSTS = ("local", "edge")


class KilledError(BaseException):
    """The process that applies is no more."""


class Life:
    """How long the process that applies lives: it dies at moment number `end`."""

    def __init__(self) -> None:
        self.moments = 0
        self.end: int | None = None
        self.dead = False

    def moment(self) -> None:
        """Raise KilledError when the process is dead, or dies now."""
        self.moments += 1
        if self.moments == self.end:
            self.dead = True
        if self.dead:
            raise KilledError


class Mortal(FakeHost):
    """A host whose every change is a moment at which the one who makes it may die."""

    def __init__(self, name: str, life: Life) -> None:
        super().__init__("shop", name)
        self.life = life

    def ensure(self, resource: Resource) -> None:
        self._around(lambda: super(Mortal, self).ensure(resource))

    def start(self, name: str) -> None:
        self._around(lambda: super(Mortal, self).start(name))

    def remove(self, name: str) -> None:
        self._around(lambda: super(Mortal, self).remove(name))

    def keep_secret(self, name: str, text: str = "") -> None:
        self._around(lambda: super(Mortal, self).keep_secret(name, text))

    def record(self, entry: Mapping[str, Json]) -> None:
        self._around(lambda: super(Mortal, self).record(entry))

    def keep_release(self, release: Mapping[str, Json]) -> None:
        self._around(lambda: super(Mortal, self).keep_release(release))

    @contextmanager
    def lock(self, holder: str) -> Iterator[Lease]:
        with super().lock(holder) as lease:
            self.life.moment()
            yield lease

    def _around(self, effect: Callable[[], None]) -> None:
        self.life.moment()
        effect()
        self.life.moment()


class World:
    """The cluster as it stands, and a dctl that changes it."""

    def __init__(self) -> None:
        self.life = Life()
        self.hosts = {name: Mortal(name, self.life) for name in HOSTS}

    @property
    def first(self) -> Mortal:
        return self.hosts["local"]

    def plan(self, asked: Sequence[Resource]) -> Plan:
        sight = look({name: [host] for name, host in self.hosts.items()})
        return make_plan("shop", asked, sight)

    def apply(self, asked: Sequence[Resource], intent: Intent | None = None) -> Result:
        return change(
            intent or Intent("apply", secrets=lambda: {"nonce": ""}),
            self.hosts,
            self.first,
            lambda: self.plan(asked),
        )

    def dies_at(self, moment: int, asked: Sequence[Resource]) -> bool:
        """Apply, and be killed then; False when it was over before."""
        self.life.end = self.life.moments + moment
        try:
            self.apply(asked)
        except KilledError:
            return True
        finally:
            self.life.end, self.life.dead = None, False
        return False


def part(
    name: str, *needs: str, host: str = "local", argv: str = "a", rollout: Rollout | None = None
) -> Resource:
    return Resource(
        Kind.PROCESS,
        name,
        host,
        name.rpartition("-")[0],
        {"argv": [argv]},
        needs=tuple(map(Need, needs)),
        check=Check("tcp", name, start=5.0, interval=0.01),
        rollout=rollout,
    )


def spec(version: str) -> list[Resource]:
    """A cluster of two hosts: a core, two services of which one is exchanged behind a stand-in."""
    stand_in = part("cart-next", "blueprint-1", argv=version)
    rollout = Rollout(1, True, stand_in)
    return [
        part("nats-1"),
        part("blueprint-1", "nats-1"),
        part("envoy-1", "blueprint-1", host="edge", argv=version),
        part("cart-1", "blueprint-1", argv=version, rollout=rollout),
        part("cart-2", "blueprint-1", argv=version, rollout=rollout),
    ]


def nothing(world: World) -> None:
    """A cluster that was never raised."""


def older(world: World) -> None:
    """One of an earlier version, with what is no longer asked for, and something that ended."""
    world.apply([*spec("old"), part("sweep-1", "nats-1"), part("mail-1", host="edge")])
    world.first.crash("nats-1")


@pytest.mark.parametrize("before", [nothing, older])
def test_killed_at_any_moment_the_rerun_converges_and_the_final_plan_is_empty(
    before: Callable[[World], None],
) -> None:
    asked = spec("new")
    for moment in itertools.count(1):
        world = World()
        before(world)
        killed = world.dies_at(moment, asked)
        assert world.first.holder() is None, moment
        assert world.apply(asked).ok, moment
        assert not world.plan(asked).changed, moment
        names = sorted(o.name for host in world.hosts.values() for o in host.observe())
        assert names == sorted(resource.name for resource in asked), moment
        newest = Release.from_json(world.first.releases()[-1])
        assert list(newest.resources) == asked, moment
        well = [r.id for r in history(world.first.journal()) if r.result == "ok"]
        assert newest.id in well, moment
        if not killed:
            assert moment >= 20  # it was cut at every one of its own moments
            break


def test_killed_twice_in_a_row_it_converges_all_the_same() -> None:
    asked = spec("new")
    for moment in itertools.count(1):
        world = World()
        older(world)
        killed = world.dies_at(moment, asked)
        world.dies_at(3, asked)
        assert world.apply(asked).ok, moment
        assert not world.plan(asked).changed, moment
        if not killed:
            break


def test_a_change_that_was_killed_is_told_as_cut_off_and_rolled_back_to_what_was_good() -> None:
    world = World()
    world.apply(spec("old"))
    good = Release.from_json(world.first.releases()[-1])
    assert world.dies_at(8, spec("new"))
    records = history(world.first.journal())
    assert [(r.what, r.result) for r in records] == [("apply", "ok"), ("apply", "cut off")]
    way = target(records, [good])
    assert way == good
    assert world.apply(way.resources, Intent("rollback", to=way.id, of=way.id)).ok
    assert not world.plan(spec("old")).changed


def test_of_two_applies_at_once_the_second_is_refused() -> None:
    world = World()
    refused: list[LockedError] = []

    def second() -> Plan:
        with pytest.raises(LockedError) as caught:
            world.apply(spec("other"))
        refused.append(caught.value)
        return world.plan(spec("new"))

    assert change(Intent("apply"), world.hosts, world.first, second).ok
    assert [error.exit_code for error in refused] == [ExitCode.LOCKED]
    assert not world.plan(spec("new")).changed


def test_who_is_robbed_of_the_lock_begins_no_further_step() -> None:
    world = World()
    begun: list[str] = []

    def robbed(resource: Resource) -> None:
        begun.append(resource.name)
        world.first.break_lock()

    world.first.ensure = robbed  # type: ignore[method-assign]
    result = world.apply(spec("new"))
    assert begun == ["nats-1"]
    assert "taken" in result.halted
    assert not result.ok
    assert history(world.first.journal())[-1].result == "interrupted"
    assert not world.first.releases()


def test_what_was_stopped_on_purpose_stays_so_through_a_kill() -> None:
    world = World()
    world.apply(spec("old"))
    world.first.stop("cart-2")
    assert world.dies_at(4, [*spec("old"), part("late-1")])
    assert world.apply([*spec("old"), part("late-1")]).ok
    held = next(o for o in world.first.observe() if o.name == "cart-2")
    assert held.state is State.HELD
