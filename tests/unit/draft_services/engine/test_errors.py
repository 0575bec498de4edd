"""Foreign errors become ours in one place, and none is forgotten."""

from __future__ import annotations

import inspect

import nats.errors
import nats.js.errors
import pytest
from draft_services.engine import errors


def nats_errors() -> list[type[Exception]]:
    return [
        found
        for module in (nats.errors, nats.js.errors)
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, nats.errors.Error) and found is not nats.errors.Error
    ]


@pytest.mark.parametrize("foreign", nats_errors(), ids=lambda found: found.__name__)
def test_every_error_class_of_nats_py_is_mapped(foreign: type[Exception]) -> None:
    """nats-py growing a class that nobody has judged fails here."""
    assert errors.mapped(foreign) is not None, f"map {foreign.__name__} in errors.BY_CLASS"


def test_a_class_that_nobody_judged_is_unmapped() -> None:
    """The test above can fail: the base class alone maps nothing."""

    class NewlyGrownError(nats.errors.Error):
        pass

    assert errors.mapped(NewlyGrownError) is None


def test_a_timeout_is_uncertain_and_says_so() -> None:
    error = errors.translate(nats.errors.TimeoutError(), "write 'a'")
    assert type(error) is errors.Uncertain
    assert str(error) == "write 'a': no answer in time; a write may or may not have happened"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"code": 404, "err_code": 10037, "description": "no message found"}, errors.NotFound),
        ({"code": 503, "err_code": 10077, "description": "maximum bytes exceeded"}, errors.Full),
        ({"code": 503, "err_code": 10008, "description": "system temporarily"}, errors.Unavailable),
        ({"code": 400, "err_code": 10025, "description": "invalid JSON"}, errors.Misused),
    ],
)
def test_an_answer_of_jetstream_becomes_the_error_that_says_what_to_do(
    answer: dict[str, object], kind: type[errors.EngineError]
) -> None:
    refused = errors.refused(answer, "doing it")
    assert type(refused) is kind
    assert str(refused).startswith("doing it: ")
    assert refused.code == answer["err_code"]


def test_a_condition_that_a_cluster_refuses_before_it_stores_is_a_conflict_too() -> None:
    refused = errors.refused(
        {"code": 400, "err_code": 10164, "description": "wrong last sequence"}, "write"
    )
    assert isinstance(refused, errors.Conflict)
    assert refused.current is None


def test_a_conflict_names_the_revision_that_was_found() -> None:
    refused = errors.refused(
        {"code": 400, "err_code": 10071, "description": "wrong last sequence: 9"}, "write"
    )
    assert isinstance(refused, errors.Conflict)
    assert refused.current == 9
