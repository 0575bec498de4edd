"""The options that commands share, so that each flag means the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

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
    """`-f/--file`: which cluster spec (default: the nearest draft.yaml's)."""
    return click.option(
        "-f",
        "--file",
        "file",
        type=click.Path(path_type=Path),
        help="Cluster spec [default: the one that the nearest draft.yaml names].",
    )(function)


def spec_option_long(function: F) -> F:
    """`--file` alone, for commands on which -f is follow."""
    return click.option("--file", "file", type=click.Path(path_type=Path), help="Cluster spec.")(
        function
    )


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
