"""The catalogue of backing services."""

import pytest

from dctl.engine.catalogue.parts import completed, known
from dctl.spec.workload import Backing


@pytest.mark.parametrize("name", known())
def test_an_entry_is_whole_by_itself(name: str) -> None:
    part = completed(Backing.model_validate({"from": name}))
    assert part.image
    assert part.version in part.image
    assert part.ports
    assert part.health


def test_the_catalogue_has_what_it_promises() -> None:
    promised = {"postgres", "mongo", "clickhouse", "nats", "rabbitmq", "vault", "hasura", "redis"}
    assert promised <= set(known())


def test_what_the_spec_says_wins_and_env_is_merged() -> None:
    asked = {"from": "postgres", "version": "15", "env": {"POSTGRES_PASSWORD": "x"}}
    part = completed(Backing.model_validate(asked))
    assert part.image == "postgres:15"
    assert set(part.env) == {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"}


def test_an_image_of_the_users_own_is_left_as_it_is() -> None:
    assert completed(Backing.model_validate({"image": "a/b:1"})).image == "a/b:1"
