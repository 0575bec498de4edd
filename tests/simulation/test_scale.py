"""A plan of many machines costs as much for each of them as a plan of few."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from tests.support.many import Many

FEW, TIMES = 200, 4
# What a machine under load may add; quadratic growth would be TIMES more.
SLACK = 1.6


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


def test_time_grows_no_faster_than_the_number_of_machines(clusters: list[Many]) -> None:
    def spent(many: Many) -> float:
        began = time.process_time()
        many.plan()
        return time.process_time() - began

    few, more = (min(spent(many) for _ in range(2)) for many in clusters)
    assert more / few < TIMES * SLACK


def test_memory_grows_no_faster_than_the_number_of_machines(clusters: list[Many]) -> None:
    def peak(many: Many) -> int:
        tracemalloc.start()
        try:
            many.plan()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, more = map(peak, clusters)
    assert more / few < TIMES * SLACK


def test_what_was_carried_out_on_many_machines_is_planned_as_done(clusters: list[Many]) -> None:
    plan = clusters[1].plan()
    assert len(plan.steps) > 3 * FEW * TIMES
    assert plan.changed == ()
