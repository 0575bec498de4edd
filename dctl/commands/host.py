"""dctl host: other machines, and the keys that they are known by."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands.options import output_option, yes_option
from dctl.errors import NotFoundError, UnreachableError, UsageError

if TYPE_CHECKING:
    from dctl.hosts.ssh.known import HostKey, KnownHosts
    from dctl.hosts.ssh.target import Target
    from dctl.render.output import Format
    from dctl.spec.types import SshTarget

_COLUMNS = {name: name for name in ("name", "address", "type", "fingerprint")}


@click.group()
def group() -> None:
    """Other machines, and the keys they are known by.

    \b
      dctl host add edge-1 deploy@10.0.0.11     first contact: shows its key, asks, stores it
      dctl host list
      dctl host remove edge-1

    Whoever shows another key from then on is refused.
    """


@group.command()
@click.argument("name")
@click.argument("address", metavar="[USER@]HOST[:PORT]")
@click.option("--via", help="The host through which it is reached: a name, or [user@]host[:port].")
@click.option("--key", type=click.Path(path_type=Path), help="File of the private key.")
@click.option(
    "--accept-fingerprint", metavar="SHA256:...", help="Accept this key, and no other; do not ask."
)
@yes_option
def add(
    name: str,
    address: str,
    via: str | None,
    key: Path | None,
    accept_fingerprint: str | None,
    yes: bool,
) -> None:
    """Meet a machine: show the fingerprint of its host key, ask, and store it.

    \b
      dctl host add edge-1 deploy@10.0.0.11
      dctl host add core-1 deploy@10.0.0.21:2222 --via edge-1
      dctl host add edge-1 deploy@10.0.0.11 --accept-fingerprint SHA256:JWjq...
    """
    from dctl.hosts.ssh import contact
    from dctl.hosts.ssh.config import ways
    from dctl.hosts.ssh.known import KnownHosts

    known = KnownHosts()
    way, *way_there = ways(_targets(name, address, via, key, known))
    shown = contact.host_key(name, [way, *way_there], known)
    accepted = known.at(way.place)
    if accepted is not None and accepted.key != shown.key:
        raise UnreachableError(
            f"{name} ({way.address}) shows another key than the one that was accepted:"
            f" {shown.fingerprint} now, {accepted.fingerprint} then",
            hint=f"if it was made anew: dctl host remove {accepted.name or accepted.place}",
        )
    if accepted is None:
        click.echo(f"{name} ({way.address}) shows the {_kind(shown)} key", err=True)
        click.echo(f"  {shown.fingerprint}", err=True)
        _accept(shown, accept_fingerprint, yes)
    known.add(_with_address(shown, address))
    click.echo(f"{name} is known by {shown.fingerprint}")
    for missing in contact.look(name, [way, *way_there], known):
        click.echo(f"note: {missing}", err=True)


@group.command(name="list")
@output_option()
def list_(format: Format) -> None:
    """The machines whose keys were accepted."""
    from dctl.hosts.ssh.known import KnownHosts
    from dctl.render.output import emit_list

    items = [
        {
            "name": key.name or key.place,
            "address": key.address or key.place,
            "type": _kind(key),
            "fingerprint": key.fingerprint,
        }
        for key in KnownHosts().all()
    ]
    emit_list("HostList", items, columns=_COLUMNS, format=format, empty="no host was added yet")


@group.command()
@click.argument("name")
def remove(name: str) -> None:
    """Forget a machine's key; nothing there is touched."""
    from dctl.hosts.ssh.known import KnownHosts

    gone = KnownHosts().remove(name)
    if not gone:
        raise NotFoundError(f'no host "{name}" was added', hint="dctl host list")
    for key in gone:
        click.echo(f"{key.name or key.place} is forgotten: it was {key.fingerprint}")


def _accept(shown: HostKey, wanted: str | None, yes: bool) -> None:
    if wanted is not None:
        if wanted != shown.fingerprint:
            raise UnreachableError(
                f"that is not the key that you expect: {wanted}",
                hint="either it is another machine, or somebody is in between",
            )
        return
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "somebody has to compare the fingerprint, and there is no terminal to ask at",
            hint="--accept-fingerprint SHA256:..., or -y to accept whatever it shows",
        )
    click.echo("on its own console: ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub", err=True)
    click.confirm("Is it the same there?", abort=True, err=True)


def _targets(
    name: str, address: str, via: str | None, key: Path | None, known: KnownHosts
) -> list[Target]:
    """The machine, and the one through which it is reached."""
    from dctl.hosts.ssh.target import Target

    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise UsageError(f'"{name}" cannot be the name of a host')
    if key is not None and not key.expanduser().is_file():
        raise NotFoundError(f"the key file {key} is not there")
    key = key.expanduser() if key else None
    if via is None:
        return [Target(name, _parsed(address), "", key)]
    step = next((one for one in known.all() if via == one.name and one.address), None)
    jump = "via" if step is None else step.name
    return [
        Target(name, _parsed(address), jump, key),
        Target(jump, _parsed(step.address if step else via), "", key),
    ]


def _parsed(address: str) -> SshTarget:
    from dctl.spec.types import parse_ssh

    try:
        return parse_ssh(address)
    except ValueError as error:
        raise UsageError(f'"{address}" {error}') from None


def _with_address(key: HostKey, address: str) -> HostKey:
    import dataclasses

    return dataclasses.replace(key, address=address)


def _kind(key: HostKey) -> str:
    """ED25519, as ssh shows it."""
    return key.type.removeprefix("ssh-").removeprefix("ecdsa-sha2-").upper()
