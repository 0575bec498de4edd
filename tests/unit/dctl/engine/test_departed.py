"""Hosts that have left the spec."""

from __future__ import annotations

from pathlib import Path

import pytest

from dctl.engine.change import Intent, change
from dctl.engine.departed import departed, notes
from dctl.engine.plan import make_plan
from dctl.engine.records import who
from dctl.engine.result import Result
from dctl.engine.scope import WHOLE, Scope
from dctl.engine.sight import Sight, look
from dctl.hosts.base import Kind, Resource
from dctl.hosts.fake import FakeHost
from dctl.spec import Cluster, load
from dctl.spec.types import SshTarget

HOSTS = """\
  here: {}
  edge: {ssh: deploy@10.0.0.11, key: keys/edge}
  core: {ssh: "10.0.0.21:2222", via: edge, runtime: docker}
"""


def spec(folder: Path, hosts: str) -> Cluster:
    path = folder / "shop.yaml"
    path.write_text(f"apiVersion: draft/v1\nkind: Cluster\nname: shop\nhosts:\n{hosts}")
    return load(path, root=folder).cluster


@pytest.fixture
def here(tmp_path: Path) -> Cluster:
    """The spec, after two of its hosts have left."""
    return spec(tmp_path, "  here: {}\n")


def test_what_is_noted_of_a_host_is_enough_to_reach_it_again(tmp_path: Path, here: Cluster) -> None:
    found, lost = departed(notes(spec(tmp_path, HOSTS), tmp_path), here)
    assert lost == {}
    assert {n: (h.ssh, h.via, h.key, h.runtime) for n, h in found.items()} == {
        "edge": (SshTarget("10.0.0.11", "deploy"), None, str(tmp_path / "keys/edge"), "systemd"),
        "core": (SshTarget("10.0.0.21", "", 2222), "edge", None, "docker"),
    }


def test_a_host_that_was_a_computer_of_somebody_else_is_lost(tmp_path: Path, here: Cluster) -> None:
    noted = notes(here, tmp_path)
    assert noted["here"]["of"] == who()
    theirs = {"lap": {**noted["here"], "of": "ann@lap"}, "mine": noted["here"]}
    found, lost = departed(theirs, here)
    assert (list(found), lost) == (["mine"], {"lap": "it was the machine of ann@lap"})


def test_a_host_that_was_reached_through_one_that_nobody_knows_is_lost(
    tmp_path: Path, here: Cluster
) -> None:
    noted = notes(spec(tmp_path, HOSTS), tmp_path)
    del noted["edge"]
    assert departed(noted, here)[1] == {
        "core": 'it was reached via "edge", which is no host any more'
    }


def part(name: str, host: str) -> Resource:
    return Resource(Kind.PROCESS, name, host, name.rpartition("-")[0], {"argv": [name]})


class Shop:
    """A cluster of two hosts, with the books on the first."""

    def __init__(self) -> None:
        self.hosts = {name: FakeHost("shop", name) for name in ("core-1", "core-2")}
        self.first = self.hosts["core-1"]

    def apply(
        self, *asked: Resource, machines: str, gone: str = "", scope: Scope = WHOLE
    ) -> Result:
        looked = {name: [host] for name, host in self.hosts.items() if name != gone}
        sight = look(looked) + Sight(gone={gone: "frozen"} if gone else {})
        plan = make_plan("shop", asked, sight, scope)
        notes = dict.fromkeys(machines.split(), "known")
        intent = Intent("apply", machines=notes, secrets=lambda: {"nonce": ""})
        return change(intent, self.hosts, self.first, lambda: plan)


@pytest.fixture
def shop() -> Shop:
    """It is on both hosts."""
    shop = Shop()
    both = part("a-1", "core-1"), part("b-1", "core-2")
    assert shop.apply(*both, machines="core-1 core-2").ok
    return shop


def test_what_is_on_a_host_that_left_ends_and_then_the_host_is_forgotten(shop: Shop) -> None:
    result = shop.apply(part("a-1", "core-1"), machines="core-1")
    assert [step.name for step in result.done] == ["b-1"]
    assert shop.hosts["core-2"].observe() == []
    assert list(shop.first.machines()) == ["core-1"]
    assert result.abandoned == {}


def test_a_host_that_left_is_given_no_secret_and_what_supervises_it_ends(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    down: list[str] = []
    for name, host in shop.hosts.items():
        monkeypatch.setattr(host, "down", lambda name=name: down.append(name))
    shop.hosts["core-2"].kept.clear()
    shop.apply(part("a-1", "core-1"), machines="core-1")
    assert down == ["core-2"]
    assert shop.hosts["core-2"].kept == {}


def test_a_host_that_left_is_remembered_until_all_of_it_is_gone(shop: Shop) -> None:
    shop.hosts["core-2"].broken["b-1"] = "busy"
    assert not shop.apply(part("a-1", "core-1"), machines="core-1").ok
    assert list(shop.first.machines()) == ["core-1", "core-2"]
    other = Scope(hosts=("core-1",))
    assert shop.apply(part("a-1", "core-1"), machines="core-1", scope=other).ok
    assert list(shop.first.machines()) == ["core-1", "core-2"]


def test_a_host_that_left_and_is_out_of_reach_is_named_and_then_forgotten(shop: Shop) -> None:
    result = shop.apply(part("a-1", "core-1"), machines="core-1", gone="core-2")
    assert (result.ok, result.abandoned) == (True, {"core-2": "frozen"})
    assert list(shop.first.machines()) == ["core-1"]


def test_a_host_is_noted_before_anything_is_put_on_it(shop: Shop) -> None:
    noted: list[list[str]] = []

    class Third(FakeHost):
        def ensure(self, resource: Resource) -> None:
            noted.append(list(shop.first.machines()))
            super().ensure(resource)

    shop.hosts["core-3"] = Third("shop", "core-3")
    shop.apply(part("c-1", "core-3"), machines="core-1 core-2 core-3")
    assert noted == [["core-1", "core-2", "core-3"]]
