"""dctl kv edit: a value in the user's editor."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands import completing
from dctl.commands.kv.group import done, group, store, type_option
from dctl.commands.options import output_option, spec_option, timeout_option
from dctl.errors import DctlError, NotFoundError

if TYPE_CHECKING:
    from dctl.render.output import Format


@group.command()
@click.argument("key", shell_complete=completing.keys)
@type_option
@spec_option
@output_option()
@timeout_option("5s")
def edit(key: str, type_: str, file: Path | None, format: Format, timeout: float) -> None:
    """Change KEY in your editor ($VISUAL, else $EDITOR); a key that is not there begins empty.

    It is written only if nobody else wrote it meanwhile. What could not be written is kept in a
    file, which is named.

    \b
      dctl kv edit motd
      EDITOR='code --wait' dctl kv edit ann --type examples.crud.v1.Name
    """
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    from dctl.messages import empty, parse

    with store(file, timeout) as (blueprint, stub):
        try:
            found = blueprint.call(stub.Get, pb.GetRequest(key=key, value=empty(type_)))
            before, revision = _shown(found.value), found.revision
        except NotFoundError:
            before, revision = "", 0
        path = _file(before, ".txt" if type_ == "value" else ".json")
        click.edit(filename=str(path))
        after = path.read_text()
        if type_ == "value" and not before.endswith("\n"):
            after = after.removesuffix("\n")  # most editors end a file with one
        if after == before:
            path.unlink()
            click.echo("not changed", err=True)
            return
        try:
            request = pb.SetRequest(key=key, value=parse(type_, after), expected_revision=revision)
            answer = blueprint.call(stub.Set, request)
        except DctlError as error:
            raise type(error)(f"{error.message}; your text is kept in {path}") from error
    path.unlink()
    done(f"set {answer.key}", answer.key, answer.revision, format)


def _shown(value: Any) -> str:
    import json

    from dctl.messages import plain

    told = plain(value)
    if isinstance(told, str):
        return told
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _file(text: str, suffix: str) -> Path:
    """A file that nobody else can read."""
    handle, name = tempfile.mkstemp(prefix="dctl-", suffix=suffix)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    return Path(name)
