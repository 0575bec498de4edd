"""What is required of an event, and what it is known by."""

import pytest
from draft_services.catalyst import events
from draft_services.catalyst.errors import EventTooLarge, InvalidArgument
from draft_services.catalyst.events import Event
from hypothesis import given
from hypothesis import strategies as st

GOOD = Event(id="1", source="/s", spec_version="1.0", type="t", payload=b"x")


@pytest.mark.parametrize("version", ["1.0", "v1"])
def test_a_complete_event_is_taken(version: str) -> None:
    events.check(GOOD._replace(spec_version=version))


@pytest.mark.parametrize("attribute", ["id", "source", "type", "spec_version"])
def test_a_missing_attribute_is_named(attribute: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"^{attribute}: missing"):
        events.check(GOOD._replace(**{attribute: ""}))


def test_another_spec_version_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"spec_version: '0\.3'"):
        events.check(GOOD._replace(spec_version="0.3"))


def test_the_limit_itself_is_taken_and_one_byte_more_is_not() -> None:
    events.check(GOOD._replace(payload=b"x" * 1024 * 1024))
    with pytest.raises(EventTooLarge, match=r"1048577 bytes; the limit is 1048576 \(1 MiB\)"):
        events.check(GOOD._replace(payload=b"x" * (1024 * 1024 + 1)))


def test_type_and_source_have_to_fit_into_one_subject() -> None:
    events.check(GOOD._replace(source="s" * 3700))
    with pytest.raises(InvalidArgument, match="type, source: too long"):
        events.check(GOOD._replace(source="雪" * 500))


@given(*[st.text(alphabet="01:a", max_size=4)] * 4)
def test_only_the_same_source_and_id_are_the_same_event(a: str, b: str, c: str, d: str) -> None:
    one = events.identity(GOOD._replace(source=a, id=b, payload=b"one", type="one"))
    two = events.identity(GOOD._replace(source=c, id=d, payload=b"two", type="two"))
    assert (one == two) is ((a, b) == (c, d))
