"""Start, stop or restart what is there, as it was asked for before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from dctl.engine.history import ENDED, next_number
from dctl.engine.quorum import await_others, needs_the_others
from dctl.engine.records import entry, who
from dctl.hosts.base import Host, Observed, Probe, Resource

Verb = Literal["start", "stop", "restart"]


def operate(
    verb: Verb,
    chosen: Sequence[Observed],
    asked: Sequence[Resource],
    hosts: Mapping[str, Host],
    first: Host,
    say: Callable[[str], None],
) -> None:
    """Do it with all that is `chosen`, in the order of names, under the lock that `first` keeps.
    `asked` is what the spec asks for: of those that need each other, one is restarted at a time."""

    def ask(resource: Resource) -> Probe:
        assert resource.check is not None
        return hosts[resource.host].probe(resource.check)

    with first.lock(who()):
        number = next_number(first.journal())
        first.record(entry(verb, number, steps=[f"{verb} {seen.name}" for seen in chosen]))
        for seen in reversed(chosen) if verb == "stop" else chosen:
            host = hosts[seen.host]
            if verb == "restart":
                _await_others(seen, asked, ask)
            {"start": host.start, "stop": host.stop, "restart": host.restart}[verb](seen.name)
            say(seen.name)
        first.record(entry(ENDED, number, done=[seen.name for seen in chosen]))


def end(
    how: Literal["down", "destroy", "clean"], machines: Sequence[Host], forget: Callable[[], None]
) -> None:
    """Stop all that runs, or remove it, or remove every trace of the cluster too, which is then
    forgotten. The first of the machines keeps the books."""

    def do() -> None:
        # The first host last: what the others run needs it most, and it has the lock.
        for host in reversed(machines):
            host.down() if how == "down" else host.clean(full=how == "clean")

    first = machines[0]
    if not first.journal():  # nothing was ever done to it: leave no trace of this either
        do()
        return
    with first.lock(who()):
        number = next_number(first.journal())
        first.record(entry(how, number))
        do()
        if how == "clean":
            forget()
        else:
            first.record(entry(ENDED, number))


def _await_others(
    seen: Observed, asked: Sequence[Resource], ask: Callable[[Resource], Probe]
) -> None:
    together = [r for r in asked if r.service == seen.service and needs_the_others(r)]
    for own in together:
        if own.name == seen.name:
            await_others(own, [r for r in together if r is not own], ask)
