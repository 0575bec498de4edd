"""The cluster's secret, which whoever registers or makes backups has to know."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from draft_services.blueprint.errors import Unauthenticated

Nonce = Callable[[], str | None]
"""The cluster's secret as of now; None accepts any."""


def check_nonce(nonce: Nonce, given: str) -> None:
    """Return if `given` is the cluster's secret; raises `Unauthenticated`."""
    secret = nonce()
    if secret is not None and not hmac.compare_digest(given.encode(), secret.encode()):
        raise Unauthenticated("nonce: is not this cluster's; see DRAFT_NONCE_FILE")
