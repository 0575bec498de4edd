"""A stream opened anew from its cursor shows nothing twice and hides nothing."""

from draft_api.core.registry.key_value.v1 import service_pb2 as pb
from google.protobuf.any_pb2 import Any

from dctl.cursors import KeyCursor

PUT, DELETE, SYNCED = (
    pb.WatchEvent.KIND_PUT,
    pb.WatchEvent.KIND_DELETE,
    pb.WatchEvent.KIND_SYNCED,
)


def read(
    cursor: KeyCursor, *events: tuple[int, str, int], generation: str = ""
) -> list[tuple[str, str, int]]:
    response = pb.WatchResponse(
        events=[
            pb.WatchEvent(kind=kind, key=key, revision=revision, value=Any(type_url="t/x"))
            for kind, key, revision in events
        ],
        generation=generation,
    )
    return [(c.kind, c.key, c.revision) for c in cursor.read(response)]


def test_current_entries_alone_are_no_place_to_resume_from() -> None:
    cursor = KeyCursor()
    cursor.opened({})
    assert read(cursor, (PUT, "b", 9)) == [("put", "b", 9)]
    assert cursor.revision == 0  # "a", written at 4, may still have to come
    assert read(cursor, (PUT, "a", 4), (SYNCED, "", 11)) == [("put", "a", 4), ("synced", "", 11)]
    assert cursor.revision == 11


def test_a_break_amid_the_current_entries_prints_none_twice() -> None:
    cursor = KeyCursor()
    cursor.opened({})
    read(cursor, (PUT, "a", 4), (PUT, "b", 5))
    cursor.opened({})
    assert read(cursor, (PUT, "b", 7), (PUT, "a", 4)) == [("put", "b", 7)]


def test_what_went_while_nobody_looked_is_told_at_the_end_of_the_current_entries() -> None:
    cursor = KeyCursor()
    cursor.opened({})
    read(cursor, (PUT, "a", 4), (PUT, "b", 5), (SYNCED, "", 5), (PUT, "c", 6), (DELETE, "c", 7))
    assert cursor.too_old()
    assert cursor.revision == 0
    cursor.opened({})
    assert read(cursor, (PUT, "a", 4), (SYNCED, "", 90)) == [("delete", "b", 90)]
    assert cursor.revision == 90


def test_a_sign_of_life_moves_the_place_to_resume_from() -> None:
    cursor = KeyCursor(from_revision=5)
    list(cursor.read(pb.WatchResponse(revision=8)))
    assert cursor.revision == 8


def test_a_revision_that_somebody_asked_for_is_not_silently_replaced() -> None:
    cursor = KeyCursor(from_revision=5)
    cursor.opened({})
    assert not cursor.too_old()
    assert cursor.revision == 5


def test_after_a_restore_everything_is_told_anew_whatever_its_revision() -> None:
    cursor = KeyCursor()
    cursor.opened({})
    read(cursor, (PUT, "a", 7), (PUT, "b", 8), (SYNCED, "", 8), generation="one")
    assert (cursor.revision, cursor.generation) == (8, "one")
    assert cursor.too_old()  # Blueprint refuses to go on in another generation
    cursor.opened({})
    told = read(cursor, (PUT, "a", 3), (SYNCED, "", 3), generation="two")
    assert told == [("put", "a", 3), ("delete", "b", 3)]
    assert (cursor.revision, cursor.generation) == (3, "two")
