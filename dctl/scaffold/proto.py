"""A new proto with a service."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass

from dctl.errors import UsageError

_PART = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"v[1-9][0-9]*(?:(?:alpha|beta)[1-9][0-9]*)?")


@dataclass(frozen=True, slots=True)
class NewProto:
    """A proto file by its path in the folder of protos, its package, and its service."""

    path: str
    package: str
    service: str
    text: str


def new_proto(workspace: str, name: str) -> NewProto:
    """The proto of `name` (orders.v1, billing.invoices.v1) in a workspace whose protobuf packages
    begin with `workspace`. Raises UsageError for what is no such name."""
    *parts, version = name.removeprefix(f"{workspace}.").split(".")
    if not _VERSION.fullmatch(version) or not parts:
        raise UsageError(
            f'"{name}" has no version at its end', hint=f"such as: dctl api new {name}.v1"
        )
    for part in parts:
        if not _PART.fullmatch(part):
            raise UsageError(
                f'"{name}" is no name of a protobuf package: "{part}"',
                hint="small letters, digits and _, such as orders.v1 or billing.invoices.v1",
            )
        if keyword.iskeyword(part):
            raise UsageError(
                f'"{name}" cannot be imported in Python: "{part}" is a word of its own there',
                hint="choose another name",
            )
    path = "/".join((workspace, *parts, version))
    package = ".".join((workspace, *parts, version))
    service = camel(parts[-1]) + "Service"
    text = _TEXT.format(
        package=package, service=service, many=parts[-1].replace("_", " "), one=_one(parts[-1])
    )
    return NewProto(f"{path}/{parts[-1]}.proto", package, service, text)


def camel(name: str) -> str:
    """purchase_orders, or purchase-orders -> PurchaseOrders."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[-_]", name))


def _one(name: str) -> str:
    words = name.replace("_", " ")
    return words[:-1] if words.endswith("s") and not words.endswith("ss") else words


# Messages have names of their own for each call, so that one can grow without the others.
_TEXT = """\
syntax = "proto3";

package {package};

// {service} keeps {many}.
service {service} {{
  // Creates one of an item.
  rpc Create(CreateRequest) returns (CreateResponse);

  // Tells of each {one} that is created from now on.
  rpc Watch(WatchRequest) returns (stream WatchResponse);
}}

// What to create.
message CreateRequest {{
  // What it is of.
  string item = 1;
}}

// What was created.
message CreateResponse {{
  // Under which it is known from now on.
  string id = 1;

  // What it is of.
  string item = 2;
}}

// Which ones to tell of.
message WatchRequest {{
  // Only those of this item; empty: all.
  string item = 1;
}}

// One that was created.
message WatchResponse {{
  // Under which it is known.
  string id = 1;

  // What it is of.
  string item = 2;
}}
"""
