"""dctl secret: what the spec keeps secret, and the workspace's encrypted store."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands.options import output_option, spec_option, variant, yes_option
from dctl.errors import DctlError, NotFoundError, UsageError

if TYPE_CHECKING:
    from dctl.render.output import Format
    from dctl.secrets.store import Store
    from dctl.spec import Loaded
    from dctl.spec.model import Secret

_COLUMNS = {name: name for name in ("name", "source", "state", "used by")} | {"used by": "used"}


@click.group()
def group() -> None:
    """Secrets of the spec, and the workspace's encrypted store.

    \b
      dctl secret set db                    asks for it; or: dctl secret set db < file
      dctl secret list                      where each comes from, and who uses it
      dctl secret get db --reveal           what it is
      dctl secret key                       your public key; others let it in:
      dctl secret allow age1...

    The store is secrets.age.json at the root of the workspace: commit it. Your key stays in your
    configuration folder and never in the workspace.
    """


@group.command(name="set")
@spec_option
@click.argument("name")
def set_(file: Path | None, name: str) -> None:
    """Keep a secret in the store, encrypted for all whom it allows.

    Its value is asked for without showing it, or comes through standard input (one newline at its
    end is left out). It is never an argument, which others could see.
    """
    from dctl.secrets.redaction import SHORTEST
    from dctl.secrets.sources import LARGEST, without_newline
    from dctl.secrets.store import FILE

    loaded = _loaded(file)
    key = _key(loaded, name)
    if sys.stdin.isatty():
        value = str(click.prompt(name, hide_input=True, confirmation_prompt=True, err=True))
    else:
        try:
            value = without_newline(sys.stdin.buffer.read(LARGEST + 1).decode("utf-8"))
        except UnicodeDecodeError:
            raise UsageError("this is no text (UTF-8)", hint="encode it: base64 < file") from None
    if not value:
        raise UsageError("an empty secret is none", hint=f"dctl secret set {name} < file")
    if len(value.encode()) > LARGEST:
        raise UsageError(f"it is larger than {LARGEST >> 10}K")
    _store(loaded).set(key, value)
    click.echo(f"{name} is kept in {FILE}: commit it", err=True)
    if len(value) < SHORTEST:
        click.echo(f"note: below {SHORTEST} characters it cannot be hidden in logs", err=True)
    if name not in loaded.cluster.secrets:
        click.echo(f"declare it in {loaded.path}: secrets: {{{name}: {{store: {name}}}}}", err=True)
    elif name in _uses(loaded):
        click.echo("who uses it gets it with: dctl infra apply", err=True)


@group.command()
@spec_option
@click.option("--reveal", is_flag=True, help="Print it although this is no terminal.")
@click.argument("name")
def get(file: Path | None, reveal: bool, name: str) -> None:
    """Print the value of a secret, wherever it comes from. Into a pipe or a file only with
    --reveal."""
    import os

    from dctl.secrets.redaction import unguarded
    from dctl.secrets.sources import SourceError, fetch

    if not (reveal or sys.stdout.isatty()):
        raise UsageError(
            "this would print a secret to where nobody reads it", hint="say so: --reveal"
        )
    loaded = _loaded(file)
    declared = _declared(loaded, name)
    try:
        value = fetch(name, declared, loaded.root, os.environ)
    except SourceError as error:
        loaded.refuse([(("secrets", name) if name in loaded.cluster.secrets else (), str(error))])
        raise
    out = unguarded(sys.stdout)
    out.write(value + "\n")
    out.flush()


@group.command(name="list")
@spec_option
@output_option()
def list_(file: Path | None, format: Format) -> None:
    """The secrets of the spec and of the store: where each comes from, whether it is there, and who
    uses it. Commands are not run for this."""
    from dctl.render.output import emit_list

    items = _items(_loaded(file))
    if format == "table":
        items = [{**item, "used": ", ".join(item["used"])} for item in items]
    emit_list("SecretList", items, columns=_COLUMNS, format=format, empty="there are no secrets")


@group.command()
@spec_option
@yes_option
@click.argument("name")
def remove(file: Path | None, yes: bool, name: str) -> None:
    """Take a secret out of the store. What runs keeps the value that it was given."""
    from dctl.secrets.store import FILE

    loaded = _loaded(file)
    key = _key(loaded, name)
    store = _store(loaded)
    if key not in store.names():
        raise NotFoundError(f'"{key}" is not in {FILE}', hint="dctl secret list")
    users = _uses(loaded).get(name, [])
    if not yes:
        used = f", which {', '.join(users)} use" if users else ""
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask at", hint="say yes with -y or DCTL_YES=1")
        click.confirm(f"Remove {name}{used}?", abort=True, err=True)
    store.remove(key)
    click.echo(
        f"{name} is removed; older commits have it still: change it where it counts", err=True
    )


@group.command()
@spec_option
def key(file: Path | None) -> None:
    """Your public key, which is made now if you have none."""
    from dctl.secrets.age import key_file, make_key

    click.echo(make_key(_loaded(file).root))
    click.echo(f"its private half is {key_file()}: keep a copy in a safe place", err=True)


@group.command()
@spec_option
@click.argument("public_key")
def allow(file: Path | None, public_key: str) -> None:
    """Let somebody else read the store, by their public key: dctl secret key tells it to them.

    All that is in the store is encrypted anew. To take somebody out, remove their line from
    "recipients" in secrets.age.json and set all of it anew: what they could read, they know.
    """
    from dctl.secrets.store import FILE

    store = _store(_loaded(file))
    store.allow(public_key)
    count = len(store.recipients())
    click.echo(f"{count} can read {FILE} now: commit it", err=True)


def _loaded(file: Path | None) -> Loaded:
    from dctl.workspace import load_spec

    return load_spec(file, variant())


def _store(loaded: Loaded) -> Store:
    from dctl.secrets.store import Store

    return Store(loaded.root)


def _declared(loaded: Loaded, name: str) -> Secret:
    """What the spec says of a secret; of one that only the store knows, that it is there."""
    from dctl.spec.model import Secret

    if declared := loaded.cluster.secrets.get(name):
        return declared
    if name in _store(loaded).names():
        return Secret(store=name)
    known = ", ".join(loaded.cluster.secrets) or "none"
    raise NotFoundError(
        f'{loaded.path} declares no secret "{name}"; there are: {known}', hint="dctl secret list"
    )


def _key(loaded: Loaded, name: str) -> str:
    """The key in the store of a secret. Raises DctlError when it comes from elsewhere."""
    from dctl.secrets.sources import kind_of, source_text

    declared = loaded.cluster.secrets.get(name)
    if declared is None:
        return name
    if kind_of(declared) != "store":
        raise DctlError(
            f"{name} comes from {source_text(declared)}, not from the store",
            hint=f"change it there, or declare it in {loaded.path} as {{store: {name}}}",
        )
    return str(declared.store)


def _uses(loaded: Loaded) -> dict[str, list[str]]:
    """Who uses each secret: parts by name, or the key of the spec."""
    from dctl.secrets.references import references

    return {
        name: list(dict.fromkeys(_user(place) for place in places))
        for name, places in references(loaded.data).items()
    }


def _user(place: tuple[str | int, ...]) -> str:
    return ".".join(map(str, place)) if place[0] == "security" else str(place[1])


def _items(loaded: Loaded) -> list[Mapping[str, Any]]:
    from dctl.secrets.sources import source_text

    uses = _uses(loaded)
    kept = _store(loaded).names()
    items: list[Mapping[str, Any]] = [
        {
            "name": name,
            "source": source_text(declared),
            "state": _state(declared, loaded.root, kept),
            "used": uses.get(name, []),
        }
        for name, declared in loaded.cluster.secrets.items()
    ]
    declared_keys = {declared.store for declared in loaded.cluster.secrets.values()}
    for key in kept:
        if key not in declared_keys:
            items.append({"name": key, "source": f"store {key}", "state": "undeclared", "used": []})
    return items


def _state(declared: Secret, root: Path, kept: list[str]) -> str:
    """ "there" or "missing"; "unknown" where only a command could tell."""
    import os

    from dctl.secrets.sources import kind_of

    match kind_of(declared):
        case "exec":
            return "unknown"
        case "file":
            there = (root / Path(declared.file or "").expanduser()).is_file()
        case "env":
            there = bool(os.environ.get(declared.env or ""))
        case "store":
            there = declared.store in kept
    return "there" if there else "missing"
