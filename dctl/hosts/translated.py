"""Where a host's verbs turn the system's errors into ours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from dctl.errors import DctlError


class _Named(Protocol):
    name: str


H = TypeVar("H", bound=_Named)
P = ParamSpec("P")


def translated(verb: Callable[Concatenate[H, P], None]) -> Callable[Concatenate[H, P], None]:
    """`verb`, whose errors name it, what it was about, and the host."""

    @functools.wraps(verb)
    def wrapped(self: H, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            verb(self, *args, **kwargs)
        except OSError as error:
            named: list[Any] = [*args, *kwargs.values()]
            what = getattr(named[0], "name", named[0]) if named else self.name
            raise DctlError(f"{verb.__name__} {what} on {self.name}: {error}") from error

    return wrapped
