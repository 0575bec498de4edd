"""As whom we come to the engine.

Its nodes know two users, who have one password: `draft`, whose account has all streams, and
`system`, whose account asks of the nodes themselves. dctl makes the password and keeps it in a file
that the nodes include in their configuration, so it has that shape.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from draft_services.engine.connection import Login
from draft_services.engine.errors import Misused

USER, SYSTEM = "draft", "system"
ANY = "any"


def login(engine: str, user: str = USER, tls: ssl.SSLContext | None = None) -> Login | None:
    """The login with the password that is in the file `engine`. ``any`` is the password of an
    engine for tests; "" of one that asks nobody. With `tls` the connection is encrypted."""
    if engine in ("", ANY):
        return Login(user, engine, tls) if engine else None
    try:
        text = Path(engine).read_text(encoding="utf-8")
    except OSError as error:
        raise Misused(
            f"the engine's secret {engine} cannot be read: {error.strerror}: dctl infra apply"
        ) from error
    if not (found := re.search(r'"(\S+)"', text)):
        raise Misused(f"the engine's secret {engine} holds no password: dctl infra apply")
    return Login(user, found[1], tls)
