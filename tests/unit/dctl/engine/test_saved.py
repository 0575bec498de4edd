"""Plans that are kept, and what makes them out of date."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dctl.engine.plan import Plan, make_plan
from dctl.engine.saved import SavedPlan, load, refuse_moved, refuse_stale, save
from dctl.engine.scope import Scope
from dctl.engine.sight import Sight
from dctl.errors import DctlError, NotFoundError
from dctl.hosts.base import Kind, Need, Observed, Resource, State
from dctl.hosts.fake import FakeHost
from dctl.spec.variant import Variant


def part(name: str, *needs: str, argv: str = "a", token: str = "old") -> Resource:
    spec = {"argv": [argv], "env": {"TOKEN": token}}
    return Resource(
        Kind.PROCESS, name, "local", name.rpartition("-")[0], spec, needs=tuple(map(Need, needs))
    )


@pytest.fixture
def host() -> FakeHost:
    """A cluster in which a-1 runs."""
    host = FakeHost("shop")
    host.ensure(part("a-1"))
    return host


ASKED = [part("a-1", argv="b"), part("b-1", "a-1")]


def plan(host: FakeHost, asked: Sequence[Resource] = ASKED) -> Plan:
    return make_plan("shop", asked, Sight(host.observe()))


def kept(folder: Path, made: Plan) -> SavedPlan:
    path = folder / "p.json"
    spec = Path("shop.yaml")
    save(path, made, spec=spec, variant=Variant(("prod",), ("debug",)), port_offset=100)
    return load(path)


def test_a_plan_comes_back_as_it_was_kept(tmp_path: Path, host: FakeHost) -> None:
    saved = kept(tmp_path, plan(host))
    assert (saved.cluster, saved.port_offset) == ("shop", 100)
    assert saved.spec == Path("shop.yaml").absolute()
    assert saved.variant == Variant(("prod",), ("debug",))
    assert list(saved.resources) == ASKED
    refuse_stale(saved, plan(host))


def test_a_plan_of_a_part_is_kept_as_one_and_what_else_is_asked_for_may_change(
    tmp_path: Path, host: FakeHost
) -> None:
    def made(*asked: Resource) -> Plan:
        return make_plan("shop", asked, Sight(host.observe()), Scope(("a",)))

    saved = kept(tmp_path, made(part("a-1", argv="b"), part("c-1")))
    assert saved.scope == Scope(("a",))
    refuse_stale(saved, made(part("a-1", argv="b"), part("c-1", argv="b")))
    with pytest.raises(DctlError, match="a-1 on local: the spec asks for other argv"):
        refuse_stale(saved, made(part("a-1", argv="c"), part("c-1")))


def test_only_its_owner_reads_it_whatever_stood_there_before(
    tmp_path: Path, host: FakeHost
) -> None:
    path = tmp_path / "p.json"
    path.write_text("old")
    path.chmod(0o644)
    kept(tmp_path, plan(host))
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_names_its_version_and_kind(tmp_path: Path, host: FakeHost) -> None:
    kept(tmp_path, plan(host))
    document = json.loads((tmp_path / "p.json").read_text())
    assert (document["apiVersion"], document["kind"]) == ("draft/v1", "SavedPlan")


def stale(saved: SavedPlan, now: Plan) -> str:
    with pytest.raises(DctlError) as caught:
        refuse_stale(saved, now)
    return caught.value.message


def test_what_ended_since_then_is_named(tmp_path: Path, host: FakeHost) -> None:
    host.ensure(part("b-1", "a-1"))
    saved = kept(tmp_path, plan(host))
    host.crash("b-1")
    assert "b-1 on local: no change when planned, now heal" in stale(saved, plan(host))


def test_what_is_done_already_is_named(tmp_path: Path, host: FakeHost) -> None:
    saved = kept(tmp_path, plan(host))
    host.ensure(ASKED[0])
    said = stale(saved, plan(host))
    assert "a-1 on local: update when planned, now no change" in said
    assert "b-1" not in said


def test_what_somebody_else_made_is_named(tmp_path: Path, host: FakeHost) -> None:
    saved = kept(tmp_path, plan(host))
    host.ensure(part("x-1"))
    assert "x-1 on local: no change when planned, now delete" in stale(saved, plan(host))


def test_another_starting_point_is_named_even_where_it_cannot_be_shown(
    tmp_path: Path, host: FakeHost
) -> None:
    host.ensure(part("a-1", token="pearl"))
    saved = kept(tmp_path, plan(host))
    host.ensure(part("a-1", token="coral"))
    said = stale(saved, plan(host))
    assert "a-1 on local: it is not what it was when planned" in said
    assert "pearl" not in said
    assert "coral" not in said


@pytest.mark.parametrize(
    ("now", "field"),
    [(part("a-1", argv="c"), "argv"), (part("a-1", "z-1", argv="b"), "needs")],
)
def test_what_the_spec_asks_for_differently_is_named(
    tmp_path: Path, host: FakeHost, now: Resource, field: str
) -> None:
    saved = kept(tmp_path, plan(host))
    said = stale(saved, plan(host, [now, ASKED[1]]))
    assert f"a-1 on local: the spec asks for other {field}" in said


def test_what_the_spec_no_longer_asks_for_is_named(tmp_path: Path, host: FakeHost) -> None:
    saved = kept(tmp_path, plan(host))
    said = stale(saved, plan(host, ASKED[:1]))
    assert "b-1 on local: create when planned, now no change" in said


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "nonsense", '{"apiVersion": "draft/v2", "kind": "SavedPlan"}'],
)
def test_what_is_no_plan_is_refused_with_the_way_to_make_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(DctlError, match="no saved plan") as caught:
        load(path)
    assert "dctl infra plan --out" in caught.value.hint


def test_a_damaged_plan_and_an_absent_one_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('{"apiVersion": "draft/v1", "kind": "SavedPlan", "cluster": "shop"}')
    with pytest.raises(DctlError, match="damaged"):
        load(path)
    with pytest.raises(NotFoundError, match="there is no saved plan"):
        load(tmp_path / "q.json")


def test_what_a_person_agreed_to_is_not_carried_out_on_what_somebody_else_made_since(
    host: FakeHost,
) -> None:
    shown = plan(host)
    host.ensure(part("a-1", argv="z"))
    with pytest.raises(DctlError, match="a-1 on local: it is not what it was"):
        refuse_moved(shown, plan(host))


def test_what_only_ended_since_it_was_agreed_to_is_healed(host: FakeHost) -> None:
    host.ensure(part("b-1", "a-1"))
    shown = plan(host)
    host.crash("b-1")
    refuse_moved(shown, plan(host))


def test_that_something_restarts_meanwhile_is_no_move(tmp_path: Path, host: FakeHost) -> None:
    saved = kept(tmp_path, plan(host))
    seen = [o for o in host.observe() if o.name == "a-1"]
    again = Observed(
        Kind.PROCESS, "a-1", "local", State.STARTING, "shop", "a", seen[0].spec, pid=9, restarts=3
    )
    refuse_stale(saved, make_plan("shop", ASKED, Sight([again])))
