"""No plan tells a secret."""

import json

import pytest

from dctl.engine.plan import make_plan
from dctl.engine.records import entry
from dctl.engine.sight import Sight
from dctl.hosts.base import Json, Kind, Observed, Resource, State
from dctl.render.plan import plan_text
from dctl.secrets.redaction import guarded, learn


def told(before: Json, after: Json) -> str:
    """All that a plan says, as text and as JSON, of one process that changes."""
    asked = Resource(Kind.PROCESS, "a-1", "local", "a", after)
    seen = Observed(Kind.PROCESS, "a-1", "local", State.RUNNING, "shop", spec=before)
    plan = make_plan("shop", [asked], Sight([seen]))
    return plan_text(plan, source="shop.yaml") + json.dumps(plan.to_json())


@pytest.mark.parametrize(
    "name", ["PASSWORD", "DB_PASSWD", "apiKey", "API_KEY", "GITHUB_TOKEN", "client-secret", "NONCE"]
)
def test_the_value_of_a_name_that_means_a_secret_is_not_told(name: str) -> None:
    said = told({"env": {name: "old-pearl"}}, {"env": {name: "new-pearl"}})
    assert "pearl" not in said
    assert f"env.{name} changed" in said


def test_that_a_secret_appears_or_goes_is_told() -> None:
    assert 'env.TOKEN (none) -> "(hidden)"' in told({"env": {}}, {"env": {"TOKEN": "pearl"}})
    assert 'env.TOKEN "(hidden)" -> (none)' in told({"env": {"TOKEN": "pearl"}}, {"env": {}})


@pytest.mark.parametrize(
    "value",
    [
        "postgres://shop:pearl@db/shop",
        "name: shop\ndb:\n  password: pearl\n",
        '{"api_key": "pearl"}',
        ["serve", "--token=pearl"],
    ],
)
def test_a_secret_within_a_value_is_not_told(value: Json) -> None:
    said = told({"x": "before"}, {"x": value})
    assert "pearl" not in said
    assert "(hidden)" in said


def test_where_a_secret_is_kept_is_told_and_so_is_everything_else() -> None:
    said = told(
        {"env": {"DB_PASSWORD_FILE": "/a", "REGION": "eu", "URL": "http://a/b"}},
        {"env": {"DB_PASSWORD_FILE": "/b", "REGION": "us", "URL": "http://a:80/c@d"}},
    )
    assert 'env.DB_PASSWORD_FILE "/a" -> "/b"' in said
    assert 'env.REGION "eu" -> "us"' in said
    assert 'env.URL "http://a/b" -> "http://a:80/c@d"' in said


def test_what_is_known_to_be_secret_is_not_told_under_whatever_name() -> None:
    with guarded():
        learn("s3same")
        said = told({"env": {"A": "1"}, "argv": []}, {"env": {"A": "s3same"}, "argv": ["x=s3same"]})
        line = entry("ended", 1, failed={"a-1": "cannot open: s3same"})
    assert "s3same" not in said + json.dumps(line)
    assert 'env.A "1" -> "(hidden)"' in said
    assert 'argv [] -> ["x=(hidden)"]' in said
    assert line["failed"] == {"a-1": "cannot open: (hidden)"}
