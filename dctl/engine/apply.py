"""Carry a plan out.

One loop owns all jobs; effects and probes run in a small pool, everything else happens in the
loop. A job is begun when what it needs is ready, and is done when its own gate says so. After a
failure nothing new is begun: what runs is finished, and the result says what was done and what
was not. A machine that is lost ends only what is for it, or needs that: the others finish. Running
the same apply again goes on from there, for the plan is made of what is there.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from dctl.engine.gate import Gate, opinion, relapse
from dctl.engine.jobs import LOST, WELL, Job, is_exchange, link, prepares
from dctl.engine.plan import Plan
from dctl.engine.quorum import await_others, needs_the_others
from dctl.engine.result import Event, Failure, Phase, Result
from dctl.engine.rollout import undoing
from dctl.engine.step import Role, Step
from dctl.engine.verdict import Action
from dctl.errors import DctlError, UnreachableError
from dctl.hosts.base import (
    RUN_FROM,
    RUNNING_KINDS,
    Host,
    Kind,
    Observed,
    Probe,
    Resource,
    State,
    machine_of,
)

__all__ = ["Event", "Failure", "Phase", "Result", "apply"]

_PARALLEL = 8  # effects, looks and probes at once: they mostly wait for others
_MOST = 64  # of them, when there are many hosts
_TICK = 0.05  # seconds between two looks
_WATCH_TICK = 0.5  # the same, where all that is there is watched
_TAIL = 20  # lines of a failed thing's own output
_BLIND = 3  # looks in a row that fail before its host counts as lost
# Healthy when `ensure` returns: the proxy has acknowledged a route, an image is built.
_READY_WHEN_ENSURED = frozenset({Kind.ROUTE, *RUN_FROM})


def apply(
    plan: Plan,
    hosts: Mapping[str, Host],
    *,
    on_event: Callable[[Event], None] = lambda _: None,
    halt: Callable[[], str] = lambda: "",
    on_removed: Callable[[Step], None] | None = None,
) -> Result:
    """Carry out every change of `plan` and wait until all of its resources are healthy.

    A service whose rollout fails is put back to what it ran before. The caller holds the cluster's
    lock. Ctrl-C ends it between two steps, and so does `halt` as soon as it gives a reason. A
    removal ends with `on_removed`. Never raises for what a host could not do: that is in the
    result.
    """
    run = _Run(plan, hosts, on_event, halt, on_removed)
    result = run.run()
    if result.interrupted or result.halted:
        return result
    # Nothing can be put back where nothing is reached: there the next apply goes on.
    here = [s for s in plan.steps if machine_of(s.host) not in run.lost]
    failed = [f.step for f in result.failures if machine_of(f.step.host) not in run.lost]
    touched = [s for s in (*result.done, *failed) if machine_of(s.host) not in run.lost]
    if not (undo := undoing(here, touched, failed)):
        return result
    undone = _Run(Plan(plan.cluster, undo), hosts, on_event, halt).run()
    return dataclasses.replace(
        result,
        restored=tuple(step for step in undone.done if step.role is Role.PART),
        failures=(*result.failures, *undone.failures),
        interrupted=undone.interrupted,
        halted=undone.halted,
    )


@dataclass(slots=True)
class _Looks:
    """The looks at one host. `jobs` are those that the look under way is for."""

    future: Future[Sequence[Observed]] | None = None
    jobs: list[Job] = field(default_factory=list)
    last: float = -_WATCH_TICK
    blind: int = 0


class _Run:
    def __init__(
        self,
        plan: Plan,
        hosts: Mapping[str, Host],
        on_event: Callable[[Event], None],
        halt: Callable[[], str],
        on_removed: Callable[[Step], None] | None = None,
    ) -> None:
        self.hosts = hosts
        self.on_removed = on_removed or (lambda _: None)
        self.silent = plan.silent
        self.on_event = on_event
        self.halt = halt
        self.jobs = [Job(step) for step in plan.steps]
        self.stopping = False
        self.lost: set[str] = set()  # machines
        self.looks = {step.host: _Looks() for step in plan.steps}
        self.exchanged: dict[str, float] = {}  # service -> when the last of its replicas was
        link(self.jobs)

    def run(self) -> Result:
        parallel = min(max(_PARALLEL, 2 * len(self.looks)), _MOST)
        pool = ThreadPoolExecutor(parallel, thread_name_prefix="apply")
        interrupted, halted = False, ""
        try:
            while not all(job.settled for job in self.jobs):
                if halted := self.halt():
                    break
                self._begin(pool)
                self._collect(pool)
                self._gate(pool)
                self._end_watches()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            # Effects that are under way are short and idempotent: let them end, begin no others.
            pool.shutdown(wait=True, cancel_futures=True)
        return self._result(interrupted, halted)

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        # What cannot be built or had is known before anything that runs is touched.
        preparing = [job for job in self.jobs if prepares(job.step) and not job.settled]
        for job in preparing or self.jobs:
            if job.phase is not Phase.WAITING:
                continue
            if not job.step.changes:
                self._enter(job, Phase.GATING)
            elif (
                self.stopping
                or machine_of(job.step.host) in self.lost
                or any(other.phase in LOST for other, _ in job.waits_for)
            ):
                self._enter(job, Phase.SKIPPED)
            elif all(other.fulfils(condition) for other, condition in job.waits_for):
                self._enter(job, Phase.ACTING)
                job.future = pool.submit(self._act, job.step, self._beside(job))

    def _beside(self, job: Job) -> list[Resource]:
        """The others that have to be well before this replica is exchanged, as they are now."""
        if not (is_exchange(job.step) and needs_the_others(job.step.resource)):
            return []
        others = [j for j in self.jobs if j.step.service == job.step.service and j is not job]
        now = [j.step.resource if j.started else j.step.before or j.step.resource for j in others]
        return [resource for resource in now if resource]

    def _act(self, step: Step, beside: Sequence[Resource]) -> None:
        host = self.hosts[step.host]
        if beside and (own := step.before or step.resource):
            await_others(own, beside, self._ask)
        match step.verdict.action:
            case Action.CREATE | Action.UPDATE | Action.REPLACE:
                assert step.resource is not None
                host.ensure(step.resource)
            case Action.HEAL:
                host.start(step.name)
            case Action.DELETE:
                host.remove(step.name)
                self.on_removed(step)
            case Action.NONE | Action.REFUSE:
                raise AssertionError(f"a plan never carries out {step.verdict.action}")

    def _ask(self, resource: Resource) -> Probe:
        assert resource.check is not None
        return self.hosts[resource.host].probe(resource.check)

    def _collect(self, pool: ThreadPoolExecutor) -> None:
        pending: dict[Future[Any], Job] = {job.future: job for job in self.jobs if job.future}
        looks: list[Future[Any]] = [each.future for each in self.looks.values() if each.future]
        if not pending and not looks:
            time.sleep(_TICK)
            return
        done, _ = wait({*pending, *looks}, timeout=_TICK, return_when=FIRST_COMPLETED)
        for future, job in pending.items():
            if future not in done:
                continue
            job.future = None
            try:
                answer = future.result()
            except DctlError as error:
                self._fail(job, error)
                continue
            if job.phase is Phase.ACTING:
                job.started = True
                over = job.step.resource is None or job.step.kind in _READY_WHEN_ENSURED
                self._enter(job, Phase.DONE if over else Phase.GATING)
            else:
                job.probe = answer
                job.ill = 0 if answer is None or answer.ok else job.ill + 1
                if job.phase is Phase.GATING:
                    self._judge(job, pool)

    def _gate(self, pool: ThreadPoolExecutor) -> None:
        """Look at each host that has jobs to judge, and judge those that were there to be judged
        when the look began."""
        now = time.monotonic()
        for job in self._gating():
            if job.step.kind in _READY_WHEN_ENSURED:
                self._enter(job, Phase.DONE)
        for name, looks in self.looks.items():
            if looks.future is None:
                looks.jobs = [job for job in self._gating() if job.step.host == name]
                watched = all(job.phase is Phase.WATCHING for job in looks.jobs)
                if looks.jobs and now - looks.last >= (_WATCH_TICK if watched else _TICK):
                    looks.last = now
                    looks.future = pool.submit(self.hosts[name].observe)
                continue
            if not looks.future.done():
                continue
            try:
                seen = {one.name: one for one in looks.future.result()}
                looks.blind = 0
            except DctlError as error:
                seen = None
                looks.blind += 1
                if looks.blind >= _BLIND:
                    for job in looks.jobs:
                        self._fail(job, error)
            looks.future = None
            if seen is not None:
                for job in looks.jobs:
                    if job.phase is Phase.GATING:
                        job.there = seen.get(job.step.name)
                        self._judge(job, pool)
                    elif job.phase is Phase.WATCHING:
                        self._watch(job, seen.get(job.step.name), pool)

    def _gating(self) -> list[Job]:
        return [job for job in self.jobs if job.phase in (Phase.GATING, Phase.WATCHING)]

    def _judge(self, job: Job, pool: ThreadPoolExecutor) -> None:
        now = time.monotonic()
        resource, there = job.step.resource, job.there
        assert resource is not None
        if there and there.state is State.HELD:
            self._enter(job, Phase.DONE)
            return
        if there and job.restarts_before is None:
            job.restarts_before = there.restarts  # only what happens from now on counts
        judged = opinion(
            resource,
            there,
            job.probe,
            elapsed=now - job.began,
            restarts_before=job.restarts_before or 0,
            now=time.time(),
        )
        if judged.gate is Gate.READY and job.monitor:
            job.restarts_before, job.ill = there.restarts if there else 0, 0
            self._enter(job, Phase.WATCHING)
        elif judged.gate is Gate.READY:
            self._enter(job, Phase.DONE)
        elif judged.gate is Gate.FAILED:
            self._fail(job, judged.reason)
        elif resource.check:
            self._probe(job, pool, min(_TICK * 2, resource.check.interval))

    def _watch(self, job: Job, there: Observed | None, pool: ThreadPoolExecutor) -> None:
        """See whether it stays as well as it was when it was exchanged."""
        resource = job.step.resource
        assert resource is not None
        why = relapse(
            resource, there, job.probe, ill=job.ill, restarts_before=job.restarts_before or 0
        )
        if why:
            self._fail(job, why)
            return
        job.stayed = time.monotonic()
        if resource.check:
            self._probe(job, pool, resource.check.interval)

    def _probe(self, job: Job, pool: ThreadPoolExecutor, every: float) -> None:
        now = time.monotonic()
        if job.future is None and now >= job.next_probe:
            assert job.step.resource is not None
            assert job.step.resource.check is not None
            job.next_probe = now + every
            job.future = pool.submit(self.hosts[job.step.host].probe, job.step.resource.check)

    def _end_watches(self) -> None:
        """A service is watched from the exchange of its last replica on, and no longer than it
        has one to lose: all of them are good, or all go back."""
        watched = {job.step.service for job in self.jobs if job.phase is Phase.WATCHING}
        for service in watched:
            jobs = [j for j in self.jobs if j.step.service == service and is_exchange(j.step)]
            if not any(job.phase in LOST for job in jobs):
                if not all(job.phase in WELL for job in jobs):
                    continue
                since = self.exchanged.setdefault(service, time.monotonic())
                if not all(j.stayed_for(since) for j in jobs if j.phase is Phase.WATCHING):
                    continue
            for job in jobs:
                if job.phase is Phase.WATCHING:
                    self._enter(job, Phase.DONE)

    def _enter(self, job: Job, phase: Phase, detail: str = "") -> None:
        if job.began == 0.0:
            job.began = time.monotonic()
        job.phase = phase
        self.on_event(Event(job.step, phase, time.monotonic() - job.began, detail))

    def _fail(self, job: Job, why: str | DctlError) -> None:
        reason = why if isinstance(why, str) else _told(why)
        if isinstance(why, UnreachableError):
            self.lost.add(machine_of(job.step.host))
        else:
            self.stopping = True
        job.failure = Failure(job.step, reason, self._tail(job.step))
        self._enter(job, Phase.FAILED, reason)

    def _tail(self, step: Step) -> tuple[str, ...]:
        if step.kind not in RUNNING_KINDS or machine_of(step.host) in self.lost:
            return ()
        try:
            return tuple(self.hosts[step.host].logs(step.name, lines=_TAIL))
        except DctlError:  # what failed is told; that it left no words is no second failure
            return ()

    def _result(self, interrupted: bool, halted: str) -> Result:
        changed = [job for job in self.jobs if job.step.changes]
        return Result(
            done=tuple(job.step for job in changed if job.phase in WELL),
            failures=tuple(job.failure for job in self.jobs if job.failure),
            not_done=tuple(job.step for job in changed if job.phase not in (*WELL, Phase.FAILED)),
            interrupted=interrupted,
            halted=halted,
            silent=self.silent,
        )


def _told(error: DctlError) -> str:
    return error.message + (f" ({error.hint})" if error.hint else "")
