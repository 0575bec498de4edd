"""dctl lock: the cluster's locks, by which services and commands work one at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands.core import core
from dctl.commands.options import (
    Seconds,
    output_option,
    spec_option,
    timeout_option,
    yes_option,
)
from dctl.errors import LockedError, NotFoundError, UsageError

if TYPE_CHECKING:
    from draft_api.core.registry.key_value.v1 import models_pb2 as models
    from draft_api.core.registry.key_value.v1 import service_pb2_grpc as rpc

    from dctl.clients import Connection
    from dctl.render.output import Format

_CONNECT = 5.0  # seconds to reach Blueprint, where --wait says how long to wait for the lock
_LOCK = "core.registry.key_value.v1.Lock"
_WAITER = "core.registry.key_value.v1.LockWaiter"
_COLUMNS = {name: name for name in ("name", "holder", "host", "since", "until", "waiting")}


@click.group()
def group() -> None:
    """Locks of the cluster, by which services and commands work one at a time.

    \b
      dctl lock acquire deploy -- ./deploy.sh
      dctl lock list
      dctl lock release deploy
    """


@group.command()
@click.argument("name")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...")
@click.option(
    "--ttl",
    type=Seconds(),
    default="30s",
    show_default=True,
    help="How long the lock outlives a dctl that is gone without a word; 2s or more.",
)
@click.option(
    "--wait",
    type=Seconds(),
    help="How long to wait for the lock; 0s: not at all [default: until Ctrl-C].",
)
@spec_option
def acquire(
    name: str, command: tuple[str, ...], ttl: float, wait: float | None, file: Path | None
) -> int:
    """Run COMMAND while the lock NAME is held, and exit with its exit code.

    The lock is renewed meanwhile, and given back at the end. Should it be lost (Blueprint is away
    for three quarters of the TTL), the command and what it started get TERM, then KILL, before
    anybody else has the lock, and dctl exits with 5; so it does when the lock is not had within
    --wait. The command's environment has DRAFT_LOCK_TOKEN, a number that grows with each holder:
    what the lock protects should refuse one that is smaller than it has seen.

    \b
      dctl lock acquire deploy -- ./deploy.sh
      dctl lock acquire deploy --wait 1m --ttl 10s -- ./deploy.sh --all
      dctl lock acquire nightly --wait 0s -- ./report.sh     or leave it to whoever is at it
    """
    from dctl.held import run_held
    from dctl.text import printable

    if shutil.which(command[0]) is None:
        raise UsageError(f'no command "{printable(command[0])}"')
    with _store(file, _CONNECT) as (blueprint, stub):
        lock, _ = _held(blueprint, stub, name)
        way = blueprint.way
    if lock is not None and wait != 0:
        click.echo(f"waiting for lock {printable(name)}: {_words(lock)}", err=True)
    return run_held(way, name, command, ttl=ttl, wait=wait)


@group.command(name="list")
@spec_option
@output_option()
@timeout_option("5s")
def list_(file: Path | None, format: Format, timeout: float) -> None:
    """Every lock that is held: by whom, since when, until when if it is not renewed.

    Times are by the clock of the holder. The leader of something is who holds its lock.

    \b
      dctl lock list
      dctl lock list -o json
    """
    from draft_api.core.registry.key_value.v1 import models_pb2 as models
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    from dctl.messages import empty
    from dctl.render.output import emit_list

    with _store(file, timeout) as (blueprint, stub):
        entries = blueprint.call(stub.List, pb.ListRequest(value=empty(_LOCK))).values
        waiters = blueprint.call(stub.List, pb.ListRequest(value=empty(_WAITER))).values
        items = []
        for name, value in sorted(entries.items()):
            lock: models.Lock | None = models.Lock.FromString(value.value)
            if lock is not None and not lock.token:  # it is the revision, which a list does not say
                lock, _ = _held(blueprint, stub, name)
            if lock is not None:
                waiting = sum(key.rpartition("/")[0] == name for key in waiters)
                items.append(_item(name, lock, waiting, format))
    emit_list("LockList", items, columns=_COLUMNS, format=format, empty="no lock is held")


@group.command()
@click.argument("name")
@spec_option
@yes_option
@timeout_option("5s")
def release(name: str, file: Path | None, yes: bool, timeout: float) -> None:
    """Take the lock NAME from whoever holds it.

    They hear of it when they renew it next, within a quarter of its TTL, and the next one does not
    wait for that. A lock whose holder is gone ends by itself: this is for one that lives and does
    not end.

    \b
      dctl lock release deploy
    """
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    from dctl.commands.infra.group import confirm
    from dctl.messages import empty
    from dctl.text import printable

    with _store(file, timeout) as (blueprint, stub):
        lock, revision = _held(blueprint, stub, name)
        if lock is None:
            click.echo(f"nobody holds lock {printable(name)}", err=True)
            return
        if not yes:
            confirm(f"Lock {printable(name)} is {_words(lock)}. Take it away?")
            now, revision = _held(blueprint, stub, name)  # it was renewed while we asked
            if now is not None and now.attempt != lock.attempt:
                raise LockedError(f"lock {printable(name)} is {_words(now)} now: it was not taken")
        blueprint.call(
            stub.Delete,
            pb.DeleteRequest(key=name, value=empty(_LOCK), expected_revision=revision or None),
        )
    click.echo(f"taken from {printable(lock.holder)}", err=True)


@contextmanager
def _store(
    file: Path | None, timeout: float
) -> Iterator[tuple[Connection, rpc.KeyValueServiceStub]]:
    from draft_api.core.registry.key_value.v1 import service_pb2_grpc as rpc

    with core("blueprint", file, timeout) as blueprint:
        yield blueprint, blueprint.stub(rpc.KeyValueServiceStub)


def _held(
    blueprint: Connection, stub: rpc.KeyValueServiceStub, name: str
) -> tuple[models.Lock | None, int]:
    """The lock, if somebody holds it, with its token; and the revision that it is at."""
    from draft_api.core.registry.key_value.v1 import models_pb2 as models
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    from dctl.messages import empty

    try:
        answer = blueprint.call(stub.Get, pb.GetRequest(key=name, value=empty(_LOCK)))
    except NotFoundError:
        return None, 0
    lock = models.Lock.FromString(answer.value.value)
    lock.token = lock.token or answer.revision
    return lock, answer.revision


def _words(lock: models.Lock) -> str:
    from chassis.contest import held_by
    from dctl.text import printable

    return printable(held_by(lock))


def _item(name: str, lock: models.Lock, waiting: int, format: Format) -> dict[str, Any]:
    from google.protobuf.timestamp_pb2 import Timestamp

    from dctl.render.history import moment

    def shown(time: Timestamp) -> str:
        return moment(time.ToNanoseconds() / 1e9) if format == "table" else time.ToJsonString()

    until = Timestamp()
    written = lock.renewed if lock.HasField("renewed") else lock.acquired
    until.FromNanoseconds(written.ToNanoseconds() + lock.ttl.ToNanoseconds())
    return {
        "name": name,
        "holder": lock.holder,
        "host": lock.host,
        "since": shown(lock.acquired),
        "until": shown(until),
        "token": lock.token,
        "waiting": waiting,
    }
