"""The cluster's secret, which whoever registers or makes backups has to know."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from chassis.proof import nonce_of
from draft_services.blueprint.errors import Unauthenticated

Nonce = Callable[[], str | None]
"""The cluster's secret as of now; None accepts any."""


def check_nonce(nonce: Nonce, given: str) -> None:
    """Return if `given` is the cluster's secret; raises `Unauthenticated`."""
    secret = nonce()
    if secret is not None and not hmac.compare_digest(given.encode(), secret.encode()):
        raise _refusal()


def admitted(nonce: Nonce, name: str, given: str) -> bool:
    """Whether who calls itself `name` knows the cluster's secret, and not only the one that is
    derived from it for that name; raises `Unauthenticated` when it knows neither."""
    secret = nonce()
    if secret is None or hmac.compare_digest(given.encode(), secret.encode()):
        return True
    if hmac.compare_digest(given.encode(), nonce_of(secret, name).encode()):
        return False
    raise _refusal()


def _refusal() -> Unauthenticated:
    return Unauthenticated("nonce: is not this cluster's; see DRAFT_NONCE_FILE")
