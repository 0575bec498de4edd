"""What a person reads of a plan."""

import dataclasses

import click

from dctl.engine.plan import make_plan
from dctl.engine.sight import Sight
from dctl.errors import UnreachableError
from dctl.hosts.base import Json, Kind, Observed, Resource, State
from dctl.render.plan import plan_text


def asked(name: str, host: str, **spec: Json) -> Resource:
    return Resource(Kind.PROCESS, name, host, name.rsplit("-", 1)[0], spec)


def running(resource: Resource, **spec: Json) -> Observed:
    return Observed(
        resource.kind,
        resource.name,
        resource.host,
        State.RUNNING,
        "shop",
        spec=spec or resource.spec,
    )


def text(resources: list[Resource], sight: Sight) -> str:
    return click.unstyle(plan_text(make_plan("shop", resources, sight), source="shop.yaml"))


def test_of_a_list_only_the_items_that_differ_are_shown() -> None:
    new = asked("a-1", "core-1", argv=["/opt/2/python", "-m", "a", "--fast"])
    said = text([new], Sight([running(new, argv=["/opt/1/python", "-m", "a", "--slow"])]))
    assert 'argv[0] "/opt/1/python" -> "/opt/2/python", argv[3] "--slow" -> "--fast"' in said
    assert "-m" not in said


def test_what_belongs_to_a_machine_is_shown_under_it() -> None:
    image = dataclasses.replace(asked("core", "core-1/software"), kind=Kind.SOFTWARE)
    lines = text([image, asked("a-1", "edge-1"), asked("b-1", "core-1")], Sight()).splitlines()
    heads = [line for line in lines if line in ("core-1", "core-1/software", "edge-1")]
    assert heads == ["core-1", "edge-1"]


def test_a_host_that_does_not_answer_is_shown_with_the_reason_also_without_changes() -> None:
    there = asked("a-1", "core-1", argv=["a"])
    error = UnreachableError("edge-1 (me@10.0.0.1) did not answer in time")
    sight = Sight([running(there)], {"edge-1": error}, frozenset({"edge-1"}))
    said = text([there, asked("b-1", "edge-1")], sight)
    assert "shop · 2 hosts" in said
    assert "No changes" in said
    assert "edge-1\n  ? is left as it is: edge-1 (me@10.0.0.1) did not answer in time" in said
