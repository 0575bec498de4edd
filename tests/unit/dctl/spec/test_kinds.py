"""`dctl explain`: every kind has an example that is a spec, and every path leads somewhere."""

import re
from pathlib import Path

import pytest

from dctl.errors import NotFoundError
from dctl.spec import load
from dctl.spec.kinds import Kind, find, kinds, lines_of
from dctl.spec.variant import Variant

ROOT = Path(__file__).parents[4]
EXAMPLES = ROOT / "dctl" / "spec" / "examples"
ENV = {"SHOP_DB": "a", "SHOP_JOIN": "b"}


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.name)
def test_the_example_of_a_kind_is_a_spec_that_says_a_word_on_each_of_its_keys(kind: Kind) -> None:
    path = EXAMPLES / f"{kind.name.lower()}.yaml"
    named = re.findall(r"profiles: \[(\w+)\]", kind.example)
    load(path, Variant(profiles=tuple(named)), env=ENV, root=ROOT)
    shown = "\n".join(lines_of(kind.example))
    whole = kind.example if kind.name == "Cluster" else shown
    missing = [f.key for f in kind.fields if not re.search(rf"\b{f.key}\b", whole)]
    assert not missing


def test_there_is_no_example_of_what_is_no_kind() -> None:
    known = {name.lower() for name in kinds()}
    assert {path.stem for path in EXAMPLES.iterdir()} == known


@pytest.mark.parametrize(
    ("path", "kind", "field"),
    [
        ("", "Cluster", None),
        ("services", "Service", None),
        ("services.cart", "Service", None),
        ("services.cart.health", "Health", None),
        ("services.cart.health.interval", "Health", "interval"),
        ("services.cart.routes[0].prefix", "Route", "prefix"),
        ("services.cart.routes.prefix", "Route", "prefix"),
        ("services.cart.env.REGION", "Service", "env"),
        ("services.cart.config.anything", "Service", "config"),
        ("core.nats", "Nats", None),
        ("core.catalyst.topics.orders.keep", "Topic", "keep"),
        ("hosts.edge-1.ssh", "Host", "ssh"),
        ("infra.postgres.from", "Backing", "from"),
        ("health", "Health", None),
        ("Route.prefix", "Route", "prefix"),
        ("name", "Cluster", "name"),
    ],
)
def test_a_path_leads_to_its_kind_or_field(path: str, kind: str, field: str | None) -> None:
    found = find(path)
    assert (found.kind.name, found.field and found.field.key) == (kind, field)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("services.cart.helth", 'services.NAME has no key "helth"; did you mean "health"?'),
        ("core.natts", 'core has no key "natts"; did you mean "nats"?'),
        ("serfice", 'there is no key or kind "serfice"; did you mean "service"?'),
        ("name.first", "name is name: there is no key below it"),
    ],
)
def test_an_unknown_key_is_told_with_what_was_meant(path: str, said: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        find(path)
    assert caught.value.message == said


def test_a_default_is_told_as_a_spec_would_say_it() -> None:
    told = {f.key: f.default for f in [*find("health").kind.fields, *find("nats").kind.fields]}
    assert told["interval"] == '"1s"'
    assert told["max_store"] == '"2G"'
    assert told["listen"] == "4222"
    assert find("restart.backoff").field.default == '"1s..30s"'  # type: ignore[union-attr]
