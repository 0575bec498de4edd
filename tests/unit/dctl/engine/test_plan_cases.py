"""Spec and what is there, to a plan: a folder of cases, five for each kind of thing.

Everything is there as the spec asks, except for what a case says of it: a thing is `absent`,
`present` (of an image or of software), `foreign`, or has another owner or other fields. A case may
have a `scope`.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dctl.engine.catalogue.containers import ContainerSite
from dctl.engine.catalogue.ground import Ground
from dctl.engine.catalogue.processes import ProcessSite
from dctl.engine.catalogue.site import Site
from dctl.engine.catalogue.units import CORE, UnitSite
from dctl.engine.desired import desired
from dctl.engine.plan import Plan, make_plan
from dctl.engine.ports import PortBook
from dctl.engine.scope import Scope
from dctl.engine.sight import Sight
from dctl.errors import ForeignError
from dctl.hosts.base import RUNNING_KINDS, Kind, Observed, Resource, State
from dctl.hosts.images import ImageReader, image_resource
from dctl.hosts.routes import INGRESS
from dctl.hosts.systemd.environments import SoftwareReader, software_resource
from dctl.hosts.systemd.software import Software
from dctl.spec import load

CASES = Path(__file__).parents[3] / "cases" / "plan"
KINDS = {"process": Kind.PROCESS, "docker": Kind.CONTAINER, "systemd": Kind.PROCESS}
IMAGE = "draft/core:1"
SOFTWARE = Software(None, "3.11", {}, CORE)


class Machine:
    """A machine that has told what stands in its /opt/draft."""

    name = "core-1"

    def __init__(self, *environments: str) -> None:
        self._environments = environments

    def facts(self) -> Mapping[str, Any]:
        return {"environments": self._environments}


def site(runtime: str) -> Site:
    ports = PortBook([], lambda host, address: 20_001)
    if runtime == "docker":
        return ContainerSite(host="local", ports=ports, images={CORE: IMAGE}, nonce_from="")
    folders: dict[str, Any] = {
        "files_of": lambda name: Path("/files") / name,
        "data_of": lambda name: Path("/data") / name,
        "secret_of": lambda name, secret: Path("/secrets") / name / secret,
        "secret_file": lambda name: Path("/kept") / name,
    }
    if runtime == "systemd":
        return UnitSite(host="core-1", ports=ports, software={CORE: SOFTWARE}, **folders)
    return ProcessSite(host="local", ports=ports, **folders)


def asked(case: Mapping[str, Any], folder: Path) -> list[Resource]:
    path = folder / "cluster.yaml"
    head = "apiVersion: draft/v1\nkind: Cluster\nname: shop\n"
    far = "hosts: {core-1: {ssh: me@10.0.0.1}}\n" if case["runtime"] == "systemd" else ""
    path.write_text(f"{head}runtime: {case['runtime']}\n{far}{case['spec']}")
    cluster = load(path, root=folder).cluster
    place = site(case["runtime"])
    below = {
        "docker": [image_resource("images", IMAGE, CORE)],
        "systemd": [software_resource("core-1", CORE, SOFTWARE)],
    }
    return [
        *below.get(case["runtime"], []),
        *desired(Ground(cluster, folder, {place.host: place})),
    ]


def seen(case: Mapping[str, Any], resources: list[Resource]) -> Iterator[Observed]:
    """What is there, as the readers tell it."""
    said = {name.replace("SOFTWARE", SOFTWARE.digest): how for name, how in case["seen"].items()}
    for resource in resources:
        how = said.pop(resource.name, {})
        if how != "absent" and resource.kind in (*RUNNING_KINDS, Kind.ROUTE):
            its = Observed(
                resource.kind, resource.name, resource.host, State.RUNNING, "shop",
                service=resource.service, spec={**resource.spec, **how.get("spec", {})},
                ports=resource.ports,
            )  # fmt: skip
            state = State(how.get("state", State.RUNNING))
            yield dataclasses.replace(its, owner=how.get("owner", "shop"), state=state)
        elif how == "absent":
            said[resource.name] = how
    present = {name for name, how in said.items() if how == "present"}
    if case["runtime"] == "docker":
        have = present if said.get(IMAGE) == "absent" else {IMAGE, *present}
        yield from ImageReader("images", "shop", {IMAGE: None}, have.__contains__).observe()
    if case["runtime"] == "systemd":
        gone = any(how == "absent" for how in said.values())
        machine = Machine(*present, *([] if gone else [SOFTWARE.digest]))
        wanted = {CORE: SOFTWARE}
        yield from SoftwareReader("shop", machine, lambda: wanted).observe()  # type: ignore[arg-type]
    for name, how in said.items():
        if isinstance(how, dict):
            kind = Kind.ROUTE if "/" in name else KINDS[case["runtime"]]
            host = INGRESS if kind is Kind.ROUTE else "local"
            service = how.get("service", "")
            yield Observed(kind, name, host, State.RUNNING, how["owner"], service, spec={})


def told(plan: Plan) -> list[str]:
    """One line for each step that changes something."""
    lines = []
    for step in plan.changed:
        fields = ", ".join(change.field for change in step.verdict.changes)
        line = f"{step.verdict.action} {step.kind} {step.name}" + (f": {fields}" if fields else "")
        lines.append(line.replace(SOFTWARE.digest, "SOFTWARE"))
    return lines


@pytest.mark.parametrize("path", sorted(CASES.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_case_plans_what_its_file_says(path: Path, tmp_path: Path) -> None:
    case = YAML(typ="safe").load(path)
    resources = asked(case, tmp_path)
    sight = Sight(list(seen(case, resources)))
    scope = Scope(**{sort: tuple(names) for sort, names in case.get("scope", {}).items()})
    expected = case["expect"]
    if refused := [line for line in expected if line.startswith("refuse ")]:
        with pytest.raises(ForeignError, match=refused[0].removeprefix("refuse ")):
            make_plan("shop", resources, sight, scope)
    else:
        assert told(make_plan("shop", resources, sight, scope)) == expected, case["why"]


def test_there_are_cases_for_each_kind_of_thing() -> None:
    found = {path.stem for path in CASES.glob("*.yaml")}
    wanted = {"absent", "same", "changed", "foreign", "orphan"}
    assert found >= {f"{kind}-{case}" for kind in Kind for case in wanted}
