"""What an apply shows on stderr while it goes on."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from dctl.engine.plan import Plan
from dctl.render.narration import narrator
from dctl.render.progress import progress

NOTHING = Plan("shop", ())
STEPS = [f"draft/echo:1: step {number}/3: COPY a b" for number in (1, 2, 3)]


def test_long_work_is_told_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    narrator("pulling postgres:16")
    with progress(NOTHING, "plain"):
        for step in STEPS:
            narrator(step)
    assert capsys.readouterr().err.splitlines() == ["pulling postgres:16", *STEPS]


def test_long_work_is_told_in_events_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(NOTHING, "json"):
        narrator(STEPS[0])
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert told == [{"phase": "working", "detail": STEPS[0]}]


def test_nothing_is_told_where_quiet_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(NOTHING, "quiet"):
        narrator(STEPS[0])
    assert capsys.readouterr().err == ""


CHILD = """
from dctl.engine.apply import Event, Phase
from dctl.engine.plan import make_plan
from dctl.engine.sight import Sight
from dctl.hosts.images import image_resource
from dctl.render.narration import narrator
from dctl.render.progress import progress

plan = make_plan("shop", [image_resource("images", "draft/echo:1", "echo")], Sight())
with progress(plan, "auto") as listener:
    listener(Event(plan.steps[0], Phase.ACTING, 0.0))
    for number in (1, 2, 3):
        narrator(f"draft/echo:1: step {number}/3: [COPY] " + "x" * 300)
    listener(Event(plan.steps[0], Phase.DONE, 1.0))
"""


def test_long_work_is_one_line_on_a_terminal_and_gone_afterwards() -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1"}
    child = subprocess.Popen([sys.executable, "-c", CHILD], stderr=theirs, env=env)
    os.close(theirs)
    said = b""
    try:
        while data := os.read(ours, 65536):
            said += data
    except OSError:
        pass  # the child has closed its end
    assert child.wait(timeout=30) == 0, said.decode()
    os.close(ours)
    assert b"creating draft/echo:1" in said
    assert b"step 3/3: [COPY] xxx" in said
    assert b"x" * 100 not in said
    left = said.rpartition(b"\x1b[2K")[2]  # after the last erased line
    assert b"step" not in left
    assert b"created" in said
