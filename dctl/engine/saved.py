"""Plans that are kept: to be carried out later exactly as they were shown, or not at all.

A saved plan holds all that was asked for in its scope, ports that were picked included, and of all
that was there a digest. Before it is carried out everything is looked at and planned anew; whatever
moved since then is named.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dctl import __version__
from dctl.engine.plan import Plan, asked_by
from dctl.engine.records import resource_from, resource_json, who
from dctl.engine.scope import Scope
from dctl.engine.step import Step
from dctl.engine.verdict import Action, differences
from dctl.errors import DctlError, NotFoundError
from dctl.hosts.base import Json, Resource, key_of
from dctl.hosts.state.files import write_whole
from dctl.spec.variant import Variant

KIND = "SavedPlan"
VERSION = "draft/v1"

Print = Mapping[str, Json]
"""What one step of a plan does, and a digest of what it found."""


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan in a file. `spec`, `variant` and `scope` say of what, `port_offset` is what was asked
    for; `resources` are those of its scope."""

    path: Path
    cluster: str
    spec: Path
    variant: Variant
    port_offset: int | None
    scope: Scope
    resources: tuple[Resource, ...]
    prints: tuple[Print, ...]

    @property
    def ports(self) -> list[Resource]:
        """Everything that has got a port in this plan."""
        temporary = [r.rollout.stand_in for r in self.resources if r.rollout]
        return [*self.resources, *(stand_in for stand_in in temporary if stand_in)]


def save(path: Path, plan: Plan, *, spec: Path, variant: Variant, port_offset: int | None) -> None:
    """Write the plan to a file that only its owner reads: environments are in it."""
    document = {
        "apiVersion": VERSION,
        "kind": KIND,
        "dctl": __version__,
        "time": time.time(),
        "who": who(),
        "cluster": plan.cluster,
        "spec": str(spec.absolute()),
        "environments": list(variant.environments),
        "profiles": list(variant.profiles),
        "portOffset": port_offset,
        "scope": plan.scope.to_json(),
        "steps": [_print(step) for step in plan.steps],
        "resources": [resource_json(resource) for resource in asked_by(plan.steps)],
    }
    try:
        write_whole(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise DctlError(f"the plan cannot be written to {path}: {error.strerror}") from error


def load(path: Path) -> SavedPlan:
    """Read a saved plan. Raises DctlError when it is none, or another version's."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"there is no saved plan {path}", hint=_MAKE) from None
    except OSError as error:
        raise DctlError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError:
        raise DctlError(f"{path} is no saved plan: it is not JSON", hint=_MAKE) from None
    kind = (document.get("apiVersion"), document.get("kind")) if isinstance(document, dict) else ()
    if kind != (VERSION, KIND):
        raise DctlError(f"{path} is no saved plan of {VERSION}", hint=_MAKE)
    try:
        return SavedPlan(
            path=path,
            cluster=document["cluster"],
            spec=Path(document["spec"]),
            variant=Variant(tuple(document["environments"]), tuple(document["profiles"])),
            port_offset=document["portOffset"],
            scope=Scope.from_json(document["scope"]),
            resources=tuple(resource_from(value) for value in document["resources"]),
            prints=tuple(document["steps"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DctlError(f"{path} is a damaged plan: {error!r}", hint=_MAKE) from None


_MAKE = "make one: dctl infra plan --out FILE"


def refuse_stale(saved: SavedPlan, now: Plan) -> None:
    """Raise DctlError, naming what moved, unless `now` is the very plan that was saved."""
    found = [
        *_respecified(saved.resources, asked_by(now.steps)),
        *_moved(saved.prints, _prints(now)),
    ]
    if found:
        raise DctlError(
            f"{saved.path} is out of date, nothing was changed:\n  " + "\n  ".join(found),
            hint=f"plan anew: dctl infra plan --out {saved.path}",
        )


def refuse_moved(shown: Plan, now: Plan) -> None:
    """Raise DctlError when what is there is no longer what a person has just agreed to change.
    What has ended since then, or come back, is no such thing: it is healed."""
    for host in shown.silent.keys() ^ now.silent.keys():
        how = "answers again" if host in shown.silent else "does not answer any more"
        raise DctlError(f"{host} {how}, nothing was done", hint="look again: dctl infra plan")
    if found := list(_moved(_prints(shown), _prints(now), drift=False)):
        raise DctlError(
            "the cluster was changed by somebody else since it was planned, nothing was done:\n  "
            + "\n  ".join(found),
            hint="look at it again: dctl infra plan",
        )


def _prints(plan: Plan) -> list[Print]:
    return [_print(step) for step in plan.steps]


def _print(step: Step) -> dict[str, Any]:
    return {
        "host": step.host,
        "kind": step.kind.value,
        "name": step.name,
        "role": step.role.value,
        "action": step.verdict.action.value,
        "reason": step.verdict.reason,
        "changes": [
            {"field": c.field, "before": c.before, "after": c.after} for c in step.verdict.changes
        ],
        "before": step.before.digest if step.before else None,
    }


def _respecified(before: Sequence[Resource], now: Sequence[Resource]) -> Iterator[str]:
    """What the spec asks for differently. What came or went is a step that moved."""
    asked_now = {key_of(r): r for r in now}
    for resource in before:
        other = asked_now.get(key_of(resource))
        if other is None:
            continue
        changes = list(differences(resource_json(resource), resource_json(other)))
        if changes:
            fields = ", ".join(change.field.removeprefix("spec.") for change in changes)
            yield f"{resource.name} on {resource.host}: the spec asks for other {fields}"


def _moved(before: Sequence[Print], now: Sequence[Print], *, drift: bool = True) -> Iterator[str]:
    """What would be done differently; without `drift`, whether a thing runs is no difference."""
    old, new = ({_key(step): step for step in steps} for steps in (before, now))
    for key in dict.fromkeys([*old, *new]):
        was, is_ = (_does(steps.get(key), drift=drift) for steps in (old, new))
        if was != is_:
            yield f"{key[2]} on {key[0]}: {was} when planned, now {is_}"
        elif key in old and key in new and _found(old[key]) != _found(new[key]):
            yield f"{key[2]} on {key[0]}: it is not what it was when planned"


def _key(step: Print) -> tuple[str, str, str, str]:
    return step["host"], step["kind"], step["name"], step["role"]


def _does(step: Print | None, *, drift: bool) -> str:
    if step is None or step["action"] == Action.NONE.value:
        return "no change"
    return "no change" if not drift and step["action"] == Action.HEAL.value else step["action"]


def _found(step: Print) -> tuple[Json, Json]:
    return step["before"], step["changes"]
