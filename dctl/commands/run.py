"""dctl run: services of the workspace, from their code."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands import completing
from dctl.commands.infra.apply import progress_option
from dctl.commands.options import spec_option, variant
from dctl.errors import ExitCode, NotFoundError

if TYPE_CHECKING:
    from dctl.dev.lend import Lent
    from dctl.engine.cluster import OpenCluster
    from dctl.render.progress import Mode

_DEBUGGER = 5678  # debugpy's own choice, and that of the editors that attach


@click.command()
@click.option(
    "-s",
    "--service",
    "services",
    multiple=True,
    metavar="NAME",
    shell_complete=completing.services,
    help="Only this one: its name, or its folder below services/.",
)
@click.option(
    "-d",
    "--domain",
    "domains",
    multiple=True,
    metavar="FOLDER",
    help="Only those of this folder below services/.",
)
@click.option("--debug", is_flag=True, help="Each waits until a debugger attaches (debugpy).")
@spec_option
@progress_option
def command(
    services: tuple[str, ...],
    domains: tuple[str, ...],
    debug: bool,
    file: Path | None,
    mode: Mode,
) -> int:
    """Run services of the workspace from their code: all, or those named.

    What they need is raised first, if it does not run: the core, the backing services, what they
    depend on. A service that the cluster runs already steps aside. Each is started anew when its
    code, its configuration or the generated package changes, once that compiles; the one before
    drains first. Their lines come with their names.

    Ctrl-C ends it, and all that was started for it; what ran before runs as before. So does a
    closed terminal, and an end by kill -9.

    \b
      dctl run                         all services of the workspace
      dctl run -s shop/orders          or -s orders
      dctl run -d shop,examples        those under services/shop and services/examples
      dctl run -s orders --debug       it waits for a debugger
    """
    from dctl.commands.infra.group import opened
    from dctl.dev.choose import choose, needed, split
    from dctl.dev.debts import Book, Debts
    from dctl.dev.keeper import Keeper
    from dctl.dev.lend import asked_for, lend, patiently, snapshot
    from dctl.dev.settle import adopt
    from dctl.engine.hosts import UP
    from dctl.hosts.state.folder import state_dir

    if importlib.util.find_spec("watchfiles") is None:
        raise NotFoundError("watchfiles is not installed here", hint='pip install "draft[dev]"')
    cluster = opened(file)
    chosen = choose(cluster.spec, split(services), split(domains))
    resources = [asked_for(cluster, name)[0] for name in chosen]  # refused before anything is done
    if debug:
        for resource in resources:
            _need_debugger(resource.spec["argv"][0])
    things = cluster.things()
    debts = Debts(
        spec=snapshot(cluster.loaded, variant().profiles),
        up=[o.name for o in things if o.state in UP],
        there=[o.name for o in things],
        raised=needed(cluster.spec, chosen),
    )
    folder = state_dir(cluster.name) / "dev"
    book = Book.begin(folder)
    try:
        adopt(folder, book, debts, chosen, _say)
    except BaseException:
        book.end()
        raise
    keeper = Keeper(book)
    try:
        _raise(cluster, debts.raised, mode)
        lent = [patiently(functools.partial(lend, cluster, name, book)) for name in chosen]
        _attend(cluster, lent, file, debug)
    finally:
        _say("ending")
        keeper.settle()
    return ExitCode.OK


def _raise(cluster: OpenCluster, parts: Sequence[str], mode: Mode) -> None:
    """What has to be there, but nothing that runs already is exchanged for it."""
    from dctl.commands.infra.apply import carry_out
    from dctl.engine.rollout import EXCHANGES
    from dctl.engine.scope import Scope

    if not parts:
        return
    made = cluster.plan(scope=Scope(tuple(parts)))
    other = {step.service for step in made.changed if step.verdict.action in EXCHANGES}
    if other:
        names = ", ".join(sorted(other))
        _say(f"{names} runs, but not as the spec asks for by now; it is left so (dctl infra plan)")
        made = cluster.plan(scope=Scope(tuple(part for part in parts if part not in other)))
    carry_out(cluster, made, cluster.apply, mode, ask="")


def _attend(cluster: OpenCluster, lent: Sequence[Lent], file: Path | None, debug: bool) -> None:
    import asyncio  # here, for who asks for help or names must not wait for it

    from dctl.commands.infra.group import opened
    from dctl.dev.lend import again
    from dctl.dev.run import Running, attend, folders_of
    from dctl.render.prefixed import Prefixed
    from dctl.workspace import generated

    meant = variant()
    ports = {one.service: _DEBUGGER + number for number, one in enumerate(lent)}

    def anew(service: str) -> Callable[[], Lent]:
        return again(opened(file, meant), service)

    def argv(one: Lent) -> Sequence[str]:
        asked: list[str] = one.resource.spec["argv"]
        if not debug:
            return asked
        python, *rest = asked
        where = f"127.0.0.1:{ports[one.service]}"
        printer.tell("", f"{one.service} waits for a debugger at {where}")
        debugger = ("-Xfrozen_modules=off", "-m", "debugpy", "--listen", where)
        return [python, *debugger, "--wait-for-client", *rest]

    printer = Prefixed([one.service for one in lent])
    running = Running(cluster.readers, anew, argv, printer.tell, patient=debug)
    folders = folders_of(lent, generated(cluster.root))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(attend(running, lent, folders))


def _need_debugger(python: str) -> None:
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('debugpy') is None)"
    done = subprocess.run([python, "-c", probe], capture_output=True, timeout=30, check=False)
    if done.returncode:
        shown = os.path.relpath(python)
        raise NotFoundError(
            f"{shown} has no debugpy",
            hint=f"{shown} -m pip install debugpy; your editor then attaches to port {_DEBUGGER}",
        )


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be closed
        click.echo(text, err=True)
