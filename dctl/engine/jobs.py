"""The steps of a plan as jobs: how far each is, and which others it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from dctl.engine.result import Failure, Phase
from dctl.engine.rollout import EXCHANGES
from dctl.engine.step import Role, Step
from dctl.hosts.base import RUN_FROM, Condition, Observed, Probe

# Others wait in vain for the first, and need not wait any more for the others.
LOST = (Phase.FAILED, Phase.SKIPPED)
WELL = (Phase.WATCHING, Phase.DONE)


@dataclass(slots=True)
class Job:
    """One step under way. `future` is its effect, then its probes; `there` is what was last seen of
    it. Times are of the monotonic clock."""

    step: Step
    waits_for: list[tuple[Job, Condition]] = field(default_factory=list)
    phase: Phase = Phase.WAITING
    started: bool = False
    began: float = 0.0
    restarts_before: int | None = None
    future: Future[Probe | None] | None = None
    there: Observed | None = None
    probe: Probe | None = None
    ill: int = 0  # probes in a row that answered badly
    stayed: float = 0.0  # when it was last seen to have stayed well
    next_probe: float = 0.0
    failure: Failure | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.phase in (Phase.DONE, Phase.FAILED, Phase.SKIPPED)

    def fulfils(self, condition: Condition) -> bool:
        """Whether who waits for this may begin."""
        if self.phase is Phase.DONE:
            return True
        if condition is Condition.STARTED:
            return self.started
        return condition is Condition.HEALTHY and self.phase is Phase.WATCHING

    @property
    def monitor(self) -> float:
        """For how long it is watched once its service is exchanged."""
        rollout = self.step.resource.rollout if self.step.resource else None
        return rollout.monitor if rollout and is_exchange(self.step) else 0.0

    def stayed_for(self, since: float) -> bool:
        """Whether it was watched for long enough, and no answer of it is in doubt."""
        return self.stayed - since >= self.monitor and not self.ill and self.future is None


def is_exchange(step: Step) -> bool:
    """Whether a replica is exchanged for a new one."""
    return step.verdict.action in EXCHANGES and step.role is Role.PART


def prepares(step: Step) -> bool:
    """Whether it makes what programs run from: it touches nothing that runs."""
    return step.changes and step.kind in RUN_FROM and step.resource is not None


def link(jobs: Sequence[Job]) -> None:
    """Who waits for whom: what a resource needs; all deletions before what is made, for they free
    names and ports, but for those of what moves; and the replicas of one service change a few at a
    time, after its stand-in is up and before that leaves."""
    by_name = {job.step.name: job for job in jobs if job.step.resource}
    last_deletion: Job | None = None
    stand_ins = {job.step.service: job for job in jobs if job.step.role is Role.STAND_IN}
    exchanged: dict[str, list[Job]] = {}
    ending: dict[str, Job] = {}  # on its old host, before it begins on the new one
    for job in jobs:
        step = job.step
        if not step.changes:
            continue
        stand_in = stand_ins.get(step.service)
        if step.role is Role.MOVING and stand_in:
            ending[step.name] = job
            job.waits_for.append((stand_in, Condition.HEALTHY))
            job.waits_for += _in_turn(by_name[step.name].step, exchanged)
            continue
        if step.role in (Role.LEAVING, Role.MOVING):
            all_of = [j for j in jobs if j.step.service == step.service and j.step.resource]
            job.waits_for += [(other, Condition.COMPLETED) for other in all_of]
            continue
        if last_deletion and not prepares(step):
            job.waits_for.append((last_deletion, Condition.HEALTHY))
        if step.resource is None:
            last_deletion = job
            continue
        job.waits_for += [
            (by_name[need.resource], need.condition)
            for need in step.resource.needs
            if need.resource in by_name
        ]
        if ended := ending.get(step.name):
            job.waits_for.append((ended, Condition.HEALTHY))
            exchanged.setdefault(step.service, []).append(job)
        elif is_exchange(step):
            job.waits_for += _in_turn(step, exchanged)
            if stand_in:
                job.waits_for.append((stand_in, Condition.HEALTHY))
            exchanged.setdefault(step.service, []).append(job)


def _in_turn(step: Step, exchanged: Mapping[str, Sequence[Job]]) -> list[tuple[Job, Condition]]:
    """Which replica has to be well before that of `step` is exchanged."""
    before = exchanged.get(step.service, ())
    rollout = step.resource.rollout if step.resource else None
    parallel = rollout.parallel if rollout else 1
    return [(before[-parallel], Condition.HEALTHY)] if len(before) >= parallel else []
