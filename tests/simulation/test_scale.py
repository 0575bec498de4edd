"""A plan of many machines costs as much for each of them as a plan of few."""

from __future__ import annotations

import gc
import itertools
import sys
import threading
import tracemalloc
from types import FrameType
from typing import Any

import pytest

from tests.support.many import Many

FEW, TIMES = 75, 4


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> list[Many]:
    """Few machines and many, everything on them as asked."""
    folder = tmp_path_factory.mktemp("scale")
    found = []
    for hosts in (FEW, FEW * TIMES):
        many = Many(folder / str(hosts), hosts)
        many.carry_out(many.plan())
        found.append(many)
    return found


def lines_run(many: Many) -> int:
    """How many lines of dctl's a plan runs. Unlike its time, that is the same each time."""
    counted = itertools.count()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "call" and not frame.f_globals.get("__name__", "").startswith("dctl."):
            return None
        next(counted)
        return trace

    before = sys.gettrace()
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        many.plan()
    finally:
        sys.settrace(before)
        threading.settrace(before)  # type: ignore[arg-type]
    return next(counted)


def peak(many: Many) -> int:
    """The most memory that a plan has at once, whenever garbage is looked for."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        many.plan()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()


def test_work_grows_no_faster_than_the_number_of_machines(clusters: list[Many]) -> None:
    few, more = map(lines_run, clusters)
    assert more / few < TIMES * 1.05


def test_memory_grows_no_faster_than_the_number_of_machines(clusters: list[Many]) -> None:
    few, more = map(peak, clusters)
    assert more / few < TIMES * 1.2  # tables of names grow in leaps


def test_what_was_carried_out_on_many_machines_is_planned_as_done(clusters: list[Many]) -> None:
    plan = clusters[1].plan()
    assert len(plan.steps) > 3 * FEW * TIMES
    assert plan.changed == ()
