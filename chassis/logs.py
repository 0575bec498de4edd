"""Structured logs on stderr: one line a record, for people or as JSON.

A record's extra fields (`log.info("started", extra={"address": a})`) stand after its text.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

Format = Literal["text", "json"]
RESERVED = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What a LogRecord carries by itself; anything else was given as `extra`."""


def setup(level: str, format: Format) -> None:
    """Send all records of this process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if format == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={_plain(value)}" for key, value in _extra(record).items())
        name = "" if record.name == "root" else f" {record.name}:"
        line = f"{_time(record)} {record.levelname:<7}{name} {record.getMessage()}{fields}"
        return "\n".join((line, *_traces(self, record)))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in _extra(record).items():
            document.setdefault(key, value if isinstance(value, int | None) else str(value))
        if traces := _traces(self, record):
            document["trace"] = "\n".join(traces)
        return json.dumps(document, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in record.__dict__.items() if key not in RESERVED}


def _plain(value: object) -> str:
    """Quoted when it would not be one word: nobody writes a record of their own by a line break."""
    text = str(value)
    word = text and not any(char.isspace() or char in '"=' for char in text)
    return text if word else json.dumps(text, ensure_ascii=False)


def _traces(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    traces = [formatter.formatException(record.exc_info)] if record.exc_info else []
    return [*traces, formatter.formatStack(record.stack_info)] if record.stack_info else traces
