"""A cluster spec opened: the hosts it lives on, what is there, and where its core parts listen."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dctl.clients import Way
from dctl.engine.apply import Event, Result
from dctl.engine.catalogue.ground import Ground
from dctl.engine.catalogue.parts import CORE_PARTS, parts
from dctl.engine.change import Intent, change
from dctl.engine.desired import desired
from dctl.engine.digests import as_given, with_digests, with_todays_secrets
from dctl.engine.growth import Move, engine_of, epoch_for, refuse_absent, to_move
from dctl.engine.hiding import learn_given
from dctl.engine.history import Record, Release, history, next_number, target
from dctl.engine.hosts import UP, Hosts
from dctl.engine.leaving import Leaving, leaving
from dctl.engine.move import FILE, Mover
from dctl.engine.operate import Verb, end, operate
from dctl.engine.own_secrets import OwnSecrets
from dctl.engine.plan import Plan, make_plan, only_of
from dctl.engine.ports import PortBook
from dctl.engine.probing import probes
from dctl.engine.records import entry, who
from dctl.engine.runtimes import Say
from dctl.engine.saved import SavedPlan, refuse_moved, refuse_stale
from dctl.engine.scope import WHOLE, Scope
from dctl.engine.sight import Sight, look
from dctl.engine.status import Row, status
from dctl.engine.unsupported import unsupported
from dctl.errors import DctlError, NotFoundError, UnreachableError
from dctl.hosts.base import (
    RUN_FROM,
    RUNNING_KINDS,
    Holder,
    Host,
    Observed,
    Reader,
    Resource,
    State,
    machine_of,
)
from dctl.hosts.routes import INGRESS
from dctl.hosts.state.folder import state_dir
from dctl.secrets.vault import KEY, Vault
from dctl.spec import Loaded
from dctl.spec.placement import hosts_of
from dctl.spec.variant import Variant
from dctl.workspace import load_spec

_KEPT = 3  # releases whose images stay for a rollback


def open_cluster(
    file: Path | None = None, variant: Variant | None = None, *, say: Say = lambda _: None
) -> OpenCluster:
    """Load and check the spec (`file`, else the nearest draft.yaml's) and get ready to look.

    `say` hears of long work, such as building images. Raises SpecError with every problem,
    NotFoundError without any spec. Touches nothing.
    """
    loaded = load_spec(file, variant)
    loaded.refuse(unsupported(loaded.cluster))
    return OpenCluster(loaded, say)


@dataclass(frozen=True, slots=True)
class Rollback:
    """The way back to a release. `otherwise` names what will not be as it was then."""

    release: Release
    plan: Plan
    otherwise: tuple[str, ...]


class OpenCluster:
    """The spec at hand. Looking is free; `hosts()` alone gives out what can change something.

    The first host keeps the cluster's lock, journal and releases: without it nothing is done. Any
    other one may be silent; what is there is left as it is, and all that shows something says so.
    """

    def __init__(self, loaded: Loaded, say: Say) -> None:
        self.loaded = loaded
        self.spec = loaded.cluster
        self.name = loaded.cluster.name
        self.source = loaded.path
        self.root = loaded.root
        self._say = say
        self.secrets = Vault(loaded, lambda: self._first.secret(KEY))
        self.own = OwnSecrets(loaded.cluster, lambda: self._first, self.secrets.value)
        self._hosts = Hosts(loaded, say, self.secrets, self.own.proof, self.own.identity)

    @property
    def readers(self) -> Mapping[str, Reader]:
        """Every host by name, its looking face only."""
        return self._hosts.readers

    def hosts(self) -> Mapping[str, Host]:
        """Every host by name, with the verbs that change it."""
        return self._hosts.changing

    @contextmanager
    def alone(self) -> Iterator[Mapping[str, Host]]:
        """The same, while nobody else changes the cluster."""
        with self._first.lock(who()):
            yield self.hosts()

    def look(self) -> Sight:
        """All that is there. Raises UnreachableError without the first host or the ingress.

        One that cannot tell its routes, say because Blueprint ends again and again, counts as one
        without: to set them again changes nothing, and what is wrong would else never be mended.
        Where a core part was stopped on purpose, nothing is: that is said instead."""
        self._hosts.warm("fuse")
        sight = self._hosts.look()
        try:
            return sight + Sight(self._hosts.routes(sight).observe())
        except UnreachableError:
            if any(o.service in CORE_PARTS and o.state is State.HELD for o in sight.things):
                raise
            return sight

    def resources(
        self, sight: Sight, *more: Resource, port_offset: int | None = None
    ) -> list[Resource]:
        """What the spec asks for, with the ports that it has or would get, and digests of the
        secrets as they are. `more` was planned before, and keeps its ports."""
        asked = self._asked(sight, *more, port_offset=port_offset)
        return with_digests(asked, self._digest) if self.secrets.uses else asked

    def _asked(
        self, sight: Sight, *more: Resource, port_offset: int | None = None
    ) -> list[Resource]:
        """The same without asking what the secrets are."""
        known: list[Observed | Resource] = [*sight.things, *more]
        if sight.unseen and (releases := self.releases()):
            # What cannot be seen has the ports that it had when all was well.
            known += [r for r in releases[-1].resources if r.host in sight.unseen]

        def free(host: str, address: str) -> int:
            return 0 if host in sight.unseen else self.readers[host].free_port(address)

        ports = PortBook(known, free, offset=port_offset)
        ground = Ground(self.spec, self.root, self._hosts.sites(ports), self._epoch(sight))
        return [*self._hosts.resources(), *desired(ground)]

    def plan(self, *, port_offset: int | None = None, scope: Scope = WHOLE) -> Plan:
        """Look and compare. Raises NotFoundError when `scope` names what is neither asked for nor
        there."""
        sight = self.look()
        self._refuse_unknown(scope, sight.things)
        asked = self.resources(sight, port_offset=port_offset)
        return self._plan(asked, sight, scope)

    def plan_saved(self, saved: SavedPlan) -> Plan:
        """Look and compare again. Raises DctlError, naming what moved, unless that gives the very
        plan that was saved."""
        if saved.cluster != self.name:
            raise DctlError(
                f"{saved.path} is a plan for cluster {saved.cluster}, and {self.source} is"
                f" {self.name}",
                hint="name the spec that it was made of: -f FILE",
            )
        sight = self.look()
        if self.secrets.uses and not self.secrets.has_kept_key:
            # Nobody was given a secret yet: digests of then had a key that went with that dctl.
            known = with_digests(saved.resources, self._digest)
            saved = dataclasses.replace(saved, resources=tuple(known))
        asked = self.resources(sight, *saved.ports, port_offset=saved.port_offset)
        plan = self._plan(asked, sight, saved.scope)
        refuse_stale(saved, plan)
        return plan

    def status(self, scope: Scope = WHOLE) -> list[Row]:
        """Look, ask each running thing for its health, and compare. A host that does not answer
        hides its own things only, and an ingress its routes."""
        self._hosts.warm("fuse")
        sight = self._hosts.look()
        sight += look({INGRESS: [self._hosts.routes(sight)]})
        self._refuse_unknown(scope, sight.things)
        sight_of = dataclasses.replace(sight, things=[o for o in sight.things if scope.covers(o)])
        asked = [r for r in as_given(self._asked(sight), sight.things) if scope.covers(r)]
        return status(
            self.name, asked, sight_of, probes(self.readers, asked, sight_of), now=time.time()
        )

    def way(self, part: str) -> Way:
        """How a core part of this cluster that is up is reached from here. Raises UnreachableError
        without one: what listens where it would is another cluster's then."""
        return self._hosts.way(part)

    def apply(self, plan: Plan, *, on_event: Callable[[Event], None]) -> Result:
        """Carry `plan` out under the cluster's lock and keep a record of it. Raises DctlError when
        somebody has changed the cluster since it was made."""
        intent = self._intent("apply")
        result = self._change(
            intent, lambda: self._again(plan), on_event=on_event, move=self._carry_over
        )
        if result.ok and plan.changed:
            self._hosts.let_go([r for kept in self.releases()[-_KEPT:] for r in kept.resources])
        return result

    def heal(
        self,
        decide: Callable[[Sight], Plan],
        *,
        on_event: Callable[[Event], None],
        halt: Callable[[], str],
    ) -> Result:
        """Carry out what `decide` makes of what is there; this asks for nothing new."""
        self.secrets.forget()  # a watch lasts longer than a secret
        intent = Intent("heal", keep=False)
        return self._change(intent, lambda: decide(self.look()), on_event=on_event, halt=halt)

    def rollback(self, number: int | None = None) -> Rollback:
        """The way back to that release, else to the last good one. Raises NotFoundError when there
        is none, DctlError when what it needs is gone."""
        release = target(self.history(), self.releases(), number)
        if release.runtime != self.spec.runtime:
            raise DctlError(
                f"release {release.id} was made under `runtime: {release.runtime}`, and"
                f" {self.source} says {self.spec.runtime}",
                hint="set the runtime back in the spec, then apply it",
            )
        there = with_todays_secrets(
            self._hosts.restored(release.resources), self.spec.secrets, self._digest
        )
        if there.lacking:
            raise DctlError(
                f"release {release.id} cannot be had again, nothing was changed:\n  "
                + "\n  ".join(there.lacking),
                hint="bring it back, or choose another: dctl infra history",
            )
        return Rollback(release, self.compare(there.resources), there.otherwise)

    def compare(
        self,
        asked: Sequence[Resource],
        scope: Scope = WHOLE,
        move: Move | None = None,
        leaving: tuple[str, ...] = (),
    ) -> Plan:
        """Look, and compare with what was asked for at some time."""
        sight = only_of(asked, self.look())
        return make_plan(self.name, asked, sight, scope, move=move, leaving=leaving)

    def roll_back(self, way: Rollback, *, on_event: Callable[[Event], None]) -> Result:
        """Carry it out, with the very same engine as an apply."""
        release = way.release
        intent = self._intent("rollback", to=release.id, of=release.of or release.id)
        return self._change(intent, lambda: self._again(way.plan), on_event=on_event)

    def history(self) -> list[Record]:
        """What was done to the cluster, oldest first."""
        first = self._first
        return history(first.journal(), first.holder())

    def releases(self) -> list[Release]:
        """What the cluster was asked for when it was well, oldest first."""
        return [Release.from_json(release) for release in self._first.releases()]

    def holder(self) -> Holder | None:
        """Who is changing the cluster now."""
        return self._first.holder()

    def break_lock(self) -> None:
        """Take the lock from whoever has it, and write that down."""
        first = self._first
        held = first.holder()
        first.break_lock()
        if held:
            number = next_number(first.journal())
            first.record(entry("unlock", number, steps=[f"rob {held.name}"]))

    def operate(
        self,
        verb: Verb,
        names: Sequence[str],
        say: Callable[[str], None],
        scope: Scope = WHOLE,
    ) -> None:
        """Start, stop or restart what `names` select (nothing named: all) of the scope, under the
        lock."""
        chosen = self.select(*names, scope=scope)
        asked = self._asked(self._hosts.look_here()) if verb == "restart" else []
        operate(verb, chosen, asked, self.hosts(), self._first, say)

    def end(self, how: Literal["down", "destroy", "clean"]) -> None:
        """Stop all that runs, or remove it, or remove every trace of the cluster too."""
        end(how, self._hosts.machines, forget=lambda: self._backup.unlink(missing_ok=True))

    def learn_secrets(self, things: Sequence[Observed]) -> list[str]:
        """What these were given is hidden from now on in all that we print; the hosts that do not
        tell it. Nobody is asked for what the secrets are today."""
        return learn_given(self.readers, things)

    def execute(self, pattern: str, argv: Sequence[str]) -> int:
        """Run a command beside the instance that `pattern` names; of several one that runs."""
        chosen = min(self.select(pattern), key=lambda seen: seen.state not in UP)
        return self.hosts()[chosen.host].execute(chosen.name, argv)

    def select(self, *patterns: str, scope: Scope = WHOLE) -> list[Observed]:
        """The running things that any pattern names, each an instance (cart-2) or a service's all;
        without one all of them. Only those in `scope`."""
        things = self.things()
        self._refuse_unknown(scope, things)
        chosen = [seen for seen in things if scope.covers(seen)]
        if scope and not chosen:
            raise NotFoundError(f"nothing of {scope} is there", hint="dctl infra status")
        for pattern in patterns:
            if not any(pattern in (o.name, o.service) for o in chosen):
                names = ", ".join(sorted({o.service for o in chosen})) or "nothing is there yet"
                raise NotFoundError(
                    f'"{pattern}" names no part of '
                    + (f"{scope}" if scope else f"cluster {self.name}"),
                    hint=f"there are: {names}",
                )
        return [o for o in chosen if not patterns or {o.name, o.service} & {*patterns}]

    def things(self) -> list[Observed]:
        """The processes and containers that are there."""
        return [seen for seen in self._hosts.look_here().things if seen.kind in RUNNING_KINDS]

    @property
    def _first(self) -> Host:
        """The host that keeps the cluster's lock and books."""
        return self._hosts.machines[0]

    def _refuse_unknown(self, scope: Scope, things: Sequence[Observed]) -> None:
        there = [o.service for o in things if o.kind not in RUN_FROM and o.owner == self.name]
        left = [machine_of(seen.host) for seen in things]  # also hosts that left the spec
        scope.refuse_unknown((*parts(self.spec), *there), (*hosts_of(self.spec), INGRESS, *left))

    def _digest(self, resource: Resource, name: str) -> str:
        return self.secrets.digest(name)

    def _intent(self, what: str, *, to: int | None = None, of: int | None = None) -> Intent:
        runtime, notes, secrets = self.spec.runtime, self._hosts.notes, self.own.to_keep
        return Intent(what, str(self.source), runtime, to, of, secrets=secrets, machines=notes)

    def _change(
        self,
        intent: Intent,
        decide: Callable[[], Plan],
        *,
        on_event: Callable[[Event], None],
        halt: Callable[[], str] = lambda: "",
        move: Callable[..., tuple[Plan, Result | None]] | None = None,
    ) -> Result:
        first = self._first

        def locked() -> Plan:
            if self.secrets.uses:
                self.secrets.keep_key(lambda key: first.keep_secret(KEY, key))
            self.own.make()
            return decide()

        carry = functools.partial(move, on_event=on_event) if move else None
        return change(
            intent,
            self.hosts(),
            first,
            locked,
            on_event=on_event,
            halt=halt,
            move=carry,
            leaving=Leaving(self, self._say),
        )

    def _carry_over(
        self, plan: Plan, halt: Callable[[], str], *, on_event: Callable[[Event], None]
    ) -> tuple[Plan, Result | None]:
        """Bring the engine's data to where the plan wants its nodes."""
        return Mover(self, self._backup, self._say).run(plan, on_event, halt)

    @property
    def _backup(self) -> Path:
        """Where the engine's data are while they are moved: with who moves them."""
        return state_dir(self.name) / FILE

    def _plan(self, asked: Sequence[Resource], sight: Sight, scope: Scope) -> Plan:
        move, left = self._move(asked, sight, scope), leaving(asked, sight, scope, self.releases)
        return make_plan(self.name, asked, sight, scope, move=move, leaving=left)

    def _move(self, asked: Sequence[Resource], sight: Sight, scope: Scope) -> Move | None:
        """What has to be moved for that; a part of the cluster moves nothing."""
        if scope:
            return None
        if not engine_of(sight.things) and (releases := self.releases()):
            refuse_absent(asked, releases[-1].resources)
        return to_move(asked, sight.things, begun=self._backup.exists())

    def _epoch(self, sight: Sight) -> int:
        """Which of its folders the engine's nodes use."""
        nats = self.spec.core.nats
        if nats is False:
            return 0
        nodes = engine_of(sight.things)
        if not nodes and (releases := self.releases()):
            nodes = engine_of(releases[-1].resources)
        return epoch_for(nats.replicas, nodes, lambda: next_number(self._first.journal()))

    def _again(self, plan: Plan) -> Plan:
        """The plan as of now; DctlError when it is not the one that was agreed to."""
        if not plan.to_do:
            return plan
        now = self.compare(plan.asked, plan.scope, plan.move, plan.leaving)
        refuse_moved(plan, now)
        return now
