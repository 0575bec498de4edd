"""What a watch did, one line a thing."""

from __future__ import annotations

import time

import click

from dctl.engine.watch import Healed, Note, Unhealed
from dctl.render.output import paint
from dctl.render.plan import why
from dctl.render.progress import done_word
from dctl.render.times import span


def print_note(note: Note) -> None:
    """Print it on stderr, with the time."""
    click.echo(f"{time.strftime('%H:%M:%S')}  {_text(note)}", err=True)


def _text(note: Note) -> str:
    if isinstance(note, Healed):
        step = note.step
        what = paint(done_word(step.verdict.action), fg="green")
        return f"{what} {step.name} on {step.host}: {why(step)} ({span(note.elapsed)})"
    if isinstance(note, Unhealed):
        step = note.failure.step
        action = step.verdict.action if step.changes else "wait for"
        what = paint(f"could not {action}", fg="red")
        again = f"; tried again in {span(note.again)}"
        return f"{what} {step.name} on {step.host}: {note.failure.reason}{again}"
    return note.text
