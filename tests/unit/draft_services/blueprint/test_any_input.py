"""Whatever comes through the wire is answered or refused in words, never by an accident."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from draft_api.core.registry.key_value.v1 import data_definition_lang_pb2 as ddl
from draft_api.core.registry.key_value.v1 import models_pb2 as models
from draft_services.blueprint.errors import Denied, InvalidArgument, Unimplemented
from draft_services.blueprint.keyvalue import MAX_KEY, MAX_TYPE_URL, identity
from draft_services.blueprint.rpc import query
from draft_services.blueprint.tokens import Claims, Tokens
from draft_services.engine.store import Entry, Key
from hypothesis import example, given, settings
from hypothesis import strategies as st

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
KNOWN = models.Value.DESCRIPTOR.full_name
FIELDS = [*models.Lock.DESCRIPTOR.fields_by_name, *models.Value.DESCRIPTOR.fields_by_name]
TYPES = st.sampled_from(
    [
        KNOWN,
        f"type.googleapis.com/{KNOWN}",
        models.Lock.DESCRIPTOR.full_name,
        "a.B",
        "google.protobuf.Any",
    ]
)


@given(TEXT, TEXT | st.text(alphabet="é /", min_size=MAX_KEY // 2))
def test_any_key_has_an_identity_or_is_refused_naming_the_field(type_url: str, key: str) -> None:
    try:
        found = identity(type_url, key)
    except InvalidArgument as error:
        words = str(error)
    else:
        words = ""
    if words:
        assert words.startswith(("key: ", "value.type_url: "))
        return
    assert found == Key(type_url, key.strip())
    assert 0 < len(found.name.encode()) <= MAX_KEY
    assert 0 < len(found.kind.encode()) <= MAX_TYPE_URL
    assert identity(*found) == found


def _statement(
    type_url: str, operation: int, where: tuple[str, Any] | None, content: bytes
) -> ddl.Statement:
    made = ddl.Statement(operation=operation)  # type: ignore[arg-type]
    made.kind.type_url, made.kind.value = type_url, content
    match where:
        case ("is_all", every):
            made.is_all = every
        case ("id", uuid):
            made.id.uuid = uuid
        case ("key_val", pairs):
            made.key_val.match.update(pairs)
            made.key_val.SetInParent()
    return made


WHERE = (
    st.none()
    | st.tuples(st.just("is_all"), st.booleans())
    | st.tuples(st.just("id"), TEXT)
    | st.tuples(
        st.just("key_val"), st.dictionaries(st.sampled_from(FIELDS) | TEXT, TEXT, max_size=3)
    )
)


@given(
    st.builds(_statement, TYPES | TEXT, st.integers(-3, 6), WHERE, st.binary()),
    TEXT,
    st.binary() | TEXT.map(lambda text: models.Value(data=text).SerializeToString()),
)
def test_any_statement_selects_or_is_refused(
    statement: ddl.Statement, key: str, stored: bytes
) -> None:
    try:
        parsed = query.parse(statement)
    except (InvalidArgument, Unimplemented) as error:
        words = str(error)
    else:
        words = ""
    if words:
        assert words.startswith(("statement.", "value.type_url: "))
        return
    assert statement.operation in (ddl.NONE, ddl.SELECT)
    chosen = parsed.selects(key, stored)
    match statement.WhichOneof("where"):
        case "id":
            assert chosen == (key == statement.id.uuid)
        case "is_all":
            assert chosen
            assert statement.is_all
        case where:
            assert where == "key_val"


@pytest.mark.parametrize("where", [None, ("is_all", False)])
def test_a_statement_that_says_no_where_is_refused(where: tuple[str, Any] | None) -> None:
    with pytest.raises(InvalidArgument, match=r"statement\.where"):
        query.parse(_statement(KNOWN, ddl.SELECT, where, b""))


def test_a_statement_that_says_no_operation_selects() -> None:
    assert query.parse(_statement(KNOWN, ddl.NONE, ("is_all", True), b"")).selects("k", b"")


class OneKey:
    """A store that holds the signing key."""

    key = Ed25519PrivateKey.generate()

    async def entries(self) -> list[Entry]:
        return [Entry(Key("ed25519", "k1"), self.key.private_bytes_raw(), 1)]


CLAIMS = st.dictionaries(
    st.sampled_from(["iss", "sub", "exp", "iat", "name", "full"]) | TEXT,
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.lists(TEXT, max_size=2),
    max_size=5,
)


def _forged(claims: dict[str, Any]) -> str:
    """Signed with a key of somebody else, in the name of ours."""
    mine, payload = Ed25519PrivateKey.generate(), json.dumps(claims).encode()
    return jwt.PyJWS().encode(payload, mine, algorithm="EdDSA", headers={"kid": "k1"})


@given(TEXT | st.lists(TEXT, min_size=3, max_size=3).map(".".join) | CLAIMS.map(_forged))
@settings(deadline=None)
def test_no_token_is_taken_that_was_not_issued(token: str) -> None:
    async def read() -> None:
        tokens = Tokens(OneKey(), lifetime=60)  # type: ignore[arg-type]
        await tokens.open()
        await tokens.verify(token, "p")

    with pytest.raises(Denied):
        asyncio.run(read())


@given(TEXT, TEXT, st.booleans())
@example("", "", True)
@settings(deadline=None)
def test_a_token_that_was_issued_is_read_as_it_was_meant(pid: str, name: str, full: bool) -> None:
    async def read() -> Claims:
        tokens = Tokens(OneKey(), lifetime=60)  # type: ignore[arg-type]
        await tokens.open()
        return await tokens.read(tokens.issue(Claims(pid, name, full)).jwt)

    assert asyncio.run(read()) == Claims(pid, name, full)
