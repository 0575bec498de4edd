"""An apply while it happens, on stderr: a live table on a terminal, else one line a step."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import click

from dctl.engine.apply import Event, Phase
from dctl.engine.plan import Plan
from dctl.engine.verdict import Action
from dctl.render.narration import Sink, line, narrator
from dctl.render.output import paint
from dctl.render.plan import mark
from dctl.render.times import span
from dctl.secrets.redaction import redacted

Mode = Literal["auto", "tty", "plain", "json", "quiet"]
_BESIDE = 45  # columns of a live row besides its words
_FINAL = (Phase.DONE, Phase.FAILED, Phase.SKIPPED)
_DOING = {
    Action.CREATE: ("creating", "created"),
    Action.UPDATE: ("updating", "updated"),
    Action.REPLACE: ("replacing", "replaced"),
    Action.HEAL: ("healing", "healed"),
    Action.DELETE: ("deleting", "deleted"),
}


@contextmanager
def progress(plan: Plan, mode: Mode) -> Iterator[Callable[[Event], None]]:
    """Yield the listener that an apply reports to; what long work says meanwhile is shown the same
    way."""
    if mode == "auto":
        mode = "tty" if sys.stderr.isatty() and plan.changed else "plain"
    if mode == "tty":
        with _live(plan) as (listener, say), narrator.to(say):
            yield listener
        return
    listener, say = {
        "plain": (_plain, line),
        "json": (_json, _json_words),
        "quiet": (lambda event: None, lambda text: None),
    }[mode]
    with narrator.to(say):
        yield listener


def done_word(action: Action) -> str:
    """What was done, in a word: "healed"."""
    return _DOING[action][1]


def _plain(event: Event) -> None:
    if event.step.changes and event.phase in _FINAL:
        click.echo(_line(event), err=True)


def _json(event: Event) -> None:
    document = {
        "step": f"{event.step.kind}/{event.step.name}",
        "host": event.step.host,
        "action": event.step.verdict.action.value,
        "phase": event.phase.value,
        "elapsed": round(event.elapsed, 3),
        "detail": event.detail,
    }
    click.echo(json.dumps(document), err=True)


def _json_words(text: str) -> None:
    click.echo(json.dumps({"phase": "working", "detail": text}), err=True)


def _line(event: Event) -> str:
    # Here, too: a terminal's line may be broken in the middle of a secret.
    return redacted(_told(event))


def _told(event: Event) -> str:
    step = event.step
    what = f"  {mark(step.verdict.action)} {step.kind:<8} {step.name:<16} {step.host:<10}"
    if event.phase is Phase.DONE:
        return f"{what} {done_word(step.verdict.action):<9} {span(event.elapsed)}"
    if event.phase is Phase.FAILED:
        return f"{what} {paint('failed', fg='red')}    {event.detail}"
    return f"{what} not begun"


@contextmanager
def _live(plan: Plan) -> Iterator[tuple[Callable[[Event], None], Sink]]:
    # Rich costs 30 ms: only a terminal pays for it.
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
    )

    bars = Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    of = len(plan.changed)
    total = bars.add_task(f"applying 0/{of}", total=of)
    over = 0
    rows: dict[str, TaskID] = {}
    words = bars.add_task("", total=None, visible=False)  # of long work: the newest alone

    def listener(event: Event) -> None:
        nonlocal over
        step = event.step
        if not step.changes:
            return
        if event.phase in _FINAL:
            if step.name in rows:
                bars.remove_task(rows.pop(step.name))
            bars.console.print(_rich_line(event), highlight=False)
            bars.update(words, visible=False)
            over += 1
            bars.update(total, description=f"applying {over}/{of}", completed=over)
        elif step.name not in rows:
            doing = f"{_DOING[step.verdict.action][0]} {step.name}"
            rows[step.name] = bars.add_task(doing, total=None)

    def say(text: str) -> None:
        room = max(bars.console.width - _BESIDE, 20)
        shown = text if len(text) <= room else text[: room - 1] + "…"
        bars.update(words, description=escape(shown), visible=True, refresh=True)

    with bars:
        yield listener, say


def _rich_line(event: Event) -> object:
    from rich.text import Text

    return Text.from_ansi(_line(event))
