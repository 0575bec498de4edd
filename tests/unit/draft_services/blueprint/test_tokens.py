"""Tokens before the engine has told the keys."""

from typing import cast

import pytest
from draft_services.blueprint.tokens import Claims, Tokens
from draft_services.engine.errors import Unavailable
from draft_services.engine.store import Store


def test_who_asks_before_the_keys_are_read_is_told_to_try_again() -> None:
    tokens = Tokens(cast(Store, None), lifetime=60)
    with pytest.raises(Unavailable, match="try again"):
        tokens.issue(Claims("a-process", "cart", full=False))
