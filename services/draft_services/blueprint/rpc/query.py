"""The statements of KeyValueService.Query: SELECT over the fields of a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from draft_api.core.registry.key_value.v1 import data_definition_lang_pb2 as ddl
from google.protobuf import symbol_database
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from draft_services.blueprint.errors import InvalidArgument, Unimplemented
from draft_services.blueprint.keyvalue import checked_type


@dataclass(frozen=True, slots=True)
class Statement:
    """Selects entries of one type: by key (`id`), by fields, or all."""

    type_url: str
    id: str | None = None
    fields: Mapping[str, str] | None = None
    message: type[Message] | None = None

    def selects(self, key: str, value: bytes) -> bool:
        """Whether the entry is selected."""
        if self.id is not None and key != self.id:
            return False
        if not self.fields or self.message is None:
            return True
        try:
            decoded = self.message.FromString(value)
        except DecodeError:
            return False  # stored under a type that it is not of
        return all(_text(decoded, name) == text for name, text in self.fields.items())


def parse(statement: ddl.Statement) -> Statement:
    """A statement, checked; raises `InvalidArgument` for an unknown field."""
    if statement.operation not in (ddl.Operation.SELECT, ddl.Operation.NONE):
        raise InvalidArgument("statement.operation: Query answers SELECT only")
    type_url = checked_type(statement.kind.type_url)
    match statement.WhichOneof("where"):
        case "id":
            return Statement(type_url, id=statement.id.uuid)
        case "key_val":
            fields = dict(statement.key_val.match)
            message = _known(type_url)
            for name in fields:
                _check_field(message, name)
            return Statement(type_url, fields=fields, message=message)
        case "is_all" if statement.is_all:
            return Statement(type_url)
    raise InvalidArgument(
        "statement.where: say is_all, the id of one, or the fields of those meant"
    )


def _known(type_url: str) -> type[Message]:
    name = type_url.rpartition("/")[2]
    try:
        found: type[Message] = symbol_database.Default().GetSymbol(name)
    except KeyError:
        raise Unimplemented(
            f"statement.kind: the fields of {name} are not known here; select with is_all or id"
        ) from None
    return found


def _check_field(message: type[Message], name: str) -> None:
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        known = ", ".join(sorted(message.DESCRIPTOR.fields_by_name))
        raise InvalidArgument(
            f"statement.key_val.match: {message.DESCRIPTOR.full_name} has no field {name!r}; "
            f"it has {known}"
        )
    if field.is_repeated or field.message_type is not None:
        raise InvalidArgument(f"statement.key_val.match: {name!r} is not a plain field")


def _text(message: Message, name: str) -> str:
    """A field in its text form: true, 42, an enum's name."""
    field = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "true" if value else "false"
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else str(value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
