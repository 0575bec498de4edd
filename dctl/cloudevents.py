"""CloudEvents of the wire contract, made from the command line and told as JSON. Pure.

The JSON is the CloudEvents JSON format 1.0. (The `cloudevents` package has no protobuf side, and
refuses to write events that others wrote less strictly than it would.)
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dctl.messages import plain
from dctl.text import printable

if TYPE_CHECKING:
    from draft_api.core.message_broker.actors.v1.models_pb2 import CloudEvent
    from google.protobuf.timestamp_pb2 import Timestamp

SEQUENCE = "draftsequence"
"""The extension attribute under which the JSON of an event tells its place in Catalyst's log."""

_ATTRIBUTE = re.compile(r"[a-z0-9]{1,20}\Z")
_JSON = re.compile(r"(application|text)/(json|[\w.-]+\+json)\s*(;|\Z)", re.IGNORECASE)
_FIELDS = {"id", "source", "type", "specversion", "data", "data_base64"}


def attribute(text: str) -> tuple[str, str]:
    """`name=value`, checked; ValueError says what is wrong."""
    name, equals, value = text.partition("=")
    if not equals or not _ATTRIBUTE.match(name):
        raise ValueError(f'"{text}": give name=value, the name in a-z and 0-9, at most 20 of them')
    if name in _FIELDS:
        raise ValueError(f'"{name}" is not an attribute to set here')
    return name, value


def make_event(
    *,
    id: str,
    source: str,
    type: str,
    data: bytes | None,
    time: datetime,
    attributes: Mapping[str, str],
) -> CloudEvent:
    """An event. `data` that is UTF-8 becomes text, JSON where it parses as such; bytes otherwise.

    `attributes` win over what is derived here.
    """
    from draft_api.core.message_broker.actors.v1.models_pb2 import CloudEvent

    event = CloudEvent(id=id, source=source, type=type, spec_version="1.0")
    event.attributes["time"].ce_timestamp.FromDatetime(time)
    if data is not None:
        try:
            event.text_data = data.decode()
            kind = "application/json" if _is_json(event.text_data) else "text/plain"
        except UnicodeDecodeError:
            event.binary_data = data
            kind = "application/octet-stream"
        event.attributes["datacontenttype"].ce_string = kind
    for name, value in attributes.items():
        if name == "time":
            try:
                event.attributes[name].ce_timestamp.FromJsonString(value)
            except ValueError as error:
                raise ValueError(f"time: {error}") from error
        else:
            event.attributes[name].ce_string = value
    return event


def to_json(event: CloudEvent, sequence: int) -> dict[str, Any]:
    """The event in CloudEvents' JSON format, with its sequence as an extension attribute."""
    told: dict[str, Any] = {
        "specversion": "1.0",  # "v1", as the Go original writes it, means the same
        "id": event.id,
        "source": event.source,
        "type": event.type,
    }
    told |= {n: _value(v) for n, v in sorted(event.attributes.items()) if n not in _FIELDS}
    told[SEQUENCE] = str(sequence)  # a string: CloudEvents' integers have 32 bits
    match event.WhichOneof("data"):
        case "text_data":
            is_json = _JSON.match(str(told.get("datacontenttype", "")))
            told["data"] = _loaded(event.text_data) if is_json else event.text_data
        case "binary_data":
            told["data_base64"] = base64.b64encode(event.binary_data).decode()
        case "proto_data":
            told["datacontenttype"] = "application/json"  # that of the data as told here
            told.setdefault("dataschema", event.proto_data.type_url)
            told["data"] = plain(event.proto_data)
    return told


def time_of(event: CloudEvent) -> str:
    """When it happened, to the millisecond, as far as it says so."""
    value = event.attributes.get("time")
    if value is None:
        return "-"
    if value.WhichOneof("attr") != "ce_timestamp":
        return str(_value(value))
    return re.sub(r"(\.\d{3})\d+Z\Z", r"\1Z", _moment(value.ce_timestamp))


def data_line(event: CloudEvent) -> str:
    """The content on one line: text as it is, JSON of a message, the size of bytes."""
    match event.WhichOneof("data"):
        case "text_data":
            return printable(" ".join(event.text_data.split("\n")))
        case "binary_data":
            return f"<{len(event.binary_data)} bytes>"
        case "proto_data":
            return json.dumps(plain(event.proto_data), ensure_ascii=False)
    return "-"


def _value(value: CloudEvent.CloudEventAttributeValue) -> Any:
    match value.WhichOneof("attr"):
        case None:
            return None
        case "ce_bytes":
            return base64.b64encode(value.ce_bytes).decode()
        case "ce_timestamp":
            return _moment(value.ce_timestamp)
        case field:
            return getattr(value, field)


def _moment(value: Timestamp) -> str:
    try:
        return value.ToJsonString()
    except ValueError:  # somebody's timestamp is outside of the calendar; show what it says
        return f"{value.seconds}s"


def _is_json(text: str) -> bool:
    return not isinstance(_parsed(text), ValueError)


def _loaded(text: str) -> Any:
    parsed = _parsed(text)
    return text if isinstance(parsed, ValueError) else parsed


def _parsed(text: str) -> Any:
    """The JSON value, or the ValueError that says why it is none."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")  # Python reads NaN and Infinity; JSON has none

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        return ValueError(str(error))
