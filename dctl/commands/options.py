"""The options that commands share, so that each flag means the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dctl.commands import completing

if TYPE_CHECKING:
    from dctl.engine.scope import Scope
    from dctl.spec.variant import Variant
    from dctl.workspace import Workspace

F = TypeVar("F", bound=Callable[..., Any])


class Seconds(click.ParamType[float]):
    """A duration such as 500ms, 30s, 1m30s; the value is seconds as float."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        from dctl.spec.units import parse_duration

        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Position(click.IntRange):
    """A revision or a sequence: what a uint64 holds."""

    def __init__(self) -> None:
        super().__init__(0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number >= 1 << 64:
            self.fail(f"{number} is more than 64 bits hold", param, ctx)
        return number


def spec_option(function: F) -> F:
    """`-f/--file` or `-c/--context`: which cluster spec (default: the nearest draft.yaml's); and
    its `variant`."""
    return click.option(
        "-f",
        "--file",
        "file",
        type=click.Path(path_type=Path),
        callback=_spec,
        help="Cluster spec [default: the one that the nearest draft.yaml names].",
    )(context_option(_variant_options(function)))


def spec_option_long(function: F) -> F:
    """`--file` alone, for commands on which -f is follow."""
    return click.option(
        "--file", "file", type=click.Path(path_type=Path), callback=_spec, help="Cluster spec."
    )(context_option(_variant_options(function)))


def context_option(function: F) -> F:
    """`-c/--context`: which workspace. Kept with the invocation; a command reads `workspace()`."""
    return click.option(
        "-c",
        "--context",
        "context",
        is_eager=True,  # -f asks for it
        expose_value=False,
        callback=_keep,
        metavar="NAME",
        shell_complete=_contexts,
        help="The workspace of this name (dctl context list).",
    )(function)


def workspace() -> Workspace:
    """The workspace that is meant in this invocation."""
    from dctl.workspace import find_workspace, read_workspace

    if root := _context_root():
        return read_workspace(root)
    return find_workspace()


def _context_root() -> Path | None:
    from dctl import contexts

    name = click.get_current_context().meta.get("dctl.context")
    return contexts.root_of(name) if name else None


def _spec(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if ctx.resilient_parsing or not (name := ctx.meta.get("dctl.context")):
        return value
    if value is not None:
        raise click.UsageError("name a spec (--file) or a workspace (--context), not both", ctx)
    from dctl import contexts
    from dctl.workspace import cluster_of, read_workspace

    return cluster_of(read_workspace(contexts.root_of(name)))


def _contexts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from dctl import contexts

    return [name for name in contexts.read().roots if name.startswith(incomplete)]


class Word(click.ParamType[str]):
    """The name of an environment or a profile: it becomes a part of a file's name, never a path."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", str(value), re.ASCII):
            self.fail(f'"{value}" is no name: use letters, digits, "-" and "_"', param, ctx)
        return str(value)


def _variant_options(function: F) -> F:
    """`-e/--env` and `--profile`. They are kept with the invocation, so that a command passes
    `variant()` on and need not know them."""
    for flags, name, envvar, help in (
        (("--profile",), "profiles", "DCTL_PROFILE", "Also what is there only with this profile"),
        (("-e", "--env"), "environments", "DCTL_ENV", "Merge cluster.NAME.yaml over the spec"),
    ):
        function = click.option(
            *flags,
            name,
            type=Word(),
            multiple=True,
            envvar=envvar,
            expose_value=False,
            callback=_keep,
            metavar="NAME",
            help=f"{help}; may be repeated (also {envvar}).",
        )(function)
    return function


def _keep(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
    ctx.meta[f"dctl.{param.name}"] = value


def variant() -> Variant:
    """What `-e` and `--profile` say in this invocation."""
    from dctl.spec.variant import Variant

    meta = click.get_current_context().meta
    return Variant(meta.get("dctl.environments", ()), meta.get("dctl.profiles", ()))


def scope_options(function: F) -> F:
    """`--service` and `--host`: a part of the cluster alone. Kept with the invocation, as the
    variant is; a command reads `scope()`."""
    for flag, name, help, complete in (
        ("--host", "hosts", "Only what is on this host", completing.hosts),
        ("--service", "services", "Only this service", completing.services),
    ):
        function = click.option(
            flag,
            name,
            multiple=True,
            expose_value=False,
            callback=_keep,
            metavar="NAME",
            shell_complete=complete,
            help=f"{help}; a wildcard, may be repeated.",
        )(function)
    return function


def scope() -> Scope:
    """What `--service` and `--host` say in this invocation."""
    from dctl.engine.scope import Scope

    meta = click.get_current_context().meta
    return Scope(meta.get("dctl.services", ()), meta.get("dctl.hosts", ()))


def output_option(*formats: str) -> Callable[[F], F]:
    """`-o/--output`: table for people (default), json and so on for programs."""
    choices = formats or ("table", "json", "yaml", "ndjson")
    return click.option(
        "-o",
        "--output",
        "format",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        help="Shape of what is printed on stdout.",
    )


def yes_option(function: F) -> F:
    """`-y/--yes`: do not ask."""
    return click.option(
        "-y", "--yes", is_flag=True, envvar="DCTL_YES", help="Do not ask (also DCTL_YES=1)."
    )(function)


def timeout_option(default: str) -> Callable[[F], F]:
    """`--timeout`: how long to wait in all."""
    return click.option(
        "--timeout", type=Seconds(), default=default, show_default=True, help="How long to wait."
    )
