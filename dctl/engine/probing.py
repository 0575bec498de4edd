"""The health of what runs, asked for side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from dctl.engine.sight import Sight
from dctl.hosts.base import Probe, Reader, Resource, State

_PARALLEL = 32  # probes at once: they mostly wait


def probes(
    readers: Mapping[str, Reader], asked: Sequence[Resource], sight: Sight
) -> dict[str, Probe]:
    """The answer of each resource that runs and has a health check, by name."""
    running = {o.name for o in sight.things if o.state is State.RUNNING}
    checked = [r for r in asked if r.check and r.name in running]
    if not checked:
        return {}

    def probe(resource: Resource) -> Probe:
        assert resource.check is not None
        return readers[resource.host].probe(resource.check)

    with ThreadPoolExecutor(min(len(checked), _PARALLEL)) as pool:
        answers = pool.map(probe, checked)
        return {r.name: answer for r, answer in zip(checked, answers, strict=True)}
