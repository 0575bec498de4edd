"""A plan as text: what will happen to what, on which host, and the field that decided it."""

from __future__ import annotations

import difflib
import json

from dctl.engine.plan import Plan, Step
from dctl.engine.verdict import Action, Change
from dctl.hosts.base import RUNNING_KINDS, machine_of
from dctl.render.output import paint
from dctl.spec.units import size_text

_MARK = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.REPLACE: ("±", "yellow"),
    Action.HEAL: ("!", "magenta"),
    Action.DELETE: ("-", "red"),
}
_WIDEST_VALUE = 60
_ACTION = 10  # width of the column that says what happens


def plan_text(plan: Plan, *, source: str) -> str:
    """The whole plan. `source` names the spec file for the title."""
    hosts = {step.host for step in plan.steps if step.kind in RUNNING_KINDS}
    hosts |= plan.silent.keys()
    count = f"{len(hosts)} host{'s' if len(hosts) != 1 else ''}"
    lines = [paint(f"{plan.cluster} · {count} · {source}", bold=True)]
    if plan.scope:
        left = f"{plan.left_out} other change{'s' if plan.left_out != 1 else ''}"
        lines.append(f"Partial: only {plan.scope}, and what that needs; {left} left out.")
    if plan.move:
        lines.append(f"{paint('⇄', fg='yellow')} {plan.move}; writes wait meanwhile.")
    if plan.leaving:
        who = ", ".join(plan.leaving) + (" has" if len(plan.leaving) == 1 else " have")
        lines.append(
            f"{paint('-', fg='red')} {who} ended and may still count as nodes of the engine:"
            " to count no more."
        )
    if not plan.changed:
        lines.append(f"No changes: {len(plan.steps)} resources are as asked.")
        return "\n".join([*lines, *_silent(plan)])
    width = max(len(step.name) for step in plan.changed)
    for machine in dict.fromkeys(machine_of(step.host) for step in plan.steps):
        steps = [step for step in plan.steps if machine_of(step.host) == machine]
        changed = [step for step in steps if step.changes]
        lines += ["", machine, *(line for step in changed for line in _step(step, width))]
        if unchanged := len(steps) - len(changed):
            lines.append(f"    {unchanged} unchanged")
    return "\n".join([*lines, *_silent(plan), "", f"Plan: {plan_counts(plan)}."])


def _silent(plan: Plan) -> list[str]:
    mark = paint("?", fg="red")
    return [
        line
        for hosts, what in ((plan.silent, "is"), (plan.gone, "has left the spec, and is"))
        for host, why in hosts.items()
        for line in ("", host, f"  {mark} {what} left as it is: {why}")
    ]


def plan_counts(plan: Plan) -> str:
    """ "1 to create, 2 to update", in a fixed order; "no changes" when there are none."""
    counts = [(action, plan.count(action)) for action in _MARK]
    return ", ".join(f"{n} to {action}" for action, n in counts if n) or "no changes"


def mark(action: Action) -> str:
    """The sign of an action, in its colour."""
    sign, color = _MARK[action]
    return paint(sign, fg=color)


def why(step: Step) -> str:
    """Why a step changes something, in one line."""
    verdict = step.verdict
    return ", ".join(map(_change, verdict.changes)) or verdict.reason or "it was not there"


def _step(step: Step, width: int) -> list[str]:
    verdict = step.verdict
    action = paint(verdict.action, fg=_MARK[verdict.action][1])
    head = f"  {mark(verdict.action)} {step.kind:<10} {step.name:<{width}}  {action}"
    forced = "   # forces replacement" if verdict.action is Action.REPLACE else ""
    details = [_change(change) + forced for change in verdict.changes] or [verdict.reason]
    first, *rest = details
    if not first:
        return [head]
    indent = " " * (2 + 2 + 11 + width + 2 + _ACTION)
    return [head + " " * (_ACTION - len(verdict.action)) + first, *(indent + r for r in rest)]


def _change(change: Change) -> str:
    before, after = change.before, change.after
    if before == after:  # both hidden
        return f"{change.field} changed"
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return ", ".join(
            f"{change.field}[{number}] {_value(old)} -> {_value(new)}"
            for number, (old, new) in enumerate(zip(before, after, strict=True))
            if old != new
        )
    if isinstance(before, str) and isinstance(after, str) and "\n" in before + after:
        return f"{change.field} {_changed_lines(before, after)}"
    if change.field == "memory":
        before, after = (size_text(each) if each else each for each in (before, after))
        return f"memory {before or '(none)'} -> {after or '(none)'}"
    return f"{change.field} {_value(before)} -> {_value(after)}"


def _changed_lines(before: str, after: str) -> str:
    """Of two texts only the lines that differ, at most two of them."""
    rows = [
        row
        for row in difflib.ndiff(before.splitlines(), after.splitlines())
        if row.startswith(("- ", "+ "))
    ]
    shown = " ".join(f"{row[0]}{_value(row[2:].strip())}" for row in rows[:2])
    more = f" and {len(rows) - 2} more lines" if len(rows) > 2 else ""
    return shown + more


def _value(value: object) -> str:
    if value is None:
        return "(none)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST_VALUE else text[: _WIDEST_VALUE - 1] + "…"
